"""Child processes that are ended whole, with whatever they started."""

import os
import signal
import subprocess
import time
from contextlib import suppress

LOOK_EVERY_SECONDS = 0.05


def has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a child has ended; looked at, not reaped, so that its number stays taken."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end_group(process: "subprocess.Popen[bytes]", *, patience_seconds: float = 0.0) -> int:
    """End a child that leads its own process group, and all that is in the group; returns its exit status.

    With patience it is asked first (SIGTERM) and waited for; then the group is killed, also when the child
    ended by itself: workers that it left behind end with it.
    """
    if patience_seconds > 0 and not has_ended(process):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience_seconds
        while not has_ended(process) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
