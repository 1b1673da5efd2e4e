"""No setting of a recipe is ignored: each one, changed, changes what the learner makes of the same round."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
import pytest

from checkpoints.card import ModelKind
from checkpoints.generation_store import Published
from learner.directory.round_directory import read_round
from learner.job import run_round
from learner.settings import RecipeSettings
from tests.unit.learner import tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("torch_settings_kept")]

SMALL: Final = tiny.SMALL.model_copy(
    update={"ewc": 1.0, "early_stop_checks": 4, "warmup": 0.3, "warmup_steps": 0, "interpolation": (0.0,), "clip": 0.1}
)
"""With everything in it that is not in every recipe, so that what tunes it shows."""

OTHER: Final[dict[str, tuple[ModelKind, dict[str, Any]]]] = {
    "batch_sequences": ("causal-lm", {"batch_sequences": 5}),
    "micro_batch": ("causal-lm", {"micro_batch": 2}),
    "sequence_length": ("causal-lm", {"sequence_length": 24}),
    "replay_ratio": ("causal-lm", {"replay_ratio": 0.2}),
    "most_replays": ("causal-lm", {"most_replays": 1, "replay_ratio": 0.9}),
    "epochs": ("causal-lm", {"epochs": 2}),
    "max_steps": ("causal-lm", {"max_steps": 1}),
    "max_tokens": ("causal-lm", {"max_tokens": 300}),
    "max_seconds": ("causal-lm", {"max_seconds": 1e-6}),
    "early_stop_checks": (
        "causal-lm",
        {"early_stop_checks": 12, "early_stop_patience": 1, "learning_rate": 0.5, "epochs": 4},
    ),
    "early_stop_patience": (
        "causal-lm",
        {"early_stop_patience": 1, "early_stop_checks": 12, "learning_rate": 0.5, "epochs": 4},
    ),
    "learning_rate": ("causal-lm", {"learning_rate": 1e-3}),
    "warmup": ("causal-lm", {"warmup": 0.0}),
    "warmup_steps": ("causal-lm", {"warmup_steps": 5}),
    "floor": ("causal-lm", {"floor": 1.0}),
    "beta1": ("causal-lm", {"beta1": 0.5}),
    "beta2": ("causal-lm", {"beta2": 0.5}),
    "optimizer": ("causal-lm", {"optimizer": "adamw-8bit"}),
    "carry_moments": ("causal-lm", {"carry_moments": False, "early_stop_checks": 0}),
    "weight_decay": ("causal-lm", {"weight_decay": 10.0}),
    "clip": ("causal-lm", {"clip": 1e-6}),
    "kl": ("causal-lm", {"kl": 0.0}),
    "kl_temperature": ("causal-lm", {"kl_temperature": 3.0}),
    "der_alpha": ("classifier", {"der_alpha": 3.0}),
    "der_beta": ("classifier", {"der_beta": 0.1}),
    "er_ace": ("classifier", {"er_ace": False}),
    "l2_sp": ("causal-lm", {"l2_sp": 10.0}),
    "ewc": ("causal-lm", {"ewc": 100.0}),
    "importance_sequences": ("causal-lm", {"importance_sequences": 2}),
    "interpolation": ("causal-lm", {"interpolation": (0.0, 0.25)}),
    "adapter": ("causal-lm", {"adapter": "lora"}),
    "precision": ("causal-lm", {"precision": "bfloat16"}),
}
"""By setting: of which kind of model, and another value (of the setting, and of what it shows with)."""

ELSEWHERE: Final = {
    "early_stop_share": "of the draw: tests/unit/daemon/rounds/test_settings_reach.py",
    "early_stop_documents": "of the draw: tests/unit/daemon/rounds/test_settings_reach.py",
    "correction_weight": "of the draw: tests/unit/daemon/rounds/test_settings_reach.py",
    "ewc_decay": "needs an earlier round: tests/unit/learner/test_job.py",
    "l2_sp_anchor": "needs an earlier round: tests/unit/learner/test_rounds_in_a_row.py",
    "adapter_rank": "of the adapter: tests/unit/learner/test_adapting.py",
    "adapter_alpha": "of the adapter: tests/unit/learner/test_adapting.py",
    "adapter_modules": "of the adapter: tests/unit/learner/test_adapting.py",
    "adapter_rounds": "of the adapter: tests/unit/learner/test_adapter_generations.py",
    "adapter_drift": "of the adapter: tests/unit/learner/test_adapter_generations.py",
    "adapter_base": "of the adapter: tests/unit/learner/test_four_bits.py",
    "gradient_checkpointing": "changes no result: tests/unit/learner/training/test_train.py",
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[ModelKind, Published]:
    """A tiny Llama and a tiny BERT, each as generation 0."""
    home = tmp_path_factory.mktemp("bases")
    return {
        "causal-lm": tiny.generation(home / "llama", tiny.llama(), tiny.tokenizer(), "causal-lm"),
        "classifier": tiny.generation(home / "bert", tiny.bert(), tiny.tokenizer(bert=True), "classifier"),
    }


Made: TypeAlias = tuple[Any, dict[str, bytes]]


def made_by(path: Path, base: Published, kind: ModelKind, recipe: RecipeSettings) -> Made:
    """What a round makes: its figures without those of time, memory and device, and the weights of its candidates."""
    if kind == "causal-lm":
        tiny.causal_round(path, base, recipe=recipe, fresh=30)
    else:
        new = tiny.labelled(20, seed=1, labels=("frozen",)) + tiny.labelled(6, seed=4, first=100, labels=("calm",))
        known = tiny.labelled(20, seed=2, first=1000, labels=("calm", "stormy"))
        tiny.classifier_round(path, base, fresh=new, replay=known, recipe=recipe)
    report = run_round(path)
    assert report.training is not None, report.detail
    training = replace(
        report.training, seconds=0, tokens_per_second=0, phase_seconds={}, phase_peak_bytes={}, peak_memory_bytes=0
    )
    figures = orjson.loads(replace(report, training=training, device="").encode())
    weights = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("candidates/**/*.safetensors")}
    assert weights
    return figures, weights


@pytest.fixture(scope="module")
def made_before(
    tmp_path_factory: pytest.TempPathFactory, bases: Mapping[ModelKind, Published]
) -> Callable[[ModelKind, RecipeSettings], Made]:
    """What a round makes before a setting is changed: most are changed from the same, and that is made once."""

    @cache
    def make(kind: ModelKind, recipe: RecipeSettings) -> Made:
        return made_by(tmp_path_factory.mktemp("before") / "round", bases[kind], kind, recipe)

    return make


@pytest.mark.parametrize("name", sorted(OTHER))
def test_each_setting_of_a_recipe_changes_what_is_made(
    tmp_path: Path,
    bases: Mapping[ModelKind, Published],
    made_before: Callable[[ModelKind, RecipeSettings], Made],
    name: str,
) -> None:
    """What differs is the setting's doing: the same round makes the same again."""
    kind, update = OTHER[name]
    others = {key: value for key, value in update.items() if key != name}
    first, second = (SMALL.model_copy(update=each) for each in (others, update))
    assert made_by(tmp_path / "round", bases[kind], kind, second) != made_before(kind, first)
    assert read_round(tmp_path / "round").spec.recipe == second


@pytest.mark.parametrize("kind", ["causal-lm", "classifier"])
def test_the_same_round_makes_the_same_again(
    tmp_path: Path,
    bases: Mapping[ModelKind, Published],
    made_before: Callable[[ModelKind, RecipeSettings], Made],
    kind: ModelKind,
) -> None:
    """Without this a difference would say nothing."""
    assert made_by(tmp_path / "again", bases[kind], kind, SMALL) == made_before(kind, SMALL)


def test_every_setting_of_a_recipe_is_tried() -> None:
    """A new one too, unless somebody says where."""
    assert OTHER.keys() | ELSEWHERE.keys() == RecipeSettings.model_fields.keys()
    assert not OTHER.keys() & ELSEWHERE.keys()
