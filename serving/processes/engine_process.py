"""One process of an engine: begun with its output in a file, watched, ended with all that it began."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from serving.processes import guardian
from serving.processes.launch import EngineLaunch

_log = structlog.get_logger(__name__)

GRACE_S: Final = 10.0
"""For the end that it makes by itself, once it is asked; nobody waits for an answer of it any more."""
KILLING_S: Final = 10.0
"""For its guardian, beyond that."""
LAST_BYTES: Final = 2_000
"""Of what it wrote, that an error shows."""


class EngineProcess:
    """A program that runs under a guardian, which ends all of it; also where this process is killed.

    Args:
        launch: what is started.
        output: the file that takes what it writes; written anew.

    Raises:
        OSError: there is no room for its output, or for one more process.
    """

    def __init__(self, launch: EngineLaunch, output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self._guardian = subprocess.Popen(
                (sys.executable, "-I", "-S", guardian.__file__, str(GRACE_S), *launch.arguments),
                env=dict(launch.environment),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                # Whoever ends this process's group would end the guardian before the engine.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The guardian's process id."""
        return self._guardian.pid

    @property
    def ended(self) -> str:
        """How it ended, with the last lines that it wrote; empty while it runs."""
        status = self._guardian.poll()
        if status is None:
            return ""
        how = f"signal {signal.Signals(status - 128).name}" if 128 < status < 128 + signal.NSIG else f"status {status}"
        return f"its process ended with {how}{self.last_words()}"

    def last_words(self) -> str:
        """The end of what it wrote, as the end of a sentence; empty where it wrote nothing."""
        with suppress(OSError), self._output.open("rb") as file:
            file.seek(max(0, self._output.stat().st_size - LAST_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
            if lines:
                return f" (it wrote: {' / '.join(lines[-3:])})"
        return ""

    def end(self) -> None:
        """End it and what it began: asked first, then killed. Returns when all are gone."""
        assert self._guardian.stdin is not None
        # Its word to end; a guardian that has ended reads it no more.
        with suppress(BrokenPipeError):
            self._guardian.stdin.close()
        try:
            self._guardian.wait(GRACE_S + KILLING_S)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()
        _log.info("engine_ended", pid=self._guardian.pid)
