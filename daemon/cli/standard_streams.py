"""Standard input and output as commands may rely on: there, and able to write every character in some way."""

import io
import os
import sys
from typing import TextIO


def open_standard_streams() -> None:
    """See that all three are open, and that what an encoding lacks is written as a backslash escape.

    Where one was closed, the next file that is opened, a database say, would take its place, and be written into.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It takes the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
    sys.stdout = _forgiving(sys.stdout, 1)
    sys.stderr = _forgiving(sys.stderr, 2)


def _forgiving(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def write_no_more() -> None:
    """Let what is still to be written to standard output go nowhere: nobody reads it, or it cannot be written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # Closed it would be the lowest free number, and the next file that is opened would be standard output.
    os.dup2(nowhere, 1)
    os.close(nowhere)
