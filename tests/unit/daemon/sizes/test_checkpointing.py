"""Activations are computed again where a round does not fit without, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.sizes import round_memory
from daemon.sizes.checkpointing import Checkpointing, checkpointing_now, decide_checkpointing
from daemon.sizes.estimate import GIB, round_parts, training_bytes
from daemon.sizes.shape import ModelShape
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from tests.models import make_causal
from tests.unit.daemon.sizes.test_sequence_length import LLAMA_1B, LLAMA_8B, SMOLLM2

RECIPE = RecipeSettings()
WITH = RECIPE.model_copy(update={"gradient_checkpointing": True})


@pytest.mark.parametrize("shape", [SMOLLM2, LLAMA_1B, LLAMA_8B])
def test_it_is_on_by_itself_exactly_where_a_round_does_not_fit_without(shape: ModelShape) -> None:
    """To the byte, on a GPU."""
    shape = replace(shape, device_type="cuda")
    needed = training_bytes(shape, RECIPE)
    assert not decide_checkpointing(shape, RECIPE, needed).on
    assert decide_checkpointing(shape, RECIPE, needed - 1).on


@pytest.mark.parametrize("shape", [SMOLLM2, LLAMA_1B])
@pytest.mark.parametrize("fewer", [8, 1])
def test_on_a_cpu_fewer_sequences_in_a_pass_come_first(shape: ModelShape, fewer: int) -> None:
    """As many as fit without, to the byte; with a byte less than a single one needs it is on, with all of them."""
    shape = replace(shape, device_type="cpu")
    needed = training_bytes(shape, RECIPE.model_copy(update={"micro_batch": fewer}))
    decided = decide_checkpointing(shape, RECIPE, needed)
    assert decided.changes == {"gradient_checkpointing": False, "micro_batch": fewer}
    assert f"off by itself: with {fewer} in a pass of 16 sequences a round needs about" in decided.sentence()
    less = decide_checkpointing(shape, RECIPE, needed - 1)
    expected = {"gradient_checkpointing": False, "micro_batch": 4} if fewer == 8 else {"gradient_checkpointing": True}
    assert less.changes == expected


def test_a_pass_of_few_tokens_is_not_made_smaller() -> None:
    """It would take a CPU longer than computing activations again."""
    short = RecipeSettings(sequence_length=64, micro_batch=16, batch_sequences=16)
    eight, four = (training_bytes(SMOLLM2, short.model_copy(update={"micro_batch": rows})) for rows in (8, 4))
    assert decide_checkpointing(SMOLLM2, short, eight).micro_batch == 8
    assert decide_checkpointing(SMOLLM2, short, four).changes == {"gradient_checkpointing": True}


def test_what_it_would_not_lower_does_not_turn_it_on() -> None:
    """An adapter on short rows takes most outside of training."""
    recipe = RecipeSettings(adapter="lora", micro_batch=1, sequence_length=64)
    phases = round_parts(SMOLLM2, recipe)
    assert max(phases, key=lambda phase: sum(phases[phase].values())) != "train"
    assert not decide_checkpointing(SMOLLM2, recipe, GIB).on


def test_the_sentence_names_what_is_needed_and_what_is_free() -> None:
    """In GiB, without and with it."""
    sentence = decide_checkpointing(LLAMA_1B, RECIPE, 30 * GIB).sentence()
    without, with_it = (training_bytes(LLAMA_1B, recipe) / GIB for recipe in (RECIPE, WITH))
    assert sentence == (
        f"gradient checkpointing is on by itself: a round needs about {without:.1f} GiB without and {with_it:.1f} GiB "
        "with it, and 30.0 GiB are free"
    )


def test_divided_weights_leave_room_to_keep_activations() -> None:
    """Where one device would have to compute them again."""
    divided = replace(LLAMA_8B, divided_by=8)
    free = training_bytes(divided, RECIPE)
    assert decide_checkpointing(LLAMA_8B, RECIPE, free).on
    assert not decide_checkpointing(divided, RECIPE, free).on


def test_a_model_of_which_nothing_is_known_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its round finds out; of one whose files tell, the memory that is free decides."""
    monkeypatch.setattr(round_memory, "free_bytes", lambda: 0)
    nowhere = checkpointing_now(tmp_path, "causal-lm", RECIPE, LearnerSettings(device="cpu"))
    assert nowhere == Checkpointing(on=False, why="the model's files do not tell what a round needs")
    make_causal(tmp_path / "model")
    assert checkpointing_now(tmp_path / "model", "causal-lm", RECIPE, LearnerSettings(device="cpu")).on
