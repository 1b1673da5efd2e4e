"""One engine for each generation: a program started beside the one that answers, asked who it is, and ended later."""

import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Final

import httpx
import structlog
from transformers import PreTrainedModel

from checkpoints.adapters.ground import is_adapter
from checkpoints.export import export_generation
from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import ModelKind
from checkpoints.load import load_outline, load_tokenizer, require_match
from checkpoints.probe.conduct import Conduct
from checkpoints.probe.lengths import named_limit
from checkpoints.probe.reference_answer import read_reference
from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine
from serving.errors import BrokenGeneration
from serving.generations.comparing import NotCompared, difference
from serving.generations.verifying import tokenizer_files, verify
from serving.metrics import ServingMetrics
from serving.processes.asking import KnownModel, known_models
from serving.processes.engine_process import EngineProcess
from serving.processes.launch import HOST, WantedEngine, launch_of, served_name
from serving.settings import ServingSettings

_log = structlog.get_logger(__name__)

ASK_EVERY_S: Final = 0.2
ASK_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class EngineLoader:
    """Brings one generation to answer in an engine of its own.

    Attributes:
        store: where generations are.
        kind: what the model is for.
        settings: which engine, and how it is started.
        metrics: where phases are timed.
        home: a directory for what engines write, and for generations that are made whole for them.
        clock: unix seconds.
    """

    store: GenerationStore
    kind: ModelKind
    settings: ServingSettings
    metrics: ServingMetrics
    home: Path
    clock: Callable[[], float] = time.time
    _ending: threading.Event = field(default_factory=threading.Event)
    _running: dict[RunningEngine, Path | None] = field(default_factory=dict)

    @property
    def holds_two(self) -> bool:
        """Whether a generation is brought in while another answers."""
        return self.settings.engine_process.two_at_once

    def load(self, number: int, digest: str | None, beside: LoadedGeneration | None) -> LoadedGeneration:
        """Verify a generation and start an engine on it.

        Args:
            number: the generation.
            digest: what its manifest must be, when known.
            beside: one that answers, whose tokenizer it probably has.

        Raises:
            CheckpointsError: it is missing, damaged, unsafe or unusable.
            BrokenGeneration: the engine cannot be started, ends, is not ready in time, or answers from another model or
                otherwise than the learner.
        """
        with self._timed("verify"):
            verify(self.store, number, digest)
        with self._timed("load"), self._engine(number) as (engine, known):
            return self._loaded(number, beside, engine, known)

    def _loaded(
        self, number: int, beside: LoadedGeneration | None, engine: RunningEngine, known: KnownModel
    ) -> LoadedGeneration:
        path, files = self.store.path(number), tokenizer_files(self.store, number)
        tokenizer = beside.tokenizer if beside and beside.tokenizer_files == files else load_tokenizer(path)
        outline = load_outline(path, self.kind)
        require_match(outline, self.kind, tokenizer, path)
        return LoadedGeneration.of(
            number,
            self.store.digest(number),
            self.kind,
            outline,
            tokenizer,
            loaded_at=self.clock(),
            conduct=_conduct(outline, known.longest),
            tokenizer_files=files,
            model_digest=self.store.model_digest(number),
            engine=engine,
        )

    @contextmanager
    def _engine(self, number: int) -> Iterator[tuple[RunningEngine, KnownModel]]:
        """An engine that is ready; ended where what is done with it fails."""
        model, made = self._whole(number)
        process: EngineProcess | None = None
        try:
            name = served_name(self.settings.model_name, number)
            wanted = WantedEngine(model, name, _free_port(), secrets.token_urlsafe(32))
            process = EngineProcess(launch_of(self.settings, wanted), self.home / f"generation-{number}.log")
            url = f"http://{HOST}:{wanted.port}"
            _log.info("engine_started", generation=number, pid=process.pid, name=name, engine=self.settings.engine)
            known = self._ready(url, wanted, process)
            self._compare(url, wanted, number)
            tells_tokens = self.settings.engine == "vllm"
            engine = RunningEngine(url, name, wanted.key, process, self.settings.pass_timeout_s, tells_tokens)
            yield engine, known
            self._running[engine] = made
        except BaseException:
            if process is not None:
                process.end()
            _remove(made)
            raise

    def _whole(self, number: int) -> tuple[Path, Path | None]:
        """A directory that holds the generation as a whole model; and it again where it was made for that."""
        path = self.store.path(number)
        if not is_adapter(path):
            return path, None
        target = self.home / f"whole-{number}-{secrets.token_hex(4)}"
        export_generation(self.store, number, target, self.kind)
        return target, target

    def _ready(self, url: str, wanted: WantedEngine, process: EngineProcess) -> KnownModel:
        """What the engine says of its model, once it does."""
        limit = self.settings.engine_process.ready_timeout_s
        deadline, why = time.monotonic() + limit, "it did not answer"
        headers = {"authorization": f"Bearer {wanted.key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=ASK_WITHIN_S, trust_env=False) as client:
            while time.monotonic() < deadline:
                if ended := process.ended:
                    raise BrokenGeneration(f"the engine for {wanted.model} gave up: {ended}")
                try:
                    return _of_name(known_models(client), wanted.name)
                except httpx.HTTPError as error:
                    why = f"{type(error).__name__}: {error}"
                if self._ending.wait(ASK_EVERY_S):
                    raise BrokenGeneration("serving ends")
        raise BrokenGeneration(
            f"the engine for {wanted.model} was not ready within {limit:g} s (serving.engine_process.ready_timeout_s): "
            f"{why}{process.last_words()}"
        )

    def _compare(self, url: str, wanted: WantedEngine, number: int) -> None:
        """Hold an engine to what the learner's own scorer found.

        Raises:
            BrokenGeneration: it reads the model otherwise.
        """
        reference, bound = read_reference(wanted.model), self.settings.engine_process.max_difference
        if reference is None:
            _log.warning("engine_not_compared", generation=number, reason="the generation has no reference answer")
            return
        headers, wait_s = {"authorization": f"Bearer {wanted.key}"}, self.settings.request_timeout_s
        try:
            with (
                self._timed("compare"),
                httpx.Client(base_url=url, headers=headers, timeout=wait_s, trust_env=False) as client,
            ):
                apart = difference(client, wanted.name, reference)
        except NotCompared as error:
            if self.settings.engine != "command":
                raise BrokenGeneration(f"the engine cannot be compared with the learner: {error}") from error
            # Not every program tells log-probabilities.
            _log.warning("engine_not_compared", generation=number, reason=str(error))
            return
        if apart > bound:
            raise BrokenGeneration(
                f"the engine reads generation {number} otherwise than the learner: their log-probabilities are "
                f"{apart:.3f} nats a token apart, and serving.engine_process.max_difference is {bound:g}. Compare its "
                "precision, quantization and model files with the generation's; raise the bound only if that is why"
            )
        _log.info("engine_compared", generation=number, nats_apart=round(apart, 4))

    def warm(self, generation: LoadedGeneration, answer: Callable[[LoadedGeneration], None]) -> None:
        """Let a generation answer before it serves.

        Raises:
            BrokenGeneration: it cannot; its engine is ended.
        """
        engine = generation.engine
        assert engine is not None
        try:
            with self._timed("warm"):
                answer(generation)
        except Exception as error:
            self._end(generation, 0.0)
            # It may have written why, into a file that goes with this process.
            raise BrokenGeneration(f"{error}{engine.process.last_words()}") from error

    def let_go(self, generation: LoadedGeneration) -> None:
        """End a generation's engine once nobody holds the generation; does not wait for that."""
        assert generation.engine is not None
        gone = threading.Event()
        # By the last reference: requests that wait in the queue hold it as well, and none of them is to fail.
        weakref.finalize(generation, gone.set)
        wait_s = 0.0 if generation.lost else self.settings.request_timeout_s
        threading.Thread(target=self._end_after, args=(gone, generation.engine, wait_s), daemon=True).start()

    def _end_after(self, gone: threading.Event, engine: RunningEngine, wait_s: float) -> None:
        gone.wait(wait_s)
        self._end_engine(engine, 0.0)

    def make_room(self, generation: LoadedGeneration) -> None:
        """End a generation's engine, when the answers under way are out or their time is up; waits for that."""
        self._end(generation, self.settings.drain_timeout_s)

    def _end(self, generation: LoadedGeneration, within_s: float) -> None:
        assert generation.engine is not None
        self._end_engine(generation.engine, 0.0 if generation.lost else within_s)

    def _end_engine(self, engine: RunningEngine, within_s: float) -> None:
        engine.retire(within_s)
        _remove(self._running.pop(engine, None))

    def break_off(self) -> None:
        """Wait no more for an engine that begins."""
        self._ending.set()

    def end_all(self) -> None:
        """End all engines at once."""
        for engine in list(self._running):
            engine.retire(0.0)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        with self.metrics.swap_seconds.labels(phase).time():
            yield


def _conduct(outline: PreTrainedModel, longest: int | None) -> Conduct:
    """How a model is to be asked that another program runs: by that program's own ways, up to the lesser limit."""
    limits = [limit for limit in (named_limit(outline.config), longest) if limit]
    return Conduct(longest=min(limits, default=None), rows_together=True)


def _of_name(models: list[KnownModel], name: str) -> KnownModel:
    for model in models:
        if model.name == name:
            return model
    others = ", ".join(model.name for model in models) or "nothing"
    raise BrokenGeneration(f"the engine serves {others}, and not {name}, under which it was started")


def _free_port() -> int:
    with socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _remove(made: Path | None) -> None:
    if made is not None:
        with suppress(OSError):
            shutil.rmtree(made)
