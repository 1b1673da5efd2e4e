"""What weights, gradients, moments and the parent take while a round trains, in bytes a weight."""

from dataclasses import replace

import pytest

from daemon.sizes.estimate import CANDIDATES, MERGED, least_bytes, round_parts, training_bytes
from daemon.sizes.shape import ModelShape
from learner.settings import RecipeSettings
from tests.unit.daemon.sizes.test_sequence_length import LLAMA_1B, SMOLLM2

ADAMW, EIGHT_BIT = RecipeSettings(), RecipeSettings(optimizer="adamw-8bit")
EWC = RecipeSettings(ewc=1.0)
BOTH_MOMENTS = 2 * (1 + 4 / 256)


@pytest.mark.parametrize(
    ("shape", "recipe", "sizes"),
    [
        (SMOLLM2, ADAMW, (4, 4, 8, 4)),
        (LLAMA_1B, ADAMW, (4, 4, 8, 2)),
        (replace(SMOLLM2, is_bfloat16=True), ADAMW, (4, 4, 8, 4)),
        (SMOLLM2, EIGHT_BIT, (4, 4, BOTH_MOMENTS, 4)),
        (replace(SMOLLM2, is_bfloat16=True), EIGHT_BIT, (2, 2, BOTH_MOMENTS, 2)),
        (replace(LLAMA_1B, is_bfloat16=True), EIGHT_BIT, (2, 2, BOTH_MOMENTS, 2)),
    ],
)
def test_bytes_of_a_weight(shape: ModelShape, recipe: RecipeSettings, sizes: tuple[float, ...]) -> None:
    """The parent as passes resolve it: in bfloat16 on a GPU, and where what is stored is trained."""
    parts = round_parts(shape, recipe)["train"]
    named = ("weights", "gradients", "optimizer", "parent")
    assert tuple(parts[name] / shape.parameters for name in named) == pytest.approx(sizes, rel=1e-6)


def test_divided_weights_leave_each_device_its_share() -> None:
    """What passes gather is held whole beside it; what is scored is whole, and nothing beside it."""
    whole, divided = (round_parts(replace(LLAMA_1B, divided_by=count), ADAMW) for count in (1, 4))
    for name in ("weights", "gradients", "optimizer", "parent"):
        assert divided["train"][name] == pytest.approx(whole["train"][name] / 4, rel=1e-6)
    assert 2 * LLAMA_1B.parameters < divided["train"]["gathered"] < sum(whole["train"].values()) / 2
    assert "gathered" not in whole["train"]
    assert divided["score"] == {**whole["score"], "base": 0}
    measured = [round_parts(replace(LLAMA_1B, divided_by=count), EWC)["importance"] for count in (1, 4)]
    assert measured[1]["importance"] == pytest.approx(measured[0]["importance"] / 4, rel=1e-6)


def test_however_many_devices_each_has_the_whole_model_to_score_it() -> None:
    """A round never takes less than that."""
    shape = replace(LLAMA_1B, divided_by=1024)
    assert training_bytes(shape, ADAMW) > least_bytes(shape, ADAMW) > 4 * LLAMA_1B.parameters


def test_an_adapter_is_in_float32_whatever_the_optimizer() -> None:
    """Its moments alone are short."""
    lora = {"adapter": "lora", "adapter_rank": 16}
    shape = replace(SMOLLM2, is_bfloat16=True)
    plain, short = (round_parts(shape, recipe.model_copy(update=lora))["train"] for recipe in (ADAMW, EIGHT_BIT))
    assert (short["weights"], short["gradients"], short["parent"]) == (plain["weights"], plain["gradients"], 0)
    assert short["optimizer"] == pytest.approx(plain["optimizer"] * BOTH_MOMENTS / 8, rel=1e-6)


def test_candidates_that_are_adapters_take_no_weight_of_a_whole_one() -> None:
    """What the round behind them takes, which merges them, is told beside, and is made room for."""
    shape = replace(SMOLLM2, adapter_bytes=2**26)
    lora = RecipeSettings(adapter="lora", interpolation=(0.0,))
    kept = round_parts(shape, lora)
    assert kept[CANDIDATES]["parent"] == shape.stored_bytes
    assert kept[CANDIDATES]["adapter's library"] == kept["train"]["adapter's library"] == 2**26
    assert sum(kept[CANDIDATES].values()) < sum(kept[MERGED].values()) <= least_bytes(shape, lora)
    for change in ({"adapter_rounds": 0}, {"adapter": "dora"}):
        merged = round_parts(shape, lora.model_copy(update=change))
        assert MERGED not in merged
        assert sum(merged[CANDIDATES].values()) == sum(kept[MERGED].values())
    assert not any(
        "adapter's library" in parts and parts["adapter's library"] for parts in round_parts(shape, ADAMW).values()
    )
