"""How commands were written in earlier versions: whoever still writes them so is told the new spelling."""

import shlex
from collections.abc import Sequence
from typing import Final

from daemon.errors import BadRequest

ROUND_VERBS: Final = ("begin", "approve", "reject", "show", "list", "cancel", "pause", "resume")
"""All but the first were options of `riverkeep round`, which alone began one."""
MOVED: Final = {"resume": ("memory", "dead-letters", "resume")}
"""Commands that are found elsewhere now."""


def verb_of_round(words: Sequence[str]) -> list[str]:
    """What stood after `riverkeep round`, with the verb that it means now."""
    # `--show=7` and `--show 7` were the same.
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    at = next((at for at, part in enumerate(parts) if part.removeprefix("--") in ROUND_VERBS), None)
    if at is None:
        return [ROUND_VERBS[0], *parts]
    return [parts[at].removeprefix("--"), *parts[:at], *parts[at + 1 :]]


def refusal(old: Sequence[str], new: Sequence[str]) -> BadRequest:
    """One line for a person who wrote a command in a way of earlier versions, with both spellings."""
    from daemon.control.printable import inline  # noqa: PLC0415 - needed by those who err alone

    was, now = (inline(shlex.join(["riverkeep", *words])) for words in (old, new))
    return BadRequest(f"`{was}` is now `{now}`.")
