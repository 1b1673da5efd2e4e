"""One engine for each generation: a program started beside the one that answers, asked who it is, and ended later."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from checkpoints.adapters.ground import Ground, is_adapter, rank_of, read_ground
from checkpoints.export import export_generation
from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import ModelKind
from serving.engine.loaded import LoadedGeneration
from serving.engine.running import Ending, RunningEngine
from serving.errors import BrokenGeneration
from serving.generations.comparing import require_alike
from serving.generations.departures import Departures
from serving.generations.outlined import outlined
from serving.generations.verifying import verify
from serving.metrics import ServingMetrics
from serving.processes.asking import KnownModel
from serving.processes.launch import served_name
from serving.processes.program import Program
from serving.processes.shared_program import AdapterRefused, ProgramEnded, SharedProgram
from serving.settings import ServingSettings

_log = structlog.get_logger(__name__)

TELL_TOKENS: Final = ("vllm", "sglang")
TELL_PROGRESS: Final = ("vllm",)
"""Of others it is not known that they count tokens while an answer is written."""
VLLM_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What its `--max-lora-rank` may be."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is to answer from a generation.

    Attributes:
        program: that does.
        ending: what ends with the generation's last answer: the program, or an adapter's place in it.
        name: of the generation there.
        model: the directory that says what it is to answer.
        made: a directory that goes with it.
    """

    program: Program
    ending: Ending
    name: str
    model: Path
    made: Path | None


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
    _shared: dict[int, SharedProgram] = field(default_factory=dict)
    _departures: Departures = field(default_factory=Departures)

    def fits_beside(self, number: int, beside: LoadedGeneration, /) -> bool:
        """Whether a generation is brought in while another answers: always where both are adapters in one engine."""
        if self.settings.engine_process.two_at_once:
            return True
        ground = self._ground(number)
        return ground is not None and ground == self._ground(beside.number) and self._takes(ground, number)

    def _ground(self, number: int) -> int | None:
        """The generation that an adapter in an engine lies on."""
        if self.settings.engine != "vllm":
            return None
        ground = read_ground(self.store.path(number))
        return None if ground is None else ground.generation

    def _takes(self, ground: int, number: int) -> bool:
        shared = self._shared.get(ground)
        return shared is not None and shared.takes(rank_of(self.store.path(number)))

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
            return outlined(
                self.store,
                number,
                self.kind,
                beside,
                engine=engine,
                longest=known.longest,
                loaded_at=self.clock(),
            )

    @contextmanager
    def _engine(self, number: int) -> Iterator[tuple[RunningEngine, KnownModel]]:
        """An engine that is ready; ended where what is done with it fails."""
        begun = self._begin(number)
        try:
            known = begun.program.until_ready(begun.name, self._ending)
            self._compare(begun, number)
            running = RunningEngine(
                begun.program.url,
                begun.name,
                begun.program.key,
                begun.ending,
                self.settings.pass_timeout_s,
                tells_tokens=self.settings.engine in TELL_TOKENS,
                tells_progress=self.settings.engine in TELL_PROGRESS,
            )
            yield running, known
            self._running[running] = begun.made
        except BaseException:
            begun.ending.end()
            _remove(begun.made)
            raise

    def _begin(self, number: int) -> "_Begun":
        """Something that answers from a generation, or is about to."""
        path = self.store.path(number)
        ground = read_ground(path) if self.settings.engine == "vllm" else None
        if ground is not None:
            try:
                return self._put_in(number, ground)
            except AdapterRefused as error:
                _log.warning(
                    "adapter_not_put_in",
                    generation=number,
                    reason=str(error),
                    consequence="it is written out as a whole model, in an engine of its own",
                )
        return self._on_its_own(number)

    def _on_its_own(self, number: int) -> "_Begun":
        """A program that has one generation, as a whole model."""
        model, made = self._whole(number)
        name = served_name(self.settings.model_name, number)
        try:
            program = Program(self.settings, model, name, self.home / f"generation-{number}.log")
        except BaseException:
            _remove(made)
            raise
        return _Begun(program, program.process, name, model, made)

    def _put_in(self, number: int, ground: Ground) -> "_Begun":
        """An adapter in a program on its ground, which may run already."""
        path, name = self.store.path(number), served_name(self.settings.model_name, number)
        rank, within_s = rank_of(path), self.settings.request_timeout_s
        shared = self._shared_on(ground.generation, rank)
        try:
            inside = shared.put_in(name, path.resolve(), within_s)
        except ProgramEnded:
            # With its last adapter, just now: that is no refusal.
            shared = self._shared_on(ground.generation, rank)
            inside = shared.put_in(name, path.resolve(), within_s)
        return _Begun(shared.program, inside, name, path, None)

    def _shared_on(self, ground: int, rank: int) -> SharedProgram:
        shared = self._shared.get(ground)
        if shared is not None and shared.takes(rank):
            return shared
        # Twice as wide: an adapter grows with each round, and a wider one needs another program.
        most = min((each for each in VLLM_RANKS if each >= 2 * rank), default=VLLM_RANKS[-1])
        if rank > most:
            raise AdapterRefused(f"its rank is {rank}, and vLLM takes none above {most}")
        model, name = self.store.path(ground), f"{served_name(self.settings.model_name, ground)}-ground"
        output = self.home / f"ground-{ground}-rank-{most}.log"
        program = Program(self.settings, model, name, output, adapter_rank=most)
        try:
            program.until_ready(name, self._ending)
        except BaseException:
            program.process.end()
            raise
        shared = self._shared[ground] = SharedProgram(program)
        return shared

    def _whole(self, number: int) -> tuple[Path, Path | None]:
        """A directory that holds the generation as a whole model; and it again where it was made for that."""
        path = self.store.path(number)
        if not is_adapter(path):
            return path, None
        target = self.home / f"whole-{number}-{secrets.token_hex(4)}"
        export_generation(self.store, number, target, self.kind)
        return target, target

    def _compare(self, begun: "_Begun", number: int) -> None:
        bound = self.settings.engine_process.max_difference
        with self._timed("compare"), begun.program.client(self.settings.request_timeout_s) as client:
            require_alike(
                client,
                begun.name,
                number,
                begun.model,
                bound=bound,
                must_tell=self.settings.engine == "vllm",
                tells_tokens=self.settings.engine in TELL_TOKENS,
            )

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
        wait_s = 0.0 if generation.lost else self.settings.request_timeout_s
        self._departures.begin(generation, wait_s, lambda engine: self._end_engine(engine, 0.0))

    def take_back(self, generation: LoadedGeneration, /) -> bool:
        """Have a generation's engine stay that was to end with the last who holds the generation."""
        return self._departures.call_off(generation)

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


def _remove(made: Path | None) -> None:
    if made is not None:
        with suppress(OSError):
            shutil.rmtree(made)
