"""The service's parts: in which order they begin, which of them is vital, and when one counts as stuck."""

from collections.abc import Callable, Iterator

from daemon.assembly.launch import Shared
from daemon.assembly.loops import Loops
from daemon.assembly.rooms import OpenedRooms
from daemon.ingestion.erasure_desk import TombstoneDesk
from daemon.lifecycle.supervised_threads import Part, Supervisor
from daemon.processes.serving_process import drain_seconds
from daemon.settings.lifecycle import LifecycleSettings
from daemon.settings.tree import Settings
from streams.backoff import Backoff

SERVING = "serving"

Target = Callable[[Part], None]


def make_supervisor(
    settings: Settings,
    shared: Shared,
    opened: OpenedRooms,
    loops: Loops,
    apply_tombstones: Callable[[bool], object],
) -> Supervisor:
    """The parts, to be started in their order and ended in reverse; what serves last of all.

    Args:
        apply_tombstones: see `TombstoneDesk`.
    """
    supervisor = Supervisor(
        tuple(_parts(settings, shared, opened, loops, apply_tombstones)),
        seconds_left=shared.deadline.seconds_left,
        # Requests are answered while the round has its time to finish.
        last=(SERVING,),
        last_seconds=drain_seconds(settings),
        why_left=shared.deadline.why_left,
    )
    shared.watchers.join(supervisor)
    return supervisor


def admin_part(settings: LifecycleSettings) -> Callable[[Target], Part]:
    """Makes the part that answers at the admin surface.

    One that hangs is no reason to stop answers: its stacks are logged, and `riverkeep_part_state` tells.
    """

    def make(target: Target) -> Part:
        return Part("admin", target, backoff=_backoff(settings), stuck_seconds=settings.stuck_seconds, vital=False)

    return make


def _parts(
    settings: Settings,
    shared: Shared,
    opened: OpenedRooms,
    loops: Loops,
    apply_tombstones: Callable[[bool], object],
) -> Iterator[Part]:
    stuck_seconds, waits = settings.lifecycle.stuck_seconds, opened.memory.waits

    def part(name: str, target: Target, *, stuck_seconds: float | None = None, vital: bool = True) -> Part:
        return Part(
            name,
            target,
            backoff=_backoff(settings.lifecycle),
            stuck_seconds=stuck_seconds,
            vital=vital,
            patience=shared.patience,
        )

    yield part("memory", opened.memory.run, vital=False)
    if loops.serving is not None:
        yield part(SERVING, loops.serving.run)
    if loops.times is not None:
        yield part("serving_times", loops.times.run, vital=False)
    if loops.ingest is not None:
        yield part("ingest", waits(loops.ingest.run), stuck_seconds=stuck_seconds)
        if _tombstones_may_come(settings, opened):
            desk = TombstoneDesk(opened.rooms.store.people.tombstones_wait, apply_tombstones)
            yield part("tombstones", waits(desk.run), vital=False)
    if loops.dead_letters is not None:
        yield part("dead_letters", waits(loops.dead_letters.run), stuck_seconds=stuck_seconds, vital=False)
    yield part("feedback", waits(loops.feedback.run), stuck_seconds=stuck_seconds, vital=False)
    # The loop is silent while it draws, judges and publishes: minutes with a large model on a slow disk, but less
    # than the learner may take, which reads and writes the same files and computes besides.
    longest = max(settings.lifecycle.round_seconds, stuck_seconds)
    yield part("rounds", waits(loops.rounds.run), stuck_seconds=longest, vital=False)


def _tombstones_may_come(settings: Settings, opened: OpenedRooms) -> bool:
    erases = any(topic.on_tombstone == "erase" for topic in settings.streams.topics)
    # What waits in a memory that cannot be read yet is not known.
    return bool(erases or opened.memory.trouble or opened.rooms.store.people.tombstones_wait())


def _backoff(lifecycle: LifecycleSettings) -> Backoff:
    return Backoff(lifecycle.backoff_first_seconds, lifecycle.backoff_longest_seconds)
