"""The most main memory that this process held since it was last asked to forget.

Linux alone can forget; elsewhere it is the peak of the process's whole life.
"""

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

# Linux resets the peak ("high water mark") of resident memory when 5 is written here; see proc(5).
CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
FORGET = "5"


def forget_peak() -> None:
    """Begin anew, where that is possible."""
    with suppress(OSError):
        CLEAR_REFS.write_text(FORGET)


def peak_bytes() -> int:
    """The peak in bytes."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def collect_garbage() -> None:
    """Free what nothing but itself refers to."""
    gc.collect()


def give_back_free_memory() -> None:
    """Give the system what was freed and lies between what is held; with the GNU C library alone.

    Else it would count as held, and what the next pass allocates does not fit into what lies free between the rest.
    """
    # No such function, or no C library to ask.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
