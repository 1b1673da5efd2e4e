"""Generations that are or were watched in traffic, as the ledger has them."""

from daemon.control.answers.canaries import CanaryLine, CanaryStanding
from daemon.rounds.watched.sentence import sentence_of
from memory.ledger.history.canaries import CanaryRecord


def canary_standing(canary: CanaryRecord) -> CanaryStanding:
    """The one that is watched now."""
    return {
        "generation": canary.generation,
        "beside": canary.beside,
        "mode": canary.mode,
        "share": canary.share,
        "since": canary.since,
        "answers": canary.verdict.get("answers", 0),
        "serving_answers": canary.verdict.get("serving_answers", 0),
        "detail": sentence_of(canary, canary.verdict.get("sentence", "")),
    }


def canary_line(canary: CanaryRecord) -> CanaryLine:
    """One that is or was watched."""
    return {
        "generation": canary.generation,
        "beside": canary.beside,
        "mode": canary.mode,
        "share": canary.share,
        "since": canary.since,
        "ended_at": canary.ended_at,
        "outcome": canary.outcome,
        "ended_by": canary.ended_by,
        "verdict": dict(canary.verdict),
    }
