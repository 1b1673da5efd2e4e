"""Which round's candidates are kept to be judged again, when that is, and why it comes to nothing. Changes nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gate.looks import LOOKS
from learner.directory.kept_candidates import read_kept
from memory.ledger.records import Round
from memory.ledger.states import RoundState

# A round whose candidate could not be judged at all ends failed, as that is not its text's fault.
JUDGED_FOR_WANT: Final = frozenset({RoundState.REFUSED, RoundState.FAILED})


@dataclass(frozen=True, slots=True)
class KeptRound:
    """A round whose candidates are kept, to be judged again when there is more evidence.

    Attributes:
        number: whose directory has them.
        trained_in: the round that trained them, which may be an earlier one.
        look: how often they will have been judged with the next time.
        documents: of the newest held-out text (keys, where several have the same), from which on that is.
        parent: the generation that they were trained from.
        recipe: by which, as the ledger keeps it.
    """

    number: int
    trained_in: int
    look: int
    documents: int
    parent: int
    recipe: Mapping[str, Any]

    def sentence(self, newest: int) -> str:
        """What is kept and what it waits for, for a person.

        Args:
            newest: how much of the newest held-out text is there.
        """
        lacking = self.documents - newest
        when = f"when {lacking:,} more held-out documents of new text have come" if lacking > 0 else "by the next round"
        return (
            f"what round {self.trained_in} trained is kept, and judged again {when} (time {self.look} of {LOOKS}); "
            "`riverkeep round begin` trains anew instead"
        )


def latest_judged(latest: Iterable[Round]) -> Round | None:
    """The latest round that was not only tried or cut off.

    Args:
        latest: newest first.
    """
    return next((round_ for round_ in latest if round_.state is not RoundState.ABANDONED), None)


def find_kept(latest: Iterable[Round], directory_of: Callable[[int], Path]) -> KeptRound | None:
    """The round whose candidates are kept; one at most, as each that is judged after it takes its place.

    Args:
        latest: rounds, newest first.
        directory_of: where a round of that number is.
    """
    judged = latest_judged(latest)
    if judged is None or judged.state not in JUDGED_FOR_WANT or not judged.verdict.get("evidence"):
        return None
    # The note is written before the ledger says how the round ended: where it was erased, nothing is kept.
    kept = read_kept(directory_of(judged.number))
    if kept is None:
        return None
    return KeptRound(
        number=judged.number,
        trained_in=kept.trained_in,
        look=kept.judgings + 1,
        documents=judged.verdict["evidence"],
        parent=judged.parent_generation,
        recipe=judged.recipe,
    )


def why_void(kept: KeptRound, *, serving: int | None, recipe: Mapping[str, Any]) -> str:
    """Why what is kept cannot be judged again whatever comes, a sentence's end; empty where it can.

    Args:
        kept: of which that is asked.
        serving: the generation that serves now.
        recipe: of the next round, as the ledger keeps it.
    """
    if serving != kept.parent:
        return f"generation {kept.parent}, from which they were trained, does not serve any more"
    if recipe != kept.recipe:
        return "the recipe is another since"
    return ""
