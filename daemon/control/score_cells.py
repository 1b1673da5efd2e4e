"""R, generation by slice, each entry with its rise over the best of those that led to it. Pure."""

from collections import defaultdict
from dataclasses import dataclass

from daemon.control.answers.rounds import GenerationsAnswer
from memory.ledger.scorings import most_common


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of R.

    Attributes:
        rise: over the best loss on the slice among the generations that led to this one, in nats; None where there
            is none to compare with.
        apart: scored in another way than the serving generation.
    """

    mean_nll: float
    rise: float | None
    apart: bool = False


def cells(facts: GenerationsAnswer) -> dict[tuple[int, str], Cell]:
    """The entries of R by generation and slice, each with its rise over the best of those that led to it."""
    parents = {line["number"]: line["parent"] for line in facts["generations"]}
    how = _served_way(facts)
    losses: defaultdict[int, dict[str, tuple[float, bool]]] = defaultdict(dict)
    for row in facts["scores"]:
        # Scores that were taken otherwise (precision, length of sequences) differ by that alone.
        losses[row["generation"]][row["slice"]] = float(row["mean_nll"]), row.get("scored") != how
    best: dict[int, dict[str, float]] = {}
    entries: dict[tuple[int, str], Cell] = {}
    # A parent has a lower number than what came of it.
    for number in sorted({*parents, *losses}):
        parent = parents.get(number)
        before = {} if parent is None else best.get(parent, {})
        # Shared where nothing is added: of thousands of generations the latest few have scores.
        best[number] = dict(before) if number in losses else before
        for name, (loss, apart) in losses[number].items():
            earlier = None if apart else before.get(name)
            entries[number, name] = Cell(loss, None if earlier is None else loss - earlier, apart)
            # Only its like may become the best: else a generation would seem to forget by being scored in another way.
            if not apart:
                best[number][name] = loss if earlier is None else min(earlier, loss)
    return entries


def _served_way(facts: GenerationsAnswer) -> str | None:
    """How the scores of what serves were taken, most of them where they differ."""
    return most_common(row.get("scored") for row in facts["scores"] if row["generation"] == facts["serving"])


def scored_apart(facts: GenerationsAnswer) -> dict[str | None, list[int]]:
    """The generations with scores that were taken in another way than the serving one's, by that way."""
    how = _served_way(facts)
    apart: defaultdict[str | None, set[int]] = defaultdict(set)
    for row in facts["scores"]:
        if row.get("scored") != how:
            apart[row.get("scored")].add(row["generation"])
    return {way: sorted(numbers) for way, numbers in apart.items()}
