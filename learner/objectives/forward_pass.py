"""What one forward pass sees, and which places in it count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from learner.devices.device import move_to_device

IGNORED = -100  # what torch's cross-entropy leaves out


@dataclass(frozen=True, slots=True)
class Pieces:
    """Where the pieces of rows end.

    Attributes:
        ends: 0, and the end of each piece in the rows laid end to end; padding belongs to the piece before it. Shape
            (pieces + 1,), int32, on the device.
        rows: how many there are.
        width: of each row.
        longest: tokens of the longest piece, padding counted.
    """

    ends: Tensor
    rows: int
    width: int
    longest: int

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], width: int, device: torch.device) -> Self:
        """Return those of rows.

        Args:
            rows: of each how many tokens each of its pieces has.
            width: of the rows.
            device: where the ends go.
        """
        # The last one of a row ends where the row does.
        ends = [[at * width + end for end in (*np.cumsum(row[:-1]).tolist(), width)] for at, row in enumerate(rows)]
        flat = np.asarray([0, *(end for of_row in ends for end in of_row)], dtype=np.int32)
        return cls(move_to_device(flat, device), len(rows), width, int(np.diff(flat).max()))


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
        widths: how many tokens each row of a language model holds, padding not counted; 0 of one that is padding alone.
        places: of a language model, where in the rows laid end to end there is something to predict, in new text and in
            replayed; each of shape (places,).
        pieces: of a causal LM's rows; None of another model's.
        replayed_pieces: of the replayed rows alone; None where there are none.
        weights: what each place counts in the loss, of a language model, (rows, width), or each document of a
            classifier, (rows,), in float32; None: all alike.
    """

    inputs: Mapping[str, Any]
    targets: Tensor
    first_replayed: int
    absent: Tensor | None = None
    widths: tuple[int, ...] = ()
    places: tuple[Tensor, ...] = ()
    pieces: Pieces | None = None
    replayed_pieces: Pieces | None = None
    weights: Tensor | None = None

    @property
    def sequences(self) -> int:
        """Rows that hold text."""
        return sum(width > 0 for width in self.widths) if self.widths else len(self.targets)

    def replayed_inputs(self) -> dict[str, Any]:
        """Return the model's arguments for the replayed rows alone."""
        cut = self.first_replayed
        return {name: value[cut:] if isinstance(value, Tensor) else value for name, value in self.inputs.items()}
