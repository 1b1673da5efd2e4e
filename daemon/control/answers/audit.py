"""The audit log, as it is answered."""

from typing import Any, TypedDict


class AuditLine(TypedDict):
    """A line of the audit log.

    Attributes:
        id: grows with each line.
        at: unix seconds.
        who: whose word it was.
        what: `serves`, `watched` or `taken_back` of a generation; else the operation that was asked for, and that it
            was refused (`rollback_refused`).
        detail: which generations and why; of an operation its arguments, a person's key as a keyed hash.
    """

    id: int
    at: float
    who: str
    what: str
    detail: dict[str, Any]
