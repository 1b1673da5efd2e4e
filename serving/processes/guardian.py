"""Run an engine, and end it with all that it began: when it ends, when it is told to, and when who started it is gone.

    guardian.py GRACE_S PROGRAM ARGUMENT …

Run as a file by a bare interpreter, in a session of its own. It is told to end by the end of its standard input, which
the kernel closes where who held the other end is killed. An engine has processes of its own, which hold its memory and
may outlive the one that was started: all of them are in one group, which is killed last. The status is the engine's;
of one that a signal ended, 128 and the signal.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

LOOK_EVERY_S = 0.2
PR_SET_PDEATHSIG = 1


def main(grace_s: float, program: list[str]) -> int:
    """Run the program to its end; returns its status."""
    # Asked for by whoever ends a whole session; the engine's end is this one's.
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    try:
        # Threads, of which this process has none, are what makes such a function unsafe.
        engine = subprocess.Popen(program, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_as_itself)  # noqa: PLW1509
    except OSError as error:
        sys.stderr.write(f"{program[0]} cannot be started: {error.strerror}\n")
        return 127
    try:
        _await_end(engine, grace_s)
    finally:
        # While one of its processes lives the group's number is nobody else's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(engine.pid, signal.SIGKILL)
    status = engine.wait()
    return status if status >= 0 else 128 - status


def _await_end(engine: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """Wait until the engine ends, by itself or because it is asked to."""
    while engine.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], LOOK_EVERY_S)
        if readable and not os.read(sys.stdin.fileno(), 1):
            engine.terminate()
            with suppress(subprocess.TimeoutExpired):
                engine.wait(grace_s)
            return


def _as_itself() -> None:
    """In the engine, before it begins: signals are its own again, and it is killed where this one is."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - elsewhere there is nothing to ask for

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
