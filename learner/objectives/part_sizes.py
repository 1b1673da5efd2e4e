"""Of how many places logits are made at a time. Torch-free: what a round will take is told before one begins."""

from collections.abc import Iterator, Mapping
from typing import Final

MOST_ELEMENTS: Final[Mapping[str, int]] = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Numbers in a part of the logits, by kind of device. On the CPU below what glibc maps anew at each allocation (32 MiB)
and within reach of its caches; on a GPU large enough that the launch of a kernel costs nothing beside it."""

LEAST_SHARE_OF_WIDTH: Final = 4
"""A part has at least a quarter as many places as hidden states are wide: each part reads the head's weight once."""


def places_of_part(device_type: str, *, vocabulary: int, width: int = 0) -> int:
    """Return of how many places logits are made at a time, at least 1.

    Args:
        device_type: `cpu`, `cuda` or `mps`.
        vocabulary: logits at each place.
        width: of the hidden states that they are made of; 0 where they are made with everything else.
    """
    most = MOST_ELEMENTS.get(device_type, MOST_ELEMENTS["cuda"])
    return max(1, most // vocabulary, width // LEAST_SHARE_OF_WIDTH)


def parts(count: int, most: int) -> Iterator[slice]:
    """Yield slices of at most so many, in order."""
    for first in range(0, count, most):
        yield slice(first, min(first + most, count))
