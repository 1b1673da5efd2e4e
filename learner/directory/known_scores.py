"""What earlier rounds computed of a round's held-out text, as its directory carries it. Torch-free."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

import pydantic.dataclasses
from pydantic import NonNegativeInt, Strict

from checkpoints.json_files import STRICT
from memory.ledger.records import DocumentScore
from memory.ledger.scorings import Scoring

Scores = Mapping[int, DocumentScore]
ScoreColumns = tuple[float, NonNegativeInt, str | None]
"""Loss in nats, tokens, and the label that a classifier gave."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class HeldOutScores:
    """What earlier rounds computed of parent, base and best so far, by sample id: `known_scores.json`.

    Attributes:
        parent, base, best: loss in nats, tokens, and the label that a classifier gave.
        scored: how all of them were taken; None in a directory of an earlier version, where that is not known.
    """

    parent: Mapping[Annotated[int, Strict(strict=False)], ScoreColumns]
    base: Mapping[Annotated[int, Strict(strict=False)], ScoreColumns]
    best: Mapping[Annotated[int, Strict(strict=False)], ScoreColumns] = field(default_factory=dict)
    scored: Scoring | None = None


def columns(scores: Scores) -> dict[int, ScoreColumns]:
    """Scores as they stand in the file, without their ids, which stand before them."""
    return {id_: (score.nll, score.tokens, score.predicted) for id_, score in scores.items()}


def scores_of(rows: Mapping[int, ScoreColumns]) -> dict[int, DocumentScore]:
    """The scores that the file holds."""
    return {id_: DocumentScore(id_, *row) for id_, row in rows.items()}
