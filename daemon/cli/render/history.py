"""What was, as a person sees it: a generation that is watched in traffic, and the audit log."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.control.answers.audit import AuditLine
from daemon.control.answers.canaries import CanaryLine, CanaryStanding
from daemon.control.printable import inline
from daemon.control.wording import answered_words
from daemon.span import span as ago
from gate.live.verdict import WHAT


def canary_text(canary: CanaryStanding, now: float) -> Text:
    """How the watch stands, in a line of the status."""
    share = f"{canary['share']:.0%} of the requests"
    counted = f"{canary['answers']:,} of its answers and {canary['serving_answers']:,} beside them compared"
    to = "".join(f"; {words}" for words in [inline(answered_words(canary["answered_to"]))] if words)
    return Text(f"{inline(canary['detail'])}; {share}, for {ago(now - canary['since'])}, {counted}{to}", "yellow")


def print_canary(canary: CanaryLine) -> None:
    """How a round's generation fared in traffic."""
    console.print(Text(_said(canary)))
    if words := inline(answered_words(canary["answered_to"])):
        console.print(Text(f"Of requests {words}."))
    checks = canary["verdict"].get("checks") or []
    if not checks:
        return
    rows = table("in traffic", "figure", "bound", "confidence", "answers", fixed=("figure", "bound", "answers"))
    for check in checks:
        rows.add_row(*_row(check))
    console.print(rows)


def _said(canary: CanaryLine) -> str:
    how = f"generation {canary['generation']} beside generation {canary['beside']}, {canary['share']:.0%}"
    sentence = inline(canary["verdict"].get("sentence", ""))
    if canary["ended_at"] is None:
        return f"Watched in traffic ({canary['mode']}): {how}. {sentence}".rstrip()
    outcome = canary["outcome"].replace("_", " ")
    by = f" by {inline(canary['ended_by'])}" if canary["ended_by"] else ""
    return f"Watched in traffic ({canary['mode']}): {how}; {outcome}{by}. {sentence}".rstrip()


def _row(check: Mapping[str, Any]) -> Iterator[str]:
    what = WHAT.get(check["name"], inline(check["name"]).replace("_", " "))
    # Watches that ended earlier have none.
    why = inline(check.get("not_compared", ""))
    yield f"{what}: not compared, as {why}" if why else what
    told = FORMS.get(check["kind"], _times)
    yield told(check["figure"])
    yield told(check["bound"])
    yield f"{told(check['lower'])} … {told(check['upper'])}"
    yield f"{check['answers']:,}"


def _rate(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.2%}"


def _nats(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.4f} nats"


def _times(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} times"


FORMS: Final[Mapping[str, Callable[[float | None], str]]] = {"difference": _rate, "ratio": _times, "nats": _nats}
"""How figures of each kind of check are written."""


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
