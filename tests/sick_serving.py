"""The serving process with passes that fail or hang while a file is there: no model does so when a test wants it.

`python -m tests.sick_serving FILE fail|hang CHECKPOINTS …`: the rest as `python -m serving`.
"""

import sys
import threading
from pathlib import Path
from typing import Any

from checkpoints.probe.decoding import TokenDecoder
from serving.__main__ import main

FILE, HOW = Path(sys.argv[1]), sys.argv[2]

advance = TokenDecoder.advance


def sick_advance(self: TokenDecoder, *arguments: Any) -> Any:
    """A pass of the model, or a fault."""
    if FILE.exists() and HOW == "hang":
        threading.Event().wait()
    if FILE.exists():
        raise RuntimeError("the device is gone")
    return advance(self, *arguments)


if __name__ == "__main__":
    TokenDecoder.advance = sick_advance  # type: ignore[assignment]  # the fault
    del sys.argv[1:3]
    sys.exit(main())
