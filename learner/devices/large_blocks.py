"""How the C library keeps large blocks: each in huge pages of its own, which the system has back when it is freed."""

import ctypes
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

LARGE_BYTES: Final = 4_000_000
HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")
M_MMAP_THRESHOLD: Final = -3
"""From glibc's malloc.h."""


def keep_large_blocks_apart(environ: MutableMapping[str, str] = os.environ, huge_pages: Path = HUGE_PAGES) -> bool:
    """Keep each large block in pages of its own, so that what is freed leaves no hole; whether it could be told so.

    By default glibc takes blocks of up to 32 MiB out of one heap, where those that a pass frees leave holes. In
    2.36 an aligned block, and PyTorch asks for no others, often does not fit even into the hole that one of its size
    has left. Passes that compute activations again free and take the most: a step through LoRA at the shape of
    SmolLM2-135M held 5.3 GiB of which it needed 1.9.

    A block of its own is cleared by the kernel each time it is taken: a tenth of such a step's time with huge pages, a
    third with pages of 4 KiB. So nothing is changed where the kernel gives no huge pages, and it is for rounds that are
    to hold little, which are slower in any case.

    Called before the first tensor is made: PyTorch reads its variable then. What the environment says already stays.

    Args:
        environ: of this process, or of one that it will start.
        huge_pages: where the kernel says whether it gives them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not _gives_huge_pages(huge_pages):
        return False
    environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    return "MALLOC_MMAP_THRESHOLD_" in environ or bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))


def _gives_huge_pages(said: Path) -> bool:
    try:
        return "[never]" not in said.read_text()
    except OSError:
        return False
