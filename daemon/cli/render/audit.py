"""The audit log as a person sees it."""

import json
from collections.abc import Sequence
from datetime import datetime

from rich.markup import escape

from daemon.cli.render.screen import console, table
from daemon.control.answers.audit import AuditLine
from daemon.control.printable import inline


def print_audit(lines: Sequence[AuditLine]) -> None:
    """Lines of the audit log in a table, newest first."""
    rows = table("id", "when", "who", "what", "detail", fixed=("id", "when", "what"))
    for line in lines:
        when = datetime.fromtimestamp(line["at"]).astimezone().isoformat(" ", "seconds")
        told = [f"{name} {_told(value)}" for name, value in line["detail"].items() if value not in (None, "")]
        words = (line["who"], line["what"].replace("_", " "), ", ".join(told))
        rows.add_row(str(line["id"]), when, *map(_shown, words))
    console.print(rows if lines else "Nothing has been noted yet.")


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(text: str) -> str:
    return escape(inline(text))
