"""How moments are kept in a byte each, in sizes. Torch-free: what a round will take is told before one begins."""

from collections.abc import Mapping
from typing import Final

BLOCK: Final = 256
"""Numbers whose largest is kept beside them."""
LEAST_WEIGHTS: Final = 4096
"""Of fewer the moments stay in float32: norms and biases are sensitive, and take no memory."""
CODED_BYTES: Final = 2 * (1 + 4 / BLOCK)
"""Of each of a weight's numbers, for both moments: a code, and a float of each block."""
PART_WEIGHTS: Final[Mapping[str, int]] = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Weights that are moved at a time, by kind of device."""
PART_BYTES: Final = 40
"""Of each of them, while it is moved."""
