"""What each kind of model is and predicts: what depends on nothing but the kind is looked up here. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

ModelKind = Literal["causal-lm", "seq2seq", "masked-lm", "classifier"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model.

    Attributes:
        title: what one is called.
        by_token: whether it predicts tokens; otherwise a label of each document.
        writes: whether it goes on with a text, and so answers prompts.
        unit: of its losses.
    """

    title: str
    by_token: bool
    writes: bool
    unit: str


KINDS: Final[Mapping[ModelKind, Kind]] = {
    "causal-lm": Kind("causal language model", by_token=True, writes=True, unit="nats per token"),
    "seq2seq": Kind("sequence-to-sequence model", by_token=True, writes=True, unit="nats per target token"),
    "masked-lm": Kind("masked language model", by_token=True, writes=False, unit="nats per masked token"),
    "classifier": Kind("text classifier", by_token=False, writes=False, unit="nats per document"),
}
