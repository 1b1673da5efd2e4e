"""Rounds in rows, and the one in progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.rounds import RoundLine
from daemon.control.answers.status import RoundStanding
from daemon.control.how_it_stands import DOES, Level, time_left
from daemon.control.wording import begun
from daemon.rounds.current import ROUND_PHASES

LEVELS: Final = {
    "accepted": Level.GOOD,
    "refused": Level.CARE,
    "waiting": Level.CARE,
    "failed": Level.BAD,
}


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round in a list.

    Attributes:
        took_s: seconds; None while it goes on.
        fresh, replayed: samples that it was given.
    """

    number: int
    outcome: str
    level: Level
    begun_at: float
    took_s: float | None
    began: str
    detail: str
    parent: int
    generation: int | None
    fresh: int
    replayed: int


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a round in progress: `done`, `now` or `to come`."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class RoundInProgress:
    """A round while it goes on.

    Attributes:
        done, of, unit: of its phase; None where that cannot be counted.
        steps: how far training is, a clause; empty before it.
        left: until the phase ends, a clause; empty while that is not known.
    """

    number: int
    does: str
    reason: str
    begun_at: float
    phases: tuple[Phase, ...]
    done: int | None
    of: int | None
    unit: str
    steps: str
    left: str
    fresh: int


@dataclass(frozen=True, slots=True)
class RoundsView:
    """A page of rounds.

    Attributes:
        older: what `before` brings the next page; None where there is none.
    """

    rows: tuple[RoundRow, ...]
    older: int | None


def round_row(line: RoundLine) -> RoundRow:
    """A round in a list."""
    ended = line["ended_at"]
    return RoundRow(
        number=line["number"],
        outcome=line["outcome"].replace("_", " "),
        level=LEVELS.get(line["state"], Level.IDLE),
        begun_at=line["begun_at"],
        took_s=None if ended is None else max(0.0, ended - line["begun_at"]),
        began=begun(line["trigger"]),
        detail=line["detail"],
        parent=line["parent"],
        generation=line["generation"],
        fresh=line["fresh_samples"],
        replayed=line["replay_samples"],
    )


def rounds_view(lines: Sequence[RoundLine], limit: int) -> RoundsView:
    """A page of them, of at most `limit`."""
    rows = tuple(map(round_row, lines))
    return RoundsView(rows, rows[-1].number if len(rows) == limit and rows[-1].number > 1 else None)


def round_in_progress(standing: RoundStanding) -> RoundInProgress:
    """The round that goes on."""
    work, phase = standing["work"], standing["phase"]
    at = ROUND_PHASES.index(phase) if phase in ROUND_PHASES else 0
    return RoundInProgress(
        number=standing["number"],
        does=DOES.get(phase, phase),
        reason=standing["reason"],
        begun_at=standing["begun_at"],
        phases=tuple(
            Phase(name, "done" if place < at else "now" if place == at else "to come")
            for place, name in enumerate(ROUND_PHASES)
        ),
        done=None if work is None else work["done"],
        of=None if work is None else work["of"],
        unit="" if work is None else work["unit"],
        steps=f"step {standing['step']:,} of {standing['steps']:,}" if standing["steps"] else "",
        left=time_left(standing) or "",
        fresh=standing["fresh_samples"],
    )
