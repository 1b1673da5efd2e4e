"""What was, as a person sees it: what served when and how it answered, what is watched in traffic, the audit log."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.control.answers.audit import AuditLine
from daemon.control.answers.canaries import CanaryLine, CanaryStanding
from daemon.control.answers.serving import LatencyAnswer, ServingAnswer, SwapLine, TimesCounted
from daemon.control.printable import inline
from daemon.control.wording import answered_words, swap_words, time_words
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


def print_serving(answer: ServingAnswer, latency: LatencyAnswer, *, now: float | None = None) -> None:
    """What serves and how it answers, slot by slot, what was swapped, and what is watched."""
    moment = time.time() if now is None else now
    for line in _head(answer, moment):
        console.print(Text(line))
    if answer["canary"] is not None:
        print_canary(answer["canary"])
    if slots := latency["slots"]:
        rows = table(*("from (UTC)", "half within", "99 of 100 within", "requests", "failed", "refused"))
        for slot in slots:
            half, most = slot["half_seconds"], slot["ninety_nine_seconds"]
            figures = ("–" if value is None else time_words(value) for value in (half, most))
            counts = (f"{slot[name]:,}" for name in ("measured", "failed", "refused"))
            rows.add_row(datetime.fromtimestamp(slot["at"], UTC).strftime("%m-%d %H:%M"), *figures, *counts)
        console.print(rows)
    else:
        console.print("Nothing was asked in that time, or nothing serves here that counts it.")
    _print_swaps(answer["swaps"], moment)


def _head(answer: ServingAnswer, now: float) -> Iterator[str]:
    standing, counted = answer["standing"], answer["counted"]
    since = "" if answer["since"] is None else f", for {ago(now - answer['since'])}"
    number = standing["generation"]
    yield "Nothing serves yet." if number is None else f"Generation {number} is the one that serves{since}."
    if trouble := standing["trouble"] or answer["problem"]:
        yield f"Serving has trouble: {inline(trouble)}"
    for failed, why in answer["failed"].items():
        yield f"Generation {failed} cannot serve: {inline(why)}"
    if answer["swap_seconds"] is not None:
        yield f"The last swap took {ago(answer['swap_seconds'])}."
    if counted is None:
        return
    yield (
        f"{counted['waiting']:,} requests wait, {counted['active']:,} are answered; {counted['loaded']:,} generations "
        f"in memory; {counted['swaps']:,} swaps, {counted['swaps_failed']:,} failed."
    )
    for each in counted["generations"]:
        times = {"first token": each["first_token"], "each further token": each["output_token"], "queue": each["queue"]}
        yield from (_counted(f"generation {each['generation']}, {what}", counts) for what, counts in times.items())
    yield from (_counted(each["route"], each["seconds"]) for each in counted["routes"])


def _counted(what: str, times: TimesCounted) -> str:
    if times["mean_seconds"] is None:
        return f"{inline(what)}: none measured"
    bounds = (times["half_within_seconds"], times["nine_tenths_within_seconds"])
    half, most = ("longer than is told apart" if value is None else time_words(value) for value in bounds)
    mean = time_words(times["mean_seconds"])
    return f"{inline(what)}: {times['count']:,} measured, mean {mean}, half within {half}, nine tenths within {most}"


def _print_swaps(swaps: Sequence[SwapLine], now: float) -> None:
    rows = table("when", "what", "before", "by", fixed=("when", "before"))
    for line in swaps:
        before = "" if line["before"] is None else str(line["before"])
        rows.add_row(f"{ago(now - line['at'])} ago", swap_words(line), before, _shown(line["who"]))
    if swaps:
        console.print(rows)


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
