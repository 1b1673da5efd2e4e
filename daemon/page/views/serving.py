"""What serves since when, how it answers by its own count, what was swapped, and what is watched in traffic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.control.answers.canaries import CanaryLine
from daemon.control.answers.serving import CountedByServing, LatencyAnswer, ServingAnswer, SwapLine, TimesCounted
from daemon.control.wording import answered_words, swap_words, time_words
from daemon.page.addresses import with_query
from daemon.page.time_charts import TimeChart, slot_words, time_chart
from gate.live.verdict import WHAT
from serving.addresses import ANSWER_ROUTES

SPANS: Final = (1, 6, 24)
"""Hours that the page offers."""
NOTHING: Final = "–"
SWAP_WORDS = {"serves": "serves", "watched": "is watched in traffic", "taken_back": "was taken back"}


@dataclass(frozen=True, slots=True)
class TimesRow:
    """Times of one kind, in words; `count` how many were measured."""

    what: str
    of: str
    count: int
    mean: str
    half: str
    nine_tenths: str


@dataclass(frozen=True, slots=True)
class SwapRow:
    """That a generation began to serve, was watched or was taken back."""

    at: float
    generation: int | None
    words: str
    before: int | None
    who: str


@dataclass(frozen=True, slots=True)
class CriterionRow:
    """One comparison of a watched generation with the one that serves, in words.

    Attributes:
        level: of the dot beside it.
    """

    what: str
    figure: str
    bound: str
    interval: str
    answers: int
    level: str
    verdict: str


@dataclass(frozen=True, slots=True)
class WatchedView:
    """The generation that is watched.

    Attributes:
        answered: to whom it answered, in words; empty where that is not known, or nobody.
    """

    generation: int
    beside: int
    is_shadow: bool
    share: float
    since: float
    sentence: str
    answered: str
    criteria: tuple[CriterionRow, ...]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One slot, and what fell in it, in words."""

    at: float
    half: str
    most: str
    requests: int
    failed: int
    refused: int
    happened: str


@dataclass(frozen=True, slots=True)
class LatencyView:
    """How long answers took over the latest hours.

    Attributes:
        since: when counting began; None where nothing is counted.
        chart: None where nothing was measured.
        rows: oldest first.
        latest: the latest slot in which something was measured, in words; empty where there is none.
        spans: hours that can be chosen, each with its address; of those shown none.
    """

    hours: int
    since: float | None
    slot_seconds: int
    chart: TimeChart | None
    rows: tuple[LatencyRow, ...]
    latest: str
    spans: tuple[tuple[int, str], ...]
    json: str


@dataclass(frozen=True, slots=True)
class ServingView:
    """What serves.

    Attributes:
        latency: over time.
        generation: the pointer's; None before the first.
        answering: what the process answers from, None where it does not or none runs here.
        is_here: whether a serving process runs beside the daemon.
        counted: what the process counts; None where it counts nothing that can be read.
        generations, routes: how it answers, by generation and by route that asks the model.
        failed: generations that could not serve, each with the reason.
    """

    generation: int | None
    answering: int | None
    address: str | None
    is_here: bool
    trouble: str
    since: float | None
    swap_seconds: float | None
    counted: CountedByServing | None
    generations: tuple[TimesRow, ...]
    routes: tuple[TimesRow, ...]
    failed: tuple[tuple[str, str], ...]
    swaps: tuple[SwapRow, ...]
    watched: WatchedView | None
    latency: LatencyView


def serving_view(answer: ServingAnswer, latency: LatencyAnswer, hours: int) -> ServingView:
    """What serves, and how it answered over so many hours."""
    standing, counted = answer["standing"], answer["counted"]
    return ServingView(
        generation=standing["generation"],
        answering=standing["answering"],
        address=standing["address"],
        is_here=standing["ok"] is not None,
        trouble=standing["trouble"] or answer["problem"],
        since=answer["since"],
        swap_seconds=answer["swap_seconds"],
        counted=counted,
        generations=() if counted is None else _of_generations(counted),
        routes=()
        if counted is None
        else tuple(
            _times("whole answer", each["route"], each["seconds"])
            for each in counted["routes"]
            if each["route"] in ANSWER_ROUTES
        ),
        failed=tuple(answer["failed"].items()),
        swaps=tuple(_swap(line) for line in answer["swaps"]),
        watched=None if answer["canary"] is None else _watched(answer["canary"]),
        latency=_latency(latency, hours),
    )


def _latency(answer: LatencyAnswer, hours: int) -> LatencyView:
    slots, seconds = answer["slots"], answer["slot_seconds"]
    happened: dict[float, list[str]] = {}
    for line in answer["swaps"]:
        happened.setdefault(line["at"] // seconds * seconds, []).append(swap_words(line))
    told = {slot["at"]: slot for slot in slots}
    rows = []
    for at in sorted({*told, *happened}):
        slot = told.get(at)
        words = "; ".join(happened.get(at, ()))
        if slot is None:
            rows.append(LatencyRow(at, NOTHING, NOTHING, 0, 0, 0, words))
            continue
        half, most = (_about(slot[name]) for name in ("half_seconds", "ninety_nine_seconds"))
        rows.append(LatencyRow(at, half, most, slot["measured"], slot["failed"], slot["refused"], words))
    return LatencyView(
        hours=hours,
        since=answer["since"],
        slot_seconds=seconds,
        chart=time_chart(answer),
        rows=tuple(rows),
        latest=next((slot_words(slot) for slot in reversed(slots) if slot["measured"]), ""),
        spans=tuple((each, with_query("/serving", {"hours": each})) for each in SPANS if each != hours),
        json=with_query("/serving/latency", {"hours": hours, "format": "json"}),
    )


def _about(seconds: float | None) -> str:
    return NOTHING if seconds is None else time_words(seconds)


def _of_generations(counted: CountedByServing) -> tuple[TimesRow, ...]:
    return tuple(
        _times(words, str(each["generation"]), times)
        for each in counted["generations"]
        for words, times in (
            ("first token", each["first_token"]),
            ("each further token", each["output_token"]),
            ("in the queue", each["queue"]),
        )
    )


def _times(what: str, of: str, times: TimesCounted) -> TimesRow:
    known = times["count"] > 0
    return TimesRow(
        what,
        of,
        times["count"],
        _seconds(times["mean_seconds"]),
        _within(times["half_within_seconds"], known=known),
        _within(times["nine_tenths_within_seconds"], known=known),
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{1000 * value:,.1f} ms" if value < 1 else f"{value:,.2f} s"


def _within(bound: float | None, *, known: bool) -> str:
    if bound is None:
        return "longer than is told apart" if known else "–"
    return f"{1000 * bound:g} ms" if bound < 1 else f"{bound:g} s"


def _swap(line: SwapLine) -> SwapRow:
    words = SWAP_WORDS.get(line["what"], line["what"])
    return SwapRow(line["at"], line["generation"], words, line["before"], line["who"])


def _watched(canary: CanaryLine) -> WatchedView:
    verdict = canary["verdict"]
    return WatchedView(
        generation=canary["generation"],
        beside=canary["beside"],
        is_shadow=canary["mode"] == "shadow",
        share=canary["share"],
        since=canary["since"],
        sentence=str(verdict.get("sentence", "")),
        answered=answered_words(canary["answered_to"]),
        criteria=tuple(_criterion(check) for check in verdict.get("checks") or ()),
    )


def _criterion(check: Mapping[str, Any]) -> CriterionRow:
    kind, bound = check["kind"], check["bound"]
    is_kept = check["upper"] is not None and check["upper"] <= bound
    is_broken = check["lower"] is not None and check["lower"] > bound
    why = check.get("not_compared", "")
    return CriterionRow(
        what=WHAT.get(check["name"], str(check["name"]).replace("_", " ")),
        figure=_figure(kind, check["figure"]),
        bound=_figure(kind, bound),
        interval=f"{_figure(kind, check['lower'])} … {_figure(kind, check['upper'])}",
        answers=check["answers"],
        level="good" if is_kept else "bad" if is_broken else "idle",
        verdict=f"not compared, as {why}"
        if why
        else "kept"
        if is_kept
        else "broken"
        if is_broken
        else "not proven yet",
    )


def _figure(kind: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "unknown"
    if kind == "nats":
        return f"{value:+.4f} nats a token"
    return f"{value:+.2%}" if kind == "difference" else f"{value:.2f} times"
