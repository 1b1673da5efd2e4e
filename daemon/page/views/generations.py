"""The generations as the tree that they are, with the rounds that made none: what came of which, and became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from daemon.control.answers.rounds import GenerationLine, GenerationsAnswer, RoundAttempt
from daemon.control.how_it_stands import Level
from daemon.control.wording import span_words
from daemon.page.views.rounds import LEVELS

N = TypeVar("N")
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


MADE_NONE: Final = frozenset({"refused", "waiting", "released", "dropped", "failed"})
"""How rounds end that are drawn at the generation that they began from; not those that were called off."""
RANGES_SHOWN: Final = 2
Node = tuple[str, int]
"""A place in the tree: `generation` or `round`, and its number."""


@dataclass(frozen=True, slots=True)
class AttemptInTree:
    """A round that began from a generation and made none.

    Attributes:
        x, branches: as in `GenerationRow`.
    """

    round: int
    level: Level
    words: str
    parent: int
    ended_at: float | None
    learned: tuple[tuple[str, str], ...]
    learned_left_out: int
    x: float
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One generation.

    Attributes:
        learned: the text that was new to its round: partition and range of offsets; `learned_left_out` more of them.
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
    learned: tuple[tuple[str, str], ...]
    learned_left_out: int
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
        pair: two generations that are put beside each other where nobody says otherwise; empty where there is one.
    """

    rows: tuple[GenerationRow | AttemptInTree, ...]
    width: float
    lanes: int
    left_out: int
    pair: tuple[int, ...]


def generations_view(answer: GenerationsAnswer) -> GenerationsView:
    """The tree."""
    attempts = {attempt["round"]: attempt for attempt in answer["attempts"]}
    lines = {line["number"]: line for line in answer["generations"]}
    newest = _newest_first(answer)
    shown, serving = newest[:SHOWN], answer["serving"]
    drawn = draw_tree(shown, None if serving is None else ("generation", serving))
    rows = tuple(
        _row(lines[number], serving, attempts, *drawn[kind, number])
        if kind == "generation"
        else _attempt(attempts[number], *drawn[kind, number])
        for (kind, number), _ in shown
    )
    width = max((x for row in rows for x in _ends(row)), default=0.0) + LANE_WIDTH / 2
    return GenerationsView(
        rows=rows,
        width=width,
        lanes=max(1, round(width / LANE_WIDTH)),
        left_out=len(newest) - len(shown),
        pair=_pair(lines, serving),
    )


def _newest_first(answer: GenerationsAnswer) -> list[tuple[Node, Node | None]]:
    """Generations, and rounds that made none, each with what it came of: by the round that made it."""
    found: list[tuple[tuple[int, int], Node, Node | None]] = []
    known = {line["number"] for line in answer["generations"]}
    for line in answer["generations"]:
        parent: Node | None = None if line["parent"] is None else ("generation", line["parent"])
        # Of one that no round made the number alone tells when.
        found.append(((line["round"] or 0, line["number"]), ("generation", line["number"]), parent))
    for attempt in answer["attempts"]:
        if attempt["generation"] is None and attempt["state"] in MADE_NONE and attempt["parent"] in known:
            node, parent = ("round", attempt["round"]), ("generation", attempt["parent"])
            found.append(((attempt["round"], -1), node, parent))
    return [(node, parent) for _, node, parent in sorted(found, key=lambda entry: entry[0], reverse=True)]


def _pair(lines: Mapping[int, GenerationLine], serving: int | None) -> tuple[int, ...]:
    """What serves behind its parent; where it has none the two newest."""
    if serving is not None and serving in lines and (parent := lines[serving]["parent"]) is not None:
        return parent, serving
    newest = sorted(lines)[-2:]
    return tuple(newest) if len(newest) > 1 else ()


def _ends(row: GenerationRow | AttemptInTree) -> list[float]:
    """How far to the right its row is drawn upon."""
    return [row.x, *(max(branch.x1, branch.x2) for branch in row.branches)]


def _row(
    line: GenerationLine,
    serving: int | None,
    attempts: Mapping[int, RoundAttempt],
    x: float,
    branches: tuple[Branch, ...],
) -> GenerationRow:
    serves, attempt = line["number"] == serving, attempts.get(-1 if line["round"] is None else line["round"])
    learned, left_out = _learned(attempt)
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
        learned=learned,
        learned_left_out=left_out,
        x=x,
        branches=branches,
        may_serve=not serves and line["state"] in ("accepted", "rolled_back"),
        is_watched=line["state"] == "canary",
    )


def _attempt(attempt: RoundAttempt, x: float, branches: tuple[Branch, ...]) -> AttemptInTree:
    learned, left_out = _learned(attempt)
    return AttemptInTree(
        round=attempt["round"],
        level=LEVELS.get(attempt["state"], Level.IDLE),
        words=attempt["state"].replace("_", " "),
        parent=attempt["parent"],
        ended_at=attempt["ended_at"],
        learned=learned,
        learned_left_out=left_out,
        x=x,
        branches=branches,
    )


def _learned(attempt: RoundAttempt | None) -> tuple[tuple[tuple[str, str], ...], int]:
    """The first ranges of offsets of what was new to a round, in words, and how many more there are."""
    offsets = {} if attempt is None else attempt["offsets"]
    shown = tuple((name, span_words([ends])) for name, ends in list(offsets.items())[:RANGES_SHOWN])
    return shown, len(offsets) - len(shown)


def draw_tree(
    newest_first: Sequence[tuple[N, N | None]], serving: N | None
) -> Mapping[N, tuple[float, tuple[Branch, ...]]]:
    """Where each dot lies, and the lines of its row.

    Each line of descent keeps its lane until it reaches a parent that it shares; what serves keeps to the first lane.
    Of more lines than there are lanes the last share one.

    Args:
        newest_first: each and its parent; a parent stands behind all that came of it.
        serving: whose line keeps to the first lane.
    """
    numbers = {number for number, _ in newest_first}
    # Each lane waits for a generation; one that has begun has a child of it above.
    lanes: list[N | None] = [serving if serving in numbers else None]
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


def _free_lane(lanes: list[N | None]) -> int:
    """A lane that waits for nobody; the first is for what serves."""
    free = next((place for place, lane in enumerate(lanes) if lane is None and place > 0), None)
    if free is not None:
        return free
    lanes.append(None)
    return len(lanes) - 1


def _from_above(place: int, lane: N | None, number: N, mine: int) -> Branch:
    """A lane's line in one row: to the dot of the generation that it waits for, else past it."""
    return Branch(_x(place), 0, _x(mine), 50) if lane == number else Branch(_x(place), 0, _x(place), 100)


def _x(lane: int) -> float:
    return LANE_WIDTH / 2 + min(lane, LANES - 1) * LANE_WIDTH
