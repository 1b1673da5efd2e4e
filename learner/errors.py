"""What can go wrong in a round, and the exit code that says it to whoever started the learner."""

from typing import Final

KILLED_STATUS: Final = 128
"""With which a learner exits, as shells do, to say by which signal one of its ranks was ended: this and its number."""


class LearnerError(Exception):
    """A round ended without a report.

    Attributes:
        exit_code: what `python -m learner` exits with.
    """

    exit_code = 1


class UnrenderableChat(Exception):
    """A model's chat template does not write a conversation; the message says why, to whoever wrote it."""


class OutOfMemory(LearnerError):
    """The device's memory did not hold the round; half the micro-batch may."""

    exit_code = 3


class NoRoom(LearnerError):
    """The disk is full; the same round may succeed once there is room."""

    exit_code = 5


class BadRoundDirectory(LearnerError):
    """The round's directory is incomplete, damaged or contradicts itself; running it again cannot help."""

    exit_code = 4


class RankLost(LearnerError):
    """Another rank of the round ended before its work was done: why, it says itself."""

    exit_code = 6
