"""Whether the library that makes adapters is installed, and how it is. Imports nothing of it."""

import importlib.util
from typing import Final

from checkpoints.installing import pip_install

HOW_TO_INSTALL: Final = f"in Riverkeep's checkout run `{pip_install('-c', 'constraints.txt', '.[adapters]')}`"


def has_adapters() -> bool:
    """Tell whether peft is there."""
    return importlib.util.find_spec("peft") is not None
