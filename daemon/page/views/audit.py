"""The audit log in rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.control.answers.audit import AuditLine


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line.

    Attributes:
        what: in words.
        is_refused: whether it was asked for and not done.
        detail: name and value each.
    """

    id: int
    at: float
    who: str
    what: str
    is_refused: bool
    detail: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AuditView:
    """A page of the log.

    Attributes:
        older: what `before` brings the next page; None where there is none.
    """

    rows: tuple[AuditRow, ...]
    older: int | None


def audit_view(lines: Sequence[AuditLine], limit: int) -> AuditView:
    """A page of it, of at most `limit`."""
    rows = tuple(map(_row, lines))
    return AuditView(rows, rows[-1].id if len(rows) == limit and rows[-1].id > 1 else None)


def _row(line: AuditLine) -> AuditRow:
    told = tuple(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in line["detail"].items()
        if value not in (None, "", [])
    )
    return AuditRow(
        line["id"], line["at"], line["who"], line["what"].replace("_", " "), line["what"].endswith("_refused"), told
    )
