"""The serving process: started, asked how it is, ended when it hangs, drained at the end."""

import http.client
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from daemon.errors import DaemonError
from daemon.lifecycle.supervised_threads import Part, State
from daemon.processes.children import end_group, has_ended
from daemon.settings.hosts import http_address, reached_at
from daemon.settings.tree import Settings
from serving.settings import PROBES_KEY_VARIABLE, PROBES_VARIABLE

log = structlog.get_logger(__name__)

ASK_EVERY_SECONDS = 1.0
ANSWER_WITHIN_SECONDS = 5.0
READ_WITHIN_SECONDS = 60.0
"""It reads a text when nobody else waits, on a busy machine token by token."""


class ServingBroke(DaemonError):
    """The serving process ended or hangs."""


@dataclass(frozen=True, slots=True)
class ServingStatus:
    """How the serving process was when it was last asked.

    Attributes:
        pid: of the process; None while there is none.
        generation: what it answers from; None before the first is loaded or when it does not answer.
        facts: its own account, as `GET /v1/riverkeep/generation` gave it.
    """

    pid: int | None = None
    generation: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether it answers, and says that it can go on."""
        return bool(self.facts) and not self.facts.get("trouble")


class ServingProcess:
    """Runs one serving process; `run` is the target of a part, and raises when it must be begun again.

    A swap needs nothing from here: the process follows the serving pointer by itself.

    Args:
        command: what is started; it is asked by a socket of its own (`PROBES_VARIABLE`), which no crowd can touch, and
            with a key of its own (`PROBES_KEY_VARIABLE`), which is in no file.
        address: host and port that it answers requests at.
        tls: whether it speaks TLS there.
        stuck_seconds: a process that answered before and is silent for so long is killed.
        drain_seconds: how long it gets to finish its requests when the service ends.
        replaced: told why each time that a process has ended, or is ended because it cannot go on.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        address: tuple[str, int],
        tls: bool = False,
        stuck_seconds: float,
        drain_seconds: float,
        replaced: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._environment = environment
        self._address = address
        self._key = secrets.token_urlsafe(32)
        self._tls = tls
        self._reload = threading.Event()
        self._end_is_near = threading.Event()
        self._probes = ("127.0.0.1", 0)
        self._replaced = replaced
        self._stuck_seconds = stuck_seconds
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._status = ServingStatus()

    @property
    def url(self) -> str:
        """Where it answers, from this machine."""
        return http_address(*self._address, tls=self._tls)

    @property
    def status(self) -> ServingStatus:
        """How it was when it was last asked; never blocks."""
        return self._status

    def reload(self) -> None:
        """Let the process read its API keys again, as soon as it answers. From any thread; never blocks."""
        self._reload.set()

    def canary(self) -> dict[str, Any] | None:
        """What the process says of the generation that is watched, with its `pid`; None where it does not answer.

        From any thread; may block as long as silence is borne.
        """
        pid = self._status.pid
        facts = None if pid is None else self._exchange("/v1/riverkeep/canary")
        return None if facts is None or "error" in facts else {**facts, "pid": pid}

    def metrics(self) -> str:
        """What the process counts, in Prometheus's text; empty where it does not answer.

        From any thread; may block as long as silence is borne.
        """
        if self._status.pid is None:
            return ""
        content = self._ask_for("/metrics", within_s=min(ANSWER_WITHIN_SECONDS, self._stuck_seconds))
        return "" if content is None else content.decode(errors="replace")

    def read_pair(self, serving: int, watched: int, said: Mapping[str, Any]) -> dict[str, Any] | None:
        """How probable the serving generation and the watched one find what is said.

        Args:
            serving, watched: the generations.
            said: `text`, or the `messages` of a chat.

        Returns:
            what the process answers; None where it does not.

        From any thread; may block for `READ_WITHIN_SECONDS`.
        """
        if self._status.pid is None:
            return None
        asked = {"serving": serving, "watched": watched, **said}
        return self._exchange("/v1/riverkeep/watched-text", asked, within_s=READ_WITHIN_SECONDS)

    def announce_end(self) -> None:
        """Let the process tell load balancers to look elsewhere; it answers on until its part is stopped."""
        self._end_is_near.set()

    def run(self, part: Part) -> None:
        """Start the process and watch it until `part.stop`.

        Raises:
            ServingBroke: it ended by itself, or was silent for too long and has been killed.
            OSError: it cannot be started.
        """
        # It reads its keys later than this.
        self._reload.clear()
        process = self._start()
        log.info("serving_started", pid=process.pid)
        self._status = ServingStatus(pid=process.pid)
        try:
            self._watch(process, part)
        finally:
            self._status = ServingStatus()
            end_group(process, patience_seconds=self._drain_seconds if part.stop.is_set() else 1.0)

    def _start(self) -> "subprocess.Popen[bytes]":
        # Bound here, so that nobody else can answer at it; listened on only by the process.
        with socket.socket() as probes:
            probes.bind(("127.0.0.1", 0))
            self._probes = probes.getsockname()[:2]
            return subprocess.Popen(
                self._command,
                env={
                    **self._environment,
                    PROBES_VARIABLE: str(probes.fileno()),
                    PROBES_KEY_VARIABLE: self._key,
                },
                pass_fds=(probes.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _watch(self, process: "subprocess.Popen[bytes]", part: Part) -> None:
        began, heard = self._clock(), None
        while not part.stop.is_set():
            part.beat()
            if has_ended(process):
                self._replaced("ended")
                raise ServingBroke(f"the serving process ended with status {process.wait()}{self._hint(heard)}")
            if (facts := self._ask()) is not None:
                heard = self._clock()
                self._pass_on(process)
            self._status = ServingStatus(process.pid, (facts or {}).get("generation"), facts or {})
            self._judge(part, heard, began)
            part.stop.wait(ASK_EVERY_SECONDS)

    def _hint(self, heard: float | None) -> str:
        """What probably kept a process from answering: its own words are in the log."""
        if heard is not None:
            return ""
        with suppress(OSError), socket.create_connection(self._address, timeout=1.0):
            port = self._address[1]
            return f": port {port} is taken by another process; stop that one, or set another `serving.port`"
        return "; the log has its last words"

    def _pass_on(self, process: "subprocess.Popen[bytes]") -> None:
        """Tell the process what it is to know. It heeds the signals: it has answered."""
        if self._end_is_near.is_set():
            # At each answer again: one that was started anew since has not heard it.
            process.send_signal(signal.SIGUSR1)
        if not self._reload.is_set():
            return
        self._reload.clear()
        process.send_signal(signal.SIGHUP)
        log.info("serving_told_to_reload", pid=process.pid)

    def _judge(self, part: Part, heard: float | None, began: float) -> None:
        if heard is None:
            return part.says(*self._unheard(self._clock() - began))
        silent = self._clock() - heard
        if silent > self._stuck_seconds:
            self._replaced("silent")
            raise ServingBroke(f"the serving process has not answered for {silent:.0f} s and is killed")
        if silent > ANSWER_WITHIN_SECONDS:
            return part.says(State.BROKEN, f"the serving process has not answered for {silent:.0f} s")
        if trouble := self._status.facts.get("trouble"):
            self._replaced("broken")
            raise ServingBroke(f"the serving process calls itself broken and is replaced: {trouble}")
        if error := self._status.facts.get("error"):
            message = error.get("message") if isinstance(error, dict) else error
            return part.says(State.BROKEN, f"the serving process refuses the daemon: {message}")
        if self._status.generation is None and self._status.facts:
            if problem := self._status.facts.get("problem"):
                # It tries again by itself; that it begins is no longer all there is to say.
                return part.says(State.BROKEN, f"the serving process has loaded no generation yet: {problem}")
            return part.says(State.STARTING, "the serving process has loaded no generation yet")
        return part.says(State.RUNNING)

    def _unheard(self, silent: float) -> tuple[State, str]:
        """How a process is that has not answered since it was started so many seconds ago."""
        # It answers before it loads a model: what takes so long is not that.
        if silent > self._stuck_seconds:
            return State.BROKEN, f"the serving process was started {silent:.0f} s ago and has not answered yet"
        return State.STARTING, "the serving process begins and does not answer yet"

    def _ask(self) -> dict[str, Any] | None:
        """Its own account, or the error that it answers with; None where it does not answer."""
        facts = self._exchange("/v1/riverkeep/generation")
        if facts is not None and "error" in facts:
            # How it is it says to everybody.
            facts = {**facts, "trouble": (self._exchange("/healthz") or {}).get("detail", "")}
        return facts

    def _exchange(
        self, path: str, asked: Mapping[str, Any] | None = None, *, within_s: float | None = None
    ) -> dict[str, Any] | None:
        # Never longer than silence is borne: a question to a process that hangs ends before that is to be killed.
        within = min(ANSWER_WITHIN_SECONDS, self._stuck_seconds) if within_s is None else within_s
        content = self._ask_for(path, asked, within_s=within)
        try:
            answer = None if content is None else orjson.loads(content)
        except orjson.JSONDecodeError:
            return None
        return answer if isinstance(answer, dict) else None

    def _ask_for(self, path: str, asked: Mapping[str, Any] | None = None, *, within_s: float) -> bytes | None:
        """What is answered, whatever the status; None where nothing is."""
        connection = http.client.HTTPConnection(*self._probes, timeout=within_s)
        headers = {"authorization": f"Bearer {self._key}"}
        try:
            if asked is None:
                connection.request("GET", path, headers=headers)
            else:
                headers["content-type"] = "application/json"
                connection.request("POST", path, orjson.dumps(asked), headers)
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def serving_process(
    settings: Settings,
    config_file: Path | None,
    environment: Mapping[str, str],
    *,
    replaced: Callable[[str], None] = lambda _: None,
) -> ServingProcess:
    """The process that answers as the settings say. `replaced`: see `ServingProcess`."""
    serving = settings.serving
    # The child reads the settings itself; port 0 is chosen here, so that it can be asked at the same place.
    port = serving.port or _free_port(serving.host)
    overrides = {"RIVERKEEP_STATE_DIR": str(settings.state_dir.absolute()), "RIVERKEEP_SERVING__PORT": str(port)}
    config = () if config_file is None else ("--config", str(config_file))
    return ServingProcess(
        command=(sys.executable, "-m", "daemon", *config, "serve"),
        environment={**environment, **overrides},
        address=(reached_at(serving.host), port),
        tls=serving.tls is not None,
        stuck_seconds=settings.lifecycle.stuck_seconds,
        drain_seconds=drain_seconds(settings),
        replaced=replaced,
    )


def drain_seconds(settings: Settings) -> float:
    """How much of the grace time is kept for requests under way, at most half; 0 where none are answered."""
    if not settings.serving.enabled:
        return 0.0
    return min(settings.serving.drain_timeout_s, settings.lifecycle.grace_seconds / 2)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
