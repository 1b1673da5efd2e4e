"""Which text a round was trained on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.directory.round_directory import RoundSample
from learner.material.batches import AGE_GROUPS, Step, equal_steps, rows_of
from learner.material.encoding import Encoded
from learner.material.step_plan import InputShape, Material, StepPlan, prepare
from learner.material.touched import document_contents, find_touched, rows_contents
from learner.settings import RecipeSettings

NONE = Encoded(np.empty(0, np.int32), np.zeros(1, np.int64), (), np.empty(0, np.int64))


def encoded(lengths: list[int], first: int = 100) -> Encoded:
    """Documents of these lengths, with ids from `first` on, two classes in turn."""
    bounds = np.cumsum([0, *lengths]).astype(np.int64)
    samples = tuple(RoundSample(first + at, "text", "news") for at in range(len(lengths)))
    labels = np.arange(len(lengths), dtype=np.int64) % 2
    return Encoded(np.arange(bounds[-1], dtype=np.int32), bounds, samples, labels)


def prepared(fresh: Encoded, replay: Encoded = NONE, *, classes: int | None = None, **recipe: float) -> Material:
    """A round's material with rows of 16 tokens and four sequences a step."""
    settings = RecipeSettings.model_validate({"batch_sequences": 4, "replay_ratio": 0.5} | recipe)
    shape = InputShape(longest=16, pad=0, packed=True, classes=classes)
    return prepare(fresh, replay, StepPlan(settings, shape, seed=3, device=torch.device("cpu")))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.data())
def test_a_document_is_touched_when_any_of_its_tokens_was_in_a_step(lengths: list[int], data: st.DataObject) -> None:
    """Packed with others or cut into pieces; one that predicts nothing never is."""
    text = encoded(lengths)
    rows = rows_of(text, 16)
    chosen = data.draw(st.sets(st.integers(0, max(0, len(rows) - 1)))) if len(rows) else set()
    steps = [Step(np.array(sorted(chosen), np.int64), np.empty(0, np.int64))]
    nothing = rows_contents(rows_of(NONE, 16), NONE)
    seen = find_touched(steps, rows_contents(rows, text), nothing, text.samples)
    tokens = {
        int(text.tokens[at]) for row in chosen for piece in rows.rows[row] for at in range(piece.start, piece.stop)
    }
    expected = {sample.id for at, sample in enumerate(text.samples) if tokens & set(text.document(at).tolist())}
    assert seen.ids == expected
    assert seen.untrainable == {text.samples[at].id for at, length in enumerate(lengths) if length == 1}
    assert seen.tokens == sum(int(rows.widths[row]) for row in chosen)
    assert seen.tokens_drawn == int(rows.widths.sum())


def test_replayed_text_that_no_step_drew_was_not_trained_on() -> None:
    """Lineage names what was, not what lay ready."""
    fresh, replay = encoded([8] * 12), encoded([8] * 200, first=1_000)
    material = prepared(fresh, replay)
    seen = find_touched(material.steps, material.new, material.replay, fresh.samples)
    assert {sample.id for sample in fresh.samples} < seen.ids
    replayed = {one for one in seen.ids if one >= 1_000}
    assert 0 < len(replayed) < 200


@pytest.mark.parametrize(("budget", "limit"), [("max_steps", 3), ("max_tokens", 90)])
@pytest.mark.parametrize("classes", [None, 2])
def test_a_budget_sees_the_oldest_text(budget: str, limit: int, classes: int | None) -> None:
    """What is left is younger than what was seen, so that it comes first next time, and is seen in the end."""
    fresh = encoded([12] * 60)
    material = prepared(fresh, NONE, classes=classes, replay_ratio=0.0, **{budget: float(limit)})
    seen = find_touched(material.steps, material.new, material.replay, fresh.samples)
    assert 0 < len(seen.ids) < 60
    assert seen.ids == {100 + at for at in range(len(seen.ids))}
    assert 0 < seen.tokens < seen.tokens_drawn == 720


def test_a_budget_that_is_enough_changes_no_step() -> None:
    """Order and replay are those of a round without one."""
    fresh, replay = encoded([12] * 20), encoded([12] * 20, first=1_000)
    with_budget, without = prepared(fresh, replay, max_steps=100), prepared(fresh, replay)
    assert [step.new.tolist() for step in with_budget.steps] == [step.new.tolist() for step in without.steps]
    assert [step.replayed.tolist() for step in with_budget.steps] == [step.replayed.tolist() for step in without.steps]


@given(st.permutations(range(40)), st.integers(1, 7))
def test_where_time_may_cut_a_round_off_the_oldest_text_comes_first(ages: list[int], per_step: int) -> None:
    """Whenever it is cut, what was seen is older than what was not, but for one group of equals."""
    generator = np.random.Generator(np.random.PCG64(1))
    steps = equal_steps(40, most=per_step, epochs=1, random=generator, ages=np.array(ages, np.int64))
    order = [ages[row] for step in steps for row in step.tolist()]
    assert sorted(order) == list(range(40))
    group = 40 // AGE_GROUPS
    assert [age // group for age in order] == sorted(age // group for age in order)


def test_a_classifier_s_rows_are_its_documents() -> None:
    """One document a row."""
    text = encoded([3, 4])
    assert document_contents(text).ids == (frozenset({100}), frozenset({101}))
