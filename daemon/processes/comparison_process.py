"""Two generations answer a prompt in a process of its own: started, listened to, and ended whole, whatever comes."""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Final

from daemon.processes.children import end_group, has_ended
from daemon.processes.killed_for_memory import offer_first
from serving.comparison.exchange import AnswerEvent, ComparisonPrompt, read_answer_event

COMMAND: Final = (sys.executable, "-m", "serving.comparison")
LONGEST_S: Final = 900.0
LOOK_EVERY_S: Final = 0.2
READ_BYTES: Final = 65_536
LONGEST_LINE_BYTES: Final = 1 << 20
# A traceback's last line is all that is told of it.
ERRORS_BYTES_KEPT: Final = 4_096


class ComparisonEnding(StrEnum):
    """How the process ended. Values are metric labels."""

    ANSWERED = "answered"
    """Both answered."""
    FAILED = "failed"
    """It said why one of them cannot, or ended by itself without a word."""
    KILLED = "killed"
    """By a SIGKILL that was not ours: mostly the kernel's, when memory runs out."""
    SHORT_OF_MEMORY = "short_of_memory"
    """Too little was left for everything else, and it was ended."""
    OUT_OF_TIME = "out_of_time"
    """It took longer than it may, and was ended."""
    STOPPED = "stopped"
    """It was called off, or the service ends."""


@dataclass(frozen=True, slots=True)
class ComparisonExit:
    """How the process ended, and why, in a sentence for a person; empty where it answered."""

    ending: ComparisonEnding
    detail: str = ""


class ComparisonProcess:
    """Runs one at a time, as a process group of its own that is killed whole.

    It steps back on the processor as a learner does, sees no GPU, and is offered to the kernel before all others when
    memory runs out. The prompt goes by its standard input alone: a command line can be read by everybody.

    Args:
        environment: of the process; it names the state directory that the process belongs to.
        command: what is run.
        nice: how far it steps back, from where this process stands. Not to the end: somebody waits for the answer, and
            the last place on a machine that is busy gets next to nothing.
        is_short: asked a few times a second, whether so little memory is left that others would soon go without.
        longest_s: seconds after which it is ended.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        command: Sequence[str] = COMMAND,
        nice: int = 0,
        is_short: Callable[[], bool] = lambda: False,
        longest_s: float = LONGEST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        # Threads that wait for each other by spinning would hold up what it steps back behind.
        self._environment = {**environment, "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
        self._nice = nice
        self._is_short = is_short
        self._longest_s = longest_s
        self._clock = clock

    def run(
        self, asked: ComparisonPrompt, *, on_event: Callable[[AnswerEvent], None], must_stop: Callable[[], bool]
    ) -> ComparisonExit:
        """Have a prompt answered; returns when the process is gone. Blocks.

        Args:
            asked: the prompt, and who answers it.
            on_event: gets each event that the process tells.
            must_stop: asked a few times a second.

        Raises:
            OSError: the process cannot be started.
        """
        with subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        ) as process:
            watch = _Watch(process, asked, on_event)
            try:
                # From outside: a function that runs between fork and exec may hang where the parent has threads.
                self._step_back(process.pid)
                ended = self._until_it_ends(watch, must_stop)
            finally:
                end_group(process)
        return watch.ending() if ended is None else ended

    def _until_it_ends(self, watch: "_Watch", must_stop: Callable[[], bool]) -> ComparisonExit | None:
        """Listen until the process ends by itself (None) or has to be ended (why)."""
        began = self._clock()
        with watch.listening() as selector:
            while True:
                # Asked before the pipes are read: what it wrote last is then still taken in.
                ended = has_ended(watch.process)
                watch.listen(selector)
                if ended:
                    return None
                if must_stop():
                    return ComparisonExit(ComparisonEnding.STOPPED, "It was called off.")
                if self._is_short():
                    why = "Memory ran short beside what serves and learns here, so the comparison was ended."
                    return ComparisonExit(ComparisonEnding.SHORT_OF_MEMORY, why)
                if self._clock() - began > self._longest_s:
                    why = f"It took longer than {self._longest_s:.0f} s and was ended: ask for fewer tokens."
                    return ComparisonExit(ComparisonEnding.OUT_OF_TIME, why)

    def _step_back(self, pid: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PGRP, pid, os.nice(0) + self._nice)
        offer_first(pid)


class _Watch:
    """Asks the process, and listens to it."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", asked: ComparisonPrompt, on_event: Callable[[AnswerEvent], None]
    ) -> None:
        self.process = process
        self._unsent = memoryview(asked.model_dump_json().encode() + b"\n")
        self._on_event = on_event
        self._line = bytearray()
        self._errors = bytearray()
        self._reason = ""
        self._left = set(asked.generations)

    def listening(self) -> selectors.BaseSelector:
        """What waits for the process's pipes."""
        selector = selectors.DefaultSelector()
        for pipe, hear in ((self.process.stdout, self._hear), (self.process.stderr, self._hear_error)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, hear)
        assert self.process.stdin is not None
        # A prompt may be longer than the pipe holds, and a process that hangs never reads it.
        os.set_blocking(self.process.stdin.fileno(), False)
        selector.register(self.process.stdin, selectors.EVENT_WRITE, None)
        return selector

    def listen(self, selector: selectors.BaseSelector) -> None:
        """Take in what there is; returns soon."""
        for key, _ in selector.select(LOOK_EVERY_S):
            if key.data is None:
                self._send(selector, key.fd)
            elif data := os.read(key.fd, READ_BYTES):
                key.data(data)
            else:
                selector.unregister(key.fileobj)
        if not selector.get_map() and not has_ended(self.process):
            # Its pipes are closed and it goes on: a selector without files does not wait.
            time.sleep(LOOK_EVERY_S)

    def _send(self, selector: selectors.BaseSelector, pipe: int) -> None:
        try:
            self._unsent = self._unsent[os.write(pipe, self._unsent) :]
        except BrokenPipeError:
            # It has ended, and is about to be found so.
            self._unsent = self._unsent[:0]
        if not self._unsent:
            # Not closed: the process ends when it is, and so with whoever asks.
            selector.unregister(_stdin(self.process))

    def _hear(self, data: bytes) -> None:
        self._line += data
        *lines, rest = self._line.split(b"\n")
        for line in lines:
            self._hear_line(bytes(line))
        self._line = rest if len(rest) <= LONGEST_LINE_BYTES else bytearray()

    def _hear_line(self, line: bytes) -> None:
        event = read_answer_event(line)
        if event is None:
            return
        if event.event == "failed":
            self._reason = event.reason
        elif event.event == "answered":
            self._left.discard(event.generation)
        self._on_event(event)

    def _hear_error(self, data: bytes) -> None:
        self._errors += data
        del self._errors[:-ERRORS_BYTES_KEPT]

    def ending(self) -> ComparisonExit:
        """What the end of a process means that ended by itself."""
        status = self.process.returncode
        if status == 0 and not self._left:
            return ComparisonExit(ComparisonEnding.ANSWERED)
        if status < 0:
            why = f"Its process was killed by signal {-status}"
            hint = ", which the kernel sends when memory runs out." if -status == 9 else "."
            return ComparisonExit(ComparisonEnding.KILLED, f"{why}{hint}")
        last = self._errors.decode(errors="replace").strip().rpartition("\n")[2][-500:]
        why = f"Its process ended with status {status}" + (f": {last}" if last else ".")
        return ComparisonExit(ComparisonEnding.FAILED, self._reason or why)


def _stdin(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin
