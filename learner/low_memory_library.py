"""Whether the library that holds weights in 4 bits is installed, and how it is. Imports nothing of it."""

import importlib.util
from typing import Final

from checkpoints.installing import pip_install

HOW_TO_INSTALL: Final = f"in Riverkeep's checkout run `{pip_install('-c', 'constraints.txt', '.[adapters,four-bits]')}`"


def has_four_bits() -> bool:
    """Tell whether bitsandbytes is there."""
    return importlib.util.find_spec("bitsandbytes") is not None
