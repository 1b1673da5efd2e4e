"""The most memory that was held since it was last asked to forget: of the CUDA device in use, else of the process.

Linux alone can forget a process's peak; elsewhere it is that of the process's whole life.
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

# Linux resets the peak ("high water mark") of resident memory when 5 is written here; see proc(5).
CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
FORGET = "5"


def forget_peak() -> None:
    """Begin anew, where that is possible."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        CLEAR_REFS.write_text(FORGET)


def peak_bytes() -> int:
    """The peak in bytes."""
    if torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return process_peak_bytes()


def process_peak_bytes() -> int:
    """The process's peak of resident memory in bytes."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
