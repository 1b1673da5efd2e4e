"""How long answers took, drawn over time: two lines on a scale of powers of ten, what was asked below, swaps across."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from daemon.control.answers.serving import LatencyAnswer, LatencySlot, SwapLine, WatchedStretch
from daemon.control.wording import swap_words, time_words
from daemon.page.views.charts import Tick

WIDTH: Final = 720.0
LEFT, RIGHT, TOP = 58.0, 14.0, 22.0
LINES_END: Final = 200.0
"""Where the drawing of times ends, and that of requests begins, which ends at `BARS_END`."""
BARS_BEGIN, BARS_END, HEIGHT = 214.0, 262.0, 288.0
X_TICKS: Final = 6
LEAST_SECONDS: Final = 0.001
STEPS: Final = (1, 2, 5)
MINUTES: Final = (5, 10, 15, 30, 60, 120, 180, 240)
"""How far apart times may be named."""
LABEL_WIDTH: Final = 40.0
"""Labels of swaps that lie closer together would be written over each other."""


@dataclass(frozen=True, slots=True)
class TimeMark:
    """One slot: where its two figures lie, None where it has none, and what they say."""

    x: float
    half: float | None
    most: float | None
    words: str


@dataclass(frozen=True, slots=True)
class TimeBar:
    """What was asked in one slot, of which `failed` is the height from the bottom that failed."""

    x: float
    y: float
    width: float
    height: float
    failed: float
    words: str


@dataclass(frozen=True, slots=True)
class SwapMark:
    """Where something else began to serve; `label` is empty where there is no room for it."""

    x: float
    label: str
    words: str


@dataclass(frozen=True, slots=True)
class Shade:
    """A stretch of time in which a generation was watched."""

    x: float
    width: float
    words: str


@dataclass(frozen=True, slots=True)
class TimeChart:
    """A drawing.

    Attributes:
        half, most: the lines, as SVG takes them; broken where nothing was measured.
        begun: where counting began, None where that is before all that is drawn.
        busiest: requests of the fullest slot.
    """

    half: str
    most: str
    marks: tuple[TimeMark, ...]
    bars: tuple[TimeBar, ...]
    swaps: tuple[SwapMark, ...]
    shades: tuple[Shade, ...]
    begun: float | None
    busiest: int
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    lines_end: float = LINES_END
    bars_begin: float = BARS_BEGIN
    bars_end: float = BARS_END


@dataclass(frozen=True, slots=True)
class _Scale:
    """From moments and seconds to places."""

    begins: float
    ends: float
    least: float
    most: float

    def x(self, moment: float) -> float:
        share = (moment - self.begins) / max(1.0, self.ends - self.begins)
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 2)

    def y(self, seconds: float) -> float:
        low, high = math.log10(self.least), math.log10(self.most)
        share = (math.log10(min(max(seconds, self.least), self.most)) - low) / (high - low)
        return round(LINES_END - share * (LINES_END - TOP), 2)


def time_chart(answer: LatencyAnswer) -> TimeChart | None:
    """What there is to draw; None where nothing was measured and nothing swapped."""
    slots = answer["slots"]
    if not any(slot["measured"] for slot in slots):
        return None
    ticks = seconds_between(*_extremes(slots))
    scale = _Scale(answer["begins"], answer["until"], ticks[0], ticks[-1])
    marks = [_mark(slot, answer["slot_seconds"], scale) for slot in slots]
    busiest = max(slot["measured"] for slot in slots)
    since = answer["since"]
    return TimeChart(
        half=_line([(mark.x, mark.half) for mark in marks], answer["slot_seconds"], scale),
        most=_line([(mark.x, mark.most) for mark in marks], answer["slot_seconds"], scale),
        marks=tuple(mark for mark in marks if mark.half is not None),
        bars=tuple(_bar(slot, answer["slot_seconds"], busiest, scale) for slot in slots if slot["measured"]),
        swaps=tuple(_swaps(answer["swaps"], scale)),
        shades=tuple(_shade(stretch, answer["until"], scale) for stretch in answer["watched"]),
        begun=scale.x(since) if since is not None and since > answer["begins"] else None,
        busiest=busiest,
        y_ticks=tuple(Tick(scale.y(seconds), seconds_label(seconds)) for seconds in ticks),
        x_ticks=tuple(_moments(answer["begins"], answer["until"], scale)),
    )


def seconds_between(least: float, most: float) -> list[float]:
    """Powers of ten, and where few lie between, two and five times them: the first not above, the last not below."""
    low = math.floor(math.log10(max(least, LEAST_SECONDS)) + 1e-9)
    high = max(low + 1, math.ceil(math.log10(max(most, LEAST_SECONDS)) - 1e-9))
    steps = STEPS if high - low == 1 else (1,)
    return [*(step * 10.0**power for power in range(low, high) for step in steps), 10.0**high]


def seconds_label(seconds: float) -> str:
    """`5 ms`, `2 s`."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def clock_label(moment: float) -> str:
    """Hours and minutes, UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M")


def slot_words(slot: LatencySlot) -> str:
    """What one slot came to, in words."""
    answered = f"{slot['measured']:,} requests"
    answered += f", {slot['failed']:,} failed" if slot["failed"] else ""
    answered += f", {slot['refused']:,} refused" if slot["refused"] else ""
    if slot["half_seconds"] is None or slot["ninety_nine_seconds"] is None:
        return answered
    half, most = time_words(slot["half_seconds"]), time_words(slot["ninety_nine_seconds"])
    return f"{answered}: half within about {half}, 99 of 100 within about {most}"


def _extremes(slots: Iterable[LatencySlot]) -> tuple[float, float]:
    values = [
        value for slot in slots for value in (slot["half_seconds"], slot["ninety_nine_seconds"]) if value is not None
    ]
    return min(values), max(values)


def _mark(slot: LatencySlot, seconds: int, scale: _Scale) -> TimeMark:
    half, most = slot["half_seconds"], slot["ninety_nine_seconds"]
    return TimeMark(
        scale.x(slot["at"] + seconds / 2),
        None if half is None else scale.y(half),
        None if most is None else scale.y(most),
        f"{clock_label(slot['at'])}: {slot_words(slot)}",
    )


def _line(points: Sequence[tuple[float, float | None]], seconds: int, scale: _Scale) -> str:
    """Through neighbouring slots; where one has no figure, or is missing, the line begins anew."""
    width, parts, before = scale.x(scale.begins + seconds) - LEFT, [], -math.inf
    for x, y in points:
        if y is not None:
            parts.append(f"{'L' if x - before <= 1.5 * width else 'M'}{x:g} {y:g}")
            before = x
    return " ".join(parts)


def _bar(slot: LatencySlot, seconds: int, busiest: int, scale: _Scale) -> TimeBar:
    x, end = scale.x(slot["at"]), scale.x(slot["at"] + seconds)
    height = slot["measured"] / busiest * (BARS_END - BARS_BEGIN)
    failed = min(slot["failed"], slot["measured"]) / busiest * (BARS_END - BARS_BEGIN)
    return TimeBar(
        x=x,
        y=round(BARS_END - height, 2),
        # A little of the ground between two of them.
        width=round(max(1.0, (end - x) * 0.85), 2),
        height=round(height, 2),
        failed=round(failed, 2),
        words=f"{clock_label(slot['at'])}: {slot_words(slot)}",
    )


def _swaps(lines: Iterable[SwapLine], scale: _Scale) -> Iterable[SwapMark]:
    written = -math.inf
    for line in lines:
        x = scale.x(line["at"])
        has_room = x - written >= LABEL_WIDTH and line["generation"] is not None and line["what"] == "serves"
        written = x if has_room else written
        label = f"→ {line['generation']}" if has_room else ""
        yield SwapMark(x, label, f"{clock_label(line['at'])}: {swap_words(line)}")


def _shade(stretch: WatchedStretch, until: float, scale: _Scale) -> Shade:
    ended = until if stretch["ended_at"] is None else stretch["ended_at"]
    x, end = scale.x(stretch["since"]), scale.x(ended)
    how = "and answers" if stretch["mode"] == "canary" else "in the shadow"
    words = f"generation {stretch['generation']} is watched beside {stretch['beside']}, {how}"
    return Shade(x, round(max(1.0, end - x), 2), f"{clock_label(stretch['since'])}: {words}")


def _moments(begins: float, until: float, scale: _Scale) -> Iterable[Tick]:
    """Round times of day."""
    apart = next((60 * each for each in MINUTES if (until - begins) / 60 / each <= X_TICKS), 60 * MINUTES[-1])
    moment = math.ceil(begins / apart) * apart
    while moment <= until:
        yield Tick(scale.x(moment), clock_label(moment))
        moment += apart
