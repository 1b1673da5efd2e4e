"""What the doctor says by a model's shape is what a round then takes: two models, real rounds, their own processes.

`benchmarks/doctor_memory.py` looks at more of them, and larger ones.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from benchmarks.doctor_memory import measure
from benchmarks.random_models import imported
from daemon.doctor import load_model
from daemon.sizes.estimate import round_parts
from daemon.sizes.shape import ModelShape
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings

RECIPE = RecipeSettings(batch_sequences=4, micro_batch=2, max_steps=3, early_stop_checks=3, interpolation=(0.0,))


def large_vocabulary() -> Any:
    """Most of it lies in memory between passes."""
    sizes: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=60_000, num_attention_heads=4, tie_word_embeddings=True, **sizes))


def many_heads() -> Any:
    """Most of it are scores of attention, which dropout makes it keep."""
    return GPT2LMHeadModel(GPT2Config(vocab_size=2048, n_positions=1024, n_embd=64, n_layer=4, n_head=16))


@pytest.mark.slow
@pytest.mark.parametrize(("make", "length"), [(large_vocabulary, 64), (many_heads, 512)])
def test_what_a_round_takes_is_foretold(make: Callable[[], Any], length: int, tmp_path: Path) -> None:
    """Within 15 %, beside what the learner's process held before it loaded a model."""
    recipe = RECIPE.model_copy(update={"sequence_length": length})
    model = imported("causal-lm", make, tmp_path, positions=2048)
    answer = load_model.examine(
        model.store, model.directory, "causal-lm", (), LearnerSettings(device="cpu", recipe=recipe)
    )
    shape = ModelShape.of({name: answer[name] for name in ModelShape.__dataclass_fields__})
    peaks = measure("causal-lm", model, recipe, tmp_path)
    # Not this process's, which is that of the tests.
    parts = round_parts(replace(shape, process_bytes=peaks["verify"]), recipe, is_first=True)["train"]
    assert sum(parts.values()) == pytest.approx(peaks["train"], rel=0.15)
    assert sum(parts.values()) > 1.3 * peaks["verify"]
