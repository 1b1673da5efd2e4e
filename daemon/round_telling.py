"""What is said at the end of a round: one event with everything, and the metrics that follow from it."""

import math
from typing import Any

import structlog

from daemon import knowledge
from daemon.cycle import DRY_RUN
from daemon.metrics import DaemonMetrics
from daemon.round_conclusion import Conclusion
from learner.forgetting import Flips
from learner.plausibility import summarise
from learner.report import Report
from memory.records import Round, ScoreRow
from memory.store import Store

log = structlog.get_logger(__name__)


def tell(metrics: DaemonMetrics, store: Store, number: int, conclusion: Conclusion, *, now: float) -> None:
    """Log the round's one event and count it."""
    round_ = store.round(number)
    log.info("round_ended", **_facts(round_, conclusion, now))
    metrics.rounds.labels(round_.trigger, conclusion.state.value).inc()
    metrics.round_seconds.labels("total").observe(max(0.0, now - round_.begun_at))
    metrics.last_round_ended.labels(conclusion.state.value).set(now)
    if conclusion.verdict is not None and round_.trigger != DRY_RUN:
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
    for gauge in (metrics.score, metrics.accuracy, metrics.macro_f1):
        gauge.clear()
    for row in rows:
        if row.generation in kept:
            _show_score(metrics, row)


def _show_score(metrics: DaemonMetrics, row: ScoreRow) -> None:
    for gauge, value in (
        (metrics.score, row.score.mean_nll),
        (metrics.accuracy, row.score.accuracy),
        (metrics.macro_f1, row.score.macro_f1),
    ):
        if value is not None:
            gauge.labels(str(row.generation), row.slice).set(value)


def _of_report(metrics: DaemonMetrics, report: Report, conclusion: Conclusion) -> None:
    mean = summarise(report.prequential).overall.mean_nll
    if math.isfinite(mean):
        metrics.prequential.set(mean)
    if report.training is not None:
        metrics.training_memory.set(report.training.peak_memory_bytes)
        metrics.tokens.labels("new").inc(report.training.tokens_new)
        metrics.tokens.labels("replayed").inc(report.training.tokens_replayed)
    if (flips := _flips(conclusion)) is not None:
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
    if (flips := _flips(conclusion)) is not None:
        facts |= {"flipped_worse": round(flips.worse, 4), "flipped_better": round(flips.better, 4)}
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


def _flips(conclusion: Conclusion) -> Flips | None:
    """Of the candidate that was accepted, or came nearest; None where none was judged."""
    if conclusion.report is None or conclusion.verdict is None or conclusion.verdict.candidate is None:
        return None
    return knowledge.flips(conclusion.report, conclusion.verdict.candidate)
