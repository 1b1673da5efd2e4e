"""Which settings are proposed where a round does not fit: such as the settings themselves accept."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from pydantic import ValidationError

from daemon.doctor import model, proposal, rounds
from daemon.doctor.proposal import as_lines, changed_by
from daemon.doctor.rehearsal import FailedRehearsal
from daemon.doctor.round_cost import Memory
from daemon.doctor.rounds import Room
from daemon.settings.tree import ModelSettings, Settings
from daemon.sizes.estimate import training_bytes
from daemon.sizes.shape import ModelShape
from learner.devices.gpus import count_shares
from learner.process_settings import LearnerSettings

GIB = 2**30
SMOLLM2 = ModelShape(
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
LLAMA_8B = replace(
    SMOLLM2,
    parameters=8_030_261_248,
    stored_bytes=16_060_522_496,
    outputs=128_256,
    hidden=4096,
    inner=14_336,
    heads=32,
    layers=32,
    largest_bytes=4 * 128_256 * 4096,
    compute_bytes=2,
    device_type="cuda",
    is_bfloat16=True,
)
SHAPES = st.sampled_from([SMOLLM2, LLAMA_8B, replace(SMOLLM2, by_token=False, outputs=4)])
TREES = st.fixed_dictionaries(
    {
        "device": st.sampled_from(["auto", "cpu", "cuda"]),
        "devices": st.sampled_from([1, 2, 4]),
        "sharded": st.booleans(),
        "compile": st.booleans(),
        "recipe": st.fixed_dictionaries(
            {
                "micro_batch": st.integers(1, 64),
                "batch_sequences": st.integers(1, 64),
                "sequence_length": st.integers(8, 4096),
                "gradient_checkpointing": st.sampled_from([None, False, True]),
                "adapter": st.sampled_from([None, "lora", "dora"]),
                "adapter_base": st.sampled_from([None, None, "4bit"]),
                "optimizer": st.sampled_from(["adamw", "adamw", "adamw-8bit"]),
                "ewc": st.sampled_from([0.0, 0.0, 1.0]),
            }
        ),
    }
)
FREE = st.integers(0, 128 * GIB)


def learner_of(tree: dict[str, Any]) -> LearnerSettings:
    """Settings that are accepted; others are no case."""
    try:
        return LearnerSettings.model_validate(tree)
    except ValidationError:
        reject()


def whole_settings(learner: LearnerSettings) -> Settings:
    """Of a service that has such a learner."""
    return Settings(model=ModelSettings(path=Path("model")), learner=learner)


def alternatives(remedy: str) -> Iterator[dict[str, Any]]:
    """What a remedy names to be set, by the names below `learner.`; what stands behind "or" is another way."""
    for way in re.split(r",? or ", remedy):
        lines = re.findall(r"`learner\.([a-z_.]+ = [^`]+)`", way)
        yield {line.partition(" = ")[0]: tomllib.loads("v = " + line.partition(" = ")[2])["v"] for line in lines}


def require_accepted(learner: LearnerSettings, remedy: str) -> None:
    """Fail where the settings refuse what a remedy tells a person to set."""
    for change in alternatives(remedy):
        assert changed_by(learner, change) is not None, (change, remedy)


@given(SHAPES, TREES, FREE)
def test_what_is_proposed_is_accepted_fits_and_is_never_more_than_was_set(
    shape: ModelShape, tree: dict[str, Any], free: int
) -> None:
    """By the same estimate, with as many sharing the weights as it leaves; nothing is proposed only where none fits."""
    learner = learner_of(tree)
    shape = replace(shape, divided_by=count_shares(learner))
    change = proposal.proposal(shape, learner, free)
    if change is None:
        adapted = proposal.with_adapter(learner) or {}
        least = changed_by(learner, adapted | {"recipe.micro_batch": 1, "recipe.gradient_checkpointing": True})
        assert least is not None
        assert training_bytes(replace(shape, divided_by=count_shares(least)), least.recipe) > free
        return
    changed = changed_by(learner, change)
    assert changed is not None
    assert training_bytes(replace(shape, divided_by=count_shares(changed)), changed.recipe) <= free
    assert changed.recipe.micro_batch <= learner.recipe.micro_batch
    assert changed.recipe.length <= learner.recipe.length
    assert changed.recipe.gradient_checkpointing or not learner.recipe.gradient_checkpointing
    assert learner.recipe.adapter in (changed.recipe.adapter, None)
    assert not (changed.sharded and changed.recipe.adapter)


@given(SHAPES, TREES)
def test_nothing_is_proposed_where_it_fits(shape: ModelShape, tree: dict[str, Any]) -> None:
    """Settings that fit stay as they are."""
    learner = learner_of(tree)
    shape = replace(shape, divided_by=count_shares(learner))
    assert proposal.proposal(shape, learner, training_bytes(shape, learner.recipe)) == {}


@given(SHAPES, TREES, FREE)
def test_lines_can_be_pasted(shape: ModelShape, tree: dict[str, Any], free: int) -> None:
    """What is shown between backquotes is TOML, and says the same."""
    change = proposal.proposal(shape, learner_of(tree), free) or {}
    pasted = tomllib.loads(as_lines(change).replace("`, `", "\n").strip("`")).get("learner", {})
    recipe = {f"recipe.{name}": value for name, value in pasted.pop("recipe", {}).items()}
    assert pasted | recipe == change


@given(SHAPES, TREES, FREE, st.integers(1, 4))
def test_every_remedy_for_memory_and_devices_is_accepted(
    shape: ModelShape, tree: dict[str, Any], free: int, gpus: int
) -> None:
    """Of an estimate, of a model that is too large by itself, of a rehearsal that failed or did not fit."""
    learner = learner_of(tree)
    settings, room = whole_settings(learner), Room(free, 0)
    shape = replace(shape, divided_by=count_shares(learner))
    require_accepted(learner, model._estimate(settings, shape, room, "here").remedy)
    require_accepted(learner, model._too_large(settings, shape, room).remedy)
    require_accepted(learner, rounds._no_rehearsal(FailedRehearsal(1, "none", for_memory=True), settings).remedy)
    needed = Memory(width=learner.recipe.length, lines=((GIB, GIB / 10),))
    for fitting in (0, 1):
        require_accepted(learner, rounds._fitting_settings(settings, needed, free, fitting))
    for finding in model._devices(settings, shape, gpus):
        require_accepted(learner, finding.remedy)


def test_beside_divided_weights_an_adapter_takes_their_place() -> None:
    """With the frozen weights whole on each device, by which its figures go."""
    learner = LearnerSettings(devices=4, sharded=True, device="cuda")
    shape = replace(LLAMA_8B, divided_by=4)
    remedy = model._too_large(whole_settings(learner), shape, Room(36 * GIB, 0)).remedy
    assert '`learner.recipe.adapter = "lora"`, `learner.sharded = false`' in remedy
    # Each device holds the model in float32 at least.
    (told,) = re.findall(r"with which that is ([\d.]+) GiB", remedy)
    assert float(told) > 4 * LLAMA_8B.parameters / GIB


def test_what_a_proposal_needs_is_told_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` refuses an adapter without its library."""
    change = {"recipe.adapter": "lora"}
    assert proposal.to_be_installed(change) == ""
    monkeypatch.setattr(proposal, "has_adapters", lambda: False)
    assert "pip install" in proposal.to_be_installed(change)
    assert proposal.to_be_installed({"recipe.micro_batch": 1}) == ""
