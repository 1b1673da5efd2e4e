"""What runs a learner, whatever it runs in: what it is asked, how it ended, and what an exit status means."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import structlog

from learner.directory.progress_event import ProgressEvent
from learner.errors import BadRoundDirectory, NoRoom, OutOfMemory

log = structlog.get_logger(__name__)

LAST_WORDS: Final = 500
"""Characters of the last line that a learner wrote, of which a sentence is made."""


class LearnerEnding(StrEnum):
    """How a learner ended."""

    FINISHED = "finished"
    """It wrote its report."""
    OUT_OF_MEMORY = "out_of_memory"
    """It said so itself, or was killed by a SIGKILL that was not ours."""
    BAD_DIRECTORY = "bad_directory"
    NO_ROOM = "no_room"
    """The disk was full."""
    CRASHED = "crashed"
    LOST = "lost"
    """What it ran on was taken from it (an eviction, a node that is gone), which says nothing of the round."""
    NOT_STARTED = "not_started"
    """It could not be started, or no place was found for it in time."""
    HUNG = "hung"
    """It said nothing for too long and was killed."""
    OUT_OF_TIME = "out_of_time"
    """It ran longer than allowed and was killed."""
    STOPPED = "stopped"
    """The service wanted it to end, and it was killed."""


@dataclass(frozen=True, slots=True)
class LearnerExit:
    """How a learner ended, and a sentence about it.

    Attributes:
        ending: how.
        detail: the sentence.
        seconds: that it ran.
        certain: whether it is known that memory ran out, where it ended so; of a SIGKILL that the kernel did not
            count it is only likely.
    """

    ending: LearnerEnding
    detail: str
    seconds: float
    certain: bool = True

    @property
    def may_go_on(self) -> bool:
        """Whether somebody ended it, and not certainly for what the round asks: the same again may come to its end."""
        if self.ending is LearnerEnding.OUT_OF_MEMORY:
            return not self.certain
        return self.ending is LearnerEnding.LOST


@dataclass(frozen=True, slots=True)
class LearnerLimits:
    """Seconds of silence, and of running time, after which a learner is killed."""

    silence: float
    time: float


class Learner(Protocol):
    """Runs one learner at a time on a round's directory: all that rounds know of it."""

    @property
    def resident(self) -> int | None:
        """Main memory of this machine that the learner holds, in bytes, as last looked at; 0 where none runs here.

        None where it is hidden.
        """

    def end_leftovers(self, must_stop: Callable[[], bool]) -> bool:
        """End what an earlier daemon of this state directory left running, before anything is done about its rounds.

        Blocks; called from the rounds' thread.

        Args:
            must_stop: asked a few times a second.

        Returns:
            Whether all of it has ended; False where it had to stop before.

        Raises:
            DaemonError: it still runs, or nobody can tell. No round may begin.
        """

    def run(
        self,
        directory: Path,
        *,
        limits: LearnerLimits,
        on_progress: Callable[[ProgressEvent], None],
        must_stop: Callable[[], bool],
        write: str | None = None,
    ) -> LearnerExit:
        """Run the learner on a round directory until it ends or is ended.

        Blocks; called from the rounds' thread. Never leaves a learner behind that it can end. What the learner wrote
        to its standard error stands in `learner.log` of the directory, or in `writer.log`, where the disk has room.

        Args:
            directory: of the round.
            limits: after which it is killed.
            on_progress: gets each event that the learner tells.
            must_stop: asked a few times a second.
            write: name of a candidate, which it writes of the round that it has run; None where it runs the round.

        Raises:
            OSError: it cannot be started.
        """


_MEANINGS: Final = {
    OutOfMemory.exit_code: (LearnerEnding.OUT_OF_MEMORY, "the learner ran out of memory"),
    BadRoundDirectory.exit_code: (LearnerEnding.BAD_DIRECTORY, "the learner could not read its round directory"),
    NoRoom.exit_code: (LearnerEnding.NO_ROOM, "the learner found no room on the disk"),
}


def ending_of_status(status: int, errors: bytes) -> tuple[LearnerEnding, str]:
    """What the exit status of a learner means that was not ended by us, nor by SIGKILL; and the sentence about it.

    Args:
        status: below 0 the number of a signal.
        errors: what it wrote to its standard error, or the end of it.
    """
    if status == 0:
        return LearnerEnding.FINISHED, "the learner came to its end"
    last = last_words(errors)
    said = f": {last}" if last else ""
    if status in _MEANINGS:
        ending, what = _MEANINGS[status]
        return ending, f"{what}{said}"
    if status < 0:
        return LearnerEnding.CRASHED, f"the learner was killed by signal {-status}{_name(-status)}{said}"
    return LearnerEnding.CRASHED, f"the learner ended with status {status}{said}"


def last_words(errors: bytes) -> str:
    """The end of the last line."""
    return errors.decode(errors="replace").strip().rpartition("\n")[2][-LAST_WORDS:]


def keep_log(directory: Path, write: str | None, errors: bytes) -> None:
    """Keep what the learner said beside its round, for a person; without it the round is judged all the same.

    Args:
        directory: of the round.
        write: as in `Learner.run`.
        errors: what it said.
    """
    path = directory / ("learner.log" if write is None else "writer.log")
    try:
        path.write_bytes(errors)
    except OSError as error:
        log.warning("learner_log_not_written", reason=f"{error.strerror}: {path}")


def _name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return ""
