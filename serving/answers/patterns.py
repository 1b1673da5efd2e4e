"""Patterns of texts that answers can be held to: those whose texts are always text within JSON."""

import re
from typing import Final

from serving.answers.fields import refuse

LONGEST_PATTERN: Final = 256
MOST_REPEATS: Final = 1_000
LENGTHS: Final = '^[^"\\\\\\x00-\\x1f]{%s,%s}$'
"""A text of so many characters, none of which is written otherwise in JSON."""
CLASSES: Final = frozenset("dDwWsS")
COUNTED: Final = re.compile(r"\{(\d{1,6})(?:,(\d{0,6}))?\}")


def require_plain(pattern: str, place: str) -> int:
    """Refuse patterns that cannot be held, or that a text in JSON cannot be held to.

    A pattern is matched against what is written: a quote, a backslash or a control character in it would end the text,
    or be written otherwise.

    Returns:
        how often it repeats something by a count.

    Raises:
        RequestError: with the place.
    """
    if len(pattern) > LONGEST_PATTERN:
        refuse(place, f"a pattern has {LONGEST_PATTERN} characters at most")
    if '"' in pattern or not pattern.isprintable():
        refuse(place, "a pattern has no quotes and no control characters, which JSON writes otherwise")
    return _require_groups(pattern, place)


def _require_groups(pattern: str, place: str) -> int:
    """See that groups are plain ones, and that no repetition with a count is repeated with a count."""
    # Whether the groups that are open have counts in them.
    counted = [False]
    last = False
    repeats = at = 0
    while at < len(pattern):
        letter, rest = pattern[at], pattern[at:]
        within, last = last, False
        if letter == "\\":
            _require_escape(rest[1:2], place)
            at += 1
        elif letter == "(":
            if rest.startswith("(?") and not rest.startswith("(?:"):
                refuse(
                    place,
                    "groups of a pattern are ( ) or (?: ), which look neither ahead nor behind",
                )
            counted.append(False)
        elif letter == ")" and len(counted) > 1:
            last = counted.pop()
            counted[-1] = counted[-1] or last
        elif letter == "{" and (found := COUNTED.match(rest)):
            repeats += int(found[2] or found[1])
            if within or repeats > MOST_REPEATS:
                refuse(place, f"a pattern repeats nothing with a count within another, nor {MOST_REPEATS} times in all")
            counted[-1] = True
        at += 1
    return repeats


def _require_escape(letter: str, place: str) -> None:
    if letter not in CLASSES and (not letter or letter.isalnum() or letter == "\\"):
        refuse(place, rf"\{letter} cannot be held: \d \w \s and their opposites can, and signs behind a backslash")
