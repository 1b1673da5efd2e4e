"""R as a picture: what is compared with what, and what is not."""

import io
from typing import Any

import pytest
from rich.console import Console

from daemon.cli.render.generations import heat_table, legend
from daemon.control.score_cells import cells
from memory.ledger.scorings import Scoring


def told(length: int | None) -> str | None:
    """How a score was taken, in sequences of this length."""
    return None if length is None else Scoring("cpu", "float32", length, 2).told


def facts_of(lengths: dict[int, int | None], parents: dict[int, int | None], losses: dict[int, float]) -> Any:
    """The last generation serves; one slice beside the anchor's place."""
    return {
        "serving": max(losses),
        "generations": [{"number": one, "parent": parents[one], "sequence_length": lengths[one]} for one in parents],
        "slices": ["a@2-4"],
        "scores": [
            {"generation": one, "slice": "a@2-4", "mean_nll": loss, "scored": told(lengths[one])}
            for one, loss in losses.items()
        ],
    }


LINE = {0: None, 1: 0, 2: 1, 3: 2}
CHANGED = facts_of({0: 128, 1: 512, 2: 128, 3: 128}, LINE, {0: 4.0, 1: 2.0, 2: 3.0, 3: 3.1})


def test_what_was_rolled_back_from_is_no_measure() -> None:
    """Each generation is compared with those that led to it, whatever another line knew."""
    facts = facts_of(dict.fromkeys(range(4), 512), {0: None, 1: 0, 2: 1, 3: 1}, {0: 4.0, 1: 3.0, 2: 2.0, 3: 2.9})
    assert cells(facts)[2, "a@2-4"].rise == pytest.approx(-1.0)
    assert cells(facts)[3, "a@2-4"].rise == pytest.approx(-0.1)


def test_a_generation_without_a_score_passes_on_the_best_before_it() -> None:
    """A gap in a column, or in the ledger, does not hide what was forgotten."""
    facts = facts_of(dict.fromkeys(range(4), 512), {0: None, 1: 0, 2: 1, 3: 2}, {0: 3.0, 1: 2.0, 3: 2.5})
    assert cells(facts)[3, "a@2-4"].rise == pytest.approx(0.5)


def test_scores_of_another_sequence_length_are_marked_and_not_compared() -> None:
    """More context made them lower: nothing was forgotten since."""
    found = cells(CHANGED)
    assert (found[1, "a@2-4"].rise, found[1, "a@2-4"].apart) == (None, True)
    assert found[2, "a@2-4"].rise == pytest.approx(-1.0)
    assert found[3, "a@2-4"].rise == pytest.approx(0.1)
    written = io.StringIO()
    Console(file=written, width=60).print(heat_table(CHANGED, width=60))
    assert "2.000*" in written.getvalue()
    assert written.getvalue().count("*") == 1


def test_the_legend_says_what_names_and_marks_mean() -> None:
    """By a name that is there; of marks only where there are some."""
    said = " ".join(legend(CHANGED))
    assert "a@2-4: held-out text of a that arrived in time for rounds 2 to 4." in said
    assert "* not comparable with what serves: 1 scored in sequences of 512 tokens, on cpu in float32 (way 2)." in said
    alike = facts_of(dict.fromkeys(range(4)), LINE, {0: 4.0, 3: 3.0})
    assert "*" not in " ".join(legend(alike))
