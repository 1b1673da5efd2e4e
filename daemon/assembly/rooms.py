"""What is kept is opened, and what serves is made to be what the ledger says, before anybody uses either."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from checkpoints.generation_store import GenerationStore
from checkpoints.metrics import CheckpointsMetrics
from daemon import logs
from daemon.assembly.launch import Launch, Shared
from daemon.held_out_keys import ask_for_held_out
from daemon.lifecycle.database_watch import MemoryWatch
from daemon.lifecycle.lock import StateLock
from daemon.processes.base import ensure_base
from daemon.rounds.directories import Rooms
from daemon.rounds.pointer_repair import reconcile_pointer
from daemon.rounds.unknown_generations import take_up_unknown
from daemon.settings.in_force import SettingsInForce
from daemon.sizes.sequence_length import length_of
from daemon.skills import keep_skills_out
from gate.metrics import KnowledgeMetrics
from memory.metrics import MemoryMetrics
from memory.store import Store


@dataclass(frozen=True, slots=True)
class OpenedRooms:
    """What is kept, where, and who watches whether it can be used."""

    rooms: Rooms
    memory: MemoryWatch
    take_up: "TakeUp"

    def problem(self) -> str:
        """What is wrong with the generation that serves; empty when nothing is."""
        return self.take_up.problem_of(self.memory.serving)


class TakeUp:
    """Called with each database that was opened: sees that what serves is what that says."""

    def __init__(
        self,
        rooms: Rooms,
        settings: SettingsInForce,
        environment: Mapping[str, str],
        *,
        tell: Callable[[str], None],
        must_stop: Callable[[], bool],
    ) -> None:
        self._rooms = rooms
        self._settings = settings
        self._environment = environment
        self._tell = tell
        self._must_stop = must_stop
        self._problem = ""
        self._problem_of: int | None = None

    def __call__(self) -> None:
        """Import the base once, know again what the database does not know, move the pointer, say what to hold out."""
        store, checkpoints, settings = self._rooms.store, self._rooms.checkpoints, self._settings.now
        if store.generations.serving() is None:
            self._tell(f"it imports {settings.model.path} as generation 0, once, which takes a large model minutes")
        ensure_base(
            store,
            checkpoints,
            settings.model,
            self._environment,
            length=lambda: length_of(settings, store.counts()),
            must_stop=self._must_stop,
        )
        self._settings.complete()
        settings = self._settings.now
        take_up_unknown(self._rooms)
        ask_for_held_out(store, settings)
        keep_skills_out(store, settings)
        self._problem, self._problem_of = reconcile_pointer(store, checkpoints), store.generations.serving()

    def problem_of(self, serving: int | None) -> str:
        """What was wrong with the files of that generation; a rollback or an accepted round leaves it behind."""
        return self._problem if serving == self._problem_of else ""


def open_rooms(stack: ExitStack, launch: Launch, shared: Shared, lock: StateLock) -> OpenedRooms:
    """Open the checkpoints and the memory; the memory is closed with the stack.

    Raises:
        StoreError, DaemonError, CheckpointsError: the memory cannot be opened, and nothing may serve without it.
    """
    settings, registry = launch.settings, shared.registry
    checkpoints = GenerationStore(settings.checkpoints_dir, metrics=CheckpointsMetrics(registry), clock=launch.clock)
    # First, as what a crash left half written takes room that the rest may need.
    checkpoints.sweep()
    # What serves was led to by a memory: where that is missing, a new one would forget it without a word.
    has_served = checkpoints.pointer_path.exists()
    store = stack.enter_context(
        Store.unopened(settings.database, settings.memory, clock=launch.clock, make=not has_served)
    )
    MemoryMetrics(registry, store)
    registry.register(KnowledgeMetrics(store))
    rooms = Rooms(store, checkpoints, settings.rounds_dir)
    take_up = TakeUp(
        rooms,
        shared.settings,
        launch.child_environment(),
        tell=lock.tell,
        must_stop=lambda: shared.shutdown.begun,
    )
    memory = MemoryWatch(store, take_up)
    memory.begin(may_wait=has_served)
    logs.carry(generation=memory.serving)
    return OpenedRooms(rooms, memory, take_up)
