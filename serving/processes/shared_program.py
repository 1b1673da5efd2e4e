"""A program on one whole generation that answers for many adapters of it, each put in while it runs."""

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import structlog

from serving.processes.asking import known_models
from serving.processes.program import Program
from serving.processes.readiness import ASK_WITHIN_S

_log = structlog.get_logger(__name__)

LONGEST_ECHO: Final = 500


class AdapterRefused(Exception):
    """An engine cannot take an adapter; the message says why, in its words."""


class ProgramEnded(AdapterRefused):
    """The engine that was to take it is no more; another one may."""


class SharedProgram:
    """A program on a whole generation, that answers for each adapter which was put into it, under a name of its own.

    It ends with the last of them. No adapter is ever changed in place, and no name is used for another one.

    Args:
        program: that runs; whose first name no request uses.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        # Held while the program is asked: what one takes out another may be about to put in.
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._ended = False

    def takes(self, rank: int) -> bool:
        """Whether a further adapter of such a rank can be put into it."""
        most = self.program.adapter_rank
        return not self._ended and not self.program.process.ended and most is not None and rank <= most

    def put_in(self, name: str, adapter: Path, timeout_s: float) -> "AdapterInside":
        """Load an adapter beside those that are inside; one that is inside already is there for both.

        Args:
            name: that no other adapter ever had.
            adapter: its directory.
            timeout_s: within which the program has to answer.

        Raises:
            ProgramEnded: it has ended.
            AdapterRefused: it takes none such.
        """
        with self._lock:
            if self._ended:
                raise ProgramEnded("the engine has ended")
            self._inside[name] += 1
            try:
                self._load(name, adapter, timeout_s)
            except AdapterRefused:
                # It may have been put in all the same.
                self._leave(name)
                raise
        return AdapterInside(self, name)

    def _load(self, name: str, adapter: Path, timeout_s: float) -> None:
        try:
            with self.program.client(timeout_s) as client:
                # Asked rather than remembered: an end that it did not answer may not have been heard.
                if any(model.name == name for model in known_models(client)):
                    return
                answer = client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(adapter)})
        except httpx.HTTPError as error:
            raise AdapterRefused(f"it gave no answer ({type(error).__name__})") from error
        if answer.status_code != httpx.codes.OK:
            raise AdapterRefused(_said(answer))
        _log.info("adapter_put_in", name=name, pid=self.program.process.pid)

    def take_out(self, name: str) -> None:
        """Unload an adapter that was put in as often as it is now taken out; end the program with the last."""
        with self._lock:
            self._leave(name)

    def _leave(self, name: str) -> None:
        self._inside[name] -= 1
        if self._inside[name]:
            return
        del self._inside[name]
        if not self.program.process.ended:
            with suppress(httpx.HTTPError), self.program.client(ASK_WITHIN_S) as client:
                client.post("/v1/unload_lora_adapter", json={"lora_name": name})
            _log.info("adapter_taken_out", name=name, pid=self.program.process.pid)
        if not self._inside:
            self._ended = True
            self.program.process.end()


def _said(answer: httpx.Response) -> str:
    try:
        values: Any = answer.json()
        return str(values["error"]["message"])[:LONGEST_ECHO]
    except (ValueError, KeyError, TypeError):
        return f"it answered {answer.status_code}: {answer.text[:LONGEST_ECHO]}"


class AdapterInside:
    """What ends with an adapter's last answer: its place in a program that others may share.

    Args:
        shared: the program.
        name: of the adapter there.
    """

    def __init__(self, shared: SharedProgram, name: str) -> None:
        self._shared, self._name = shared, name
        self._lock = threading.Lock()
        self._left = False

    @property
    def ended(self) -> str:
        """How the program ended; empty while it runs."""
        return self._shared.program.process.ended

    def last_words(self) -> str:
        """The end of what the program wrote, as the end of a sentence."""
        return self._shared.program.process.last_words()

    def end(self) -> None:
        """Take the adapter out, once."""
        with self._lock:
            if not self._left:
                self._left = True
                self._shared.take_out(self._name)
