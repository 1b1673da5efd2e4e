"""What `/metrics` shows of a running service that nobody counts: it is read when Prometheus asks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from daemon.assembly.launch import Shared
from daemon.assembly.loops import Loops
from daemon.assembly.rooms import OpenedRooms
from daemon.lifecycle.supervised_threads import Health, State
from daemon.rounds.current import ROUND_PHASES, PhaseWork
from daemon.settings.tree import Settings
from memory.errors import StoreError
from memory.store import Store


@dataclass(frozen=True, slots=True)
class Live:
    """How a service is now.

    Attributes:
        parts: how each part is.
        round_number: of the round in progress; None between rounds.
        round_phase: what it does.
        round_step: optimizer steps taken.
        round_steps: optimizer steps it will take, 0 while unknown.
        round_work: how much of the phase is done; None where that cannot be counted.
        serving_generation: what the store says should serve; None before the first.
        answering_generation: what the serving process answers from; None when it does not.
        serving_healthy: whether the serving process answers and says that it can go on; None where none is started.
        swap_seconds: how long the latest swap took, from pointer to first answer; None before one.
        fresh_until_round: share of the volume that begins a round, 1 and more where it is reached; None where none is
            set, or while the memory cannot be read.
        rounds_paused: whether a person lets no round begin by itself; None while the memory cannot be read.
        learner_bytes: main memory that the learner holds; 0 between rounds, None where it cannot be seen.
        memory_usable: whether the database can be read and written.
        watch_lasts: how long a generation has been watched in traffic, by the clock on the wall, as a share of the
            deadline; 0 while none is, None while the memory cannot be read.
    """

    parts: tuple[Health, ...]
    round_number: int | None
    round_phase: str
    round_step: int
    round_steps: int
    serving_generation: int | None
    answering_generation: int | None
    swap_seconds: float | None
    fresh_until_round: float | None
    rounds_paused: bool | None = False
    serving_healthy: bool | None = None
    learner_bytes: int | None = 0
    round_work: PhaseWork | None = None
    memory_usable: bool = True
    watch_lasts: float | None = 0.0


class LiveState(Collector):
    """Shows `Live` at each scrape."""

    def __init__(self, read: Callable[[], Live]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask a service that is still being put together."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The gauges, as things are now."""
        live = self._read()
        yield from _parts(live.parts)
        yield from _round(live)
        yield _gauge(
            "riverkeep_memory_usable",
            "0 while the database cannot be read or written: reading and rounds wait, serving goes on.",
            live.memory_usable,
        )
        for name, (what, value) in _where_known(live).items():
            if value is not None:
                yield _gauge(name, what, value)


def read_live(shared: Shared, opened: OpenedRooms, loops: Loops) -> Live:
    """How a service is now, from what its parts say without being kept waiting."""
    progress, status = shared.current.progress, None if loops.serving is None else loops.serving.status
    swap = None if status is None else status.facts.get("swap_seconds")
    settings, store = shared.settings.now, opened.rooms.store
    fresh_until_round, rounds_paused, watch_lasts = what_rounds_wait_for(store, settings)
    return Live(
        parts=shared.watchers.healths(),
        round_number=None if progress is None else progress.number,
        round_phase="" if progress is None else progress.phase,
        round_step=0 if progress is None else progress.step,
        round_steps=0 if progress is None else progress.steps,
        round_work=None if progress is None else progress.work,
        serving_generation=opened.memory.serving,
        answering_generation=None if status is None else status.generation,
        serving_healthy=None if status is None else status.healthy,
        swap_seconds=swap if isinstance(swap, int | float) else None,
        fresh_until_round=fresh_until_round,
        rounds_paused=rounds_paused,
        learner_bytes=loops.learner.resident,
        memory_usable=not opened.memory.trouble,
        watch_lasts=watch_lasts,
    )


def what_rounds_wait_for(store: Store, settings: Settings) -> tuple[float | None, bool | None, float | None]:
    """How much of a round's volume is fresh, whether rounds are paused, and how much of its time a watch has lasted.

    None of it is known without the memory.
    """
    try:
        counts, pause, canary = store.counts(), store.rounds.paused(), store.canaries.watched()
    except StoreError:
        return None, None, None
    lasts = 0.0 if canary is None else max(0.0, store.file.clock() - canary.since)
    return (
        settings.triggers.share_of_volume(counts.fresh_samples, counts.fresh_tokens),
        pause is not None,
        lasts / settings.serving.canary.deadline_seconds,
    )


def _round(live: Live) -> Iterable[Metric]:
    yield _gauge("riverkeep_round_in_progress", "1 while a round runs.", live.round_number is not None)
    yield _gauge("riverkeep_round_step", "Optimizer steps of the round in progress.", live.round_step)
    yield _gauge("riverkeep_round_steps", "Optimizer steps that it will take.", live.round_steps)
    phase = GaugeMetricFamily("riverkeep_round_phase", "1 for what the round in progress does.", labels=["phase"])
    for name in ROUND_PHASES:
        phase.add_metric([name], float(name == live.round_phase))
    yield phase


def _where_known(live: Live) -> Mapping[str, tuple[str, float | None]]:
    """Gauges that are shown only while their value is known, with what they are."""
    work = live.round_work
    return {
        "riverkeep_round_phase_done_ratio": (
            "How much of what the round does now is done, 0 to 1.",
            None if work is None else work.done / work.of,
        ),
        "riverkeep_round_phase_left_seconds": (
            "When what the round does now ends, at its speed so far.",
            None if work is None else work.seconds_left,
        ),
        "riverkeep_ledger_generation": (
            "The generation that should serve, by the ledger; what answers is riverkeep_serving_generation.",
            live.serving_generation,
        ),
        "riverkeep_answering_generation": (
            "The generation that the daemon's own serving process answers from, as it last said.",
            live.answering_generation,
        ),
        "riverkeep_answering_healthy": (
            "1 while the daemon's own serving process answers and says that it can go on.",
            live.serving_healthy,
        ),
        "riverkeep_last_swap_seconds": ("How long the latest swap took.", live.swap_seconds),
        "riverkeep_learner_resident_bytes": (
            "Main memory that the learner's process holds now; 0 between rounds.",
            live.learner_bytes,
        ),
        "riverkeep_trigger_volume_ratio": (
            "Fresh text as a share of the volume that begins a round.",
            live.fresh_until_round,
        ),
        "riverkeep_rounds_paused": (
            "1 while no round begins by itself, by a person's word.",
            live.rounds_paused,
        ),
        "riverkeep_canary_watch_ratio": (
            "How long a generation has been watched in traffic, in deadlines (`serving.canary`); 0: none is.",
            live.watch_lasts,
        ),
    }


def _parts(healths: Iterable[Health]) -> Iterable[Metric]:
    state = GaugeMetricFamily(
        "riverkeep_part_state", "1 for the state that a part of the service is in.", labels=["part", "state"]
    )
    failures = GaugeMetricFamily("riverkeep_part_failures", "How often in a row a part broke.", labels=["part"])
    for health in healths:
        failures.add_metric([health.name], health.failures)
        for possible in State:
            state.add_metric([health.name, possible.value], float(possible is health.state))
    yield state
    yield failures


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=float(value))
