"""Recipes and what they default to."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from learner.settings import LearnerSettings, RecipeSettings


def test_defaults_depend_on_the_kind_of_model() -> None:
    """A causal LM replays more and learns faster than a classifier."""
    recipe = RecipeSettings()
    assert [recipe.replay_share(kind) for kind in ("causal-lm", "classifier")] == [0.6, 0.5]
    assert [recipe.peak_rate(kind) for kind in ("causal-lm", "classifier")] == [1e-4, 2e-5]


@pytest.mark.parametrize(("steps", "rate"), [(1, 1e-3), (10, 1e-3), (40, 2.5e-4), (500, 2e-5), (10_000, 2e-5)])
def test_a_new_head_has_a_higher_rate_the_fewer_steps_there_are_to_learn_it(steps: int, rate: float) -> None:
    """Never a lower one than any classifier, never one that no encoder bears; what the recipe says wins."""
    assert RecipeSettings().peak_rate("classifier", steps_of_new_head=steps) == pytest.approx(rate)
    assert RecipeSettings(learning_rate=0.5).peak_rate("classifier", steps_of_new_head=steps) == 0.5


def test_what_is_set_holds_for_either_kind() -> None:
    """Zero is a value, not a missing one."""
    recipe = RecipeSettings(replay_ratio=0.0, learning_rate=0.5)
    assert recipe.replay_share("causal-lm") == recipe.replay_share("classifier") == 0
    assert recipe.peak_rate("classifier") == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"replay_ratio": 1.0},
        {"learning_rate": 0},
        {"klaxon": 1},
        {"micro_batch": 0},
        {"interpolation": (1.0,)},
        {"interpolation": (1 / 3,)},
    ],
)
def test_impossible_recipe_is_refused(wrong: dict[str, object]) -> None:
    """Out of bounds or unknown, it is an error at once."""
    with pytest.raises(ValidationError):
        RecipeSettings.model_validate(wrong)


def test_every_setting_says_what_it_is() -> None:
    """The reference configuration prints these descriptions."""
    for model in (RecipeSettings, LearnerSettings):
        assert all(field.description for field in model.model_fields.values())


def test_daemon_can_read_rounds_without_torch() -> None:
    """What it imports of this room loads neither torch nor transformers."""
    code = (
        "import sys, learner.settings, learner.directory.round_directory, learner.directory.report; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
