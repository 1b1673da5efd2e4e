"""What is said at the end of a round: one event with everything, and the metrics that follow from it."""

from typing import Any

import structlog

from daemon import knowledge
from daemon.metrics import DaemonMetrics
from daemon.round_conclusion import Conclusion
from learner.forgetting import flip_rate
from learner.report import Report
from memory.records import Round
from memory.store import Store

log = structlog.get_logger(__name__)


def tell(metrics: DaemonMetrics, store: Store, number: int, conclusion: Conclusion, *, now: float) -> None:
    """Log the round's one event and count it."""
    round_ = store.round(number)
    log.info("round_ended", **_facts(round_, conclusion, now))
    metrics.rounds.labels(round_.trigger, conclusion.state.value).inc()
    metrics.round_seconds.labels("total").observe(max(0.0, now - round_.begun_at))
    metrics.last_round_ended.labels(conclusion.state.value).set(now)
    if conclusion.verdict is not None:
        metrics.gate_verdicts.labels(conclusion.verdict.decision).inc()
    if conclusion.report is not None:
        _of_report(metrics, conclusion.report, conclusion)
    show_knowledge(metrics, store)


def show_knowledge(metrics: DaemonMetrics, store: Store) -> None:
    """Set R and its measures as the ledger has them; at start, and after each round."""
    serving = store.serving()
    if serving is None:
        return
    rows, generations = store.score_matrix(), store.generations()
    known = knowledge.knowledge(rows, generations, serving)
    for gauge, value in (
        (metrics.forgetting, known.forgetting),
        (metrics.backward_transfer, known.backward_transfer),
        (metrics.forward_transfer, known.forward_transfer),
        (metrics.plasticity, known.plasticity),
    ):
        if value is not None:
            gauge.set(value)
    kept = {generation.number for generation in knowledge.shown(generations, serving)}
    metrics.score.clear()
    for row in rows:
        if row.generation in kept:
            metrics.score.labels(str(row.generation), row.slice).set(row.score.mean_nll)


def _of_report(metrics: DaemonMetrics, report: Report, conclusion: Conclusion) -> None:
    figures = knowledge.summary(report)["prequential"]
    if figures["mean_nll"] is not None:
        metrics.prequential.set(figures["mean_nll"])
    if report.training is not None:
        metrics.training_memory.set(report.training.peak_memory_bytes)
        metrics.tokens.labels("new").inc(report.training.tokens_new)
        metrics.tokens.labels("replayed").inc(report.training.tokens_replayed)
    candidate = conclusion.verdict.candidate if conclusion.verdict is not None else None
    if candidate is not None:
        flips = flip_rate(
            [score for scores in report.slices.values() for score in scores.parent],
            [score for scores in report.slices.values() for score in scores.candidates.get(candidate, ())],
        )
        metrics.flip_rate.labels("worse").set(flips.worse)
        metrics.flip_rate.labels("better").set(flips.better)


def _facts(round_: Round, conclusion: Conclusion, now: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "state": conclusion.state.value,
        "reason": conclusion.detail,
        "trigger": round_.trigger,
        "generation": conclusion.generation,
        "duration_seconds": round(now - round_.begun_at, 1),
        "fresh_samples": round_.fresh_samples,
        "fresh_tokens": round_.fresh_tokens,
        "replay_samples": round_.replay_samples,
        "released_from": round_.released_from,
    }
    if conclusion.verdict is not None:
        facts["decision"] = conclusion.verdict.decision
        facts["candidate"] = conclusion.verdict.candidate
    if conclusion.report is not None and conclusion.report.training is not None:
        training = conclusion.report.training
        facts |= {
            "device": conclusion.report.device,
            "steps": training.steps,
            "tokens_new": training.tokens_new,
            "tokens_replayed": training.tokens_replayed,
            "tokens_per_second": round(training.tokens_per_second, 1),
            "losses": dict(training.losses),
            "peak_memory_bytes": training.peak_memory_bytes,
        }
    return facts
