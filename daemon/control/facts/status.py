"""How things stand, as far as the store and the settings tell."""

import math
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Final

from checkpoints.errors import CheckpointsError
from daemon.control.answers.status import (
    DiskStanding,
    EvidenceStanding,
    ForgettingStanding,
    LastRoundStanding,
    MemoryStanding,
    MicroBatchStanding,
    MistakeStanding,
    RefusedSettings,
    RollbackStanding,
    ServingStanding,
    StatusAnswer,
)
from daemon.control.facts import feedback
from daemon.control.facts.history import canary_standing
from daemon.control.facts.rounds import erased_text, round_line
from daemon.rounds.judgeable import ForeseenEvidence
from daemon.rounds.out_of_memory import MemoryLimit
from daemon.settings.in_force import RefusedReload
from daemon.settings.mistakes import Mistake
from daemon.settings.tree import Settings, with_kept_length
from gate.ledger_reading import read_ledger
from gate.statistics.bootstrap import Interval
from memory.ledger.records import Rollback, Round
from memory.samples.records import Counts
from memory.store import Store

LAST_ROUNDS: Final = 20
"""Rounds among which the latest that has ended is looked for."""


def status_without_store(state_dir: Path) -> StatusAnswer:
    """How things stand where no store can be read and no daemon runs."""
    return {
        "running": False,
        "version": version("riverkeep"),
        "state_dir": str(state_dir),
        "pid": None,
        "started_at": None,
        "round": None,
        "ingest": None,
        "need_restart": None,
        "settings_refused": None,
        "parts": None,
        "next_round": None,
        "memory": None,
        "serving": _serving(None, None),
        "last_round": None,
        "rollback": None,
        "forgetting": None,
        "canary": None,
        "waiting": [],
        "evidence": [],
        "rounds_paused": None,
        "memory_trouble": "",
        "unknown_generations": [],
        "micro_batch": None,
        "sequence_length": None,
        "kept": "",
        "waiting_labels": [],
        "feedback": None,
        "disk": _disk(state_dir),
    }


def _disk(state_dir: Path) -> DiskStanding | None:
    try:
        usage = shutil.disk_usage(state_dir)
    except OSError:
        return None
    return {"path": str(state_dir), "free_bytes": usage.free, "total_bytes": usage.total}


def status(store: Store, state_dir: Path) -> StatusAnswer:
    """`status_without_store`, with what the store knows."""
    serving, pause, rollback = store.generations.serving(), store.rounds.paused(), store.generations.last_rollback()
    ended = (round_ for round_ in store.rounds.listed(limit=LAST_ROUNDS) if round_.ended_at is not None)
    last = next(ended, None)
    return status_without_store(state_dir) | {
        "memory": _memory_standing(store.counts()),
        "serving": _serving(serving, erased_text(serving, store.people.saw_erased_text())),
        "last_round": None if last is None else _last_round(last),
        "rollback": None if rollback is None else _rollback(rollback),
        "forgetting": _forgetting(read_ledger(store).knowledge.forgetting),
        "canary": None if (canary := store.canaries.watched()) is None else canary_standing(canary),
        "waiting": store.rounds.waiting(),
        "feedback": feedback.of_serving(store, serving),
        "rounds_paused": None if pause is None else {"since": pause.since, "reason": pause.reason},
    }


def _memory_standing(counts: Counts) -> MemoryStanding:
    return {
        "fresh_samples": counts.fresh_samples,
        "fresh_tokens": counts.fresh_tokens,
        "replay_samples": counts.replay_samples,
        "holdout_samples": counts.holdout_samples,
        "aside_samples": counts.aside_samples,
        "dead_letters": counts.quarantine_rows,
    }


def _serving(generation: int | None, erased_text: str | None) -> ServingStanding:
    """What serves as far as the store tells; whether it answers, only a daemon knows."""
    return {
        "generation": generation,
        "erased_text": erased_text,
        "answering": None,
        "address": None,
        "ok": None,
        "trouble": "",
        "starting": "",
    }


def _forgetting(forgotten: Interval | None) -> ForgettingStanding | None:
    if forgotten is None:
        return None
    # JSON has no word for infinity, which a limit is where too few documents tell.
    lower, upper = (limit if math.isfinite(limit) else None for limit in (forgotten.lower, forgotten.upper))
    return {"figure": forgotten.estimate, "lower": lower, "upper": upper, "documents": forgotten.documents}


def _rollback(rollback: Rollback) -> RollbackStanding:
    return {"from": rollback.left, "to": rollback.to, "at": rollback.at, "by": rollback.by}


def _last_round(round_: Round) -> LastRoundStanding:
    line = round_line(round_)
    return {
        "number": line["number"],
        "state": line["state"],
        "outcome": line["outcome"],
        "trigger": line["trigger"],
        "ended_at": line["ended_at"],
        "detail": line["detail"],
        "tokens_trained": line["tokens_trained"],
        "tokens_drawn": line["tokens_drawn"],
        "trained_until": line["trained_until"],
        "left_out": line["left_out"],
        "checkpointing_note": (round_.report.get("training") or {}).get("checkpointing_note", ""),
    }


def evidence(foreseen: ForeseenEvidence) -> list[EvidenceStanding]:
    """What there is to judge a round by, were it begun now, and what one that begins by itself needs."""
    return [
        {"what": need.what, "found": need.found, "needed": foreseen.needed_by_itself(need)} for need in foreseen.needs
    ]


def sequence_length(settings: Settings) -> int | None:
    """How long sequences are; None before that is chosen, or where it cannot be read."""
    try:
        return with_kept_length(settings).learner.recipe.sequence_length
    except CheckpointsError:
        return None


def micro_batch(limit: MemoryLimit | None) -> MicroBatchStanding | None:
    """With which micro-batch rounds begin, where it is smaller than the one that is set."""
    if limit is None:
        return None
    return {
        "begins_with": limit.micro_batch,
        "wanted": limit.wanted,
        "ran_out_with": limit.too_large.micro_batch,
        "round": limit.too_large.round,
        "at": limit.too_large.at,
        "detail": limit.sentence(),
    }


def refused_settings(refused: RefusedReload | None) -> RefusedSettings | None:
    """What the latest reload refused; None where it took over what it read."""
    return (
        None if refused is None else {"at": refused.at, "mistakes": [_mistake(mistake) for mistake in refused.mistakes]}
    )


def _mistake(mistake: Mistake) -> MistakeStanding:
    return {
        "key": mistake.key,
        "value": mistake.value,
        "place": mistake.place,
        "problem": mistake.problem,
        "remedy": mistake.remedy,
    }
