"""What a round will take, foretold from rehearsals: lines for memory, sums for time."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.doctor.rehearsal import RehearsalFigures
from daemon.doctor.round_cost import Memory, RoundWork, estimate_seconds, fit_memory, steps_within
from daemon.doctor.scoring_reads import times_read
from learner.process_settings import LearnerSettings
from learner.settings import MASKED_READINGS, RecipeSettings

GIB = 2**30
MEASURED = RehearsalFigures(
    rows=4,
    width=512,
    peaks={"load": GIB, "train": 3 * GIB, "candidates": 2 * GIB},
    load_seconds=10.0,
    trained_per_second=100.0,
    scored_per_second=400.0,
    written_seconds=2.0,
)
ONE = replace(MEASURED, rows=1, peaks={"load": GIB, "train": 3 * GIB // 2, "candidates": 2 * GIB})
WORK = RoundWork(new_tokens=40_000, tokens_per_document=200.0, held_out_new=2_000, held_out=8_000)
BYTES = st.integers(0, 2**40)
MEMORIES = st.builds(
    Memory,
    st.lists(st.tuples(st.integers(-(2**30), 2**38), st.integers(0, 2**34)), min_size=1, max_size=4).map(tuple),
    st.integers(64, 8192),
)


def test_asking_takes_the_time_of_the_parent_and_of_each_candidate() -> None:
    """At the rehearsal's speed; without skills nothing."""
    settings = LearnerSettings(recipe=RecipeSettings(interpolation=(0.0, 0.5)))
    plain = estimate_seconds(MEASURED, settings, "causal-lm", WORK)
    asked = estimate_seconds(replace(MEASURED, asked_per_second=5.0), settings, "causal-lm", replace(WORK, prompts=100))
    assert (plain.skills, asked.skills) == (0.0, 60.0)
    assert asked.total == pytest.approx(plain.total + 60.0)


def test_a_line_goes_through_both_rehearsals_of_each_phase() -> None:
    """What does not grow with the rows stays; the larger of the phases is what a round takes."""
    needed = fit_memory([ONE, MEASURED], row_bytes=0.0)
    assert needed.of(1) == 2 * GIB, "candidates take more than training one row"
    assert needed.of(4) == 3 * GIB
    assert needed.of(16) == 9 * GIB


def test_of_one_rehearsal_the_models_shape_tells_the_slope() -> None:
    """Its own micro-batch is exact."""
    needed = fit_memory([MEASURED], row_bytes=GIB / 4)
    assert needed.of(4) == 3 * GIB
    assert needed.of(8) == 4 * GIB


@given(needed=MEMORIES, available=BYTES)
def test_the_largest_micro_batch_is_the_largest_that_fits(needed: Memory, available: int) -> None:
    """It fits, and one row more does not."""
    rows = needed.most_rows(available)
    if rows:
        assert needed.of(rows) <= available + 1
    if rows < 2**16:
        assert needed.of(rows + 1) >= available


@given(needed=MEMORIES, rows=st.integers(1, 1000), more=st.integers(0, 1000))
def test_more_rows_never_take_less(needed: Memory, rows: int, more: int) -> None:
    """Nor do more bytes allow fewer rows."""
    assert needed.of(rows) <= needed.of(rows + more)
    assert needed.most_rows(rows * GIB) <= needed.most_rows((rows + more) * GIB)


@given(needed=MEMORIES, available=BYTES)
def test_a_shorter_sequence_is_proposed_only_where_it_fits(needed: Memory, available: int) -> None:
    """A power of two, no longer than the one that was rehearsed."""
    longest = needed.longest(available)
    if not longest:
        assert any(fixed + row_bytes * 64 / needed.width > available for fixed, row_bytes in needed.lines)
        return
    assert 64 <= longest <= needed.width
    assert longest & (longest - 1) == 0
    assert all(fixed + row_bytes * longest / needed.width <= available for fixed, row_bytes in needed.lines)


def taken(work: RoundWork = WORK, **changes: Any) -> float:
    """Seconds of a round with this recipe."""
    recipe = RecipeSettings.model_validate({"replay_ratio": 0.5, "early_stop_checks": 0, **changes})
    return estimate_seconds(MEASURED, LearnerSettings(recipe=recipe), "causal-lm", work).total


def test_a_rounds_time_is_the_sum_of_its_parts() -> None:
    """Load, plausibility and scoring, training of new and replayed text, four candidates.

    What is plausible is told beside 64 replayed documents, and 8 of random tokens.
    """
    compared, times = 64 * 200, times_read("causal-lm", 200.0, MEASURED.width)
    scored = times * (40_000 + compared + 2_000) / 400 + 8 * 128 / 400
    assert taken() == pytest.approx(10 + scored + 80_000 / 100 + 4 * (2 + times * 8_000 / 400))
    assert taken(interpolation=[0.0]) == pytest.approx(taken() - 3 * (2 + 20 * times))


def test_little_is_replayed_and_nothing_by_a_classifier_to_compare_new_text_with() -> None:
    """No more documents than are replayed; a classifier tells by its answers alone."""
    few = replace(WORK, new_tokens=2_000)
    assert taken(few) - taken(replace(few, new_tokens=1_800)) == pytest.approx(
        times_read("causal-lm", 200.0, MEASURED.width) * 2 * 200 / 400 + 2 * 200 / 100
    )
    settings = LearnerSettings(recipe=RecipeSettings(replay_ratio=0.5))
    assert estimate_seconds(MEASURED, settings, "classifier", WORK).scoring == pytest.approx(42_000 / 400)


def test_long_documents_are_read_twice_beyond_their_first_sequence() -> None:
    """Wherever a language model scores text; trained on they are once, and a classifier's are cut."""
    short, long = (replace(WORK, tokens_per_document=tokens) for tokens in (50.0, 2_048.0))
    settings = LearnerSettings(recipe=RecipeSettings(replay_ratio=0.5, early_stop_checks=1))
    once, twice = (estimate_seconds(MEASURED, settings, "causal-lm", work) for work in (short, long))
    ratio = times_read("causal-lm", 2_048.0, MEASURED.width) / times_read("causal-lm", 50.0, MEASURED.width)
    assert twice.training == once.training
    assert twice.evaluation == pytest.approx(ratio * once.evaluation)
    assert twice.candidates - 4 * 2 == pytest.approx(ratio * (once.candidates - 4 * 2))
    cut, whole = (estimate_seconds(MEASURED, settings, "classifier", work) for work in (short, long))
    assert cut.evaluation == whole.evaluation
    masked = estimate_seconds(MEASURED, settings, "masked-lm", long)
    assert masked.evaluation == pytest.approx(MASKED_READINGS * whole.evaluation)


@pytest.mark.parametrize(
    "changes",
    [{"max_seconds": 100.0}, {"max_tokens": 10_000}, {"max_steps": 1, "batch_sequences": 19}],
)
def test_every_limit_on_training_shortens_a_round(changes: dict[str, Any]) -> None:
    """To about a hundred seconds of training, each of these."""
    assert taken() - taken(**changes) == pytest.approx(700, abs=4)


def test_looks_that_stop_a_round_early_take_their_time() -> None:
    """A twentieth of the new documents, looked at four times."""
    look = 200 * times_read("causal-lm", 200.0, MEASURED.width) / 400
    assert taken(early_stop_checks=4) - taken() == pytest.approx(4 * 10 * look)
    assert taken(early_stop_checks=4, early_stop_share=0.5) - taken() == pytest.approx(4 * 64 * look)
    more = taken(early_stop_checks=4, early_stop_share=0.5, early_stop_documents=80)
    assert more - taken() == pytest.approx(4 * 80 * look)


@pytest.mark.parametrize(
    ("new_tokens", "recipe", "sequences"),
    [
        (2_000, {}, 10),  # as many as there are documents
        (40_000, {}, 16),  # however little is trained
        (400_000, {}, 100),  # a fortieth of what is trained
        (400_000, {"max_tokens": 480_000}, 60),
        (400_000, {"max_seconds": 4_000.0}, 50),
        (4_000_000, {}, 256),
        (4_000_000, {"importance_sequences": 300}, 300),
    ],
)
def test_importance_takes_its_time(new_tokens: int, recipe: dict[str, Any], sequences: int) -> None:
    """On so many sequences as the round will estimate it on."""
    measured = replace(MEASURED, important_per_second=5.0)
    settings, work = LearnerSettings(recipe=RecipeSettings(ewc=1.0, **recipe)), replace(WORK, new_tokens=new_tokens)
    assert estimate_seconds(measured, settings, "causal-lm", work).importance == pytest.approx(sequences / 5)


@given(work=st.integers(1, 10_000_000), more=st.integers(0, 10_000_000))
def test_more_text_never_takes_less_time(work: int, more: int) -> None:
    """Whatever its parts."""
    assert taken(replace(WORK, new_tokens=work)) <= taken(replace(WORK, new_tokens=work + more)) + 1e-6


@given(limit=st.floats(1, 1e5))
def test_the_steps_that_are_proposed_fit_into_the_interval(limit: float) -> None:
    """And are no more than a round has."""
    settings = LearnerSettings(recipe=RecipeSettings(replay_ratio=0.5, early_stop_checks=0))
    whole = estimate_seconds(MEASURED, settings, "causal-lm", WORK)
    steps = steps_within(whole, min(limit, whole.total))
    assert 0 <= steps <= whole.steps
    if steps:
        recipe = settings.recipe.model_copy(update={"max_steps": steps})
        shorter = estimate_seconds(MEASURED, settings.model_copy(update={"recipe": recipe}), "causal-lm", WORK)
        # The last step of a round is seldom whole.
        assert shorter.total <= limit + whole.training / whole.steps + 1e-6
