"""What is said at the end of a round: one event with everything, and the counters that follow from it."""

from collections.abc import Mapping
from typing import Any

import structlog

from daemon.metrics import UNPROVEN, DaemonMetrics
from daemon.rounds.begin_or_wait import DRY_RUN
from daemon.rounds.conclusion import Conclusion
from gate.round_figures import RoundFigures
from memory.ledger.records import Round
from memory.ledger.states import RoundState
from memory.store import Store

log = structlog.get_logger(__name__)


def tell(metrics: DaemonMetrics, store: Store, number: int, conclusion: Conclusion, *, now: float) -> Mapping[str, Any]:
    """Log the round's one event and count it; what was said in it."""
    round_ = store.rounds.read(number)
    facts = _facts(round_, conclusion, now)
    log.info("round_ended", **facts)
    metrics.rounds.labels(round_.trigger, conclusion.state.value).inc()
    # A clock set back meanwhile must not lower the histogram's sum, which Prometheus takes for a restart.
    metrics.round_seconds.labels("total").observe(max(0.0, now - round_.begun_at))
    if conclusion.verdict is not None and round_.trigger != DRY_RUN:
        metrics.gate_verdicts.labels(conclusion.verdict.decision).inc()
    if round_.trained_in is not None:
        metrics.judged_again.labels(_outcome_of_looking_again(conclusion)).inc()
    elif conclusion.figures is not None:
        _count_training(metrics, conclusion.figures)
    return facts


def _outcome_of_looking_again(conclusion: Conclusion) -> str:
    unproven = conclusion.verdict is not None and conclusion.verdict.unproven
    return UNPROVEN if unproven and conclusion.state is RoundState.REFUSED else conclusion.state.value


def _count_training(metrics: DaemonMetrics, figures: RoundFigures) -> None:
    if figures.training is not None:
        metrics.training_memory.set(figures.training.peak_memory_bytes)
        metrics.tokens.labels("new").inc(figures.training.tokens_new)
        metrics.tokens.labels("replayed").inc(figures.training.tokens_replayed)


def _facts(round_: Round, conclusion: Conclusion, now: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "state": conclusion.state.value,
        "outcome": outcome_of(round_),
        "reason": conclusion.detail,
        "trigger": round_.trigger,
        "duration_seconds": round(now - round_.begun_at, 1),
        "fresh_samples": round_.fresh_samples,
        "fresh_tokens": round_.fresh_tokens,
        "replay_samples": round_.replay_samples,
        "released_from": round_.released_from,
        "trained_in": round_.trained_in,
    }
    if conclusion.generation is not None:
        facts["generation"] = conclusion.generation
    if conclusion.verdict is not None:
        facts["decision"] = conclusion.verdict.decision
        facts["candidate"] = conclusion.verdict.candidate
    flips = None if conclusion.figures is None else conclusion.figures.flips
    if flips is not None:
        facts |= {"flipped_worse": round(flips.worse, 4), "flipped_better": round(flips.better, 4)}
    if conclusion.figures is not None and conclusion.figures.training is not None:
        training = conclusion.figures.training
        facts |= {
            "device": conclusion.figures.device,
            "steps": training.steps,
            "tokens_new": training.tokens_new,
            "tokens_touched": training.tokens_touched,
            "tokens_drawn": training.tokens_drawn,
            "tokens_replayed": training.tokens_replayed,
            "tokens_per_second": round(training.tokens_per_second, 1),
            "losses": dict(training.losses),
            "peak_memory_bytes": training.peak_memory_bytes,
        }
        notes = {
            "replay_note": training.replay_note,
            "checkpointing_note": training.checkpointing_note,
            "compile_note": training.compile_note,
            "moments_note": training.moments_note,
            "merge_note": training.merge_note,
        }
        facts |= {name: note for name, note in notes.items() if note}
    return facts


WOULD = {"accept": "be accepted", "refuse": "be refused", "wait": "wait"}


def outcome_of(round_: Round) -> str:
    """The state, for a person: of a dry run, which ends abandoned whatever the gate says, what it would have become."""
    would = WOULD.get(round_.verdict.get("decision", "")) if round_.trigger == DRY_RUN else None
    return round_.state.value if would is None else f"dry run: would {would}"
