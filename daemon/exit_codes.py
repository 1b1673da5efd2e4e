"""What `riverkeep` says with its exit status. Scripts rely on the numbers: never change one."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of every command."""

    OK = 0
    """Done, or nothing was wrong."""
    FAILED = 1
    """It was tried and did not succeed; the message says why. `doctor`: something would fail here."""
    BAD_USAGE = 2
    """The command line or the settings are wrong; nothing was tried. `check`: there are mistakes."""
    REFUSED = 3
    """The gate refused the round, or the daemon refused the request in its present state."""
    NOT_FOUND = 4
    """The round, generation, dead letter or partition that was named is not there; `memory find`: nothing is known.

    `forget` of such a person leaves with OK: the key is remembered, so that its text is not stored later.
    """
    NOT_RUNNING = 5
    """`status`: no daemon runs on this state directory."""
    LOCKED = 6
    """Another daemon holds the state directory."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""
