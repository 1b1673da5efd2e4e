"""Activations are computed again where a round does not fit without, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.sizes import checkpointing
from daemon.sizes.checkpointing import Checkpointing, checkpointing_now, decide_checkpointing
from daemon.sizes.estimate import GIB, round_parts, training_bytes
from daemon.sizes.shape import ModelShape
from learner.settings import RecipeSettings
from tests.models import make_causal
from tests.unit.daemon.sizes.test_sequence_length import LLAMA_1B, LLAMA_8B, SMOLLM2

RECIPE = RecipeSettings()
WITH = RECIPE.model_copy(update={"gradient_checkpointing": True})


@pytest.mark.parametrize("shape", [SMOLLM2, LLAMA_1B, LLAMA_8B])
def test_it_is_on_by_itself_exactly_where_a_round_does_not_fit_without(shape: ModelShape) -> None:
    """To the byte."""
    needed = training_bytes(shape, RECIPE)
    assert not decide_checkpointing(shape, RECIPE, needed).on
    assert decide_checkpointing(shape, RECIPE, needed - 1).on


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
    monkeypatch.setattr(checkpointing, "free_bytes", lambda: 0)
    nowhere = checkpointing_now(tmp_path, "causal-lm", RECIPE, "cpu")
    assert nowhere == Checkpointing(on=False, why="the model's files do not tell what a round needs")
    make_causal(tmp_path / "model")
    assert checkpointing_now(tmp_path / "model", "causal-lm", RECIPE, "cpu").on
