"""What a forward pass keeps for its backward pass, as it was counted on short rows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Kept:
    """What a forward pass keeps for its backward pass: fixed + rows × width × (by_token + width × by_pair) bytes.

    Attributes:
        fixed: however much text there is.
        by_token: of each token.
        by_pair: of each token with each other one of its row: scores of attention, and masks.
    """

    fixed: float
    by_token: float
    by_pair: float

    @classmethod
    def through(cls, counted: Sequence[tuple[int, int]], rows: int) -> Self:
        """What was counted at three widths, in so many rows.

        Args:
            counted: width and bytes of each.
            rows: of each.
        """
        (w1, b1), (w2, b2), (w3, b3) = counted
        first, second = (b2 - b1) / (w2 - w1), (b3 - b2) / (w3 - w2)
        curve = (second - first) / (w3 - w1)
        slope = first - curve * (w1 + w2)
        return cls(fixed=b1 - slope * w1 - curve * w1**2, by_token=slope / rows, by_pair=curve / rows)

    def of(self, rows: int, width: int) -> float:
        """Bytes of a pass."""
        return self.fixed + rows * self.of_row(width)

    def of_row(self, width: int) -> float:
        """Bytes of each row."""
        return width * (self.by_token + width * self.by_pair)
