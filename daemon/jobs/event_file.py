"""What a learner tells, read from its round's directory.

It writes each event there anyway. So nothing is heard twice and nothing is missed while the cluster's API is away, as
would be where a pod's log is followed and every broken connection has to be taken up at the right line; and the log's
rotation is of no account.
"""

import os
from pathlib import Path

from learner.directory.progress_event import ProgressEvent, read_event
from learner.directory.round_directory import PROGRESS
from learner.directory.saved_round import saved_step

READ_BYTES_MAX = 1 << 20
"""At a time: a learner that writes without end must not fill the daemon's memory."""


class EventFile:
    """The events of one run: made before it begins, read while it runs.

    Args:
        directory: of the round.
        writes: whether the run writes a candidate, whose events follow those of the round.

    Raises:
        OSError: the directory cannot be used.
    """

    def __init__(self, directory: Path, *, writes: bool) -> None:
        self._path = directory / PROGRESS
        if not writes and saved_step(directory) is None:
            # As the learner would: it begins the file anew, and what an earlier one said is not to be heard again.
            self._path.unlink(missing_ok=True)
        self._at = self._path.stat().st_size if self._path.exists() else 0
        self._rest = b""

    def read(self) -> list[ProgressEvent] | None:
        """What was written since the last time; None where nothing was, which a line of nonsense is not."""
        try:
            # Opened each time: on a network's file system that is when one sees what others wrote.
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._at:
                    self._at, self._rest = 0, b""
                file.seek(self._at)
                data = file.read(READ_BYTES_MAX)
        except OSError:
            return None
        if not data:
            return None
        self._at += len(data)
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= READ_BYTES_MAX else b""
        return [event for line in lines if (event := read_event(line)) is not None]
