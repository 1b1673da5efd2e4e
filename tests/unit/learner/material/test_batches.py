"""Laws of packing and of the replay ratio."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.directory.round_directory import RoundSample
from learner.material.batches import (
    LonePieces,
    Step,
    add_replay,
    balanced_draws,
    bearable_ratio,
    equal_steps,
    fill_row,
    pack,
    rows_of,
    shuffled_passes,
    within_budget,
)
from learner.material.encoding import Encoded
from learner.objectives.forward_pass import IGNORED

lengths = st.lists(st.integers(1, 40), max_size=60)


def encoded(document_lengths: list[int]) -> Encoded:
    """Documents of these lengths whose tokens are all different."""
    bounds = np.concatenate([[0], np.cumsum(document_lengths)]).astype(np.int64)
    samples = tuple(RoundSample(at, "", "") for at in range(len(document_lengths)))
    return Encoded(np.arange(bounds[-1], dtype=np.int32), bounds, samples, np.zeros(len(samples), dtype=np.int64))


def random(seed: int = 0) -> np.random.Generator:
    """A generator that gives the same each time."""
    return np.random.Generator(np.random.PCG64(seed))


@given(lengths)
def test_packing_places_every_item_once_and_overfills_no_row(items: list[int]) -> None:
    """Rows are a partition of the items, each within capacity."""
    rows = pack(items, 40)
    assert sorted(item for row in rows for item in row) == list(range(len(items)))
    assert all(sum(items[item] for item in row) <= 40 for row in rows)


@given(lengths)
def test_packing_leaves_at_most_one_row_half_empty(items: list[int]) -> None:
    """Two rows that are both at most half full would have been one."""
    filled = [sum(items[item] for item in row) for row in pack(items, 40)]
    assert sum(fill <= 20 for fill in filled) <= 1


def test_packing_refuses_what_fits_no_row() -> None:
    """An item longer than a row is an error, not a silent cut."""
    with pytest.raises(ValueError, match="does not fit"):
        pack([41], 40)


@given(lengths, st.integers(2, 16), st.booleans())
def test_rows_hold_what_the_pieces_hold(items: list[int], longest: int, packed: bool) -> None:
    """Packed or not, rows predict as many tokens as documents have beyond their first."""
    text = encoded(items)
    rows = rows_of(text, longest)
    rows = rows if packed else LonePieces.of(rows, text).rows
    assert int(rows.targets.sum()) == sum(item - 1 for item in items)
    assert all(width <= longest for width in rows.widths)


def test_positions_restart_and_targets_never_cross_a_document() -> None:
    """A row of two documents and padding, place by place."""
    rows = rows_of(encoded([3, 2]), 5)
    ids, positions, targets = np.full(7, 99), np.empty(7, dtype=np.int64), np.full(7, IGNORED)
    fill_row(rows, 0, ids, positions, targets)
    assert ids.tolist() == [0, 1, 2, 3, 4, 99, 99]
    assert positions.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert targets.tolist() == [1, 2, IGNORED, 4, IGNORED, IGNORED, IGNORED]


sizes = st.lists(st.integers(1, 128), min_size=1, max_size=50)


@given(new=sizes, old=sizes, ratio=st.floats(0, 0.9), per_step=st.integers(1, 20), epochs=st.integers(1, 3))
def test_replayed_share_is_never_off_by_a_row(
    new: list[int], old: list[int], ratio: float, per_step: int, epochs: int
) -> None:
    """After every step the replayed tokens are within one row of what the ratio asks for."""
    new_sizes, old_sizes = np.asarray(new), np.asarray(old)
    of_new = equal_steps(len(new), most=per_step, epochs=epochs, random=random())
    steps = add_replay(of_new, new_sizes, old_sizes, shuffled_passes(len(old), random(1)), ratio=ratio)
    trained = replayed = 0
    for step in steps:
        trained += int(new_sizes[step.new].sum())
        replayed += int(old_sizes[step.replayed].sum())
        assert abs(replayed - trained * ratio / (1 - ratio)) <= max(old) + 1e-6


@given(new=sizes, per_step=st.integers(1, 20), epochs=st.integers(1, 3))
def test_every_new_row_is_trained_once_an_epoch(new: list[int], per_step: int, epochs: int) -> None:
    """Nothing new is skipped or repeated, and an empty memory replays nothing."""
    none = np.empty(0, dtype=np.int64)
    of_new = equal_steps(len(new), most=per_step, epochs=epochs, random=random())
    steps = list(add_replay(of_new, np.asarray(new), none, iter(()), ratio=0.5))
    trained = [row for step in steps for row in step.new.tolist()]
    assert sorted(trained) == sorted(list(range(len(new))) * epochs)
    assert all(not len(step.replayed) for step in steps)


@given(count=st.integers(1, 30), passes=st.integers(1, 3))
def test_a_pass_over_replay_draws_each_row_once(count: int, passes: int) -> None:
    """No row is replayed again before all others were."""
    drawn = list(islice(shuffled_passes(count, random()), count * passes))
    for at in range(passes):
        assert sorted(drawn[at * count : (at + 1) * count]) == list(range(count))


@given(rows=st.integers(0, 200), most=st.integers(1, 30), epochs=st.integers(1, 3), aged=st.booleans())
def test_steps_of_an_epoch_are_equal_to_within_a_row(rows: int, most: int, epochs: int, aged: bool) -> None:
    """As few steps as hold the rows, none beyond its size, and no last one of what is left over."""
    ages = np.arange(rows)[::-1].copy() if aged else None
    sizes = [len(step) for step in equal_steps(rows, most=most, epochs=epochs, random=random(), ages=ages)]
    of_epoch = -(-rows // most)
    assert len(sizes) == of_epoch * epochs
    for first in range(0, len(sizes), max(of_epoch, 1)):
        epoch = sizes[first : first + of_epoch]
        assert sum(epoch) == rows
        assert max(epoch) <= most
        assert max(epoch) - min(epoch) <= 1


def test_twenty_five_rows_at_twenty_four_a_step_are_no_step_of_one() -> None:
    """The step of one row that came last was as large a step as any."""
    assert [len(step) for step in equal_steps(25, most=24, epochs=1, random=random())] == [13, 12]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_balanced_replay_gives_every_class_the_same(labels: list[int]) -> None:
    """However rare a class is, it is drawn as often as the others."""
    classes = np.asarray(labels)
    present = len(set(labels))
    drawn = classes[list(balanced_draws(classes, random(), wanted=5 * present, most=60))]
    assert np.bincount(drawn)[np.bincount(drawn) > 0].tolist() == [5] * present


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 400), st.integers(1, 5))
def test_no_document_is_replayed_more_often_than_it_may_be(labels: list[int], wanted: int, most: int) -> None:
    """A rare class comes as often as it may; the others make up for it, all alike, as far as they may."""
    classes = np.asarray(labels)
    drawn = list(balanced_draws(classes, random(), wanted=wanted, most=most))
    assert len(drawn) >= min(wanted, most * len(labels))
    assert len(drawn) <= min(wanted + 4, most * len(labels))
    assert max(np.bincount(drawn), default=0) <= most
    of_class = np.bincount(classes[drawn], minlength=5)
    allowed = most * np.bincount(classes, minlength=5)
    assert np.array_equal(of_class, np.minimum(allowed, of_class.max(initial=0)))


def test_a_rare_class_comes_until_the_end_of_a_round() -> None:
    """Drawn as long as it lasts, it would be gone after a tenth of the steps, and forgotten in the rest."""
    classes = np.asarray([0] * 400 + [1] * 5)
    at = np.flatnonzero(classes[list(balanced_draws(classes, random(), wanted=400, most=4))] == 1)
    assert len(at) == 20
    assert np.diff([0, *at, 400]).max() <= 25


@given(ratio=st.floats(0, 0.95), new=st.integers(0, 10_000), replayable=st.integers(0, 10_000), most=st.integers(1, 9))
def test_the_ratio_falls_to_what_the_memory_bears(ratio: float, new: int, replayable: int, most: int) -> None:
    """It is the wanted one, or the one that draws everything as often as it may be drawn."""
    bearable = bearable_ratio(ratio, new=new, replayable=replayable, most=most)
    owed = new * bearable / (1 - bearable)
    assert bearable <= ratio
    assert owed <= most * replayable * (1 + 1e-9) or not new
    assert bearable == ratio or owed == pytest.approx(most * replayable)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.none() | st.integers(1, 900))
def test_budgets_cut_a_plan_but_never_to_nothing(tokens: list[int], max_tokens: int | None) -> None:
    """A prefix of the plan is kept; one step more would break the budget."""
    none = np.empty(0, dtype=np.int64)
    planned = [Step(np.asarray([at]), none) for at in range(len(tokens))]
    kept = within_budget(iter(planned), np.asarray(tokens), none, max_tokens=max_tokens)
    assert kept == planned[: len(kept)]
    assert kept
    assert max_tokens is None or len(kept) == 1 or sum(tokens[: len(kept)]) <= max_tokens
    if len(kept) < len(tokens):
        assert sum(tokens[: len(kept) + 1]) > (max_tokens or 0)
