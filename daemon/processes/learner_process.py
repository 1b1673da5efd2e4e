"""The learner as a process of its own: started, listened to, and ended when it hangs or must stop."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from daemon.processes.children import end_group, has_ended
from daemon.processes.killed_for_memory import KillCounter, children_of, offer_first, resident_bytes
from daemon.processes.learner import (
    LearnerEnding,
    LearnerExit,
    LearnerLimits,
    ending_of_status,
    keep_log,
    last_words,
)
from learner.directory.progress_event import ProgressEvent, read_event
from learner.errors import KILLED_STATUS

LEARNER = (sys.executable, "-m", "learner")
LOOK_EVERY_S = 0.2
READ_BYTES = 65_536
# A learner that never ends a line, or writes without end, must not fill the daemon's memory.
LINE_BYTES_MAX = 1 << 20
ERRORS_BYTES_KEPT = 65_536


class LearnerProcess:
    """Runs one learner at a time, as a process group of its own that is killed whole.

    Where memory runs out, the kernel takes the learner before ingestion and serving.

    Args:
        command: what is run, with the round directory after it.
        nice: how far the learner steps back on the processor, so that a round on CPU delays ingestion and
            answers less.
        context: variables that a run is given besides, asked when it begins.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] = LEARNER,
        environment: Mapping[str, str] | None = None,
        nice: int = 0,
        context: Callable[[], Mapping[str, str]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        # Beside ingestion and answers, threads that wait for each other by spinning hold up the one they wait for:
        # on a busy machine a round then takes many times as long.
        self._environment = {"OMP_WAIT_POLICY": "PASSIVE"} | dict(os.environ if environment is None else environment)
        self._nice = nice
        self._context = context
        self._clock = clock
        self._watch: _Watch | None = None

    @property
    def resident(self) -> int | None:
        """As `Learner.resident`."""
        # Into a local: the rounds' thread may set it to None between two looks.
        watch = self._watch
        return 0 if watch is None else watch.resident

    def end_leftovers(self, must_stop: Callable[[], bool]) -> bool:  # noqa: ARG002 - there is nothing to wait for
        """As `Learner.end_leftovers`: all children that were left have ended, see `daemon.processes.children`."""
        return True

    def run(
        self,
        directory: Path,
        *,
        limits: LearnerLimits,
        on_progress: Callable[[ProgressEvent], None],
        must_stop: Callable[[], bool],
        write: str | None = None,
    ) -> LearnerExit:
        """As `Learner.run`; of what was written to standard error the last 64 KiB are kept."""
        began = self._clock()
        asked = [] if write is None else ["--write", write]
        with subprocess.Popen(
            [*self._command, str(directory), *asked],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self._environment, **self._context()},
            # Whatever it starts (workers of torchrun) is in its group and is killed with it.
            start_new_session=True,
        ) as process:
            # At once: the kernel's count must be taken while the process is there, and before it can rise.
            kills = KillCounter(process.pid)
            self._watch = watch = _Watch(process, limits, self._clock, on_progress)
            try:
                # From outside: a function that runs between fork and exec may hang where the parent has threads.
                self._step_back(process.pid)
                ended = watch.until_it_ends(must_stop)
            finally:
                end_group(process)
                self._watch = None
        keep_log(directory, write, bytes(watch.errors))
        if ended is None:
            ended = _ending_of(process.returncode, watch, kills)
        certain = not _was_killed(process.returncode) or bool(kills.rise())
        return LearnerExit(*ended, seconds=self._clock() - began, certain=certain)

    def _step_back(self, pid: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            # From where this process stands: the setting of one that was itself started with `nice` would raise it.
            # The whole group: a round on several devices has a process for each, which may have begun already.
            os.setpriority(os.PRIO_PGRP, pid, os.nice(0) + self._nice)
        for each in (pid, *children_of(pid)):
            offer_first(each)


class _Watch:
    """Listens to one learner; knows when it was last heard."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        limits: LearnerLimits,
        clock: Callable[[], float],
        on_progress: Callable[[ProgressEvent], None],
    ) -> None:
        self._process = process
        self._limits = limits
        self._clock = clock
        self._on_progress = on_progress
        self._began = self._heard = clock()
        self._line = bytearray()
        self.errors = bytearray()
        self.resident: int | None = None

    def until_it_ends(self, must_stop: Callable[[], bool]) -> tuple[LearnerEnding, str] | None:
        """Listen until the process ends by itself (None) or must be ended (why)."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ, self._hear)
            selector.register(self._process.stderr, selectors.EVENT_READ, self._hear_error)
            while True:
                # Asked before the pipes are read: what it wrote last is then still taken in.
                ended = has_ended(self._process)
                self.resident = _resident_together(self._process.pid) or self.resident
                self._read(selector)
                if ended:
                    return None
                if why := self._why_it_must_end(must_stop):
                    return why

    def _read(self, selector: selectors.BaseSelector) -> None:
        # The pipes' ends are not awaited: a grandchild could hold them open for ever.
        for key, _ in selector.select(LOOK_EVERY_S):
            if data := os.read(key.fd, READ_BYTES):
                key.data(data)
            else:
                selector.unregister(key.fileobj)
        if not selector.get_map() and not has_ended(self._process):
            # Both pipes are closed and it goes on: a selector without files does not wait.
            time.sleep(LOOK_EVERY_S)

    def _why_it_must_end(self, must_stop: Callable[[], bool]) -> tuple[LearnerEnding, str] | None:
        now = self._clock()
        if must_stop():
            return LearnerEnding.STOPPED, "the service is stopping or the round was called off"
        if now - self._heard > self._limits.silence:
            return LearnerEnding.HUNG, f"the learner said nothing for {self._limits.silence:.0f} s and was killed"
        if now - self._began > self._limits.time:
            return LearnerEnding.OUT_OF_TIME, f"the learner ran longer than {self._limits.time:.0f} s and was killed"
        return None

    def _hear(self, data: bytes) -> None:
        self._heard = self._clock()
        self._line += data
        *lines, rest = self._line.split(b"\n")
        for line in lines:
            self._hear_line(bytes(line))
        self._line = rest if len(rest) <= LINE_BYTES_MAX else bytearray()

    def _hear_line(self, line: bytes) -> None:
        event = read_event(line)
        if event is not None:
            self._on_progress(event)

    def _hear_error(self, data: bytes) -> None:
        self.errors += data
        del self.errors[:-ERRORS_BYTES_KEPT]


def _resident_together(pid: int) -> int:
    """What a learner holds of main memory with the processes of its ranks; 0 where that is hidden."""
    return sum(resident_bytes(each) or 0 for each in (pid, *children_of(pid)))


def _ending_of(returncode: int, watch: _Watch, kills: KillCounter) -> tuple[LearnerEnding, str]:
    """What the end of a learner that was not ended by us means."""
    if _was_killed(returncode):
        # Whoever kills by hand only has it tried once more; taking the kernel's kill for a crash would end the
        # round of every model that needs a smaller micro-batch.
        who = "the learner was killed by signal 9" if returncode < 0 else last_words(bytes(watch.errors))
        return LearnerEnding.OUT_OF_MEMORY, _describe_kill(who, kills.rise(), watch.resident)
    return ending_of_status(returncode, bytes(watch.errors))


def _was_killed(returncode: int) -> bool:
    """Whether a learner was ended by a SIGKILL, or told that one of its ranks was."""
    return returncode in (-signal.SIGKILL, KILLED_STATUS + signal.SIGKILL)


def _describe_kill(who: str, counted: int | None, resident: int | None) -> str:
    """What was seen of a SIGKILL from outside; see `daemon.processes.killed_for_memory`.

    Args:
        who: begins the sentence.
        counted: kills of the kernel's out-of-memory killer; None where that is not told.
        resident: bytes.
    """
    sentence = f"{who}, which the kernel's out-of-memory killer sends"
    if counted is not None:
        sentence += f" (of which it has counted {counted} here since the learner began)"
    if resident is not None:
        sentence += f"; it held {resident / 2**30:.2f} GiB of main memory when last looked at"
    return sentence
