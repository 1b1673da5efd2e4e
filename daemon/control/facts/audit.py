"""The audit log, as the ledger has it."""

from daemon.control.answers.audit import AuditLine
from memory.ledger.history.audit import AuditRecord


def audit_line(record: AuditRecord) -> AuditLine:
    """A line."""
    return {
        "id": record.id,
        "at": record.at,
        "who": record.who,
        "what": record.what,
        "detail": dict(record.detail),
    }
