"""The lineage card: where a generation comes from and how it did."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT
from checkpoints.kinds import ModelKind

__all__ = ["CARD", "Card", "DataRange", "ModelKind"]

CARD: Final = "card.json"


@dataclass(frozen=True, slots=True, config=STRICT)
class DataRange:
    """What a generation's round was trained on.

    Attributes:
        offsets: first and last offset (inclusive) of each partition, by `topic/number`.
        first_time: arrival of the first fresh sample, unix seconds; None where there was none.
        last_time: arrival of the last.
        samples: fresh samples.
        tokens: tokens in them.
        replayed_samples: samples drawn from replay.
        labels: fresh samples by label; empty without labels.
        replayed_labels: the same of replay.
    """

    offsets: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    first_time: float | None = None
    last_time: float | None = None
    samples: int = 0
    tokens: int = 0
    replayed_samples: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    replayed_labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, config=STRICT)
class Card:
    """One generation's lineage, kept in its directory as `card.json`.

    Attributes:
        generation: its number; 0 is the base.
        kind: what the model is for.
        parent: the generation that its round started from; None for the base.
        round: the round that made it; None for the base.
        trained_in: the round that trained it, where `round` only judged it again; else None.
        recipe: the round's recipe as it was set, with the interpolation weight that won.
        data: what it was trained on.
        scores: mean NLL per token (nats) and the like, by slice.
        source: where the base was imported from.
        created_at: unix seconds.
        riverkeep_version: the version that wrote it.
    """

    generation: int
    kind: ModelKind
    parent: int | None = None
    round: int | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: DataRange = field(default_factory=DataRange)
    scores: Mapping[str, Mapping[str, float | int | None]] = field(default_factory=dict)
    source: str | None = None
    created_at: float = 0.0
    riverkeep_version: str = ""
    trained_in: int | None = None
