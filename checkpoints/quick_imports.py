"""How what takes seconds to import is imported in fewer: torch and transformers, by the processes that need them."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Let the garbage collector rest while modules are imported, and pass over them for good afterwards.

    Importing torch and transformers makes some millions of objects that stay. The collector would look through all of
    them again and again while they come, a fifth of the time that it takes, and later in the midst of answering.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
