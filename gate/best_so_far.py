"""Which earlier generation a candidate is held to on a slice, and where nobody can tell any more.

Small losses add up, each within its bound, so that a candidate is also held to the best that any generation before it
did. A generation was scored on what was drawn in its own time: the two are compared on the documents that both have
scored, as long as these are enough; else it is scored again, and where that cannot be, the verdict says so.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gate.held_out import HeldOut
from gate.keys import keys_among
from gate.measures import mean_nll
from memory.ledger.records import DocumentScore, ScoreRow

KnownScores = Mapping[int, Mapping[int, DocumentScore]]
"""Generation to sample id to score: what the store knows of earlier generations."""

NO_TOKENS: Final[Mapping[int, int]] = MappingProxyType({})

ENOUGH_OF: Final = 0.9
"""A slice of less than the gate's minimum counts as known where so much of it is: one document that was drawn anew must
not take the bound away."""


def is_enough(scored: int, of: int, minimum: int) -> bool:
    """Whether a generation's scores on a slice can stand for the slice.

    Args:
        scored: keys of the documents that it has scored.
        of: keys of all documents of the slice.
        minimum: that any comparison needs.
    """
    return scored >= min(minimum, math.ceil(ENOUGH_OF * of))


def scored_rows(drawn: HeldOut, known: Mapping[int, DocumentScore], tokens: Mapping[int, int]) -> list[DocumentScore]:
    """A generation's scores on a slice that can be compared with those of this round, by document.

    Args:
        drawn: the slice.
        known: all that is known of the generation.
        tokens: how many of each document are scored in this round: where it was another number, it was cut otherwise.
    """
    rows = [known[id_] for id_ in sorted(drawn.documents) if id_ in known]
    return [row for row in rows if math.isfinite(row.nll) and row.tokens == tokens.get(row.id, row.tokens)]


def covers(drawn: HeldOut, rows: Sequence[DocumentScore], minimum: int) -> bool:
    """Whether these scores can stand for the slice."""
    all_keys = keys_among(drawn.documents, drawn.keys)
    return bool(rows) and is_enough(keys_among([row.id for row in rows], drawn.keys), all_keys, minimum)


def advantage(rows: Sequence[DocumentScore], parent: Mapping[int, DocumentScore]) -> float:
    """How much worse than the parent a generation is on what it has scored, nats per token; negative: better.

    Not its mean, as generations may have scored different parts of a slice, some harder than others.
    """
    return mean_nll(rows) - mean_nll([parent[row.id] for row in rows])


def best_by_slice(rows: Iterable[ScoreRow], line: Collection[int], spared: Collection[int]) -> dict[str, int]:
    """The generation with the lowest mean loss on each slice that R knows, the latest of equals.

    Args:
        rows: of R, all taken in sequences of one length.
        line: the generations that led to the serving one: what was rolled back is no measure.
        spared: those that every round scores anyway: a slice on which one of them is the best is left out.
    """
    best: dict[str, tuple[float, int]] = {}
    for row in rows:
        if row.generation in line:
            # Negated, so that of equals the latest is the least.
            entry = (row.score.mean_nll, -row.generation)
            best[row.slice] = min(best.get(row.slice, entry), entry)
    return {name: -negated for name, (_, negated) in best.items() if -negated not in spared}


def lacking(
    slices: Iterable[HeldOut],
    best: Mapping[str, int],
    known: KnownScores,
    minimum: int,
    tokens: Mapping[int, int] = NO_TOKENS,
    *,
    answers: bool = False,
) -> dict[str, int]:
    """The best generation of each older slice on which it has too few scores to hold a candidate to.

    Args:
        slices: as drawn.
        best: as `best_by_slice` gives it.
        known: what is known of earlier generations.
        minimum: keys that a comparison needs.
        tokens: as `scored_rows` takes them; empty before a round has scored anything.
        answers: of a classifier: scores count only with what it answered, which earlier versions did not keep.
    """
    older = [drawn for drawn in slices if drawn.kind != "newest" and drawn.name in best]
    lacked = {}
    for drawn in older:
        rows = scored_rows(drawn, known.get(best[drawn.name], {}), tokens)
        if not covers(drawn, [row for row in rows if row.predicted is not None or not answers], minimum):
            lacked[drawn.name] = best[drawn.name]
    return lacked


def in_order_of_need(lacked: Mapping[str, int]) -> list[int]:
    """The generations that would have to be scored again, those that most slices lack first."""
    slices = Counter(lacked.values())
    return sorted(slices, key=lambda generation: (-slices[generation], -generation))
