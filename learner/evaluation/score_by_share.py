"""Documents scored by several ranks: each scores its share, and all are told the scores of all."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from learner.devices.ranks import Ranks
from learner.material.encoding import Encoded
from memory.ledger.records import DocumentScore

Scored: TypeAlias = Sequence[tuple[DocumentScore, float]]
"""Scores of documents in their order, each with how sure the model is of its answer."""


def score_by_share(
    ranks: Ranks, text: Encoded, score: Callable[[Encoded], Scored]
) -> tuple[tuple[DocumentScore, float], ...]:
    """Score every document once over all ranks; return all scores on each.

    Args:
        ranks: that score together, all the same text.
        text: the documents.
        score: gives those of some documents, in their order.

    Raises:
        learner.errors.RankLost: another rank has ended.
    """
    if ranks.is_alone:
        return tuple(score(text))
    # By length, so that all have as much to do; then in the order of the text, as a single rank takes them.
    by_length = np.argsort(-text.lengths, kind="stable")
    own: list[int] = np.sort(by_length[ranks.share.of(len(text))]).tolist()
    scored = score(text.take(own)) if own else ()
    own_rows = [
        (at, each.id, each.nll, each.tokens, each.predicted, each.label, sure)
        for at, (each, sure) in zip(own, scored, strict=True)
    ]
    rows = sorted(row for part in ranks.gather(own_rows) for row in part)
    return tuple((DocumentScore(*fields), sure) for _, *fields, sure in rows)
