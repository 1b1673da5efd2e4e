"""Generations for engines that others run: handed over, told of, and answered from where these have an address."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import structlog

from checkpoints.adapters.ground import is_adapter
from checkpoints.export import export_generation
from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import ModelKind
from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine
from serving.errors import BrokenGeneration
from serving.generations.comparing import require_alike
from serving.generations.departures import Departures
from serving.generations.outlined import outlined
from serving.generations.verifying import verify
from serving.handover.shelf import HandedOver, Shelf
from serving.handover.webhook import Event, Webhook, bearer
from serving.metrics import ServingMetrics
from serving.outbound import NoAuthorities, Outbound, shown
from serving.processes.asking import KnownModel
from serving.processes.launch import served_name
from serving.processes.readiness import ASK_WITHIN_S, NotInTime, until_listed
from serving.settings import ServingSettings

_log = structlog.get_logger(__name__)


class Elsewhere:
    """What ends with an engine that others run: nothing here; they are told.

    Args:
        retired: tells them.
    """

    ended = ""

    def __init__(self, retired: Callable[[], None]) -> None:
        self._retired = retired

    def last_words(self) -> str:
        """Nobody here hears them."""
        return ""

    def end(self) -> None:
        """Say that no answer of it is under way."""
        self._retired()


@dataclass(frozen=True, slots=True)
class RemoteLoader:
    """Hands generations over, and waits until engines that others run have them.

    Attributes:
        store: where generations are.
        kind: what the model is for.
        settings: where they are handed over, who is told, where they answer.
        metrics: where phases are timed.
        home: a directory for generations that are made whole to be copied.
        clock: unix seconds.
    """

    store: GenerationStore
    kind: ModelKind
    settings: ServingSettings
    metrics: ServingMetrics
    home: Path
    clock: Callable[[], float] = time.time
    _ending: threading.Event = field(default_factory=threading.Event)
    _answering: Counter[str] = field(default_factory=Counter)
    _telling: threading.Lock = field(default_factory=threading.Lock)
    _departures: Departures = field(default_factory=Departures)

    def fits_beside(self, _number: int, _beside: LoadedGeneration, /) -> bool:
        """Whoever runs the engines sees to that."""
        return True

    def load(self, number: int, digest: str | None, beside: LoadedGeneration | None) -> LoadedGeneration:
        """Verify a generation, hand it over, tell, and wait until it is answered from.

        Raises:
            CheckpointsError: it is missing, damaged, unsafe or unusable.
            BrokenGeneration: it cannot be handed over, nobody takes it in time, or it is read otherwise than by the
                learner.
        """
        with self._timed("verify"):
            verify(self.store, number, digest)
        handed = HandedOver(served_name(self.settings.model_name, number), number, self.store.digest(number))
        shelf = Shelf(self.settings.remote.location)
        with self._timed("load"):
            self._hand_over(shelf, handed)
            with self._taken(shelf, handed) as longest:
                self._clear(shelf)
                return outlined(
                    self.store,
                    number,
                    self.kind,
                    beside,
                    engine=self._engine(shelf, handed),
                    longest=longest,
                    loaded_at=self.clock(),
                )

    @contextmanager
    def _taken(self, shelf: Shelf, handed: HandedOver) -> Iterator[int | None]:
        """A generation that others answer from; taken back where what is done with it fails."""
        try:
            with self._telling:
                self._answering[handed.name] += 1
                self._tell("generation_ready", shelf, handed)
            yield self._until_taken(handed)
        except BaseException:
            self._retire(shelf, handed)
            raise

    def _hand_over(self, shelf: Shelf, handed: HandedOver) -> None:
        path = self.store.path(handed.generation)
        if not is_adapter(path):
            shelf.put(handed, path)
            return
        with TemporaryDirectory(dir=self.home) as scratch:
            whole = Path(scratch) / "whole"
            export_generation(self.store, handed.generation, whole, self.kind)
            shelf.put(handed, whole)

    def _tell(self, event: Event, shelf: Shelf, handed: HandedOver) -> None:
        remote = self.settings.remote
        Webhook(remote.webhook, remote.key_file, self._ending).tell(
            event,
            name=handed.name,
            generation=handed.generation,
            digest=handed.digest,
            location=shelf.place(handed.name),
        )

    def _until_taken(self, handed: HandedOver) -> int | None:
        """Wait until an engine has the generation, where any is asked; most tokens that it takes."""
        if not self.settings.remote.url:
            return None
        limit_s = self.settings.engine_process.ready_timeout_s
        try:
            with self._client(ASK_WITHIN_S) as client:
                known = until_listed(client, handed.name, within_s=limit_s, ending=self._ending, look=_look)
        except NotInTime as error:
            raise BrokenGeneration(
                f"nobody at serving.remote.url ({shown(self.settings.remote.url)}) has {handed.name} "
                f"after {limit_s:g} s (serving.engine_process.ready_timeout_s): {error}"
            ) from error
        self._compare(handed, known)
        return known.longest

    def _compare(self, handed: HandedOver, known: KnownModel) -> None:
        bound = self.settings.engine_process.max_difference
        model = self.store.path(handed.generation)
        with self._timed("compare"), self._client(self.settings.request_timeout_s) as client:
            require_alike(
                client, known.name, handed.generation, model, bound=bound, must_tell=False, tells_tokens=False
            )

    def _client(self, timeout_s: float) -> httpx.Client:
        url = self.settings.remote.url
        headers = {**bearer(self.settings.remote.key_file), "content-type": "application/json"}
        try:
            return httpx.Client(base_url=url, headers=headers, timeout=timeout_s, **Outbound.to(url).options())
        except NoAuthorities as error:
            raise BrokenGeneration(f"serving.remote.url ({shown(url)}) cannot be asked: {error}") from error

    def _engine(self, shelf: Shelf, handed: HandedOver) -> RunningEngine:
        key = bearer(self.settings.remote.key_file).get("authorization", "").removeprefix("Bearer ")
        ending = Elsewhere(lambda: self._retire(shelf, handed))
        return RunningEngine(self.settings.remote.url, handed.name, key, ending, self.settings.pass_timeout_s)

    def _retire(self, shelf: Shelf, handed: HandedOver) -> None:
        # One after the other: a lost generation comes back under its name, and this must not be heard behind that.
        with self._telling:
            self._answering[handed.name] -= 1
            if self._answering[handed.name]:
                return
            del self._answering[handed.name]
            try:
                self._tell("generation_retired", shelf, handed)
            # It goes in any case; whoever was not told finds it missing in time.
            except BrokenGeneration as error:
                _log.warning("webhook_not_told", reason=str(error))

    def _clear(self, shelf: Shelf) -> None:
        """Take away what is older than what is kept, but for what answers."""
        try:
            for name in shelf.names()[: -self.settings.remote.keep]:
                if name not in self._answering:
                    shelf.remove(name)
        # Each object store has errors of its own; what is left over costs room, and no answer.
        except Exception as error:  # noqa: BLE001
            _log.warning("handed_over_not_cleared", reason=str(error))

    def warm(self, generation: LoadedGeneration, answer: Callable[[LoadedGeneration], None]) -> None:
        """Let a generation answer before it serves, where this service asks engines at all.

        Raises:
            BrokenGeneration: it cannot.
        """
        if not self.settings.remote.url:
            return
        try:
            with self._timed("warm"):
                answer(generation)
        except Exception:
            assert generation.engine is not None
            generation.engine.retire(0.0)
            raise

    def let_go(self, generation: LoadedGeneration) -> None:
        """Tell that a generation goes, once nobody holds it; does not wait for that."""
        wait_s = 0.0 if generation.lost else self.settings.request_timeout_s
        self._departures.begin(generation, wait_s, lambda engine: engine.retire(0.0))

    def take_back(self, generation: LoadedGeneration, /) -> bool:
        """Tell nobody that a generation goes, whose going was still to be told."""
        return self._departures.call_off(generation)

    def make_room(self, generation: LoadedGeneration) -> None:
        """Nothing is to be done, as two fit."""

    def break_off(self) -> None:
        """Wait no more for engines, nor for a webhook."""
        self._ending.set()

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        with self.metrics.swap_seconds.labels(phase).time():
            yield


def _look(_: Sequence[str]) -> None:
    """Engines that others run may have other models meanwhile, or be away."""
