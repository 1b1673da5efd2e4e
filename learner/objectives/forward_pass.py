"""What one forward pass sees, and which places in it count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

IGNORED = -100  # what torch's cross-entropy leaves out


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass sees: rows of new text, then rows of replayed text.

    Attributes:
        inputs: the model's arguments; tensors of shape (rows, width).
        targets: for a language model the token to predict at each place, `IGNORED` where there is none, (rows, width);
            for a classifier the class of each document, (rows,), or where several may fit which do, (rows, classes).
        first_replayed: the rows from this one on come from the memory.
        absent: for a classifier whose new text brings a new label, the classes that the new documents' softmax leaves
            out, (classes,); None for no masking.
        widths: how many tokens each row of a language model holds, padding not counted.
        places: of a language model, where in the rows laid end to end there is something to predict, in new text and in
            replayed; each of shape (places,).
    """

    inputs: Mapping[str, Any]
    targets: Tensor
    first_replayed: int
    absent: Tensor | None = None
    widths: tuple[int, ...] = ()
    places: tuple[Tensor, ...] = ()

    def replayed_inputs(self) -> dict[str, Any]:
        """Return the model's arguments for the replayed rows alone."""
        cut = self.first_replayed
        return {name: value[cut:] if isinstance(value, Tensor) else value for name, value in self.inputs.items()}
