"""A program on one whole generation that answers for many adapters of it, each put in while it runs."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import structlog

from serving.processes.program import Program
from serving.processes.readiness import ASK_WITHIN_S

_log = structlog.get_logger(__name__)

LONGEST_ECHO: Final = 500


class AdapterRefused(Exception):
    """An engine cannot take an adapter; the message says why, in its words."""


class SharedProgram:
    """A program on a whole generation, that answers for each adapter which was put into it, under a name of its own.

    It ends with the last of them. No adapter is ever changed in place, and no name is used twice.

    Args:
        program: that runs; whose first name no request uses.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._lock = threading.Lock()
        self._inside: set[str] = set()
        self._ended = False

    def takes(self, rank: int) -> bool:
        """Whether a further adapter of such a rank can be put into it."""
        most = self.program.adapter_rank
        return not self._ended and not self.program.process.ended and most is not None and rank <= most

    def put_in(self, name: str, adapter: Path, timeout_s: float) -> "AdapterInside":
        """Load an adapter beside those that are inside.

        Args:
            name: that no other had.
            adapter: its directory.
            timeout_s: within which the program has to answer.

        Raises:
            AdapterRefused: it takes none such.
        """
        with self._lock:
            if self._ended:
                raise AdapterRefused("the engine has ended")
            # Before it is asked: the end of the last other one must not end the program meanwhile.
            self._inside.add(name)
        body = {"lora_name": name, "lora_path": str(adapter)}
        try:
            with self.program.client(timeout_s) as client:
                answer = client.post("/v1/load_lora_adapter", json=body)
        except httpx.HTTPError as error:
            # It may have been put in all the same.
            self.take_out(name)
            raise AdapterRefused(f"it gave no answer ({type(error).__name__})") from error
        if answer.status_code != httpx.codes.OK:
            self._take_out(name)
            raise AdapterRefused(_said(answer))
        _log.info("adapter_put_in", name=name, pid=self.program.process.pid)
        return AdapterInside(self, name)

    def take_out(self, name: str) -> None:
        """Unload an adapter; end the program with the last."""
        if not self.program.process.ended:
            with suppress(httpx.HTTPError), self.program.client(ASK_WITHIN_S) as client:
                client.post("/v1/unload_lora_adapter", json={"lora_name": name})
            _log.info("adapter_taken_out", name=name, pid=self.program.process.pid)
        self._take_out(name)

    def _take_out(self, name: str) -> None:
        with self._lock:
            self._inside.discard(name)
            self._ended = self._ended or not self._inside
            ends = self._ended
        if ends:
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

    @property
    def ended(self) -> str:
        """How the program ended; empty while it runs."""
        return self._shared.program.process.ended

    def last_words(self) -> str:
        """The end of what the program wrote, as the end of a sentence."""
        return self._shared.program.process.last_words()

    def end(self) -> None:
        """Take the adapter out."""
        self._shared.take_out(self._name)
