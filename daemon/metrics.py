"""What the daemon counts and sets of rounds, the gate and serving.

Counters begin at 0, not at their first event, whose rise nobody would see.
"""

import math
from importlib.metadata import version
from platform import python_version
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from daemon.processes.comparison_process import ComparisonEnding
from daemon.processes.learner import LearnerEnding
from daemon.rounds.begin_or_wait import DRY_RUN, Trigger
from gate.verdict import Decision
from learner.directory.progress_event import ProgressEvent
from memory.ledger.states import RoundState

LOSS_TERMS = frozenset({"new", "replay", "kl", "logits"})
SAVES = {"saved": "saved", "not_saved": "failed"}
"""What a learner says of a save, and how it is counted."""
PHASES = ("draw", "learner", "judge", "total")
OUTCOMES = (
    RoundState.ACCEPTED,
    RoundState.REFUSED,
    RoundState.WAITING,
    RoundState.FAILED,
    RoundState.ABANDONED,
)
UNPROVEN = "unproven"
"""Of a round that judged again: refused, for want of evidence alone."""
ROUND_SECONDS = (1, 5, 15, 60, 300, 900, 3_600, 4 * 3_600)


class DaemonMetrics:
    """Counters and gauges that the daemon sets itself; see `daemon.assembly.live_metrics` for what is read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        Gauge(
            "riverkeep_build_info",
            "1, by the version of Riverkeep and of Python that the daemon runs.",
            ["version", "python"],
            registry=registry,
        ).labels(version("riverkeep"), python_version()).set(1)
        self._rounds(registry)
        self._training(registry)
        self.serving_replaced = Counter(
            "riverkeep_serving_replaced",
            "Serving processes that ended or had to be ended while the service ran, by reason.",
            ["reason"],
            registry=registry,
        )
        self.canaries = Counter(
            "riverkeep_canaries",
            "Generations that were watched in traffic, by what came of it by itself.",
            ["outcome"],
            registry=registry,
        )
        self.comparisons = Counter(
            "riverkeep_comparisons",
            "Prompts that two generations were to answer side by side, by what came of it.",
            ["outcome"],
            registry=registry,
        )
        for came_of_it in ComparisonEnding:
            self.comparisons.labels(came_of_it)
        for outcome in ("promoted", "rolled_back"):
            self.canaries.labels(outcome)
        for reason in ("ended", "broken", "silent"):
            self.serving_replaced.labels(reason)
        self._begin()

    def _begin(self) -> None:
        for outcome in OUTCOMES:
            for trigger in (*Trigger, DRY_RUN):
                self.rounds.labels(trigger, outcome)
        for ended in (*OUTCOMES, UNPROVEN):
            self.judged_again.labels(ended)
        for phase in PHASES:
            self.round_seconds.labels(phase)
        for decision in get_args(Decision):
            self.gate_verdicts.labels(decision)
        for ending in LearnerEnding:
            self.learner_ends.labels(ending)
        for outcome_of_save in SAVES.values():
            self.saves.labels(outcome_of_save)
        for kind in ("new", "replayed"):
            self.tokens.labels(kind)

    def hear(self, event: ProgressEvent) -> None:
        """Show what the learner says of a step, and count how often it saved the round."""
        if event.event in SAVES:
            self.saves.labels(SAVES[event.event]).inc()
        if event.event != "step":
            return
        losses = event.losses or {}
        # Names become label values, of which Prometheus keeps a series each: none but the known.
        for term in LOSS_TERMS & losses.keys():
            loss = losses[term]
            self.loss.labels(term).set(math.nan if loss is None else loss)
        if event.penalty is not None:
            self.loss.labels("penalty").set(event.penalty)
        if event.tokens_per_second is not None:
            self.tokens_per_second.set(event.tokens_per_second)
        if event.memory_bytes is not None:
            self.training_memory.set(event.memory_bytes)

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
        self.judged_again = Counter(
            "riverkeep_judged_again",
            "Rounds that judged again, on more text, what an earlier one had trained and could not prove, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.learner_ends = Counter(
            "riverkeep_learner_ends", "How learner processes ended.", ["ending"], registry=registry
        )

        self.saves = Counter(
            "riverkeep_round_saves",
            "How often rounds under way saved themselves, to go on from there; failed where the disk refused.",
            ["outcome"],
            registry=registry,
        )
        self.gone_on = Counter(
            "riverkeep_rounds_gone_on",
            "How often a round went on from what it had saved, after its learner was killed or the service ended.",
            registry=registry,
        )

    def _training(self, registry: CollectorRegistry) -> None:
        self.micro_batch_ratio = Gauge(
            "riverkeep_micro_batch_ratio",
            "What memory leaves of the micro-batch that is set, 0 to 1: below 1 the latest round was tried with a "
            "smaller one, as `riverkeep status` explains.",
            registry=registry,
        )
        self.micro_batch_ratio.set(1)
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
