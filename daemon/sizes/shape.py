"""What of a model tells how much memory it takes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from daemon.sizes.kept import Kept


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a model tells how much memory it takes.

    Attributes:
        parameters: how many weights.
        stored_bytes: of the weights as they are stored, and answer.
        outputs: logits at each place of a sequence (the vocabulary), or of each document (a classifier's labels).
        by_token: whether each token has its logits.
        hidden, inner, heads, layers: the width of the model, that of its feed-forward part, attention's heads, and how
            many layers it has.
        positions: the longest sequence that the model allows.
        compute_bytes: of a number in the forward pass.
        device_type: `cpu`, `cuda` or `mps`.
        largest_bytes: of the largest single weight in float32, most often the embedding; 0 where that is not known.
        process_bytes: of a process that has loaded all that a learner does, but no model; 0 where that is not known.
        adapter_bytes: what the library adds that makes adapters, from the training on; likewise.
        is_bfloat16: whether the weights are stored in bfloat16.
        divided_by: over how many devices what training holds of the weights is divided.
        kept: what the model was found to keep for the backward pass, by adapter, `WHOLE` for none; empty where it was
            not asked.
    """

    parameters: int
    stored_bytes: int
    outputs: int
    by_token: bool
    hidden: int
    inner: int
    heads: int
    layers: int
    positions: int
    compute_bytes: int
    device_type: str
    largest_bytes: int = 0
    process_bytes: int = 0
    adapter_bytes: int = 0
    is_bfloat16: bool = False
    divided_by: int = 1
    kept: Mapping[str, Kept] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """A shape that came as JSON."""
        kept = {name: Kept(**bytes_) for name, bytes_ in facts.get("kept", {}).items()}
        return cls(**{**facts, "kept": kept})

    @property
    def memory_name(self) -> str:
        """What the memory is called that it takes while it is trained."""
        return "GPU memory" if self.device_type == "cuda" else "memory"
