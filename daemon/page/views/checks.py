"""What the gate compared, as readers of analyses know it: a figure with its interval beside its bound."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.control.wording import check_words

WIDTH: Final = 200.0
"""Of the drawing of an interval, in its own units."""
EDGE: Final = 6.0
OF_TEXT: Final = "plausible_"


@dataclass(frozen=True, slots=True)
class IntervalDrawing:
    """Where things lie in the drawing of one comparison, from left to right, 0 to `WIDTH`.

    Attributes:
        zero: where nothing has changed.
        low, high: ends of the interval; None where it has none.
        opens_left, opens_right: whether it goes on beyond the edge.
    """

    zero: float
    figure: float
    bound: float
    low: float | None
    high: float | None
    opens_left: bool
    opens_right: bool


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One comparison.

    Attributes:
        figure, bound, lower, upper: as the verdict has them; None for what is no finite number.
        is_of_text: whether it is about the new text itself, not about a candidate.
        drawing: None where there is nothing to draw.
    """

    words: str
    slice: str
    figure: float | None
    bound: float | None
    lower: float | None
    upper: float | None
    counted: str
    unit: str
    passed: bool
    is_of_text: bool
    drawing: IntervalDrawing | None


def check_rows(verdict: Mapping[str, Any]) -> tuple[CheckRow, ...]:
    """All comparisons of a verdict: those that failed first, and those of the candidate before those of its text."""
    rows = [_row(check) for check in verdict.get("checks", ())]
    return tuple(sorted(rows, key=lambda row: (row.passed, row.is_of_text)))


def _row(check: Mapping[str, Any]) -> CheckRow:
    is_of_text = check["name"].startswith(OF_TEXT)
    # The fresh text is measured as it is, not estimated from a sample.
    lower, upper = (None, None) if is_of_text else (check["lower"], check["upper"])
    return CheckRow(
        words=check_words(check["name"]),
        slice=check["slice"],
        figure=check["figure"],
        bound=check["bound"],
        lower=lower,
        upper=upper,
        counted=_counted(check),
        unit=check.get("unit", ""),
        passed=check["passed"],
        is_of_text=is_of_text,
        drawing=_draw(check["figure"], check["bound"], lower, upper, has_interval=not is_of_text),
    )


def _counted(check: Mapping[str, Any]) -> str:
    """How many documents, and of how many keys where these are fewer; verdicts of earlier versions counted none."""
    keys = check.get("keys", 0)
    return f"{check['documents']:,}" + (f" of {keys:,} keys" if 0 < keys < check["documents"] else "")


def _draw(
    figure: float | None, bound: float | None, lower: float | None, upper: float | None, *, has_interval: bool
) -> IntervalDrawing | None:
    if not _is_finite(figure) or not _is_finite(bound):
        return None
    assert figure is not None
    assert bound is not None
    ends = [end for end in (lower, upper) if end is not None and math.isfinite(end)]
    least, most = min([figure, bound, *ends, 0.0]), max([figure, bound, *ends, 0.0])
    spread = (most - least) or 1.0

    def place(value: float) -> float:
        return round(EDGE + (value - least) / spread * (WIDTH - 2 * EDGE), 2)

    opens_left, opens_right = (has_interval and not _is_finite(end) for end in (lower, upper))
    return IntervalDrawing(
        zero=place(0.0),
        figure=place(figure),
        bound=place(bound),
        low=place(lower) if lower is not None and _is_finite(lower) else 0.0 if opens_left else None,
        high=place(upper) if upper is not None and _is_finite(upper) else WIDTH if opens_right else None,
        opens_left=opens_left,
        opens_right=opens_right,
    )


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def failed(rows: Iterable[CheckRow]) -> tuple[CheckRow, ...]:
    """Those that did not keep their bound."""
    return tuple(row for row in rows if not row.passed)
