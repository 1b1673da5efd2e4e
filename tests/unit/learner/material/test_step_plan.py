"""A round's steps: of equal size whatever ends the round, and no document replayed without bound."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.directory.round_directory import RoundSample
from learner.material.encoding import Encoded
from learner.material.step_plan import InputShape, Material, StepPlan, prepare
from learner.settings import RecipeSettings

WIDTH = 12


def documents(labels: list[int], first: int = 0) -> Encoded:
    """Documents of one row each, of these classes."""
    bounds = np.arange(len(labels) + 1, dtype=np.int64) * WIDTH
    samples = tuple(RoundSample(first + at, "text", "news") for at in range(len(labels)))
    return Encoded(np.zeros(bounds[-1], np.int32), bounds, samples, np.asarray(labels, np.int64))


def planned(fresh: Encoded, replay: Encoded, *, classes: int | None = None, **recipe: float) -> Material:
    """A round's material; a document fills a row."""
    settings = RecipeSettings.model_validate({"batch_sequences": 60, "replay_ratio": 0.6} | recipe)
    shape = InputShape(longest=WIDTH, pad=0, packed=True, classes=classes)
    return prepare(fresh, replay, StepPlan(settings, shape, seed=3, device=torch.device("cpu")))


def replays(material: Material) -> Counter[int]:
    """How often each row was replayed."""
    return Counter(row for step in material.steps for row in step.replayed.tolist())


@pytest.mark.parametrize("classes", [None, 2])
@given(
    rows=st.integers(1, 120),
    epochs=st.integers(1, 3),
    budgets=st.fixed_dictionaries(
        {},
        optional={
            "max_steps": st.integers(1, 8),
            "max_tokens": st.integers(1, 4_000),
            "max_seconds": st.just(60.0),
        },
    ),
)
def test_no_budget_makes_steps_of_unequal_size(
    classes: int | None, rows: int, epochs: int, budgets: dict[str, float]
) -> None:
    """Steps differ by a row at most, hold what the recipe says at most, and a budget is used where it can be."""
    material = planned(documents([0] * rows), documents([0] * 500), classes=classes, epochs=epochs, **budgets)
    sizes = [len(step.new) for step in material.steps]
    assert max(sizes) <= 24
    assert max(sizes) - min(sizes) <= 1
    of_all = -(-rows // 24)
    if (max_steps := budgets.get("max_steps")) and "max_tokens" not in budgets:
        assert len(sizes) == min(max_steps, of_all * epochs)
        assert sum(sizes) == 24 * max_steps or max_steps >= of_all
    if max_tokens := budgets.get("max_tokens"):
        spent = WIDTH * sum(len(step.new) + len(step.replayed) for step in material.steps)
        assert spent <= max_tokens or len(sizes) == 1


@pytest.mark.parametrize("classes", [None, 2])
def test_what_little_there_is_to_replay_is_not_learned_by_heart(classes: int | None) -> None:
    """Twenty documents beside a thousand were each replayed 75 times; they are replayed four times, to the end."""
    material = planned(documents([0, 1] * 500), documents([0, 1] * 10, first=5_000), classes=classes)
    assert set(replays(material).values()) == {4}
    assert material.replay_ratio == pytest.approx(80 / 1080)
    of_steps = [len(step.replayed) for step in material.steps]
    assert max(of_steps) - min(of_steps) <= 1


def test_a_rare_label_is_not_replayed_without_bound() -> None:
    """One document of it was replayed as often as all others together: others are drawn in its stead."""
    rare = documents([0] * 400 + [1])
    material = planned(documents([0, 1] * 100), rare, classes=2, replay_ratio=0.5)
    counted = replays(material)
    assert counted[400] == 4
    assert counted.total() == 200
    assert max(counted.values()) == 4
    assert material.replay_ratio == 0.5


@pytest.mark.parametrize("most", [1, 9])
def test_the_recipe_says_how_often_a_document_may_come(most: int) -> None:
    """The ratio follows from it."""
    material = planned(documents([0] * 100), documents([0] * 10), most_replays=most)
    assert set(replays(material).values()) == {most}
    assert material.replay_ratio == pytest.approx(10 * most / (100 + 10 * most))


@pytest.mark.parametrize("classes", [None, 2])
def test_a_document_may_come_again_in_each_pass_over_the_new_text(classes: int | None) -> None:
    """What is replayed beside text that comes three times may come three times as often."""
    material = planned(documents([0] * 200), documents([0] * 10), classes=classes, epochs=3)
    assert set(replays(material).values()) == {12}


def test_short_replay_is_spread_over_the_steps_that_a_budget_leaves() -> None:
    """What is planned beyond the budget takes none of it."""
    limited = planned(documents([0] * 1_000), documents([0] * 20), epochs=50, max_steps=4)
    assert limited.replay_ratio == pytest.approx(80 / (80 + 96))
    cut = planned(documents([0] * 1_000), documents([0] * 20), max_tokens=WIDTH * 240)
    assert replays(cut).total() == pytest.approx(80, abs=20)
    assert len(cut.steps[-1].replayed) == pytest.approx(len(cut.steps[0].replayed), abs=1)


def test_nothing_to_replay_is_a_ratio_of_nothing() -> None:
    """Steps are of new rows alone."""
    material = planned(documents([0] * 50), documents([]))
    assert material.replay_ratio == 0
    assert not replays(material)
