"""What the doctor says of a round that was rehearsed, and what it proposes where it does not fit."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from checkpoints.kinds import ModelKind
from daemon.doctor import rounds
from daemon.doctor.findings import Finding
from daemon.doctor.rehearsal import (
    FEWEST_STEPS,
    MOST_STEPS,
    FailedRehearsal,
    RehearsalFigures,
    Subject,
    recipe_of,
    rehearse,
)
from daemon.doctor.rounds import Room
from daemon.settings.tree import ModelSettings, Settings
from daemon.settings.triggers import TriggerSettings
from daemon.sizes.shape import ModelShape
from learner.directory.progress_event import ProgressEvent
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from memory.samples.records import Counts
from memory.settings import MemorySettings
from tests.unit.daemon.doctor.test_machine import TINY
from tests.unit.daemon.doctor.test_round_cost import MEASURED, ONE
from tests.unit.learner import tiny

GIB = 2**30
COUNTS = Counts(
    by_role_and_source=(),
    fresh_samples=1000,
    fresh_tokens=300_000,
    replay_samples=0,
    replay_tokens=0,
    holdout_samples=100,
    open_holdout=40,
    aside_samples=0,
    aside_is_full=False,
    quarantine_rows=0,
    quarantine_bytes=0,
    tallies={},
    bytes_per_token=4.5,
)


def examined(
    monkeypatch: pytest.MonkeyPatch,
    *answers: RehearsalFigures | FailedRehearsal,
    room: int = 100,
    counts: Counts | None = None,
    shape: ModelShape = TINY,
    **parts: Any,
) -> list[Finding]:
    """Findings where rehearsals give these answers, on a machine with so many GiB free."""
    waiting = list(answers)
    monkeypatch.setattr(rounds, "rehearse", lambda *_, **__: waiting.pop(0))
    recipe, may_checkpoint = parts.pop("recipe", {}), parts.pop("may_checkpoint", False)
    learner = LearnerSettings(recipe=RecipeSettings(**recipe))
    settings = Settings(model=ModelSettings(path=Path("model")), learner=learner, **parts)
    subject = Subject(Path("model"), "digest", "causal-lm", 2048, 4.0, learner)
    found = rounds.examine(
        settings,
        subject,
        shape,
        Room(room * GIB, 0),
        counts,
        may_checkpoint=may_checkpoint,
        within=Path(),
        say=lambda _: None,
    )
    answer = list(found)
    assert not waiting, "no rehearsal was left out"
    return answer


def test_what_does_not_fit_gets_the_largest_micro_batch_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 rows need 9 GiB by the line through what was rehearsed with 1 and 4."""
    memory, time = examined(monkeypatch, ONE, MEASURED, room=5)
    assert not memory.ok
    assert "a round needs about 9.0 GiB (rehearsed with 1 and 4 rows of 512 tokens a pass)" in memory.detail
    assert "`micro_batch` up to 8 fits" in memory.detail
    assert memory.remedy.startswith("Set `learner.recipe.micro_batch = 8`")
    assert time.ok


def test_where_one_row_runs_out_of_memory_it_is_rehearsed_with_checkpointing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a round whose recipe leaves it open would go on; one whose recipe says no gets it proposed."""
    ran_out = FailedRehearsal(1, "out of memory", for_memory=True)
    memory, _ = examined(monkeypatch, ran_out, ONE, MEASURED, may_checkpoint=True)
    assert memory.ok
    (memory,) = examined(monkeypatch, ran_out, recipe={"gradient_checkpointing": False})
    assert "`learner.recipe.gradient_checkpointing = true`" in memory.remedy


@pytest.mark.parametrize(
    ("recipe", "remedy"),
    [
        ({}, "`learner.recipe.gradient_checkpointing = true`"),
        ({"gradient_checkpointing": True}, "`learner.recipe.sequence_length = 256`"),
        ({"gradient_checkpointing": True, "sequence_length": 64}, '`learner.recipe.adapter = "lora"`'),
        ({"gradient_checkpointing": True, "sequence_length": 64, "adapter": "lora"}, "a smaller model"),
    ],
)
def test_where_not_even_one_row_fits_other_settings_are_proposed(
    monkeypatch: pytest.MonkeyPatch, recipe: Mapping[str, Any], remedy: str
) -> None:
    """Checkpointing first, which changes no result; then shorter sequences, then an adapter."""
    wide = replace(ONE, peaks={"train": 3 * GIB}, width=min(ONE.width, recipe.get("sequence_length", ONE.width)))
    memory, _ = examined(monkeypatch, wide, room=2, recipe=recipe, shape=replace(TINY, inner=500_000))
    assert "no `micro_batch` fits" in memory.detail
    assert remedy in memory.remedy


def test_memory_that_ran_out_at_once_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else is tried."""
    (memory,) = examined(monkeypatch, FailedRehearsal(1, "the learner ran out of memory", for_memory=True))
    assert (memory.name, memory.ok) == ("memory", False)
    assert "the learner ran out of memory" in memory.detail
    assert "`learner.recipe.sequence_length = 256`" in memory.remedy


def test_memory_that_ran_out_at_the_second_leaves_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's shape tells what more rows take."""
    memory, time = examined(monkeypatch, ONE, FailedRehearsal(4, "out of memory", for_memory=True))
    assert "rehearsed with 1 rows of 512 tokens a pass" in memory.detail
    assert time.ok


def test_a_learner_that_failed_otherwise_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fail in a round too."""
    (finding,) = examined(monkeypatch, FailedRehearsal(1, "the learner ended with status 1: boom", for_memory=False))
    assert (finding.name, finding.ok, "boom" in finding.detail) == ("a round", False, True)


def test_rounds_that_begin_too_often_get_a_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """With which one is over before the next begins."""
    often = TriggerSettings(interval_seconds=3600.0)
    _, time = examined(monkeypatch, ONE, MEASURED, triggers=often, counts=COUNTS)
    assert not time.ok
    assert "600,000 new tokens" in time.detail
    steps = int(time.remedy.split("max_steps = ")[1].split("`")[0])
    _, shorter = examined(monkeypatch, ONE, MEASURED, triggers=often, counts=COUNTS, recipe={"max_steps": steps})
    assert shorter.ok


@pytest.mark.parametrize(
    ("triggers", "counts", "tokens"),
    [
        ({"fresh_tokens": 50_000}, COUNTS, 50_000),
        ({"fresh_samples": 500}, COUNTS, 150_000),
        ({"fresh_samples": 500}, None, 100_000),
        ({"cron": "0 0 * * *", "fresh_samples": None}, COUNTS, 300_000),
        ({"cron": "0 0 * * *", "fresh_samples": None}, None, 100_000),
        ({"fresh_tokens": 10**9}, COUNTS, 2_000_000),
    ],
)
def test_a_rounds_text_is_what_begins_it(triggers: dict[str, Any], counts: Counts | None, tokens: int) -> None:
    """So many tokens or samples, else what waits, else an example; never more than a round draws."""
    settings = Settings(model=ModelSettings(path=Path("model")), triggers=TriggerSettings(**triggers))
    assert rounds.work_of(settings, counts, 512).new_tokens == pytest.approx(tokens, abs=1)


@pytest.mark.parametrize(
    ("samples", "kind", "share"), [(500, "causal-lm", 0.108), (500, "classifier", 0.2), (9_000, "causal-lm", 0.05)]
)
def test_what_a_round_holds_out_is_what_its_gate_needs(samples: int, kind: str, share: float) -> None:
    """Of little text more than of much, and more for a classifier."""
    model = ModelSettings.model_validate(
        {"path": "model", "kind": kind, "labels": ("a", "b")} if kind == "classifier" else {"path": "model"}
    )
    settings = Settings(
        model=model,
        triggers=TriggerSettings(fresh_samples=samples),
        memory=MemorySettings(slice_documents=1_000),
    )
    work = rounds.work_of(settings, None, 512)
    assert work.held_out_new == pytest.approx(samples * share / (1 - share) * work.tokens_per_document, rel=0.01)


def test_the_evaluations_budget_is_told_in_seconds_and_as_a_share_of_the_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it would be now, and once there is as much held-out text as the budget lets in."""
    said = []
    for budget in (8_192, 100):
        _, time = examined(
            monkeypatch, ONE, MEASURED, counts=COUNTS, memory=MemorySettings(evaluation_documents=budget)
        )
        said.append(time.detail.partition("held-out text is ")[2])
    # 60 documents of 300 tokens are closed, 105 come with 2,000 new ones; 400 tokens a second, each read 1.34 times in
    # windows of 512; four candidates.
    assert (
        said[0]
        == "13 min of it (6%), and 9 h (72%) once there is as much as `memory.evaluation_documents = 8192` lets in"
    )
    assert said[1].startswith("8 min of it")
    assert "`memory.evaluation_documents = 100` lets in" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [{}, {"ewc": 1.0, "l2_sp": 1.0}, {"early_stop_checks": 0, "replay_ratio": 0.0}])
def test_a_rehearsal_is_a_whole_round_of_the_real_learner(tmp_path: Path, recipe: dict[str, Any]) -> None:
    """All its phases, at the recipe's width and rows; nothing stays."""
    base = tiny.generation(tmp_path / "store", tiny.llama(), tiny.tokenizer(), "causal-lm")
    settings = LearnerSettings(device="cpu", threads=1, recipe=RecipeSettings(sequence_length=64, **recipe))
    skills = () if recipe else (tiny.skill({"prompt": f"the {noun}", "exact": "stone"} for noun in tiny.NOUNS),)
    subject = Subject(base.path, base.digest, "causal-lm", 128, 2.0, settings, skills)
    events: list[ProgressEvent] = []
    done = rehearse(subject, 3, seconds=120, within=tmp_path, on_progress=events.append)
    assert isinstance(done, RehearsalFigures), done
    assert (done.rows, done.width) == (3, 64)
    assert {"train", "score", "candidates"} <= set(done.peaks)
    assert done.peak == max(done.peaks.values()) > 10**8
    assert done.trained_per_second > 0 < done.scored_per_second
    assert (done.important_per_second is not None) is ("ewc" in recipe)
    assert (done.asked_per_second is not None) is bool(skills)
    assert [event.name for event in events if event.event == "phase"]
    assert not list(tmp_path.glob(".rehearsal-*"))


def test_a_rehearsal_takes_as_many_steps_as_there_is_time_for() -> None:
    """At least the two that memory needs, and no more than tell anything."""
    settings = LearnerSettings(recipe=RecipeSettings(sequence_length=100, micro_batch=10, batch_sequences=30))
    subject = Subject(Path("model"), "digest", "causal-lm", 128, 2.0, settings)
    step = recipe_of(subject, 10).batch_sequences * 100
    assert subject.steps_within(5.5, step, 10) == 5
    assert subject.steps_within(0.0, step, 10) == FEWEST_STEPS
    assert subject.steps_within(1e9, step, 10) == MOST_STEPS


@pytest.mark.slow
def test_a_classifier_is_rehearsed_with_its_labels(tmp_path: Path) -> None:
    """Each of them, as documents of the full width."""
    base = tiny.generation(tmp_path / "store", tiny.bert(), tiny.tokenizer(bert=True), "classifier")
    settings = LearnerSettings(device="cpu", threads=1, recipe=RecipeSettings(sequence_length=32))
    done = rehearse(
        Subject(base.path, base.digest, "classifier", 64, 2.0, settings),
        2,
        seconds=120,
        within=tmp_path,
        on_progress=lambda _: None,
    )
    assert isinstance(done, RehearsalFigures), done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "make_tokenizer", "kind"),
    [(tiny.masked, tiny.masking_tokenizer, "masked-lm"), (tiny.t5, partial(tiny.tokenizer, bert=True), "seq2seq")],
)
def test_models_of_other_kinds_are_rehearsed(
    make: Callable[[], Any], make_tokenizer: Callable[[], Any], kind: ModelKind, tmp_path: Path
) -> None:
    """On pieces of the full width; on pairs of which each part is."""
    base = tiny.generation(tmp_path / "store", make(), make_tokenizer(), kind)
    settings = LearnerSettings(device="cpu", threads=1, recipe=RecipeSettings(sequence_length=32))
    done = rehearse(
        Subject(base.path, base.digest, kind, 64, 2.0, settings),
        2,
        seconds=120,
        within=tmp_path,
        on_progress=lambda _: None,
    )
    assert isinstance(done, RehearsalFigures), done
    assert done.trained_per_second > 0


@pytest.mark.slow
def test_a_rehearsal_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """With a sentence; it is no want of memory."""
    base = tiny.generation(tmp_path / "store", tiny.llama(), tiny.tokenizer(), "causal-lm")
    subject = Subject(base.path, base.digest, "causal-lm", 128, 2.0, LearnerSettings(device="cpu"))
    ended = rehearse(subject, 1, seconds=0.01, within=tmp_path, on_progress=lambda _: None)
    assert isinstance(ended, FailedRehearsal)
    assert not ended.for_memory
