"""What is made of answers before it is drawn."""

import itertools
import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.control.how_it_stands import Level, how_it_stands
from daemon.naive_twin import FILE_NAME, note_naive_twin
from daemon.page.views.audit import audit_view
from daemon.page.views.charts import HEIGHT, TOP, WIDTH, Figure, chart, ticks_between
from daemon.page.views.checks import WIDTH as INTERVAL_WIDTH
from daemon.page.views.checks import check_rows
from daemon.page.views.generations import LANE_WIDTH, LANES, draw_tree
from daemon.page.views.knowledge import knowledge_view
from tests.unit.daemon.page.conftest import Ground

figures = st.floats(-1e6, 1e6, allow_nan=False)


@example(0.0, 5e-324)
@example(0.0, 1e-7)
@given(figures, figures)
def test_ticks_hold_what_is_drawn(one: float, other: float) -> None:
    """Few, a constant step apart, from below the least to above the most."""
    least, most = sorted((one, other))
    ticks = ticks_between(least, most)
    assert 2 <= len(ticks) <= 9
    step = ticks[1] - ticks[0]
    assert all(math.isclose(after - before, step, rel_tol=1e-6) for before, after in itertools.pairwise(ticks))
    assert ticks[0] <= least + 1e-6 * step
    assert ticks[-1] >= most - 1e-6 * step


@given(st.lists(st.tuples(figures, st.none() | figures, st.none() | figures, st.booleans()), max_size=20))
def test_a_chart_stays_within_its_frame(given_figures: list[tuple[float, float | None, float | None, bool]]) -> None:
    """Whatever was measured; of nothing there is none."""
    drawn = chart(
        [
            Figure(number, value, lower, None, bound, "", is_kept)
            for number, (value, lower, bound, is_kept) in enumerate(given_figures)
        ]
    )
    assert (drawn is None) is (not given_figures)
    for mark in () if drawn is None else drawn.marks:
        assert 0 <= mark.x <= WIDTH
        assert all(end is None or -0.1 <= end <= HEIGHT + 0.1 for end in (mark.y, mark.low, mark.high))


@given(st.data(), st.integers(1, 30))
def test_every_line_of_the_tree_leads_from_child_to_parent(data: st.DataObject, count: int) -> None:
    """Each generation's line goes down from its dot, row by row, to its parent's dot, and nowhere else."""
    parents = {number: data.draw(st.integers(0, number - 1)) if number else None for number in range(count)}
    serving = data.draw(st.integers(0, count - 1))
    order = [(number, parents[number]) for number in range(count - 1, -1, -1)]
    drawn = draw_tree(order, serving)
    children = {parents[number] for number in parents}
    for number, (x, branches) in drawn.items():
        assert LANE_WIDTH / 2 <= x <= LANES * LANE_WIDTH
        down = [line for line in branches if (line.x1, line.y1, line.y2) == (x, 50, 100)]
        assert len(down) == (parents[number] is not None)
        up = [line for line in branches if (line.x2, line.y2) == (x, 50)]
        assert bool(up) is (number in children)
    # What leaves a row at its bottom comes into the next at its top.
    rows = [drawn[number][1] for number, _ in order]
    for upper, lower in itertools.pairwise(rows):
        assert {line.x2 for line in upper if line.y2 == 100} == {line.x1 for line in lower if line.y1 == 0}


def check(name: str, figure: float | None, lower: float | None, upper: float | None, *, passed: bool) -> dict[str, Any]:
    """One of a verdict."""
    given_check = {"name": name, "slice": "anchor", "figure": figure, "bound": 0.08, "lower": lower, "upper": upper}
    return given_check | {"documents": 50, "keys": 40, "passed": passed, "unit": "nats per token"}


def test_what_failed_comes_first_and_text_last() -> None:
    """A figure that is no number is told, and not drawn; an interval without an end goes on to the edge."""
    rows = check_rows(
        {
            "checks": [
                check("plausible_mean_nll", 3.0, None, None, passed=True),
                check("parent", 0.01, 0.0, None, passed=True),
                check("best", None, None, None, passed=False),
            ]
        }
    )
    assert [row.words for row in rows] == ["loss vs best", "loss vs parent", "new text: mean loss"]
    assert rows[0].drawing is None
    assert rows[1].drawing is not None
    assert rows[1].drawing.opens_right
    assert rows[1].drawing.high == INTERVAL_WIDTH
    assert rows[1].counted == "50 of 40 keys"
    assert rows[2].drawing is not None
    assert rows[2].drawing.low is None


def test_the_heat_map_is_r(ground: Ground) -> None:
    """Each entry where it belongs; what serves in a row of its own."""
    answer = ground.control.generations()
    view = knowledge_view(answer)
    shown = sum(cell is not None for row in view.rows for cell in row.cells)
    assert shown == len(answer["scores"])
    assert [row.generation for row in view.rows if row.serves] == [answer["serving"]]
    assert len(view.judged) == 3
    assert view.forgotten is not None
    assert [mark.is_kept for mark in view.forgotten.marks] == [
        each["generation"] is not None for each in answer["judged"]
    ]


def test_a_naive_twin_is_drawn_beside_what_was_forgotten(ground: Ground) -> None:
    """Of the rounds that it followed, on the same scale; what cannot be read of it costs nothing."""
    alone = knowledge_view(ground.control.generations())
    first, *_, last = (each["round"] for each in ground.control.generations()["judged"])
    state = ground.here.settings.state_dir
    note_naive_twin(state, {first: 0.0, last: 7.5})
    try:
        beside = knowledge_view(ground.control.generations())
        (state / FILE_NAME).write_text('{"2": "much"}')
        unread = knowledge_view(ground.control.generations())
    finally:
        (state / FILE_NAME).unlink()
    assert alone.forgotten is not None
    assert beside.forgotten is not None
    assert (alone.forgotten.beside, unread.forgotten) == ("", alone.forgotten)
    marks = beside.forgotten.marks
    assert [float(number) for number in re.findall(r"[0-9.]+", beside.forgotten.beside)] == [
        *(marks[0].x, beside.forgotten.zero),
        *(marks[-1].x, pytest.approx(TOP, abs=20)),
    ]
    assert beside.twin == {first: 0.0, last: 7.5}


def test_what_was_learned_is_drawn_with_interval_and_bound(ground: Ground) -> None:
    """Gains with the least that the gate asked for; R[j,j] by generation beside plasticity, which ends at it."""
    answer = ground.control.generations()
    view = knowledge_view(answer)
    assert view.learned is not None
    checks = [
        next(check for check in ground.control.round(number)["verdict"]["checks"] if check["name"] == "learned")
        for number in (1, 2, 3)
    ]
    assert [(each["learned"], each["learned_lower"], each["learned_upper"]) for each in answer["judged"]] == [
        (-check["figure"], -check["upper"], -check["lower"]) for check in checks
    ]
    assert all(mark.low is not None and mark.high is not None for mark in view.learned.marks)
    assert view.learned.bound
    losses: dict[tuple[int | None, str], float] = {
        (row["generation"], row["slice"]): row["mean_nll"] for row in answer["scores"]
    }
    made = {line["round"]: line for line in answer["generations"] if line["round"] is not None}
    assert [line["generation"] for line in answer["learned"]] == [made[number]["number"] for number in sorted(made)]
    for line in answer["learned"]:
        newest = next(name for name in answer["slices"] if name.endswith(f"-{line['round']}"))
        assert line["after"] == pytest.approx(losses[line["generation"], newest])
        assert line["before"] == pytest.approx(losses[made[line["round"]]["parent"], newest])
    assert answer["learned"][-1]["plasticity"] == answer["knowledge"]["plasticity"]
    assert view.plasticity is not None
    assert [mark.words.partition(":")[0] for mark in view.plasticity.marks] == ["Generation 1", "Generation 2"]
    assert view.plasticity.bound
    assert view.plasticity.beside
    # Losses lie far from nothing, which is on no scale of theirs.
    assert view.plasticity.zero == view.plasticity.bottom


def test_refusals_are_told_apart_in_the_log() -> None:
    """And what is empty in a line is left out."""
    line = {"id": 3, "at": 0.0, "who": "ada", "what": "rollback_refused", "detail": {"generation": 4, "key": None}}
    view = audit_view([line], 1)  # type: ignore[list-item]  # a line, made by hand
    assert view.rows[0].is_refused
    assert view.rows[0].detail == (("generation", "4"),)
    assert view.older == 3


@pytest.mark.parametrize(
    ("change", "level", "beginning"),
    [
        ({"waiting": []}, Level.GOOD, "Keeping up: generation "),
        ({"waiting": [4]}, Level.CARE, "Round 4 waits for your word; generation "),
        ({"waiting": [], "memory_trouble": "disk full"}, Level.BAD, "Trouble with memory: generation "),
        ({"waiting": [], "running": False}, Level.IDLE, "No daemon runs: generation "),
    ],
)
def test_the_sentence_says_the_worst_first(
    ground: Ground, change: dict[str, Any], level: Level, beginning: str
) -> None:
    """In the same words wherever it is said."""
    facts = ground.control.status() | {"settings_refused": None} | change
    stands = how_it_stands(facts)  # type: ignore[arg-type]  # a status, changed
    assert stands.level is level
    assert stands.sentence.startswith(beginning)
    assert stands.sentence.endswith("no round is in progress.")
    assert [light.name for light in stands.lights] == ["stream", "memory", "round", "gate", "serving", "disk"]


def test_what_was_made_of_the_ledger_is_made_anew_once_it_stands_otherwise(ground: Ground) -> None:
    """And not before: thousands of lines would be read for each look."""
    answer = ground.control.generations()
    assert ground.control.generations() is answer
    numbers = [line["number"] for line in answer["generations"]]
    before = {line["number"]: line["state"] for line in answer["generations"]}
    ground.here.store.generations.rollback(numbers[-2])
    after = ground.control.generations()
    assert after["serving"] == numbers[-2]
    assert {line["number"]: line["state"] for line in after["generations"]} != before
    ground.here.store.generations.rollback(numbers[-1])
