"""What the daemon shows of rounds, the gate, serving and its own parts.

Counters begin at 0, not at their first event, whose rise nobody would see.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from daemon.lifecycle.supervisor import Health, State
from daemon.processes.learner import LearnerEnding
from daemon.rounds.current import ROUND_PHASES, PhaseWork
from daemon.rounds.decision import DRY_RUN, Trigger
from gate.verdict import Decision
from memory.ledger.states import RoundState

LOSS_TERMS = frozenset({"new", "replay", "kl", "logits"})
PHASES = ("draw", "learner", "judge", "total")
OUTCOMES = (
    RoundState.ACCEPTED,
    RoundState.REFUSED,
    RoundState.WAITING,
    RoundState.FAILED,
    RoundState.ABANDONED,
)
ROUND_SECONDS = (1, 5, 15, 60, 300, 900, 3_600, 4 * 3_600)


class DaemonMetrics:
    """Counters and gauges that the daemon sets itself; live state is read at each scrape by `LiveState`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rounds(registry)
        self._training(registry)
        self.serving_replaced = Counter(
            "riverkeep_serving_replaced",
            "Serving processes that ended or had to be ended while the service ran, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in ("ended", "broken", "silent"):
            self.serving_replaced.labels(reason)
        self._begin()

    def _begin(self) -> None:
        for outcome in OUTCOMES:
            for trigger in (*Trigger, DRY_RUN):
                self.rounds.labels(trigger, outcome)
        for phase in PHASES:
            self.round_seconds.labels(phase)
        for decision in get_args(Decision):
            self.gate_verdicts.labels(decision)
        for ending in LearnerEnding:
            self.learner_ends.labels(ending)
        for kind in ("new", "replayed"):
            self.tokens.labels(kind)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Show what the learner says of a step; what cannot be understood is passed over."""
        if event.get("event") != "step":
            return
        losses = event.get("losses")
        if isinstance(losses, dict):
            for term in LOSS_TERMS & losses.keys():
                loss = losses[term]
                self.loss.labels(term).set(loss if isinstance(loss, int | float) else math.nan)
        if isinstance(penalty := event.get("penalty"), int | float):
            self.loss.labels("penalty").set(penalty)
        if isinstance(speed := event.get("tokens_per_second"), int | float):
            self.tokens_per_second.set(speed)
        if isinstance(peak := event.get("memory_bytes"), int | float):
            self.training_memory.set(peak)

    def _rounds(self, registry: CollectorRegistry) -> None:
        self.rounds = Counter(
            "riverkeep_rounds",
            "Rounds that ended, by what began them.",
            ["trigger", "outcome"],
            registry=registry,
        )
        self.round_seconds = Histogram(
            "riverkeep_round_seconds",
            "Duration of a round: of its draw, its learner, its judging with what follows, and in total.",
            ["phase"],
            buckets=ROUND_SECONDS,
            registry=registry,
        )
        self.gate_verdicts = Counter(
            "riverkeep_gate_verdicts",
            "What the gate said of a round; dry runs do not count.",
            ["verdict"],
            registry=registry,
        )
        self.learner_ends = Counter(
            "riverkeep_learner_ends", "How learner processes ended.", ["ending"], registry=registry
        )

    def _training(self, registry: CollectorRegistry) -> None:
        self.loss = Gauge(
            "riverkeep_training_loss_nats",
            "Loss terms of the latest training step, nats per token; of a classifier per document.",
            ["term"],
            registry=registry,
        )
        self.tokens_per_second = Gauge(
            "riverkeep_training_tokens_per_second", "Speed of the latest training steps.", registry=registry
        )
        self.training_memory = Gauge(
            "riverkeep_training_memory_bytes",
            "Largest memory so far of the learner that runs, or ran last.",
            registry=registry,
        )
        self.tokens = Counter(
            "riverkeep_trained_tokens", "Tokens trained on, new and replayed.", ["kind"], registry=registry
        )


@dataclass(frozen=True, slots=True)
class Live:
    """What is read when Prometheus asks.

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
        yield _gauge("riverkeep_round_in_progress", "1 while a round runs.", live.round_number is not None)
        yield _gauge(
            "riverkeep_memory_usable",
            "0 while the database cannot be read or written: reading and rounds wait, serving goes on.",
            live.memory_usable,
        )
        yield _gauge("riverkeep_round_step", "Optimizer steps of the round in progress.", live.round_step)
        yield _gauge("riverkeep_round_steps", "Optimizer steps that it will take.", live.round_steps)
        phase = GaugeMetricFamily("riverkeep_round_phase", "1 for what the round in progress does.", labels=["phase"])
        for one in ROUND_PHASES:
            phase.add_metric([one], float(one == live.round_phase))
        yield phase
        work = live.round_work
        optional: Mapping[str, tuple[str, float | None]] = {
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
        }
        for name, (what, value) in optional.items():
            if value is not None:
                yield _gauge(name, what, value)


def _parts(healths: Iterable[Health]) -> Iterable[Metric]:
    state = GaugeMetricFamily(
        "riverkeep_part_state", "1 for the state that a part of the service is in.", labels=["part", "state"]
    )
    failures = GaugeMetricFamily("riverkeep_part_failures", "How often in a row a part broke.", labels=["part"])
    for health in healths:
        failures.add_metric([health.name], health.failures)
        for one in State:
            state.add_metric([health.name, one.value], float(one is health.state))
    yield state
    yield failures


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=float(value))
