"""Which settings are proposed where a round does not fit."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from daemon.doctor.proposal import as_lines, proposal
from daemon.sizes.estimate import training_bytes
from daemon.sizes.shape import ModelShape
from learner.settings import RecipeSettings

SHAPE = ModelShape(
    parameters=135_000_000,
    stored_bytes=270_000_000,
    outputs=49_152,
    by_token=True,
    hidden=576,
    inner=1536,
    heads=9,
    layers=30,
    positions=8192,
    compute_bytes=4,
    device_type="cpu",
)
RECIPES = st.builds(
    RecipeSettings,
    micro_batch=st.integers(1, 64),
    batch_sequences=st.integers(1, 64),
    sequence_length=st.integers(8, 4096),
    gradient_checkpointing=st.booleans(),
    adapter=st.sampled_from([None, "lora", "dora"]),
)
FREE = st.integers(0, 64 * 2**30)


@given(RECIPES, FREE)
def test_what_is_proposed_fits_and_is_never_more_than_was_set(recipe: RecipeSettings, free: int) -> None:
    """By the same estimate; nothing is proposed only where the smallest micro-batch is too large."""
    change = proposal(SHAPE, recipe, free)
    if change is None:
        least = {"micro_batch": 1, "gradient_checkpointing": True, "adapter": recipe.adapter or "lora"}
        assert training_bytes(SHAPE, recipe.model_copy(update=least)) > free
        return
    changed = RecipeSettings.model_validate(recipe.model_dump() | change)
    assert training_bytes(SHAPE, changed) <= free
    assert changed.micro_batch <= recipe.micro_batch
    assert changed.length <= recipe.length
    assert changed.gradient_checkpointing or not recipe.gradient_checkpointing
    assert recipe.adapter in (changed.adapter, None)


@given(RECIPES)
def test_nothing_is_proposed_where_it_fits(recipe: RecipeSettings) -> None:
    """Settings that fit stay as they are."""
    assert proposal(SHAPE, recipe, training_bytes(SHAPE, recipe)) == {}


@given(RECIPES, FREE)
def test_lines_can_be_pasted(recipe: RecipeSettings, free: int) -> None:
    """What is shown between backquotes is TOML, and says the same."""
    change = proposal(SHAPE, recipe, free) or {}
    pasted = tomllib.loads(as_lines(change).replace("`, `", "\n").strip("`"))
    assert pasted == ({"learner": {"recipe": change}} if change else {})
