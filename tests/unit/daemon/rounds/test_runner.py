"""Rounds from end to end, with a stand-in learner; the store, the checkpoints and the gate are real."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from checkpoints.errors import PublishFailed
from checkpoints.files.durable_writes import DurableStep
from checkpoints.generation_store import GenerationStore
from daemon.control.facts import status
from daemon.control.facts.rounds import round_line
from daemon.control.without_daemon import StoreControl
from daemon.processes.learner import Learner, LearnerExit
from daemon.rounds.begin_or_wait import Ask, Trigger, approval
from daemon.rounds.best_so_far import known_scores
from daemon.rounds.cut_off.round_learner import RoundLearner
from daemon.rounds.directories import prune_directories
from daemon.rounds.inputs import expected_way, history, scores_taken
from daemon.rounds.pointer_repair import reconcile_pointer
from daemon.rounds.retire_generations import retire
from daemon.rounds.runner import RoundRunner
from learner.directory.report import FILE_NAME, Report, read_report
from learner.directory.round_directory import KNOWN_SCORES, PROGRESS
from memory.errors import StoreFull
from memory.ledger.records import ApprovedRound, GenerationState
from memory.ledger.states import RoundState
from streams.document import Partition
from tests.daemon_harness import batch_of, sentences
from tests.harness import Facts
from tests.unit.daemon.rooms import BY_HAND, DRY, World, world

BY_ITSELF = Ask(Trigger.VOLUME, by="volume")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base and fresh text."""
    with world(tmp_path) as made:
        yield made


def serving(here: World) -> tuple[int | None, int]:
    """What serves, by the store and by the pointer."""
    pointer = here.rooms.checkpoints.serving()
    assert pointer is not None
    return here.store.generations.serving(), pointer.generation


def test_a_better_candidate_serves(here: World) -> None:
    """Accepted, published with its lineage, pointed to; the fresh text has settled."""
    conclusion = here.run("good")
    assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
    assert serving(here) == (1, 1)
    here.rooms.checkpoints.verify(1)
    card = here.rooms.checkpoints.card(1)
    assert (card.parent, card.round, card.recipe["parent_share"]) == (0, 1, 0.0)
    first, last = card.data.offsets["wiki-2/0"]
    assert 0 <= first < last < 120
    assert card.data.samples > 0
    assert here.store.counts().fresh_samples == 0
    assert here.metric("riverkeep_rounds_total", trigger="by_hand", outcome="accepted") == 1
    assert here.metric("riverkeep_round_seconds_count", phase="total") == 1
    assert here.metric("riverkeep_trained_tokens_total", kind="new") == 1000


def test_only_what_was_trained_on_settles_and_is_told_of(here: World) -> None:
    """Card, ledger and status tell of what the learner says that its steps have seen; the rest is fresh again."""
    before = here.store.counts().fresh_samples
    conclusion = here.run("partly")
    assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
    drawn = here.store.rounds.read(1).fresh_samples
    card = here.rooms.checkpoints.card(1)
    assert (card.data.samples, card.data.replayed_samples) == (drawn // 2, 0)
    assert here.store.counts().fresh_samples == before - drawn // 2
    last: Facts = status.status(here.store, here.settings.state_dir)["last_round"]
    assert (last["tokens_trained"], last["tokens_drawn"]) == (10 * (drawn // 2), 10 * drawn)
    assert round_line(here.store.rounds.read(1))["tokens_trained"] == last["tokens_trained"]
    parts = [one.part for one in here.store.rounds.samples(1)]
    assert (parts.count("fresh"), parts.count("replay")) == (drawn // 2, 0)
    first, last_offset = card.data.offsets["wiki-2/0"]
    assert 0 <= first < last_offset < 119


@pytest.mark.parametrize(
    ("recipe", "until"),
    [
        ({"max_steps": 20}, "learner.recipe.max_steps"),
        ({"max_steps": 21}, None),
        ({"max_seconds": 0.05}, "learner.recipe.max_seconds"),
        ({"max_tokens": 100_000}, "learner.recipe.max_tokens"),
        ({}, None),
    ],
)
def test_the_budget_that_ended_a_training_is_named(tmp_path: Path, recipe: dict[str, float], until: str | None) -> None:
    """The stand-in takes 20 steps in 0.1 s and sees half of the new text."""
    with world(tmp_path, learner={"recipe": recipe}) as here:
        assert here.run("partly").state is RoundState.ACCEPTED
        assert round_line(here.store.rounds.read(1))["trained_until"] == until


def test_what_a_budget_leaves_out_is_told_and_drawn_by_a_later_round(tmp_path: Path) -> None:
    """In the ledger, in the status and in the log; what is left is fresh for the next round."""
    small = {"holdout_share": 0.2, "anchor_minimum": 8, "round_tokens": 500}
    with world(tmp_path, memory=small) as here, capture_logs() as logs:
        fresh = here.store.counts().fresh_samples
        here.run("good")
        left = fresh - here.store.rounds.read(1).fresh_samples - here.store.rounds.read(1).early_stop_samples
        told = [{"what": "fresh", "documents": left, "setting": "memory.round_tokens"}]
        last: Facts = status.status(here.store, here.settings.state_dir)["last_round"]
        assert last["left_out"] == round_line(here.store.rounds.read(1))["left_out"] == told
        (event,) = (line for line in logs if line["event"] == "round_leaves_out")
        assert {name: event[name] for name in told[0]} == told[0]
        here.run("good")
        assert here.store.rounds.read(2).left_out[0].documents < left


def test_the_ledger_can_tell_what_made_a_generation(here: World) -> None:
    """Verdict, report, recipe, offsets and the scores of candidate, parent and base are kept."""
    here.run("good")
    round_ = here.store.rounds.read(1)
    assert round_.verdict["decision"] == "accept"
    assert round_.report["prequential"]["mean_nll"] == pytest.approx(3.0)
    assert round_.recipe["kl"] == here.settings.learner.recipe.kl
    rows = {(row.generation, row.slice) for row in here.store.generations.score_matrix()}
    assert {(0, "anchor"), (1, "anchor")} <= rows
    assert here.metric("riverkeep_plasticity_nats") is not None


def test_a_worse_candidate_never_serves(here: World) -> None:
    """Refused with a sentence; the parent serves on and the fresh text waits."""
    fresh = here.store.counts().fresh_samples
    conclusion = here.run("worse")
    assert conclusion.state is RoundState.REFUSED
    assert "worse than the parent" in conclusion.detail
    assert serving(here) == (0, 0)
    assert here.store.counts().fresh_samples == fresh
    assert here.rooms.checkpoints.numbers() == [0]


def test_text_refused_twice_goes_aside(here: World) -> None:
    """Poison does not stop the river: what comes after it is learned."""
    here.run("worse")
    here.run("worse")
    assert here.store.counts().fresh_samples == 0
    assert here.store.counts().aside_samples > 0
    here.feed(seed=3)
    assert here.run("good").state is RoundState.ACCEPTED


def test_implausible_text_waits_for_a_person_and_is_learned_on_their_word(here: World) -> None:
    """Held aside; approved, it is drawn again by itself, and plausibility is waived but not the gate."""
    assert here.run("implausible").state is RoundState.WAITING
    assert here.store.counts().fresh_samples == 0
    assert here.store.aside.text(1, worst_first=True).measured
    here.store.rounds.release(1)
    assert here.store.rounds.approved() == [ApprovedRound(1, failed_at=None)]
    assert here.run("good", approval(1)).state is RoundState.ACCEPTED
    assert here.store.rounds.read(2).released_from == 1
    assert here.store.rounds.approved() == []


@pytest.mark.parametrize("mode", ["crash", "stopped"])
def test_a_person_s_approval_outlives_a_round_that_judged_nothing(here: World, mode: str) -> None:
    """The text is tried again, after a pause where the round failed, and need not be approved twice."""
    here.run("implausible")
    here.store.rounds.release(1)
    if mode == "crash":
        assert here.run("crash", approval(1)).state is RoundState.FAILED
    else:
        here.runner("hang").run(approval(1), "a test", must_stop=lambda: True)
        assert here.store.rounds.read(2).state is RoundState.ABANDONED
    failed_at = None if mode == "stopped" else here.store.rounds.read(2).ended_at
    assert here.store.rounds.approved() == [ApprovedRound(1, failed_at)]
    assert here.run("worse", approval(1)).state is RoundState.REFUSED
    assert here.store.rounds.approved() == []


def test_a_dry_run_changes_nothing(here: World) -> None:
    """It says what would have been; a real round can follow at once."""
    fresh = here.store.counts().fresh_samples
    conclusion = here.run("good", DRY)
    assert conclusion.state is RoundState.ABANDONED
    assert "dry run" in conclusion.detail
    assert conclusion.verdict is not None
    assert conclusion.verdict.decision == "accept"
    assert serving(here) == (0, 0)
    assert here.store.counts().fresh_samples == fresh
    assert here.store.rounds.read(1).verdict["decision"] == "accept"
    assert here.store.rounds.read(1).report["slices"]
    assert round_line(here.store.rounds.read(1))["outcome"] == "dry run: would be accepted"
    last: Facts = status.status(here.store, here.settings.state_dir)["last_round"]
    assert last["outcome"] == "dry run: would be accepted"
    assert here.metric("riverkeep_gate_verdicts_total", verdict="accept") == 0
    assert here.run("good").state is RoundState.ACCEPTED
    assert here.metric("riverkeep_gate_verdicts_total", verdict="accept") == 1


def test_a_crashed_learner_fails_the_round_alone(here: World) -> None:
    """The reason is kept, the parent serves, the text waits, and the next round runs."""
    fresh = here.store.counts().fresh_samples
    conclusion = here.run("crash")
    assert conclusion.state is RoundState.FAILED
    assert "told to crash" in here.store.rounds.read(1).detail
    assert here.store.counts().fresh_samples == fresh
    assert here.run("good").state is RoundState.ACCEPTED


def test_a_learner_without_room_gives_its_room_back(here: World) -> None:
    """The directory of a round that found the disk full goes; the fresh text waits, and a later round learns it."""
    fresh = here.store.counts().fresh_samples
    conclusion = here.run("full_disk")
    assert conclusion.state is RoundState.FAILED
    assert not here.rooms.round_dir(1).exists()
    assert here.store.counts().fresh_samples == fresh
    assert serving(here) == (0, 0)
    assert here.run("good").state is RoundState.ACCEPTED


def test_a_diverged_learner_is_refused_with_its_reason(here: World) -> None:
    """A loss that is not finite never serves."""
    conclusion = here.run("diverged")
    assert conclusion.state is RoundState.REFUSED
    assert "diverged" in conclusion.detail


def test_what_proves_nothing_does_not_count_against_the_text(here: World) -> None:
    """The recipe may be at fault: the text waits for more, however often."""
    fresh = here.store.counts().fresh_samples
    for _ in range(3):
        assert here.run("diverged").state is RoundState.REFUSED
    assert here.store.counts().fresh_samples == fresh
    assert here.store.counts().aside_samples == 0


def test_unless_there_is_no_room_for_more(tmp_path: Path) -> None:
    """A full buffer lets no text in that could prove it: the river must not stop."""
    with world(tmp_path, memory={"holdout_share": 0.2, "anchor_minimum": 8, "fresh_samples": 20}) as here:
        assert here.store.is_full()
        here.run("diverged")
        here.run("diverged")
        assert not here.store.is_full()
        assert here.store.counts().aside_samples > 0


def test_the_gate_measures_against_what_led_to_the_serving_generation(here: World) -> None:
    """Neither scores nor text of rounds that a person went back from set its bounds, however many steps it was."""
    for seed in (11, 12, 13):
        here.run("good")
        here.feed(seed=seed)
    assert set(known_scores(here.store, expected_way(here.store, 0, here.settings))) == {0, 1, 2, 3}
    assert len(history(here.store)) == 3
    here.store.generations.rollback(1)
    assert set(known_scores(here.store, expected_way(here.store, 0, here.settings))) == {0, 1}
    assert len(history(here.store)) == 1
    here.store.generations.rollback(3)
    assert set(known_scores(here.store, expected_way(here.store, 0, here.settings))) == {0, 1, 2, 3}


def test_a_round_that_is_called_off_takes_no_effect(here: World) -> None:
    """A rollback or an erasure while the learner runs abandons the round and its directory."""
    runner = here.runner("hang")

    def call_off() -> bool:
        here.current.call_off("generation 0 was rolled back")
        return False

    conclusion = runner.run(BY_HAND, "a test", must_stop=call_off)
    assert conclusion is not None
    assert (conclusion.state, conclusion.detail) == (RoundState.ABANDONED, "generation 0 was rolled back")
    assert not here.rooms.round_dir(1).exists()


def test_a_candidate_of_a_parent_that_no_longer_serves_is_void(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promotion looks again, under the lock, at what serves."""
    here.run("good")
    here.feed(seed=3)
    monkeypatch.setattr("daemon.rounds.conclusion.write_verdict", lambda *_: here.store.generations.rollback(0))
    conclusion = here.run("good")
    monkeypatch.undo()
    assert conclusion.state is RoundState.ABANDONED
    assert here.store.generations.serving() == 0


@pytest.mark.parametrize("step", [DurableStep.STAGE_COPY, DurableStep.STAGE_SYNC_FILE, DurableStep.PUBLISH_RENAME])
def test_a_full_disk_fails_the_round_and_nothing_else(
    here: World, monkeypatch: pytest.MonkeyPatch, step: DurableStep
) -> None:
    """The reason says so, the space is given back, the next round succeeds."""
    _refuse_once(monkeypatch, step)
    conclusion = here.run("good")
    assert conclusion.state is RoundState.FAILED
    assert "No space left" in conclusion.detail
    assert not here.rooms.round_dir(1).exists()
    assert serving(here) == (0, 0)
    assert here.run("good").state is RoundState.ACCEPTED


def test_a_full_disk_while_the_round_is_written(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round directory is whole or absent."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "fresh.jsonl")

    monkeypatch.setattr("learner.directory.round_directory._write_samples", full)
    conclusion = here.run("good")
    assert conclusion.state is RoundState.FAILED
    assert not here.rooms.round_dir(1).exists()
    monkeypatch.undo()
    assert here.run("good").state is RoundState.ACCEPTED


class Cut(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize("mode", ["good", "large_good"])
@pytest.mark.parametrize("step", [*DurableStep])
def test_a_round_cut_off_at_any_durable_step_is_finished_or_discarded(
    here: World, monkeypatch: pytest.MonkeyPatch, step: DurableStep, mode: str
) -> None:
    """After recovery no round is unfinished, store and pointer agree, and a round can run."""
    _cut_at(monkeypatch, step)
    cut = False
    try:
        here.run(mode)
    except Cut:
        cut = True
    monkeypatch.undo()
    here.current.end()
    here.runner(mode).recover()
    assert reconcile_pointer(here.store, here.rooms.checkpoints) == ""
    assert here.store.rounds.unfinished() == []
    assert len(set(serving(here))) == 1
    for number in here.rooms.checkpoints.numbers():
        here.rooms.checkpoints.verify(number)
        assert here.store.generations.read(number).state is GenerationState.ACCEPTED
    here.feed(seed=4)
    assert here.run(mode).state is RoundState.ACCEPTED
    assert cut or step.value.startswith(("remove", "file.sync_parent"))


@pytest.mark.parametrize("write", ["rounds.advance", "generations.reserve", "generations.save_scores", "rounds.accept"])
def test_a_store_without_room_leaves_the_round_to_recovery(
    here: World, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """The part breaks and is begun again; what the round had reached is finished or discarded then."""
    view, _, method = write.partition(".")
    monkeypatch.setattr(getattr(here.store, view), method, _full)
    with pytest.raises(StoreFull):
        here.run("good")
    assert here.current.progress is None
    monkeypatch.undo()
    (conclusion,) = here.runner("good").recover()
    assert conclusion.state in (RoundState.ACCEPTED, RoundState.ABANDONED)
    assert here.store.rounds.unfinished() == []
    assert len(set(serving(here))) == 1


def test_a_round_cut_off_before_its_report_leaves_no_trace(here: World) -> None:
    """Its text is fresh, its directory gone."""
    fresh = here.store.counts().fresh_samples
    here.store.rounds.begin(trigger="by_hand", recipe={}, seed=1)
    here.rooms.round_dir(1).mkdir(parents=True)
    (conclusion,) = here.runner().recover()
    assert conclusion.state is RoundState.ABANDONED
    assert not here.rooms.round_dir(1).exists()
    assert here.store.counts().fresh_samples == fresh


def test_a_round_that_ended_with_the_service_is_followed_by_smaller_ones(here: World) -> None:
    """A container killed whole for memory leaves no word: half the micro-batch each time, until a round finishes."""
    full = here.settings.learner.recipe.micro_batch
    runner = cut_off_in_training(here, here.runner("good"))
    runner = cut_off_in_training(here, runner)
    assert f"the next round begins with a micro-batch of {full // 4}" in here.store.rounds.read(2).detail
    for wanted in (full // 4, full):
        conclusion = runner.run(BY_HAND, "a test", must_stop=lambda: False)
        assert conclusion is not None
        assert conclusion.figures is not None
        assert conclusion.figures.training is not None
        assert conclusion.figures.training.micro_batch == wanted
        here.feed(seed=wanted)


def test_a_round_cut_off_at_one_sequence_stays_there(here: World) -> None:
    """There is nothing smaller, and beginning anew with the whole micro-batch would end the same way."""
    runner = here.runner("good")
    for _ in range(6):
        runner = cut_off_in_training(here, runner)
    assert "the next round begins with a micro-batch of 1," in here.store.rounds.read(6).detail


def cut_off_in_training(here: World, runner: RoundRunner) -> RoundRunner:
    """Let the daemon end with its learner in the next round; returns the next daemon's runner, recovered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            runner, "_learner", RoundLearner(cast("Learner", EndsWithTheService()), here.current, here.metrics)
        )
        with pytest.raises(Cut):
            runner.run(BY_HAND, "a test", must_stop=lambda: False)
    here.current.end()
    following = here.runner("good")
    (conclusion,) = following.recover()
    assert conclusion.state is RoundState.ABANDONED
    return following


class EndsWithTheService:
    """A learner that begins and then takes the daemon with it."""

    def run(self, directory: Path, **_: object) -> LearnerExit:
        """As `Learner.run`."""
        (directory / PROGRESS).touch()
        raise Cut


def test_a_report_that_cannot_be_read_fails_the_round(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is accepted on trust."""

    def damaged(directory: Path) -> Report:
        (directory / FILE_NAME).write_bytes(b"{}")
        return read_report(directory)

    monkeypatch.setattr("daemon.rounds.record.read_report", damaged)
    conclusion = here.run("good")
    assert conclusion.state is RoundState.FAILED
    assert "report" in conclusion.detail


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"round": 2}, "says round 2, this is round 1"),
        ({"kind": "classifier"}, "says kind classifier, this is kind causal-lm"),
    ],
)
def test_a_report_of_something_else_proves_nothing(
    here: World, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], said: str
) -> None:
    """Good figures of another round, or of another kind of model, promote no candidate; the text waits."""
    fresh = here.store.counts().fresh_samples
    monkeypatch.setattr("daemon.rounds.record.read_report", lambda directory: replace(read_report(directory), **other))
    conclusion = here.run("good")
    assert conclusion.state is RoundState.FAILED
    assert said in here.store.rounds.read(1).detail
    assert serving(here) == (0, 0)
    assert here.store.counts().fresh_samples == fresh


def test_recovery_believes_no_report_of_something_else(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crash left is looked at as closely."""
    monkeypatch.setattr(here.store.rounds, "accept", _full)
    with pytest.raises(StoreFull):
        here.run("good")
    monkeypatch.undo()
    monkeypatch.setattr("daemon.rounds.record.read_report", lambda directory: replace(read_report(directory), round=9))
    (conclusion,) = here.runner("good").recover()
    assert conclusion.state is RoundState.FAILED
    assert "says round 9, this is round 1" in conclusion.detail
    assert serving(here) == (0, 0)


def test_one_event_tells_the_whole_round(here: World) -> None:
    """It carries round, parent, generation, outcome, reason and figures, and no text."""
    with capture_logs(processors=[merge_contextvars]) as logs:
        here.run("good")
    (event,) = [entry for entry in logs if entry["event"] == "round_ended"]
    assert (event["round"], event["parent"], event["generation"], event["state"]) == (1, 0, 1, "accepted")
    assert event["tokens_new"] == 1000
    assert not any("river" in str(value) for name, value in event.items() if name not in ("reason", "log_level"))


def test_the_event_of_a_dry_run_says_what_it_would_have_been(here: World) -> None:
    """Its state is abandoned whatever the gate said."""
    with capture_logs() as logs:
        here.run("good", DRY)
    (event,) = [entry for entry in logs if entry["event"] == "round_ended"]
    assert (event["state"], event["outcome"]) == ("abandoned", "dry run: would be accepted")


def test_old_generations_go_and_the_way_back_stays(tmp_path: Path) -> None:
    """Base, serving and the one before it are kept whatever the setting; the ledger remembers all."""
    with world(tmp_path, checkpoints={"keep_last": 0}) as here:
        for seed in (11, 12, 13):
            here.feed(seed=seed)
            assert here.run("good").state is RoundState.ACCEPTED
        assert here.rooms.checkpoints.numbers() == [0, 2, 3]
        assert here.store.generations.read(1).state is GenerationState.RETIRED
        assert retire(here.rooms, here.settings) == []


def test_bad_generations_push_no_good_one_out(tmp_path: Path) -> None:
    """What a person went back from stays until the next promotion, to go forward again; then it goes, not the good."""
    with world(tmp_path, checkpoints={"keep_last": 3}) as here:
        control = StoreControl(here.settings, here.store, here.rooms.checkpoints)
        for number in range(1, 7):
            here.feed(seed=10 + number)
            assert here.run("good").state is RoundState.ACCEPTED
            if number in {3, 4, 5}:
                control.rollback(2)
                assert number in here.rooms.checkpoints.numbers()
        assert here.rooms.checkpoints.numbers() == [0, 1, 2, 6]
        assert here.store.generations.serving() == 6


def test_a_pointer_that_the_disk_held_back_is_moved_later(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store has accepted stays accepted; followers get it as soon as the disk lets them."""
    with monkeypatch.context() as full:
        full.setattr(GenerationStore, "point_to", _no_space)
        assert here.run("good").state is RoundState.ACCEPTED
    assert here.store.rounds.read(1).state is RoundState.ACCEPTED
    assert serving(here) == (1, 0)
    here.runner().repair_pointer()
    assert serving(here) == (1, 1)


def change(here: World, *, device: str = "auto", **recipe: Any) -> None:
    """Set another device, or another recipe."""
    changed = here.settings.learner.recipe.model_copy(update=recipe)
    learner = here.settings.learner.model_copy(update={"recipe": changed, "device": device})
    here.settings = here.settings.model_copy(update={"learner": learner})


def known_in(here: World, number: int) -> Any:
    """What a round was given of earlier scores."""
    return json.loads((here.rooms.round_dir(number) / KNOWN_SCORES).read_bytes())


@pytest.mark.parametrize(
    ("changed", "reused"),
    [
        ({}, True),
        ({"sequence_length": 1024}, False),
        ({"precision": "float32"}, True),
        ({"precision": "bfloat16"}, False),
        ({"device": "cpu"}, True),
        ({"device": "cuda:1"}, False),
    ],
)
def test_scores_taken_in_another_way_are_not_compared(here: World, changed: dict[str, Any], *, reused: bool) -> None:
    """What differs by how it was taken is scored again, for parent and base alike, and what is kept then says so."""
    here.run("good")
    change(here, **changed)
    here.feed(seed=11)
    assert here.run("good").state is RoundState.ACCEPTED
    known = known_in(here, 2)
    assert bool(known["parent"]) is bool(known["base"]) is (known["scored"] is not None) is reused
    how = expected_way(here.store, 1, here.settings)
    assert how is not None, "its row was taken again"
    assert scores_taken(here.rooms, 1, how)


def test_after_a_rollback_the_way_of_each_row_counts(here: World) -> None:
    """The base was scored anew, in other sequences, since the generation that serves again was made."""

    def run_in(sequence_length: int, seed: int) -> None:
        change(here, sequence_length=sequence_length)
        here.feed(seed=seed)
        assert here.run("good").state is RoundState.ACCEPTED

    for seed, length in enumerate((512, 512, 128), start=11):
        run_in(length, seed)
    here.store.generations.rollback(1)
    reconcile_pointer(here.store, here.rooms.checkpoints)
    run_in(512, 14)
    known = known_in(here, 4)
    assert known["scored"]["sequence_length"] == 512
    of_base = here.store.generations.scores_by_way(0)
    short = {id_ for how, scores in of_base.items() if how is not None and how.sequence_length == 128 for id_ in scores}
    assert known["parent"]
    assert short.isdisjoint(map(int, known["base"]))


def test_scores_of_files_that_are_not_those_scored_are_not_used(here: World) -> None:
    """Another model lies under the generation's number."""
    here.run("good")
    how = expected_way(here.store, 1, here.settings)
    assert scores_taken(here.rooms, 1, how)
    with here.store.file.database.write() as tx:
        tx.execute("UPDATE generations SET digest = 'of another' WHERE number = 1")
    assert scores_taken(here.rooms, 1, how) == {}


def test_directories_of_finished_rounds_are_bounded(here: World) -> None:
    """The latest stay; one that waits for a person stays too."""
    assert here.run("implausible").state is RoundState.WAITING
    for seed in (11, 12):
        here.feed(seed=seed)
        here.run("worse")
    prune_directories(here.rooms, kept=1)
    assert sorted(path.name for path in here.rooms.rounds_dir.iterdir()) == ["000001", "000003"]


def test_nothing_to_draw_is_no_round(here: World) -> None:
    """The ledger gets no empty line."""
    here.run("good")
    assert here.runner().run(BY_HAND, "a test", must_stop=lambda: False) is None
    assert len(here.store.rounds.listed()) == 1


def _full(*_: object, **__: object) -> None:
    raise StoreFull("no room")


def _no_space(_: GenerationStore, number: int, **__: object) -> None:
    raise PublishFailed(number, OSError(28, "No space left on device"))


def _refuse_once(monkeypatch: pytest.MonkeyPatch, wanted: DurableStep) -> None:
    _at(monkeypatch, wanted, OSError(28, "No space left on device"))


def _cut_at(monkeypatch: pytest.MonkeyPatch, wanted: DurableStep) -> None:
    _at(monkeypatch, wanted, Cut())


def _at(monkeypatch: pytest.MonkeyPatch, wanted: DurableStep, error: BaseException) -> None:
    left = [error]

    def step(label: DurableStep) -> None:
        if label == wanted and left:
            raise left.pop()

    monkeypatch.setattr("checkpoints.files.durable_writes.step", step)


def test_what_no_gate_could_judge_is_not_trained(tmp_path: Path) -> None:
    """Said before the learner starts, with the remedy; a person is answered as by a refusal, the text stays fresh."""
    with world(tmp_path, gate={"minimum_documents": 1_000}) as here:
        fresh = here.store.counts().fresh_samples
        conclusion = here.run("crash")
        assert conclusion.state is RoundState.ABANDONED
        assert "or wait for" in conclusion.detail
        assert "riverkeep backfill --before-stream" in conclusion.detail
        assert here.store.counts().fresh_samples == fresh
        assert here.store.rounds.read(1).verdict["decision"] == "refuse"
        assert here.runner("crash").run(BY_ITSELF, "a test", must_stop=lambda: False) is None
        assert len(here.store.rounds.listed()) == 1


def test_with_too_little_new_text_to_judge_by_a_person_s_round_only_looks(tmp_path: Path) -> None:
    """Nothing is trained, and the sentence says what is lacked of how much; poison waits for a person at once."""
    with world(tmp_path, gate={"minimum_documents": 60}) as here:
        here.store.append(batch_of(sentences(600, seed=5), Partition("file:more", 0)), before_stream=True)
        fresh = here.store.counts().fresh_samples
        conclusion = here.run("good")
        assert conclusion.state is RoundState.ABANDONED
        assert conclusion.detail.startswith("Nothing was trained: the held-out new text has ")
        assert "at least 60 are needed" in conclusion.detail
        assert conclusion.figures is not None
        assert conclusion.figures.training is None
        assert here.store.counts().fresh_samples == fresh
        assert not here.store.rounds.unfinished()
        assert here.run("implausible").state is RoundState.WAITING


def test_little_new_text_is_looked_at_all_the_same(tmp_path: Path) -> None:
    """It is too little to be judged by, but poison among it is seen and waits for a person."""
    with world(tmp_path, gate={"minimum_documents": 60}) as here:
        more = batch_of(sentences(900, seed=50), Partition("file:more", 0))
        here.store.append(more, before_stream=True)
        assert here.run("implausible").state is RoundState.WAITING
