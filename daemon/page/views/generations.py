"""The generations as the tree that they are: which came of which, and what became of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.rounds import GenerationLine, GenerationsAnswer
from daemon.control.how_it_stands import Level

SHOWN: Final = 100
LANES: Final = 8
LANE_WIDTH: Final = 18.0
STATES: Final = {
    "accepted": Level.GOOD,
    "canary": Level.CARE,
    "rolled_back": Level.CARE,
    "retired": Level.IDLE,
    "reserved": Level.IDLE,
}
WORDS: Final = {
    "accepted": "accepted",
    "canary": "watched in traffic",
    "rolled_back": "rolled back from",
    "retired": "files removed",
    "reserved": "number given up",
}
ERASED: Final = {
    "trained": "trained on text that was erased since",
    "inherited": "made from one that was trained on text that was erased since",
}


@dataclass(frozen=True, slots=True)
class Branch:
    """A line in one row of the tree, from (x1, y1) to (x2, y2); y is 0 at the row's top, 100 at its bottom."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One generation.

    Attributes:
        x: where its dot lies.
        branches: the lines of its row.
        may_serve: whether one could go back to it: its files are there, and it neither serves nor is watched.
        is_watched: whether it is watched in traffic, and a person may decide on it.
    """

    number: int
    level: Level
    words: str
    serves: bool
    parent: int | None
    round: int | None
    digest: str
    created_at: float
    erased: str
    lies_on: int | None
    x: float
    branches: tuple[Branch, ...]
    may_serve: bool
    is_watched: bool


@dataclass(frozen=True, slots=True)
class GenerationsView:
    """The tree, newest first.

    Attributes:
        width: of its drawing, which has so many `lanes`.
        left_out: older ones that are not shown.
        compared: what is put beside the one that serves where nobody says otherwise: its parent.
    """

    rows: tuple[GenerationRow, ...]
    width: float
    lanes: int
    left_out: int
    serving: int | None
    compared: int | None


def generations_view(answer: GenerationsAnswer) -> GenerationsView:
    """The tree."""
    newest = sorted(answer["generations"], key=lambda line: -line["number"])
    shown = newest[:SHOWN]
    drawn = draw_tree([(line["number"], line["parent"]) for line in shown], answer["serving"])
    rows = tuple(_row(line, answer["serving"], *drawn[line["number"]]) for line in shown)
    width = max((x for row in rows for x in _ends(row)), default=0.0) + LANE_WIDTH / 2
    return GenerationsView(
        rows=rows,
        width=width,
        lanes=max(1, round(width / LANE_WIDTH)),
        left_out=len(newest) - len(shown),
        serving=answer["serving"],
        compared=next((line["parent"] for line in newest if line["number"] == answer["serving"]), None),
    )


def _ends(row: GenerationRow) -> list[float]:
    """How far to the right its row is drawn upon."""
    return [row.x, *(max(branch.x1, branch.x2) for branch in row.branches)]


def _row(line: GenerationLine, serving: int | None, x: float, branches: tuple[Branch, ...]) -> GenerationRow:
    serves = line["number"] == serving
    return GenerationRow(
        number=line["number"],
        level=Level.GOOD if serves else STATES.get(line["state"], Level.IDLE),
        words="serves" if serves else WORDS.get(line["state"], line["state"]),
        serves=serves,
        parent=line["parent"],
        round=line["round"],
        digest=line["digest"][:12],
        created_at=line["created_at"],
        erased="" if line["erased_text"] is None else ERASED[line["erased_text"]],
        lies_on=line["lies_on"],
        x=x,
        branches=branches,
        may_serve=not serves and line["state"] in ("accepted", "rolled_back"),
        is_watched=line["state"] == "canary",
    )


def draw_tree(
    newest_first: Sequence[tuple[int, int | None]], serving: int | None
) -> Mapping[int, tuple[float, tuple[Branch, ...]]]:
    """Where each generation's dot lies, and the lines of its row.

    Each line of descent keeps its lane until it reaches a parent that it shares; what serves keeps to the first lane.
    Of more lines than there are lanes the last share one.

    Args:
        newest_first: number and parent of each; a parent has a lower number.
        serving: the generation whose line keeps to the first lane.
    """
    numbers = {number for number, _ in newest_first}
    # Each lane waits for a generation; one that has begun has a child of it above.
    lanes: list[int | None] = [serving if serving in numbers else None]
    begun: set[int] = set()
    drawn = {}
    for number, parent in newest_first:
        mine = lanes.index(number) if number in lanes else _free_lane(lanes)
        branches = [_from_above(place, lanes[place], number, mine) for place in sorted(begun)]
        ended = {place for place, lane in enumerate(lanes) if lane == number}
        lanes = [None if place in ended else lane for place, lane in enumerate(lanes)]
        begun -= ended
        if parent in numbers:
            lanes[mine] = parent
            begun.add(mine)
            branches.append(Branch(_x(mine), 50, _x(mine), 100))
        drawn[number] = (_x(mine), tuple(branches))
    return drawn


def _free_lane(lanes: list[int | None]) -> int:
    """A lane that waits for nobody; the first is for what serves."""
    free = next((place for place, lane in enumerate(lanes) if lane is None and place > 0), None)
    if free is not None:
        return free
    lanes.append(None)
    return len(lanes) - 1


def _from_above(place: int, lane: int | None, number: int, mine: int) -> Branch:
    """A lane's line in one row: to the dot of the generation that it waits for, else past it."""
    return Branch(_x(place), 0, _x(mine), 50) if lane == number else Branch(_x(place), 0, _x(place), 100)


def _x(lane: int) -> float:
    return LANE_WIDTH / 2 + min(lane, LANES - 1) * LANE_WIDTH
