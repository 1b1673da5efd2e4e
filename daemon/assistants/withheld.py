"""Which names in an answer were given by records, and what an assistant reads in their place.

Labels, and sources where a topic has a `source_field`, are words of whoever writes to a topic; so are particulars of
a dead letter, which quote the record. An assistant that read them could take them for instructions.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.settings.labels import known_labels
from daemon.settings.tree import Settings
from memory.samples.slice_names import source_of
from streams.decoding.several_labels import members

PARTICULARS: Final = "particulars withheld: they quote the record"
BY_SOURCE: Final = frozenset({"sources", "holdout_shares"})
"""Keys whose values name sources, as a list or as keys of their own."""


@dataclass(frozen=True, slots=True)
class PeoplesNames:
    """Names that people gave in the settings or in the model, and not records.

    Attributes:
        labels: a classifier's.
        sources: of text; None where no record names its own, so that all are of people.
    """

    labels: Collection[str]
    sources: Collection[str] | None


def peoples_names(settings: Settings) -> PeoplesNames:
    """Those of these settings."""
    topics = settings.streams.topics
    own = {name for topic in topics for name in (topic.name, topic.source) if name}
    by_records = any(topic.source_field for topic in topics)
    return PeoplesNames(known_labels(settings) or frozenset(), own if by_records else None)


def withhold(answer: Any, people: PeoplesNames, *beside: Any) -> Any:
    """An answer without what records say of themselves; the same name has the same stand-in everywhere.

    Args:
        answer: as an operation gives it.
        people: whose names stay.
        beside: other answers, whose names do not stay either: a sentence may name what the answer does not list.
    """
    found = {name for one in (answer, *beside) for name in _names(one, people)}
    return _Stand(found).over(answer)


def _names(value: Any, people: PeoplesNames) -> Iterator[str]:
    """Names by records, wherever an answer lists them."""
    if isinstance(value, list):
        for each in value:
            yield from _names(each, people)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "label" and isinstance(inner, str):
                yield from (name for name in (inner, *members(inner)) if name not in people.labels)
            elif people.sources is not None:
                yield from (name for name in _sources(key, inner) if name and name not in people.sources)
            yield from _names(inner, people)


def _sources(key: str, value: Any) -> Iterable[str]:
    if key == "source" and isinstance(value, str):
        return [value]
    if key == "slice" and isinstance(value, str):
        return [source_of(value)]
    if key == "slices" and isinstance(value, list):
        return [source_of(each) for each in value if isinstance(each, str)]
    if key in BY_SOURCE and isinstance(value, list | Mapping):
        return [each for each in value if isinstance(each, str)]
    return []


class _Stand:
    """Stand-ins for names, wherever these stand, and for the particulars of dead letters."""

    def __init__(self, names: Collection[str]) -> None:
        # The longest first: one may be the beginning of another.
        ordered = sorted(filter(None, names), key=lambda name: (-len(name), name))
        either = "|".join(map(re.escape, ordered))
        self._pattern = re.compile(rf"(?<!\w)(?:{either})(?!\w)") if ordered else None
        self._particulars: list[str] = []

    def over(self, value: Any) -> Any:
        """The value with them."""
        if isinstance(value, str):
            return self._over_text(value)
        if isinstance(value, list):
            return [self.over(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        letter = value.get("dead_letter")
        if isinstance(letter, Mapping) and letter.get("detail"):
            self._particulars.append(str(letter["detail"]))
            value = {**value, "dead_letter": {**letter, "detail": PARTICULARS}}
        return {self.over(key): self.over(inner) for key, inner in value.items()}

    def _over_text(self, text: str) -> str:
        for particulars in self._particulars:
            text = text.replace(particulars, PARTICULARS)
        return text if self._pattern is None else self._pattern.sub(lambda match: stand_in(match[0]), text)


def stand_in(name: str) -> str:
    """What an assistant reads for a name that a record gave: no word of it, and the same each time."""
    return f"withheld-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
