"""An adapter beside a model in 4 bits: what is trained, what is made of it, and who is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from checkpoints.adapters.ground import is_adapter
from checkpoints.generation_store import Published
from checkpoints.load import load_model
from learner import low_memory_library
from learner.job import run_round
from learner.settings import RecipeSettings
from learner.training import train
from learner.weights import four_bits
from learner.weights.four_bits import NoFourBits, ShortLinear
from tests.unit.learner import tiny

LORA: Final[dict[str, Any]] = {"adapter": "lora", "adapter_modules": ("mlp", "attention"), "adapter_rank": 4}
SHORT: Final = tiny.SMALL.model_copy(update={**LORA, "adapter_base": "4bit"})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama in bfloat16 as generation 0."""
    model = tiny.llama(dtype=torch.bfloat16)
    return tiny.generation(tmp_path_factory.mktemp("base"), model, tiny.tokenizer(), "causal-lm")


def test_a_map_in_4_bits_is_near_the_exact_one() -> None:
    """Within a tenth, forward and back, with half a byte a weight."""
    torch.manual_seed(0)
    exact = nn.Linear(128, 64)
    short = ShortLinear(exact, torch.float32)
    hidden = torch.randn(8, 128, requires_grad=True)
    mapped = short(hidden)
    assert (mapped - exact(hidden)).norm() < 0.12 * mapped.norm()
    mapped.sum().backward()
    assert hidden.grad is not None
    assert (hidden.grad - exact.weight.sum(0)).norm() < 0.12 * hidden.grad.norm()
    assert short._codes.numel() * short._codes.element_size() == 128 * 64 / 2
    assert [name for name, _ in short.named_parameters()] == ["bias"]


@pytest.mark.slow
@pytest.mark.usefixtures("torch_settings_kept")
@pytest.mark.parametrize("rounds_kept", [1, 0])
def test_what_is_learned_is_merged_into_the_stored_weights(
    base: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds_kept: int
) -> None:
    """Every linear map of the layers was in 4 bits; candidates have none of it, as adapters and as whole models."""
    kinds: set[type[nn.Module]] = set()
    step: Callable[..., Any] = train.Trainer.step

    def look(self: Any, *args: Any) -> Any:
        kinds.update(type(module) for name, module in self.model.named_modules() if name.endswith("base_layer"))
        return step(self, *args)

    monkeypatch.setattr(train.Trainer, "step", look)
    recipe = SHORT.model_copy(update={"adapter_rounds": rounds_kept, "interpolation": (0.0,)})
    path = tiny.causal_round(tmp_path / "round", base, recipe=recipe)
    report = run_round(path)
    assert kinds == {ShortLinear}
    new = report.slices["1"]
    assert sum(score.nll for score in new.candidates["0.00"]) < sum(score.nll for score in new.parent)
    candidate = path / "candidates" / "0.00"
    assert is_adapter(candidate) == bool(rounds_kept)
    # What it will lie on when it is published.
    ground = base.path if rounds_kept else None
    before, after = (
        dict(load_model(each, "causal-lm", dtype=torch.float32, ground=below).named_parameters())
        for each, below in ((base.path, None), (candidate, ground))
    )
    for name, weight in before.items():
        changed = after[name] - weight
        if "proj" not in name:
            assert not changed.any(), name
        else:
            # A change of rank 4 and no more, but for what rounding to bfloat16 adds.
            sizes = torch.linalg.svdvals(changed.double())
            assert sizes[0] > 0
            assert sizes[4] < 0.2 * sizes[0], name


def test_without_its_library_a_round_is_refused_before_anything_is_scored(
    base: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install."""
    monkeypatch.setattr(four_bits, "has_four_bits", lambda: False)
    path = tiny.causal_round(tmp_path / "round", base, recipe=SHORT)
    with pytest.raises(NoFourBits, match=r"adapters,four-bits"):
        run_round(path)
    assert low_memory_library.has_four_bits()


@pytest.mark.parametrize("beside", [{}, {"adapter": "dora"}, {"adapter": "lora", "ewc": 1.0}])
def test_it_goes_with_lora_alone(beside: dict[str, Any]) -> None:
    """Pulls on weights, and DoRA's norms, would need the exact ones."""
    with pytest.raises(ValidationError, match="goes with adapter"):
        RecipeSettings.model_validate({"adapter_base": "4bit", **beside})
