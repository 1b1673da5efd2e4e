"""The service: in which order it begins and ends, its main loop, and what a reload takes over."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from daemon import logs
from daemon.admin.token import read_token
from daemon.assembly.disk_space import DiskSpaces
from daemon.assembly.launch import Launch, Shared, make_shared
from daemon.assembly.live_metrics import LiveState, read_live
from daemon.assembly.loops import Loops, make_loops
from daemon.assembly.parts import make_supervisor
from daemon.assembly.rooms import OpenedRooms, open_rooms
from daemon.assembly.surface import AdminSurface, comparison_desk, make_control, open_surface
from daemon.errors import DaemonError
from daemon.exit_codes import ExitCode
from daemon.lifecycle.lock import StateLock
from daemon.lifecycle.replica import replica_id
from daemon.lifecycle.shutdown import StoppedEarly
from daemon.lifecycle.signals import Signals
from daemon.lifecycle.systemd import Notifier
from daemon.processes.children import end_orphans
from daemon.processes.killed_for_memory import share_one_arena
from daemon.rounds.asks_and_schedule import Schedule
from daemon.rounds.begin_or_wait import DRY_RUN, Ask, Trigger
from daemon.rounds.current import RoundProgress
from daemon.settings.load import load
from daemon.settings.mistakes import BadSettings
from daemon.settings.tree import Settings
from memory.errors import StoreError
from memory.store import Store
from serving.tracing.begin import traced

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0


def run(settings: Settings, *, config_file: Path | None = None) -> int:
    """Run the service until SIGTERM or SIGINT; returns the exit status.

    Raises:
        AlreadyRunning: another daemon holds the state directory.
        DaemonError, StoreError, CheckpointsError, ServingError: it cannot start, and why.
    """
    share_one_arena()
    try:
        with running(Launch(settings, config_file)) as service:
            service.main_loop()
    except StoppedEarly:
        log.info("service_stopped", reason="it was told to end before it had begun")
    return ExitCode.OK


@contextmanager
def running(launch: Launch) -> Iterator["Service"]:
    """A service that has begun, and is ended with the block: in reverse order, within one deadline."""
    with ExitStack() as beginning:
        service = _begin(beginning, launch)
        # What fails before this line is closed by `beginning` and raised, without a word of a service that stopped.
        stack = beginning.pop_all()
    try:
        with stack:
            yield service
    finally:
        log.info("service_stopped", seconds_left=round(service.shared.deadline.seconds_left(), 1))


def _begin(stack: ExitStack, launch: Launch) -> "Service":
    """Everything that the service is, in the order in which one thing needs another."""
    settings = launch.settings
    # Before all else, and so closed after it: when every span has ended.
    shared = make_shared(launch, stack.enter_context(traced(settings.tracing, "daemon")))
    # First: to open a large store takes a while, and a stop that comes meanwhile must be heeded.
    signals = stack.enter_context(Signals(shared.shutdown.begin))
    lock = stack.enter_context(StateLock(settings.state_dir, now=launch.clock()))
    lock.tell("it looks after what an earlier start left, and checks the store")
    end_orphans(settings.state_dir)
    owner = replica_id(settings.state_dir)
    opened = open_rooms(stack, launch, shared, lock)
    loops = make_loops(launch, shared, opened, owner=owner)
    schedule = stack.enter_context(
        Schedule(
            settings.triggers,
            shared.asks,
            last_began=lambda: _last_began(opened.rooms.store),
            clock=launch.clock,
        )
    )
    compared = stack.enter_context(comparison_desk(launch, shared))
    control = make_control(launch, shared, opened, loops, compared)
    supervisor = make_supervisor(settings, shared, opened, loops, control.apply_tombstones)
    shared.registry.register(LiveState(lambda: read_live(shared, opened, loops)))
    shared.registry.register(DiskSpaces(settings))
    # Before the parts, and so closed after them: how they begin and how they end can be asked.
    admin = open_surface(stack, launch, shared, control, opened.rooms.store)
    lock.announce(admin.address)
    stack.enter_context(supervisor)
    service = Service(launch, shared, signals, opened, loops, schedule, admin, Notifier(launch.environment))
    # Entered last, so that it comes first at the end.
    stack.callback(service.begin_to_end)
    return service


@dataclass(frozen=True, slots=True)
class Service:
    """A service whose parts run."""

    launch: Launch
    shared: Shared
    signals: Signals
    opened: OpenedRooms
    loops: Loops
    schedule: Schedule
    admin: AdminSurface
    notifier: Notifier

    def main_loop(self) -> None:
        """Wait for signals, watch the parts, tell systemd; returns when the service is to end."""
        shutdown = self.shared.shutdown
        self.notifier.ready(self._sentence())
        log.info("service_ready", admin=self.admin.address)
        while not shutdown.begun:
            self.signals.wait(LOOK_EVERY_SECONDS)
            if self.signals.take(signal.SIGHUP):
                self._reload()
            if self.signals.take(signal.SIGUSR1):
                self.shared.asks.add(Ask(Trigger.BY_HAND, by="SIGUSR1"))
            # A stuck loop is not patted away: systemd then starts the service anew.
            if self.shared.watchers.watch():
                self.notifier.alive()
            self.notifier.status(self._sentence())
        self.notifier.stopping("finishing")
        log.info("service_stopping", grace_seconds=round(shutdown.seconds_left(), 1))

    def begin_to_end(self) -> None:
        """The end begins here when no signal began it: an error, or a test."""
        if not self.shared.shutdown.begun:
            self.shared.shutdown.begin()
        self.shared.asks.wake()
        if self.loops.serving is not None:
            self.loops.serving.announce_end()

    def _reload(self) -> None:
        self.notifier.reloading(time.monotonic_ns() // 1000)
        try:
            settings = load(self.launch.config_file, self.launch.environment, files=True)
        except BadSettings as error:
            self.shared.settings.refuse(error, self.launch.clock())
            log.warning("settings_not_reloaded", reason=str(error))
        else:
            self._take(settings)
        # Also where the settings are wrong: a key that leaked must not stay for that.
        self._reload_secrets()
        self.notifier.ready(self._sentence())

    def _take(self, settings: Settings) -> None:
        """Let settings count from now on, as far as parts that run can take them over."""
        result = self.shared.settings.take(settings)
        logs.configure(level=result.settings.log.level, format=result.settings.log.format)
        self.schedule.change(result.settings.triggers)
        log.info("settings_reloaded", changed=result.changed, need_restart=result.need_restart)

    def _reload_secrets(self) -> None:
        """The admin token, and the serving process's keys; what cannot be read stays as it is."""
        settings = self.launch.settings
        try:
            self.admin.token.text = read_token(settings.admin, settings.state_dir)
        except DaemonError as error:
            log.warning("admin_token_not_reloaded", reason=str(error))
        if self.loops.serving is not None:
            self.loops.serving.reload()

    def _sentence(self) -> str:
        progress, memory = self.shared.current.progress, self.opened.memory
        doing = self.loops.rounds.reason if progress is None else f"round {progress.number}: {_doing(progress)}"
        if memory.trouble:
            doing = "degraded: the memory cannot be used, see `riverkeep status`"
        return f"generation {memory.serving} serves; {doing}"


def _doing(progress: RoundProgress) -> str:
    if progress.waits_for:
        return f"{progress.phase}, waits for {progress.waits_for}"
    return progress.phase if progress.work is None else f"{progress.phase}, {progress.work.sentence()}"


def _last_began(store: Store) -> float | None:
    """When a round last began that was no dry run: that changes nothing, the schedule neither."""
    latest = store.rounds.latest()
    try:
        return next((round_.begun_at for round_ in latest if round_.trigger != DRY_RUN), None)
    except StoreError:
        return None  # rounds wait for the memory anyway
