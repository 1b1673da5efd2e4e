"""How moments are kept in a byte each, in sizes. Torch-free: what a round will take is told before one begins."""

from collections.abc import Mapping
from typing import Final

BLOCK: Final = 256
"""Numbers whose largest is kept beside them."""
PART_WEIGHTS: Final[Mapping[str, int]] = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Weights that are moved at a time, by kind of device."""
PART_BYTES: Final = 40
"""Of each of them, while it is moved."""
