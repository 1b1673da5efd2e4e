"""A round that runs out of memory: halved until it fits, remembered, tried again when something is another.

The learners are fakes that run out of memory above some size; a real one is in `tests/faults/test_learner_faults.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.control.without_daemon import StoreControl
from daemon.rounds import out_of_memory
from daemon.rounds.runner import RoundRunner
from daemon.settings.tree import Settings
from daemon.sizes import checkpointing, round_memory
from daemon.sizes.estimate import training_bytes
from learner.directory.round_directory import PROGRESS, read_spec
from learner.process_settings import LearnerSettings
from memory.ledger.states import RoundState
from tests.unit.daemon.rooms import BY_HAND, World, world
from tests.unit.daemon.rounds.test_runner import Cut, cut_off_in_training
from tests.unit.daemon.sizes.test_sequence_length import SMOLLM2


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base and fresh text."""
    with world(tmp_path) as made:
        yield made


def micro_batch_of(here: World, runner: RoundRunner | None = None, mode: str = "good") -> int:
    """With which micro-batch a round finished that more text began."""
    here.feed(seed=1_000 + here.store.rounds.standing().rounds_begun)
    conclusion = (runner or here.runner(mode)).run(BY_HAND, "a test", must_stop=lambda: False)
    assert conclusion is not None
    assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
    assert conclusion.figures is not None
    assert conclusion.figures.training is not None
    return conclusion.figures.training.micro_batch


@pytest.mark.parametrize(("mode", "fits", "attempts"), [("fits_9", 8, 1), ("fits_3", 2, 3), ("fits_1", 1, 4)])
def test_out_of_memory_is_halved_until_it_fits(here: World, mode: str, fits: int, attempts: int) -> None:
    """Within one round; a step's sequences stay as many, in more passes."""
    assert micro_batch_of(here, mode=mode) == fits
    assert here.metric("riverkeep_learner_ends_total", ending="out_of_memory") == attempts
    assert here.metric("riverkeep_micro_batch_ratio") == fits / 16
    spec = read_spec(here.rooms.round_dir(1))
    changed = {"micro_batch": fits, "gradient_checkpointing": False}
    assert spec.recipe == here.settings.learner.recipe.model_copy(update=changed)


def test_what_fitted_is_remembered_beyond_a_restart_and_told(here: World) -> None:
    """The next daemon's rounds begin with it; status, log and metric say so until they need not."""
    micro_batch_of(here, mode="fits_4")
    with capture_logs() as logs:
        assert micro_batch_of(here, mode="fits_4") == 4
    assert here.metric("riverkeep_learner_ends_total", ending="out_of_memory") == 2, "none in the second round"
    (event,) = (line for line in logs if line["event"] == "round_begins_smaller")
    control = StoreControl(here.settings, here.store, here.rooms.checkpoints)
    told = control.status()["micro_batch"]
    assert told is not None
    assert (told["begins_with"], told["wanted"], told["ran_out_with"], told["round"]) == (4, 16, 8, 1)
    assert told["detail"] == event["reason"]
    assert "Set `learner.recipe.micro_batch = 4` to leave it so" in told["detail"]
    here.settings = with_recipe(here, micro_batch=4)
    assert StoreControl(here.settings, here.store, here.rooms.checkpoints).status()["micro_batch"] is None
    assert micro_batch_of(here, mode="fits_4") == 4
    assert here.metric("riverkeep_micro_batch_ratio") == 1


def with_recipe(here: World, **recipe: Any) -> Settings:
    """The settings with another recipe."""
    learner = here.settings.learner
    changed = learner.recipe.model_copy(update=recipe)
    return here.settings.model_copy(update={"learner": learner.model_copy(update={"recipe": changed})})


@pytest.mark.parametrize(
    "change",
    [
        {"sequence_length": 256},
        {"precision": "bfloat16"},
        {"gradient_checkpointing": True},
        {"kl": 0.0},
        {"adapter": "lora"},
    ],
)
def test_the_larger_one_is_tried_again_when_the_recipe_asks_otherwise(here: World, change: dict[str, Any]) -> None:
    """And what was known before is known again when it is changed back."""
    micro_batch_of(here, mode="fits_4")
    before = here.settings
    here.settings = with_recipe(here, learning_rate=1e-6)
    assert micro_batch_of(here) == 4, "what memory does not feel changes nothing"
    here.settings = with_recipe(here, **change)
    assert micro_batch_of(here) == 16
    here.settings = before
    assert micro_batch_of(here) == 4


def test_the_larger_one_is_tried_again_on_another_device_or_version(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with more memory, another one, another torch."""
    micro_batch_of(here, mode="fits_4")
    runner = here.runner("good")
    monkeypatch.setattr(runner._limits, "_there", lambda _: "more memory")
    assert micro_batch_of(here, runner) == 16
    assert micro_batch_of(here) == 4
    monkeypatch.setattr(out_of_memory, "version", lambda name: f"another {name}")
    assert micro_batch_of(here) == 16


def test_where_not_one_sequence_fits_the_round_fails_with_what_is_left_to_do(here: World) -> None:
    """Tried down to one, and the next round begins there."""
    here.settings = with_recipe(here, gradient_checkpointing=False)
    conclusion = here.run("fits_0")
    assert conclusion.state is RoundState.FAILED
    for words in (
        "tried again with a micro-batch of 8, 4, 2, 1",
        "memory does not hold one sequence",
        "`learner.recipe.gradient_checkpointing = true`",
        "`learner.recipe.sequence_length` below 512",
        "`learner.recipe.kl = 0`",
        '`learner.recipe.adapter = "lora"`',
    ):
        assert words in conclusion.detail
    here.run("fits_0")
    assert here.metric("riverkeep_learner_ends_total", ending="out_of_memory") == 6


def test_beside_divided_weights_an_adapter_is_told_with_what_it_takes_the_place_of(here: World) -> None:
    """As the settings refuse both."""
    learner = {**here.settings.learner.model_dump(), "device": "cpu", "devices": 2, "sharded": True}
    chosen = LearnerSettings.model_validate(learner)
    here.settings = here.settings.model_copy(update={"learner": chosen})
    assert '`learner.recipe.adapter = "lora"` with `learner.sharded = false`' in here.run("fits_0").detail


def test_checkpointing_is_tried_where_not_one_sequence_fits_without(here: World) -> None:
    """After the micro-batch, which costs no time; later rounds begin with it, and with all their sequences again."""
    assert micro_batch_of(here, mode="needs_checkpointing") == 1
    assert here.metric("riverkeep_learner_ends_total", ending="out_of_memory") == 5, "16, 8, 4, 2, 1"
    assert micro_batch_of(here, mode="needs_checkpointing") == 16
    assert here.metric("riverkeep_learner_ends_total", ending="out_of_memory") == 5
    why = "gradient checkpointing is on by itself: round 1 ran out of memory with a single sequence in a pass"
    control = StoreControl(here.settings, here.store, here.rooms.checkpoints)
    last = control.status()["last_round"]
    assert last is not None
    assert last["checkpointing_note"] == why
    assert control.status()["micro_batch"] is None
    assert control.round(2)["report"]["training"]["checkpointing_note"] == why


def test_checkpointing_that_does_not_help_either_is_tried_once(here: World) -> None:
    """And the round says what was tried."""
    conclusion = here.run("fits_0")
    assert "tried again with a micro-batch of 8, 4, 2, 1, 1 with gradient checkpointing" in conclusion.detail
    assert "gradient_checkpointing = true" not in conclusion.detail
    here.run("fits_0")
    assert here.metric("riverkeep_learner_ends_total", ending="out_of_memory") == 7


def test_a_round_begins_with_checkpointing_where_it_would_not_fit_without(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the memory that is free when it begins; the log says so, and what is set stands."""
    monkeypatch.setattr(checkpointing, "shape_of_files", lambda *_, **__: SMOLLM2)
    monkeypatch.setattr(round_memory, "free_bytes", lambda: 1 << 30)
    with capture_logs() as logs:
        assert micro_batch_of(here) == 16
    (event,) = (line for line in logs if line["event"] == "round_checkpointing")
    assert event["on"] is True
    assert read_spec(here.rooms.round_dir(1)).recipe.gradient_checkpointing is True
    here.settings = with_recipe(here, gradient_checkpointing=False)
    micro_batch_of(here)
    spec = read_spec(here.rooms.round_dir(2))
    assert (spec.recipe.gradient_checkpointing, spec.checkpointing) == (False, "")


def test_a_round_on_a_cpu_begins_with_fewer_sequences_in_a_pass_where_it_would_not_fit(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than compute activations again; nobody is warned, as the round is no smaller."""
    recipe = here.settings.learner.recipe.model_copy(update={"micro_batch": 4})
    free = training_bytes(SMOLLM2, recipe)
    monkeypatch.setattr(checkpointing, "shape_of_files", lambda *_, **__: SMOLLM2)
    monkeypatch.setattr(round_memory, "free_bytes", lambda: free)
    with capture_logs() as logs:
        assert micro_batch_of(here) == 4
    assert "round_begins_smaller" not in {line["event"] for line in logs}
    assert here.metric("riverkeep_micro_batch_ratio") == 1
    spec = read_spec(here.rooms.round_dir(1))
    assert (spec.recipe.gradient_checkpointing, spec.recipe.micro_batch) == (False, 4)
    assert spec.checkpointing.startswith("gradient checkpointing is off by itself: with 4 in a pass of 16 sequences")


def test_a_kill_between_running_out_and_remembering_costs_one_more_try(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round is discarded, the next one begins smaller, and the one after it learns what was not written."""
    runner = here.runner("fits_4")

    def cut(*_: object, **__: object) -> None:
        (here.rooms.round_dir(1) / PROGRESS).touch()
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(here.store.rounds, "note_too_large", cut)
        with pytest.raises(Cut):
            runner.run(BY_HAND, "a test", must_stop=lambda: False)
    assert here.store.rounds.too_large() == []
    here.current.end()
    following = here.runner("fits_4")
    (conclusion,) = following.recover()
    assert conclusion.state is RoundState.ABANDONED
    assert micro_batch_of(here, following) == 4
    assert here.metric("riverkeep_learner_ends_total", ending="out_of_memory") == 2, "16 in the first, 8 in the second"
    assert micro_batch_of(here, here.runner("fits_4")) == 4


def test_a_size_that_is_cut_off_again_and_again_is_remembered(here: World) -> None:
    """A container that is killed whole says nothing: twice in a row, with smaller rounds between, is believed."""
    runner = here.runner("good")
    for seed in (11, 12):
        here.feed(seed=seed)
        runner = cut_off_in_training(here, runner)
        assert micro_batch_of(here, runner) == 8
    assert micro_batch_of(here, here.runner("good")) == 8


def test_a_power_cut_leaves_no_mark_once_a_round_has_finished(here: World) -> None:
    """With the same size, however often it comes."""
    for seed in (11, 12, 13):
        here.feed(seed=seed)
        runner = cut_off_in_training(here, here.runner("good"))
        assert micro_batch_of(here, runner) == 8
        assert micro_batch_of(here, runner) == 16
        assert here.store.rounds.too_large() == []
