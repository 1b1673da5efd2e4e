"""The daemon's errors: each has a sentence for a person, and an exit status for a script."""

from pathlib import Path

from daemon.exit_codes import ExitCode

STATE_DIR_REMEDY = "Make it, owned by the service's user, or set another `state_dir`."


class DaemonError(Exception):
    """Base of what the daemon and its commands report to a person.

    Attributes:
        exit_code: the command's exit status.
        http_status: the admin surface's answer.
        retry_after_s: when it may be asked again, where that helps.
    """

    exit_code = ExitCode.FAILED
    http_status = 500
    retry_after_s: int | None = None


class UnknownThing(DaemonError):
    """What was named (a round, generation, dead letter, partition) is not there, or nothing is known of a person."""

    exit_code = ExitCode.NOT_FOUND
    http_status = 404


class Refused(DaemonError):
    """What was asked for cannot be done in the present state; nothing was changed."""

    exit_code = ExitCode.REFUSED
    http_status = 409


class Busy(Refused):
    """What was asked for is done for one at a time, and somebody else was first; nothing was changed."""

    http_status = 429

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadRequest(DaemonError):
    """What was asked for makes no sense; nothing was changed."""

    exit_code = ExitCode.BAD_USAGE
    http_status = 400


class AlreadyRunning(DaemonError):
    """Another daemon holds the state directory; the message names it."""

    exit_code = ExitCode.LOCKED
    http_status = 409


class DaemonUnreachable(DaemonError):
    """A daemon holds the state directory, but its admin surface gives no usable answer."""

    http_status = 502


class BrokerAway(DaemonError):
    """No broker of Kafka answers, or not in time."""

    http_status = 502


class StateDirUnusable(DaemonError):
    """The state directory cannot be made or written; the message says what to do."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path}: {said_by_the_system(error)}. {STATE_DIR_REMEDY}")


def said_by_the_system(error: OSError) -> str:
    """Why the system refused, without its number and without the address that `socket.create_server` repeats."""
    return (error.strerror or str(error)).partition(" (while ")[0]
