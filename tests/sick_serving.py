"""The serving process with passes that fail, hang or leak while a file is there: no model does so when a test wants it.

`python -m tests.sick_serving FILE fail|hang|leak CHECKPOINTS …`: the rest as `python -m serving`.
"""

import resource
import sys
import threading
from pathlib import Path
from typing import Any

from checkpoints.probe.decoding import TokenDecoder
from serving.__main__ import main

FILE, HOW = Path(sys.argv[1]), sys.argv[2]

LEAK_BYTES = 256 * 1024**2
"""Of a pass. Nobody writes to them: they take of the limit, and not of the machine."""
PASSES = 2.5
"""So many fit into the limit: what the process needs besides has half of one."""

advance = TokenDecoder.advance
leaked: list[bytearray] = []


def leak() -> None:
    """Keep what a pass took; as in a container, the process has a limit."""
    if not leaked:
        lines = Path("/proc/self/status").read_text().splitlines()
        held = next(int(line.split()[1]) for line in lines if line.startswith("VmData")) * 1024
        most = int(held + PASSES * LEAK_BYTES)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    leaked.append(bytearray(LEAK_BYTES))


def sick_advance(self: TokenDecoder, *arguments: Any) -> Any:
    """A pass of the model, or a fault."""
    if FILE.exists() and HOW == "hang":
        threading.Event().wait()
    if FILE.exists() and HOW == "leak":
        leak()
    elif FILE.exists():
        raise RuntimeError("the device is gone")
    return advance(self, *arguments)


if __name__ == "__main__":
    TokenDecoder.advance = sick_advance  # type: ignore[assignment]  # the fault
    del sys.argv[1:3]
    sys.exit(main())
