"""One generation, and two beside each other, off the ledger and the checkpoint store."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from daemon.control.answers.generation_diffs import (
    ComparedGeneration,
    GenerationAnswer,
    GenerationDiff,
    LineageStep,
    LineageText,
    RecipeDifference,
    ScoreDifference,
)
from daemon.control.answers.rounds import GenerationLine, GenerationsAnswer, ScoreLine
from daemon.control.facts.rounds import erased_text
from memory.errors import UnknownRound
from memory.ledger.records import Round, lineage
from memory.store import Store
from streams.document import partition_name

MOST_STEPS: Final = 20
"""Of a line that are listed: of each what its round was given is counted."""


def generation_diff(
    store: Store, checkpoints: GenerationStore, answer: GenerationsAnswer, first: int, second: int
) -> GenerationDiff:
    """Two generations beside each other.

    Args:
        store: of the ledger.
        checkpoints: for sizes, and recipes of rounds that the ledger has let go.
        answer: of all generations.
        first: the number of one.
        second: of the other.

    Raises:
        UnknownGeneration: there is none of such a number, or it is too long ago.
    """
    looks = _Looks(store, checkpoints, answer)
    lines = {number: looks.line(number) for number in (first, second)}
    here, there = lineage(looks.parents, first), lineage(looks.parents, second)
    common = max(set(here) & set(there), default=None)
    recipes = looks.recipe(lines[first]), looks.recipe(lines[second])
    scores = _scores(answer, first, second)
    return {
        "first": looks.compared(lines[first]),
        "second": looks.compared(lines[second]),
        "common": common,
        "of_first": looks.text([number for number in here if number not in there]),
        "of_second": looks.text([number for number in there if number not in here]),
        "recipe": _recipe(*recipes),
        "recipe_alike": sum(recipes[1].get(name, ...) == value for name, value in recipes[0].items()),
        "scores": scores,
        "notes": _notes(common, scores, recipes, (first, second)),
    }


def generation_answer(
    store: Store, checkpoints: GenerationStore, answer: GenerationsAnswer, number: int
) -> GenerationAnswer:
    """One generation.

    Args: as of `generation_diff`.

    Raises:
        UnknownGeneration: there is none of such a number, or it is too long ago.
    """
    looks = _Looks(store, checkpoints, answer)
    line = looks.line(number)
    # The latest first.
    led_here = lineage(looks.parents, number)
    return {
        **looks.compared(line),
        "lineage": led_here,
        "children": [each["number"] for each in answer["generations"] if each["parent"] == number],
        "attempts": [attempt for attempt in answer["attempts"] if attempt["parent"] == number],
        "recipe": looks.recipe(line),
        "learned": looks.text(led_here),
    }


class _Looks:
    """What is looked up of generations."""

    def __init__(self, store: Store, checkpoints: GenerationStore, answer: GenerationsAnswer) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._serving = answer["serving"]
        self._lines = {line["number"]: line for line in answer["generations"]}
        self.parents = {number: line["parent"] for number, line in self._lines.items()}

    def line(self, number: int) -> GenerationLine:
        """A generation, also one that has left the ledger's list. Raises UnknownGeneration."""
        if number in self._lines:
            return self._lines[number]
        past = self._store.generations.read(number)
        self.parents[number] = past.parent
        return {
            "number": number,
            "state": past.state.value,
            "parent": past.parent,
            "round": past.round,
            "digest": past.digest,
            "created_at": past.created_at,
            "sequence_length": None,
            "erased_text": erased_text(number, self._store.people.saw_erased_text()),
            "lies_on": None,
        }

    def compared(self, line: GenerationLine) -> ComparedGeneration:
        """One of the two."""
        size = None
        with suppress(CheckpointsError, OSError):
            size = self._checkpoints.size(line["number"])
        return {**line, "serves": line["number"] == self._serving, "bytes": size}

    def recipe(self, line: GenerationLine) -> dict[str, Any]:
        """What the round that made it was told, with the share of the parent's weights that won; empty of the base."""
        if line["round"] is None:
            return {}
        round_ = self._round(line["round"])
        if round_ is not None:
            share = round_.verdict.get("candidate")
            return {**round_.recipe, **({} if not share else {"parent_share": float(share)})}
        with suppress(CheckpointsError, OSError):
            return dict(self._checkpoints.card(line["number"]).recipe)
        return {}

    def _round(self, number: int) -> Round | None:
        try:
            return self._store.rounds.read(number)
        except UnknownRound:
            return None

    def text(self, numbers: Sequence[int]) -> LineageText:
        """What was learned by these, given oldest first."""
        # The base learned nothing here.
        made = [number for number in numbers if self.line(number)["round"] is not None]
        steps = [self._step(number) for number in made[::-1][:MOST_STEPS]]
        return {
            "steps": steps,
            "left_out": len(made) - len(steps),
            "samples": sum(step["fresh_samples"] or 0 for step in steps),
            "tokens": sum(step["fresh_tokens"] or 0 for step in steps),
            "replayed": sum(step["replay_samples"] or 0 for step in steps),
            "offsets": merge_ranges(step["offsets"] for step in steps),
            "erased": sum(step["erased"] for step in steps),
        }

    def _step(self, number: int) -> LineageStep:
        line = self.line(number)
        assert line["round"] is not None
        round_ = self._round(line["round"])
        training: Mapping[str, Any] = {} if round_ is None else round_.report.get("training") or {}
        offsets = {} if round_ is None else round_.offsets
        sources = self._store.rounds.sources(line["round"])
        return {
            "generation": number,
            "parent": line["parent"],
            "round": line["round"],
            "fresh_samples": None if round_ is None else round_.fresh_samples,
            "fresh_tokens": None if round_ is None else round_.fresh_tokens,
            "replay_samples": None if round_ is None else round_.replay_samples,
            "tokens_trained": training.get("tokens_touched"),
            "tokens_drawn": training.get("tokens_drawn"),
            "offsets": {partition_name(partition): list(ends) for partition, ends in offsets.items()},
            "sources": [{"part": part, "source": source, "samples": count} for part, source, count in sources],
            "erased": self._store.people.erased_of_training(line["round"]),
        }


def merge_ranges(offsets: Iterable[Mapping[str, Sequence[int]]]) -> dict[str, list[list[int]]]:
    """By partition the ranges that these cover, each a first and a last, in order; those that touch are one."""
    found: defaultdict[str, list[list[int]]] = defaultdict(list)
    spans = sorted((name, first, last) for by_partition in offsets for name, (first, last) in by_partition.items())
    for name, first, last in spans:
        ranges = found[name]
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1][1] = max(ranges[-1][1], last)
        else:
            ranges.append([first, last])
    return dict(found)


def _recipe(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[RecipeDifference]:
    names = dict.fromkeys([*first, *second])
    return [
        {"name": name, "first": first.get(name), "second": second.get(name)}
        for name in names
        if first.get(name, ...) != second.get(name, ...)
    ]


def _scores(answer: GenerationsAnswer, first: int, second: int) -> list[ScoreDifference]:
    rows: dict[tuple[int, str], ScoreLine] = {(row["generation"], row["slice"]): row for row in answer["scores"]}
    pairs = [(name, rows.get((first, name)), rows.get((second, name))) for name in answer["slices"]]
    return [_score(name, one, other) for name, one, other in pairs if one is not None or other is not None]


def _score(name: str, one: ScoreLine | None, other: ScoreLine | None) -> ScoreDifference:
    change, comparable = None, False
    if one is not None and other is not None:
        comparable = one["scored"] is not None and one["scored"] == other["scored"]
        change = other["mean_nll"] - one["mean_nll"] if comparable else None
    return {
        "slice": name,
        "first": None if one is None else one["mean_nll"],
        "second": None if other is None else other["mean_nll"],
        "change": change,
        "accuracy_first": None if one is None else one["accuracy"],
        "accuracy_second": None if other is None else other["accuracy"],
        "comparable": comparable,
    }


def _notes(
    common: int | None,
    scores: Sequence[ScoreDifference],
    recipes: tuple[Mapping[str, Any], Mapping[str, Any]],
    numbers: tuple[int, int],
) -> list[str]:
    notes = []
    if common is None:
        notes.append("They have no generation in common that the ledger still knows.")
    for number, recipe in zip(numbers, recipes, strict=True):
        if not recipe:
            notes.append(f"Of generation {number} there is no recipe: it is the base, or its round is too long ago.")
    both = [row for row in scores if row["first"] is not None and row["second"] is not None]
    if apart := sum(not row["comparable"] for row in both):
        notes.append(f"On {apart:,} slices they were not scored in the same known way, and are not compared.")
    if not both:
        notes.append("There is no slice on which both were scored.")
    return notes
