"""Where things lie in a small drawing: ticks that people would choose, points, bands, and bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

WIDTH: Final = 520.0
HEIGHT: Final = 230.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 14.0, 28.0
TICKS: Final = 4
LEAST_SPREAD: Final = 1e-6
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of an axis: where it lies, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One figure.

    Attributes:
        x, y: where it lies.
        low, high: where the ends of its interval lie; None where it has none.
        words: what it says, for a pointer that rests on it.
        is_kept: whether what it stands for was accepted.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    words: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """Figures over rounds or generations.

    Attributes:
        line: through the marks that were accepted, as SVG takes it.
        bound: the line of the bound, as SVG takes it; empty where there is none.
        beside: the line of what is drawn beside the figures, as SVG takes it; empty where there is nothing.
        zero: where nothing lies.
        y_ticks, x_ticks: of the axes.
    """

    marks: tuple[Mark, ...]
    line: str
    bound: str
    beside: str
    zero: float
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    bottom: float = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure of one round or generation, to be drawn."""

    number: int
    value: float
    lower: float | None
    upper: float | None
    bound: float | None
    words: str
    is_kept: bool


def chart(
    figures: Sequence[Figure], beside: Mapping[int, float] = MappingProxyType({}), *, with_zero: bool = True
) -> Chart | None:
    """Figures of rounds or generations, oldest first; None where there are none.

    Args:
        figures: to be drawn.
        beside: of another, by number; where there is no figure nothing is drawn.
        with_zero: whether nothing, against which changes are read, lies on the scale too.
    """
    if not figures:
        return None
    known = [
        value
        for each in figures
        for value in (each.value, each.lower, each.upper, each.bound, beside.get(each.number))
        if value is not None and math.isfinite(value)
    ] + [0.0] * with_zero
    ticks = ticks_between(min(known), max(known))
    least, most = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return round(TOP + (most - value) / (most - least) * (HEIGHT - TOP - BOTTOM), 2)

    def x(place: int) -> float:
        # One alone lies in the middle, not at the edge.
        share = 0.5 if len(figures) == 1 else place / (len(figures) - 1)
        return round(LEFT + 10 + share * (WIDTH - LEFT - RIGHT - 20), 2)

    marks = tuple(
        Mark(
            x(place),
            y(each.value),
            None if each.lower is None else y(each.lower),
            None if each.upper is None else y(each.upper),
            each.words,
            each.is_kept,
        )
        for place, each in enumerate(figures)
    )
    bounds = [(x(place), y(each.bound)) for place, each in enumerate(figures) if each.bound is not None]
    others = [(x(place), y(beside[each.number])) for place, each in enumerate(figures) if each.number in beside]
    every = max(1, math.ceil(len(figures) / 12))
    return Chart(
        marks=marks,
        line=_path([(mark.x, mark.y) for mark in marks if mark.is_kept]),
        bound=_path(bounds if len(bounds) != 1 else [(LEFT, bounds[0][1]), (WIDTH - RIGHT, bounds[0][1])]),
        beside=_path(others),
        zero=y(0.0 if with_zero else least),
        y_ticks=tuple(Tick(y(value), _label(value)) for value in ticks),
        x_ticks=tuple(Tick(x(place), str(each.number)) for place, each in enumerate(figures) if place % every == 0),
    )


def ticks_between(least: float, most: float) -> list[float]:
    """Round values a constant step apart, from one that is not above `least` to one that is not below `most`."""
    spread = most - least
    # So little cannot be labelled, and in the end not be divided: such figures lie on one line.
    raw = (spread if spread >= LEAST_SPREAD else 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in STEPS if step * power >= raw * 0.999)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _label(value: float) -> str:
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text.replace("-", "−")


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{'M' if place == 0 else 'L'}{x:g} {y:g}" for place, (x, y) in enumerate(points))
