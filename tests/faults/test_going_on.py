"""A learner killed anywhere goes on from what it saved, and reaches what one reaches that was never killed.

The learners are processes of their own, forked from this one so that torch is imported once; SIGKILL is real. The seed
is printed: with it the kills are the same.
"""

import os
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM

from checkpoints.files.durable_writes import DurableStep
from checkpoints.generation_store import Published
from learner.directory.report import Report, read_report
from learner.directory.round_directory import MOMENTS, ROUND
from learner.directory.saved_round import SAVED, STATE, read_saved
from learner.job import run_round
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from tests.unit.learner import tiny
from tests.unit.learner.line import Line
from tests.unit.learner.lives import digests, ending, said

pytestmark = pytest.mark.usefixtures("torch_settings_kept")
SAVING = [
    DurableStep.STAGE_COPY,
    DurableStep.STAGE_SYNC_FILE,
    DurableStep.FILE_WRITE,
    DurableStep.FILE_RENAME,
    DurableStep.FILE_SYNC_PARENT,
]
# More time than there is: no step depends on it, and what was trained before can be made to exceed it.
MOST_SECONDS = 1e9
RECIPE = tiny.SMALL.model_copy(
    update={
        "epochs": 2,
        "l2_sp": 0.1,
        "early_stop_checks": 4,
        "interpolation": (0.0,),
        "max_seconds": MOST_SECONDS,
    }
)


SKILL = tiny.skill(
    [
        {"prompt": "the engine", "contains": "the"},
        {"prompt": "the signal carries the", "choices": ["cable", "river", "</s>"], "answer": "cable"},
    ]
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama as generation 0, with dropout: its steps draw random numbers."""
    model = tiny.llama()
    model.config.attention_dropout = 0.2
    return tiny.generation(tmp_path_factory.mktemp("base"), model, tiny.tokenizer(), "causal-lm")


def write(path: Path, base: Published, seconds: float, recipe: RecipeSettings = RECIPE) -> Path:
    """A round with replay, KL, a pull, a skill and looks when to stop, that saves itself every so many seconds."""
    return tiny.causal_round(path, base, recipe=recipe, fresh=60, skills=[SKILL], save_seconds=seconds)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, base: Published) -> Path:
    """A round at the default, which is far shorter than the time between saves, run to its end."""
    path = write(tmp_path_factory.mktemp("undisturbed") / "round", base, LearnerSettings().save_seconds)
    run_round(path)
    return path


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory, base: Published) -> Path:
    """A round whose learner was killed in its fourth save."""
    path = write(tmp_path_factory.mktemp("cut_off") / "round", base, 0.0)
    assert ending(path, f"{DurableStep.STAGE_COPY.value}@4:kill") == -signal.SIGKILL
    return path


def without_time(report: Report) -> Report:
    """A report but for what a clock or the machine's memory says."""
    training = report.training
    assert training is not None
    timeless: dict[str, Any] = {"seconds": 0.0, "tokens_per_second": 0.0, "phase_seconds": {}, "phase_peak_bytes": {}}
    return replace(report, training=replace(training, peak_memory_bytes=0, **timeless))


def test_a_learner_killed_anywhere_reaches_the_same(cut_off: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Within saves and between steps, life after life: the candidates and the report of a learner never killed.

    In its last life the disk is full for one save: that is told, and the next one goes through.
    """
    seed = int(os.environ.get("RIVERKEEP_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}: RIVERKEEP_TEST_SEED={seed} repeats the kills")
    chosen = random.Random(seed)
    path = shutil.copytree(cut_off, tmp_path / "round")
    label = chosen.choice(SAVING)
    assert ending(path, f"{label.value}@{chosen.randint(1, 2)}:kill") == -signal.SIGKILL
    assert ending(path, at=chosen.randint(6, 8)) == -signal.SIGKILL
    assert ending(path, f"{DurableStep.FILE_SYNC.value}@1:enospc") == 0
    assert digests(path) == digests(undisturbed)
    assert without_time(read_report(path)) == without_time(read_report(undisturbed))
    assert set(read_report(path).skills) == {"words"}
    assert not (path / SAVED).exists()
    went_on = [event["step"] for event in said(path, "goes_on")]
    assert len(went_on) == 3
    assert went_on == sorted(went_on)
    (refused,) = said(path, "not_saved")
    assert "No space left" in refused["reason"]
    assert refused["step"] == went_on[-1] + 1 < said(path, "saved")[-1]["step"]


def test_a_round_shorter_than_the_time_between_saves_never_saves(undisturbed: Path) -> None:
    """It costs nothing."""
    assert said(undisturbed, "saved") == []
    assert said(undisturbed, "step") != []


def test_what_cannot_be_used_is_told_and_the_round_begins_anew(
    cut_off: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """One bit of it is another: no step goes on from it, and the result is the undisturbed one's."""
    path = shutil.copytree(cut_off, tmp_path / "round")
    saved = read_saved(path)
    assert saved is not None
    tensors = path / SAVED / saved.tensors
    content = bytearray(tensors.read_bytes())
    content[-9] ^= 1
    tensors.write_bytes(content)
    run_round(path)
    (event,) = said(path, "begun_anew")
    assert "is damaged" in event["reason"]
    assert said(path, "goes_on") == []
    assert digests(path) == digests(undisturbed)


def test_with_fewer_rows_in_a_pass_it_goes_on_and_time_trained_before_counts(cut_off: Path, tmp_path: Path) -> None:
    """A round that ran out of memory keeps what it had trained; none gets the time that it may take once more."""
    path = shutil.copytree(cut_off, tmp_path / "round")
    spec, note = orjson.loads((path / ROUND).read_bytes()), path / SAVED / STATE
    spec["recipe"] |= {"micro_batch": 2}
    (path / ROUND).write_bytes(orjson.dumps(spec))
    saved = orjson.loads(note.read_bytes())
    saved["place"]["seconds"] = MOST_SECONDS + 1
    note.write_bytes(orjson.dumps(saved))
    training = run_round(path).training
    assert training is not None
    assert [event["step"] for event in said(path, "goes_on")] == [3]
    assert training.steps == 3
    assert training.seconds > MOST_SECONDS
    assert training.micro_batch == 2


def test_an_adapter_goes_on_too_from_a_save_of_its_own_size(cut_off: Path, base: Published, tmp_path: Path) -> None:
    """The model that stands still is no part of it."""
    recipe = RECIPE.model_copy(update={"adapter": "dora", "adapter_rank": 2, "epochs": 1})
    undisturbed, path = (write(tmp_path / name, base, seconds, recipe) for name, seconds in (("a", 1e9), ("b", 0.0)))
    run_round(undisturbed)
    assert ending(path, f"{DurableStep.STAGE_COPY.value}@3:kill") == -signal.SIGKILL
    saved, whole = read_saved(path), read_saved(cut_off)
    assert saved is not None
    assert whole is not None
    assert saved.listed.bytes < whole.listed.bytes / 3
    run_round(path)
    assert len(said(path, "goes_on")) == 1
    assert digests(path) == digests(undisturbed)
    assert without_time(read_report(path)) == without_time(read_report(undisturbed))


def test_a_round_with_its_parents_moments_goes_on_with_its_own(tmp_path: Path) -> None:
    """Killed before it has saved it begins with its parent's again, and after that from the save; to the same bits."""
    recipe = RECIPE.model_copy(update={"early_stop_checks": 0})
    for dtype in (torch.float32, torch.bfloat16):
        line = Line(tmp_path / str(dtype), tiny.llama(dtype=dtype), recipe=recipe)
        line.run()
        undisturbed = line.write(name="undisturbed", save_seconds=1e9)
        killed = line.write(name="killed", save_seconds=0.0)
        assert ending(undisturbed) == 0
        assert ending(killed, f"{DurableStep.STAGE_COPY.value}@1:kill") == -signal.SIGKILL
        assert ending(killed, at=2) == -signal.SIGKILL
        assert ending(killed) == 0
        assert {event["reason"] for event in said(killed, "moments")} == {""}
        assert len(said(killed, "goes_on")) == 1
        assert digests(killed) == digests(undisturbed)
        assert f"candidates/0.00/{MOMENTS}" in digests(killed)


def test_moments_of_a_byte_and_rounding_by_chance_go_on_as_they_were(tmp_path: Path) -> None:
    """Of a model that is trained in bfloat16, killed after two saves."""
    model = tiny.llama(dtype=torch.bfloat16)
    base = tiny.generation(tmp_path / "base", model, tiny.tokenizer(), "causal-lm")
    recipe = RECIPE.model_copy(update={"optimizer": "adamw-8bit"})
    undisturbed, killed = (write(tmp_path / name, base, seconds, recipe) for name, seconds in (("u", 1e9), ("k", 0.0)))
    assert ending(undisturbed) == 0
    assert ending(killed, at=3) == -signal.SIGKILL
    assert ending(killed) == 0
    assert said(killed, "goes_on")
    assert digests(killed) == digests(undisturbed)


def bloom() -> BloomForCausalLM:
    """One of the architectures that do not keep packed documents apart."""
    torch.manual_seed(0)
    words = len(tiny.tokenizer())
    return BloomForCausalLM(BloomConfig(vocab_size=words, hidden_size=32, n_layer=2, n_head=4, pad_token_id=0))


def test_a_round_that_reads_pieces_apart_goes_on_but_not_from_a_plan_of_single_ones(tmp_path: Path) -> None:
    """Whose numbers would name other text: a save of a version before says nothing of how pieces are read."""
    made = tiny.generation(tmp_path / "store", bloom(), tiny.tokenizer(), "causal-lm")
    recipe = RECIPE.model_copy(update={"epochs": 1})
    undisturbed, path = (write(tmp_path / name, made, seconds, recipe) for name, seconds in (("a", 1e9), ("b", 0.0)))
    run_round(undisturbed)
    (start,) = said(undisturbed, "start")
    assert start["packed"] is False
    assert ending(path, f"{DurableStep.STAGE_COPY.value}@2:kill") == -signal.SIGKILL
    older = shutil.copytree(path, tmp_path / "older")
    note = older / SAVED / STATE
    saved = orjson.loads(note.read_bytes())
    del saved["belongs_to"]["pieces"]
    note.write_bytes(orjson.dumps(saved))
    for each, event in ((path, "goes_on"), (older, "begun_anew")):
        run_round(each)
        assert len(said(each, event)) == 1
        assert digests(each) == digests(undisturbed)
    assert said(older, "begun_anew")[0]["reason"].endswith("saved with another pieces")
