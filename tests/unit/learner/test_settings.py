"""Recipes and what they default to."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings

SMALL = 110_000_000
"""Parameters of BERT."""


def test_defaults_depend_on_the_kind_of_model() -> None:
    """A causal LM learns faster than a classifier."""
    recipe = RecipeSettings()
    assert [recipe.peak_rate(kind, SMALL) for kind in ("causal-lm", "classifier")] == [1e-4, 2e-5]


@pytest.mark.parametrize(
    ("parameters", "causal", "classifier"),
    [
        (1_066_112, 1e-4, 2e-5),
        (134_515_008, 1e-4, 2e-5),
        (355_359_744, 3e-5, 1e-5),
        (1_011_781_632, 3e-5, 1e-5),
        (1_711_376_384, 2e-5, 1e-5),
        (3_212_749_824, 1.6e-5, 1e-5),
        (8_030_261_248, 1.2e-5, 1e-5),
        (70_553_706_496, 1e-5, 1e-5),
    ],
)
def test_larger_models_learn_at_lower_rates(parameters: int, causal: float, classifier: float) -> None:
    """A tenth of what models of their size were pre-trained at, an adapter at ten times that; what is set wins."""
    recipe = RecipeSettings()
    assert recipe.peak_rate("causal-lm", parameters) == pytest.approx(causal)
    assert recipe.peak_rate("classifier", parameters) == pytest.approx(classifier)
    lora = RecipeSettings(adapter="lora")
    assert lora.peak_rate("causal-lm", parameters) == pytest.approx(10 * causal)
    assert RecipeSettings(learning_rate=0.5).peak_rate("causal-lm", parameters) == 0.5


@pytest.mark.parametrize(("steps", "rate"), [(1, 1e-3), (10, 1e-3), (40, 2.5e-4), (500, 2e-5), (10_000, 2e-5)])
def test_a_new_head_has_a_higher_rate_the_fewer_steps_there_are_to_learn_it(steps: int, rate: float) -> None:
    """Never a lower one than any classifier, never one that no encoder bears; what the recipe says wins."""
    assert RecipeSettings().peak_rate("classifier", SMALL, steps_of_new_head=steps) == pytest.approx(rate)
    assert RecipeSettings(learning_rate=0.5).peak_rate("classifier", SMALL, steps_of_new_head=steps) == 0.5


def test_a_round_that_an_earlier_version_began_can_be_read() -> None:
    """It named no ratio where nobody had set one."""
    assert RecipeSettings.model_validate({"replay_ratio": None}) == RecipeSettings()


def test_what_is_set_holds_for_either_kind() -> None:
    """Zero is a value, not a missing one."""
    recipe = RecipeSettings(replay_ratio=0.0, learning_rate=0.5)
    assert recipe.replay_ratio == 0
    assert recipe.peak_rate("classifier", SMALL) == 0.5


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
