"""The service: its parts put together, its main loop, and its end."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from checkpoints.generation import GenerationStore
from checkpoints.metrics import CheckpointsMetrics
from daemon import logs
from daemon.admin.app import create_app
from daemon.admin.listener import listening
from daemon.admin.token import Token, ensure_token, read_token
from daemon.control.live import LiveControl, Views
from daemon.control.protocol import Facts
from daemon.errors import DaemonError, ExitCode
from daemon.ingestion.ingest import Ingest, SameStore, why_full
from daemon.ingestion.publish_dead_letters import DeadLetterDesk
from daemon.ingestion.tombstones import TombstoneDesk
from daemon.lifecycle.lock import StateLock
from daemon.lifecycle.memory_watch import MemoryWatch
from daemon.lifecycle.notify import Notifier
from daemon.lifecycle.replica import replica_id
from daemon.lifecycle.shutdown import Shutdown, StoppedEarly
from daemon.lifecycle.signals import Signals
from daemon.lifecycle.supervisor import Backoff, Health, Part, Supervisor
from daemon.metrics import DaemonMetrics, Live, LiveState
from daemon.processes.base import ensure_base
from daemon.processes.children import child_environment, end_orphans
from daemon.processes.learner import LEARNER, LearnerProcess
from daemon.processes.memory import share_one_arena
from daemon.processes.serving import ServingProcess, drain_seconds, serving_process
from daemon.rounds.current import CurrentRound, RoundProgress
from daemon.rounds.decision import DRY_RUN, Ask, Trigger
from daemon.rounds.directories import Rooms
from daemon.rounds.loop import RoundsLoop
from daemon.rounds.promotion import reconcile_pointer
from daemon.rounds.runner import RoundRunner
from daemon.rounds.triggers import Asks, Schedule
from daemon.rounds.unknown_generations import take_up_unknown
from daemon.settings.labels import known_labels
from daemon.settings.load import load, reloaded
from daemon.settings.mistakes import BadSettings
from daemon.settings.tree import Settings
from daemon.tolerant_registry import TolerantRegistry
from gate.metrics import KnowledgeMetrics
from memory.errors import StoreError
from memory.metrics import MemoryMetrics
from memory.store import Store
from serving.door.descriptors import raise_limit
from streams.kafka.publisher import DeadLetterPublisher
from streams.kafka.source import KafkaSource
from streams.metrics import StreamsMetrics

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0
HURRIED = "a second signal: not waiting any longer"


def run(settings: Settings, *, config_file: Path | None = None) -> int:
    """Run the service until SIGTERM or SIGINT; returns the exit status.

    Raises:
        AlreadyRunning: another daemon holds the state directory.
        DaemonError, StoreError, CheckpointsError: it cannot start, and why.
    """
    share_one_arena()
    try:
        with Service(settings, config_file=config_file) as service:
            service.main_loop()
    except StoppedEarly:
        log.info("service_stopped", reason="it was told to end before it had begun")
    return ExitCode.OK


class Service:
    """The parts as a stack of context managers: entered in order, closed in reverse, within one deadline.

    Args:
        config_file: read again on SIGHUP; None: the environment alone.
        learner: the command that runs a round; another one only in tests of learners that misbehave.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        config_file: Path | None = None,
        learner: tuple[str, ...] = LEARNER,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._config_file = config_file
        self._learner = learner
        self._environment = environment
        self._clock = clock
        self._started_at = clock()
        self._stack = ExitStack()
        self._asks = Asks()
        self._current = CurrentRound()
        self._promotion = threading.RLock()
        self._problem = ""
        self._told_of_hurry = False
        self._problem_of: int | None = None
        self._need_restart: tuple[str, ...] = ()
        self._settings_refused: Facts | None = None
        self._notifier = Notifier(environment)
        self._shutdown = Shutdown(
            grace_seconds=settings.lifecycle.grace_seconds,
            round_grace_seconds=min(
                settings.lifecycle.round_grace_seconds, settings.lifecycle.grace_seconds - drain_seconds(settings)
            ),
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._put_together(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        log.info("service_stopped", seconds_left=round(self._seconds_left(), 1))

    def main_loop(self) -> None:
        """Wait for signals, watch the parts, tell systemd; returns when the service is to end."""
        self._notifier.ready(self._sentence())
        log.info("service_ready", admin=self._admin)
        while not self._shutdown.begun:
            self._signals.wait(LOOK_EVERY_SECONDS)
            if self._signals.take(signal.SIGHUP):
                self._reload()
            if self._signals.take(signal.SIGUSR1):
                self._asks.add(Ask(Trigger.BY_HAND, by="SIGUSR1"))
            # A stuck loop is not patted away: systemd then starts the service anew.
            if all(watcher.watch() for watcher in self._watchers):
                self._notifier.alive()
            self._notifier.status(self._sentence())
        self._notifier.stopping("finishing")
        log.info("service_stopping", grace_seconds=round(self._shutdown.seconds_left(), 1))

    def _put_together(self, stack: ExitStack) -> None:
        """Everything that the service is, in the order in which one thing needs another."""
        settings = self.settings
        self._signals = stack.enter_context(Signals(self._shutdown.begin))
        lock = stack.enter_context(StateLock(settings.state_dir, now=self._clock()))
        lock.tell("it looks after what an earlier start left, and checks the store")
        end_orphans(settings.state_dir)
        self._owner = replica_id(settings.state_dir)
        registry = self._registry()
        self._rooms = self._open_rooms(stack, registry, lock)
        parts = self._parts(registry)
        schedule = Schedule(settings.triggers, self._asks, last_began=self._last_began, clock=self._clock)
        self._schedule = stack.enter_context(schedule)
        # Requests are answered while the round has its time to finish.
        self._supervisor = Supervisor(
            parts,
            seconds_left=self._seconds_left,
            last=("serving",),
            last_seconds=drain_seconds(settings),
            why_left=lambda: HURRIED if self._shutdown.hurried else "it did not end within the grace time",
        )
        self._watchers: tuple[Supervisor, ...] = (self._supervisor,)
        registry.register(LiveState(self._live))
        self._token = Token(ensure_token(settings.admin, settings.state_dir))
        self._answering = self._control()
        app = create_app(self._answering, registry, self._token)
        raise_limit()
        admin = stack.enter_context(listening(app, settings.admin, registry=registry, make_part=self._admin_part))
        self._watchers = (self._supervisor, admin.parts)
        self._admin = admin.address
        lock.announce(self._admin)
        stack.enter_context(self._supervisor)
        stack.callback(self._begin_to_end)

    def _registry(self) -> CollectorRegistry:
        registry = TolerantRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._metrics = DaemonMetrics(registry)
        return registry

    def _open_rooms(self, stack: ExitStack, registry: CollectorRegistry, lock: StateLock) -> Rooms:
        settings = self.settings
        checkpoints = GenerationStore(settings.checkpoints_dir, metrics=CheckpointsMetrics(registry), clock=self._clock)
        checkpoints.sweep()
        # What serves was led to by a memory: where that is missing, a new one would forget it without a word.
        has_served = checkpoints.pointer_path.exists()
        store = stack.enter_context(
            Store.unopened(settings.database, settings.memory, clock=self._clock, make=not has_served)
        )
        MemoryMetrics(registry, store)
        registry.register(KnowledgeMetrics(store))
        rooms = Rooms(store, checkpoints, settings.rounds_dir)
        self._memory = MemoryWatch(store, lambda: self._take_up(rooms, lock))
        self._memory.begin(may_wait=has_served)
        logs.carry(generation=self._memory.serving)
        return rooms

    def _take_up(self, rooms: Rooms, lock: StateLock) -> None:
        """See that what serves is what the store says, before anybody else uses it."""
        model = self.settings.model
        if rooms.store.generations.serving() is None:
            lock.tell(f"it imports {model.path} as generation 0, once, which takes a large model minutes")
        ensure_base(
            rooms.store,
            rooms.checkpoints,
            model,
            self._child_environment(),
            must_stop=lambda: self._shutdown.begun,
        )
        take_up_unknown(rooms)
        self._problem, self._problem_of = (
            reconcile_pointer(rooms.store, rooms.checkpoints),
            rooms.store.generations.serving(),
        )

    def _parts(self, registry: CollectorRegistry) -> list[Part]:
        """The loops; those that are not set up are left out."""
        self._ingest: Ingest | None = None
        self._serving: ServingProcess | None = None
        self._rounds = RoundsLoop(
            self._rooms,
            self._runner(),
            self._asks,
            self._current,
            settings=lambda: self.settings,
            shutdown=self._shutdown,
            clock=self._clock,
        )
        parts = [self._part("memory", self._memory.run, vital=False)]
        if self.settings.serving.enabled:
            self._serving = serving_process(
                self.settings,
                self._config_file,
                self._child_environment(),
                replaced=lambda reason: self._metrics.serving_replaced.labels(reason).inc(),
            )
            parts.append(self._part("serving", self._serving.run))
        if self.settings.streams.enabled:
            parts += self._streams(StreamsMetrics(registry))
        # The loop is silent while it draws, judges and publishes: minutes with a large model on a slow disk, but less
        # than the learner may take, which reads and writes the same files and computes besides.
        longest = max(self.settings.lifecycle.round_seconds, self.settings.lifecycle.stuck_seconds)
        return [*parts, self._part("rounds", self._memory.waits(self._rounds.run), stuck_seconds=longest, vital=False)]

    def _streams(self, metrics: StreamsMetrics) -> list[Part]:
        streams, store = self.settings.streams, self._rooms.store
        keep_unpublished = streams.dead_letter_topic is not None
        same, labels = SameStore(store), known_labels(self.settings)

        def open_source() -> KafkaSource:
            same.begin()
            return KafkaSource(streams, store, metrics, self._clock, labels=labels, owner=self._owner)

        self._ingest = Ingest(
            open_source=open_source,
            store=same,
            why_full=lambda: why_full(store, keep_unpublished=keep_unpublished),
            keep_unpublished=keep_unpublished,
        )
        stuck_seconds = self.settings.lifecycle.stuck_seconds
        parts = [self._part("ingest", self._memory.waits(self._ingest.run), stuck_seconds=stuck_seconds)]
        # What waits in a memory that cannot be read yet is not known.
        erases = any(topic.on_tombstone == "erase" for topic in streams.topics)
        if erases or self._memory.trouble or store.people.tombstones_wait():
            erasing = TombstoneDesk(store.people.tombstones_wait, self._apply_tombstones)
            parts.append(self._part("tombstones", self._memory.waits(erasing.run), vital=False))
        if keep_unpublished:
            desk = DeadLetterDesk(store, lambda: DeadLetterPublisher(streams, metrics))
            parts.append(
                self._part("dead_letters", self._memory.waits(desk.run), stuck_seconds=stuck_seconds, vital=False)
            )
        return parts

    def _part(
        self, name: str, target: Callable[[Part], None], *, stuck_seconds: float | None = None, vital: bool = True
    ) -> Part:
        lifecycle = self.settings.lifecycle
        backoff = Backoff(lifecycle.backoff_first_seconds, lifecycle.backoff_longest_seconds)
        return Part(name, target, backoff=backoff, stuck_seconds=stuck_seconds, vital=vital)

    def _admin_part(self, target: Callable[[Part], None]) -> Part:
        # A surface that hangs is no reason to stop answers: its stacks are logged, and `riverkeep_part_state` tells.
        return self._part("admin", target, stuck_seconds=self.settings.lifecycle.stuck_seconds, vital=False)

    def _healths(self) -> tuple[Health, ...]:
        return tuple(health for watcher in self._watchers for health in watcher.healths())

    def _runner(self) -> RoundRunner:
        self._learning = LearnerProcess(
            command=self._learner,
            environment=self._child_environment(),
            nice=self.settings.lifecycle.learner_nice,
        )
        return RoundRunner(
            self._rooms,
            settings=lambda: self.settings,
            learner=self._learning,
            current=self._current,
            metrics=self._metrics,
            promotion=self._promotion,
            clock=self._clock,
            seed=lambda: secrets.randbits(31),
        )

    def _child_environment(self) -> dict[str, str]:
        return child_environment(self.settings.state_dir, self._environment)

    def _control(self) -> LiveControl:
        serving = self._serving
        views = Views(
            parts=self._healths,
            patient=self._supervisor.patient,
            ingest=self._ingest,
            serving=None if serving is None else lambda: serving.status,
            serving_address=None if serving is None else serving.url,
            next_round=lambda: self._rounds.reason,
            problem=self._problem_now,
            memory_trouble=lambda: self._memory.trouble,
            need_restart=lambda: self._need_restart,
            settings_refused=lambda: self._settings_refused,
            started_at=self._started_at,
        )
        return LiveControl(
            self.settings,
            self._rooms.store,
            self._rooms.checkpoints,
            views=views,
            asks=self._asks,
            current=self._current,
            promotion=self._promotion,
        )

    def _apply_tombstones(self, scrub: bool) -> None:
        self._answering.apply_tombstones(scrub)

    def _problem_now(self) -> str:
        """What is wrong with the generation that serves; a rollback or an accepted round leaves it behind."""
        return self._problem if self._memory.serving == self._problem_of else ""

    def _seconds_left(self) -> float:
        """Asked again and again at the end; logs what the signal's handler must not."""
        if self._shutdown.hurried and not self._told_of_hurry:
            self._told_of_hurry = True
            log.warning("service_hurries", reason=HURRIED)
        return self._shutdown.seconds_left()

    def _begin_to_end(self) -> None:
        """The end begins here when no signal began it: an error, or a test."""
        if not self._shutdown.begun:
            self._shutdown.begin()
        self._asks.wake()
        if self._serving is not None:
            self._serving.announce_end()

    def _last_began(self) -> float | None:
        """When a round last began that was no dry run: that changes nothing, the schedule neither."""
        latest = self._rooms.store.rounds.latest()
        try:
            return next((round_.begun_at for round_ in latest if round_.trigger != DRY_RUN), None)
        except StoreError:
            return None  # rounds wait for the memory anyway

    def _reload(self) -> None:
        self._notifier.reloading(time.monotonic_ns() // 1000)
        try:
            result = reloaded(self.settings, load(self._config_file, self._environment, files=True))
        except BadSettings as error:
            self._settings_refused = {"at": self._clock(), "mistakes": [one.as_facts() for one in error.mistakes]}
            log.warning("settings_not_reloaded", reason=str(error))
        else:
            self.settings = result.settings
            self._settings_refused = None
            self._need_restart = result.need_restart
            logs.configure(level=self.settings.log.level, format=self.settings.log.format)
            self._schedule.change(self.settings.triggers)
            log.info("settings_reloaded", changed=result.changed, need_restart=result.need_restart)
        # Also where the settings are wrong: a key that leaked must not stay for that.
        self._reload_secrets()
        self._notifier.ready(self._sentence())

    def _reload_secrets(self) -> None:
        """The admin token, and the serving process's keys; what cannot be read stays as it is."""
        try:
            self._token.text = read_token(self.settings.admin, self.settings.state_dir)
        except DaemonError as error:
            log.warning("admin_token_not_reloaded", reason=str(error))
        if self._serving is not None:
            self._serving.reload()

    def _sentence(self) -> str:
        progress = self._current.progress
        doing = self._rounds.reason if progress is None else f"round {progress.number}: {_doing(progress)}"
        if self._memory.trouble:
            doing = "degraded: the memory cannot be used, see `riverkeep status`"
        return f"generation {self._memory.serving} serves; {doing}"

    def _live(self) -> Live:
        progress, status = self._current.progress, self._serving.status if self._serving else None
        swap = status.facts.get("swap_seconds") if status else None
        fresh_until_round, rounds_paused = self._what_rounds_wait_for()
        return Live(
            parts=self._healths(),
            round_number=None if progress is None else progress.number,
            round_phase="" if progress is None else progress.phase,
            round_step=0 if progress is None else progress.step,
            round_steps=0 if progress is None else progress.steps,
            round_work=None if progress is None else progress.work,
            serving_generation=self._memory.serving,
            answering_generation=None if status is None else status.generation,
            serving_healthy=None if status is None else status.healthy,
            swap_seconds=swap if isinstance(swap, int | float) else None,
            fresh_until_round=fresh_until_round,
            rounds_paused=rounds_paused,
            learner_bytes=self._learning.resident,
            memory_usable=not self._memory.trouble,
        )

    def _what_rounds_wait_for(self) -> tuple[float | None, bool | None]:
        """How much of a round's volume is fresh, and whether rounds are paused; not known without the memory."""
        store, triggers = self._rooms.store, self.settings.triggers
        try:
            counts, pause = store.counts(), store.rounds.paused()
        except StoreError:
            return None, None
        return triggers.share_of_volume(counts.fresh_samples, counts.fresh_tokens), pause is not None


def _doing(progress: RoundProgress) -> str:
    return progress.phase if progress.work is None else f"{progress.phase}, {progress.work.sentence()}"
