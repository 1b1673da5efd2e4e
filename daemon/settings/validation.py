"""Typing settings so that one mistake hides no other: what is wrong is taken out, and the rest is looked at again."""

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from daemon.settings.fields import Key, dot
from daemon.settings.mistakes import Mistake, explain, known_part, required_part
from daemon.settings.paths import impossible_paths
from daemon.settings.sources import Raw

M = TypeVar("M", bound=BaseModel)

STAND_IN = "not-set"
"""Stands for a required path that is missing, while the rest is looked at."""


@dataclass(frozen=True, slots=True)
class Typed(Generic[M]):
    """Settings as far as they can be typed.

    Attributes:
        settings: what was written, with defaults where that is wrong; None where nothing can be said of the rest.
        mistakes: everything that is wrong with them.
        taken_out: the keys where defaults stand instead.
    """

    settings: M | None
    mistakes: tuple[Mistake, ...]
    taken_out: frozenset[Key]

    def new(self, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Of what later checks found, that which is not about a default that stands for a mistake."""
        out = {dot(key) for key in self.taken_out}
        return [mistake for mistake in mistakes if mistake.key not in out]


def type_settings(model: type[M], raw: Raw) -> Typed[M]:
    """Type the settings; pydantic looks at a table as a whole only when each of its keys is right."""
    tree = deepcopy(raw.tree)
    mistakes: list[Mistake] = []
    out: set[tuple[Key, bool]] = set()
    for key, mistake in impossible_paths(model, raw):
        mistakes.append(mistake)
        out.add((key, False))
        _mend(tree, key, missing=False)
    while True:
        gone = frozenset(key for key, _ in out)
        try:
            return Typed(model.model_validate(tree), tuple(mistakes), gone)
        except ValidationError as error:
            problems = error.errors(include_url=False)
        mistakes += [explain(model, problem, raw) for problem in problems if not _comes_of(gone, model, problem)]
        culprits = {(_culprit(model, problem), problem["type"] == "missing") for problem in problems}
        # Each pass takes out something that was not out before, so that there is a last one.
        if culprits <= out or not all(_mend(tree, key, missing=missing) for key, missing in culprits):
            return Typed(None, tuple(mistakes), gone)
        out |= culprits


def _culprit(model: type[BaseModel], details: ErrorDetails) -> Key:
    """The key that is wrong. Elements of a list keep their places: the whole list goes, or a key of an element."""
    if details["type"] == "extra_forbidden":
        return tuple(details["loc"])
    key = known_part(model, details["loc"])
    if details["type"] == "missing":
        return required_part(model, key)
    while key and isinstance(key[-1], int):
        key = key[:-1]
    return key


def _comes_of(gone: frozenset[Key], model: type[BaseModel], details: ErrorDetails) -> bool:
    """Whether an error is about a value that is out, or about a whole table and names one that is."""
    key = _culprit(model, details)
    words = set(re.findall(r"\w+", details["msg"])) if details["type"] == "value_error" else set()
    within = (out for out in gone if out[: len(key)] == key)
    return any(out == key or out[-1] in words for out in within)


def _mend(tree: dict[str, Any], key: Key, *, missing: bool) -> bool:
    """Take the key out, or put something there where it is missing; whether that could be done."""
    table: Any = tree
    try:
        for part in key[:-1]:
            table = table.setdefault(part, {}) if missing and isinstance(table, dict) else table[part]
        if missing:
            table[key[-1]] = STAND_IN
        else:
            del table[key[-1]]
    except (IndexError, KeyError, TypeError):
        return False
    return True
