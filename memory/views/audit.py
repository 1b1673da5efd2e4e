"""The audit log."""

from collections.abc import Mapping
from typing import Any

from memory.ledger.history import audit
from memory.ledger.history.audit import AuditRecord
from memory.views.session import Session


class Audit:
    """What served when, to whom it was a canary, and who did what. Every method may be called from any thread.

    That a generation serves, is watched or is taken back is noted in the transaction that makes it so.
    """

    def __init__(self, file: Session) -> None:
        self._file = file

    def note(self, what: str, detail: Mapping[str, Any], *, who: str) -> None:
        """Add a line; the oldest goes beyond `memory.audit_rows`.

        Args:
            what: was done, or asked for.
            detail: JSON values only.
            who: whose word it was.
        """
        most = self._file.settings.audit_rows
        self._file.write(audit.note_bounded, what, detail, who=who, now=self._file.clock(), most=most)

    def swaps(self, limit: int = 20) -> list[AuditRecord]:
        """What last served, was watched or was taken back, newest first."""
        return self._file.read(audit.swaps, limit)

    def swaps_since(self, since: float, limit: int = 200) -> list[AuditRecord]:
        """What served, was watched or was taken back from then on (unix seconds), oldest first; the latest of many."""
        return self._file.read(audit.swaps_since, since, limit)

    def latest(self, limit: int = 100, before: int | None = None) -> list[AuditRecord]:
        """The latest lines, those with smaller ids than `before`; newest first."""
        return self._file.read(audit.latest, limit, before)
