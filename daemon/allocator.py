"""Keeping the daemon small: what one thread has freed must be there for the others."""

import ctypes
from typing import Final

# From glibc's malloc.h.
M_ARENA_MAX: Final = -8
M_MMAP_THRESHOLD: Final = -3
THRESHOLD_BYTES: Final = 256 * 1024


def share_one_arena() -> bool:
    """Tell glibc to keep one pool of memory for all threads and to give large blocks back at once.

    By default each thread has a pool of its own, and the size from which a block is given back grows with the
    largest one freed: batches of some megabytes then leave tens of megabytes behind in every pool. Python's threads
    take turns anyway. Called before other threads begin. False where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_ARENA_MAX, 1)) and bool(mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES))
