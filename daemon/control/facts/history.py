"""What was, as the ledger has it: generations that are or were watched in traffic, and lines of the audit log."""

from daemon.control.answers.audit import AuditLine
from daemon.control.answers.canaries import AnsweredTo, CanaryLine, CanaryStanding
from daemon.rounds.watched.sentence import sentence_of
from memory.ledger.history.audit import AuditRecord
from memory.ledger.history.canaries import CanaryRecord, answered_to


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
        "answered_to": _answered_to(canary),
    }


def _answered_to(canary: CanaryRecord) -> AnsweredTo | None:
    told = answered_to(canary.watch)
    if told is None:
        return None
    return {
        "by_key": [{"key": key, "requests": requests} for key, requests in told.by_key],
        "other_keys": told.other_keys,
        "other_requests": told.other_requests,
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
        "answered_to": _answered_to(canary),
    }


def audit_line(record: AuditRecord) -> AuditLine:
    """A line of the audit log."""
    return {
        "id": record.id,
        "at": record.at,
        "who": record.who,
        "what": record.what,
        "detail": dict(record.detail),
    }
