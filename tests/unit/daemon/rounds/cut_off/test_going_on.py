"""Rounds whose learner or whose service ended under way, and that had saved themselves; the learner is a stand-in."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from checkpoints.manifest import ListedFile
from daemon.control.facts.words import describe_phase
from daemon.control.without_daemon import StoreControl
from daemon.processes.learner import Learner, LearnerEnding, LearnerExit, LearnerLimits
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.cut_off.going_on import MOST_TIMES, GoneOn, note_going_on, note_stopped
from daemon.rounds.cut_off.round_learner import MOST_ANEW, RoundLearner
from daemon.rounds.directories import erase_directories, prune_directories
from daemon.rounds.runner import RoundRunner
from learner.directory.progress_event import ProgressEvent
from learner.directory.round_directory import PROGRESS, read_spec
from learner.directory.saved_round import SAVED, SavedRound, TrainingPlace, note_saved, tensors_path
from memory.ledger.states import RoundState
from tests.unit.daemon.rooms import BY_HAND, DRY, InThisProcess, World, world

KILLED = LearnerExit(LearnerEnding.OUT_OF_MEMORY, "killed by signal 9", 1.0, certain=False)
FOR_MEMORY = LearnerExit(LearnerEnding.OUT_OF_MEMORY, "out of memory", 1.0)
STOPPED = LearnerExit(LearnerEnding.STOPPED, "the service is stopping", 1.0)
LOST = LearnerExit(LearnerEnding.LOST, "its pod was evicted", 1.0)
CRASHED = LearnerExit(LearnerEnding.CRASHED, "the learner ended with status 1", 1.0)


class Cut(BaseException):
    """Stands for a kill of the whole service: nothing may catch it."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base and fresh text."""
    with world(tmp_path) as made:
        yield made


class Lives:
    """A learner that saves itself after some steps and then ends, life after life; then it finishes.

    Args:
        lives: after how many steps each saves itself (0: it does not come so far), and how it ends.
    """

    def __init__(self, lives: Sequence[tuple[int, LearnerExit | type[Cut]]]) -> None:
        self._lives, self.micro_batches = list(lives), list[int]()

    def run(
        self,
        directory: Path,
        *,
        limits: LearnerLimits,
        on_progress: Callable[[ProgressEvent], None],
        must_stop: Callable[[], bool],
        write: str | None = None,
    ) -> LearnerExit:
        """As `Learner.run`."""
        assert write is None, "it writes its candidates itself"
        self.micro_batches.append(read_spec(directory).recipe.micro_batch)
        if not self._lives:
            finishing = InThisProcess("good")
            return finishing.run(directory, limits=limits, on_progress=on_progress, must_stop=must_stop)
        steps, ended = self._lives.pop(0)
        (directory / PROGRESS).touch()
        if steps:
            save(directory, steps)
            on_progress(ProgressEvent("saved", step=steps))
        if isinstance(ended, LearnerExit):
            return ended
        raise ended


def save(directory: Path, steps: int) -> None:
    """Save a round, with nothing for tensors."""
    path = tensors_path(directory, steps)
    path.touch()
    place = TrainingPlace(steps=steps, tokens_new=10, tokens_replayed=0, seconds=1.0, recent=({"new": 3.0},))
    note_saved(directory, SavedRound({}, place, path.name, ListedFile("", 0)))


def runner_of(here: World, learner: Lives) -> RoundRunner:
    """A runner with this learner."""
    return here.runner(learner=learner)


def run(here: World, learner: Lives) -> Conclusion:
    """Run a round."""
    conclusion = runner_of(here, learner).run(BY_HAND, "a test", must_stop=lambda: False)
    assert conclusion is not None
    return conclusion


def start_again(here: World, learner: Lives) -> tuple[list[Conclusion], Conclusion | None]:
    """A new life of the service: what it concludes of rounds that were cut off, and what came of one that went on."""
    here.current.end()
    runner = runner_of(here, learner)
    recovered = runner.recover()
    prune_directories(here.rooms, 0)
    return recovered, runner.go_on(must_stop=lambda: False)


def test_a_killed_learner_goes_on_with_the_same_rows_in_a_pass(here: World) -> None:
    """What somebody killed is no want of memory as long as it comes further; nothing is drawn anew."""
    learner = Lives([(10, KILLED), (20, KILLED)])
    with capture_logs() as logs:
        conclusion = run(here, learner)
    assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
    assert len(set(learner.micro_batches)) == 1
    assert [line["step"] for line in logs if line["event"] == "round_goes_on"] == [10, 20]
    assert here.metric("riverkeep_rounds_gone_on_total") == 2
    assert here.metric("riverkeep_round_saves_total", outcome="saved") == 2
    assert not (here.rooms.round_dir(1) / SAVED).exists()
    assert here.store.rounds.too_large() == []


def test_one_that_ends_at_the_same_place_is_tried_with_fewer_rows(here: World) -> None:
    """As one that had saved nothing; memory that certainly ran out is not tried again as it was."""
    learner = Lives([(10, KILLED), (0, KILLED), (20, FOR_MEMORY)])
    assert run(here, learner).state is RoundState.ACCEPTED
    full = here.settings.learner.recipe.micro_batch
    assert learner.micro_batches == [full, full, full // 2, full // 4]


def test_one_that_lost_its_machine_goes_on_as_it_was(here: World) -> None:
    """With the same rows in a pass, and anew where nothing was saved; memory is not suspected."""
    learner = Lives([(0, LOST), (10, LOST), (0, LOST)])
    with capture_logs() as logs:
        assert run(here, learner).state is RoundState.ACCEPTED
    assert len(set(learner.micro_batches)) == 1
    assert here.store.rounds.too_large() == []
    events = [line["event"] for line in logs if line["event"] in ("round_goes_on", "round_begins_anew")]
    assert events == ["round_begins_anew", "round_goes_on", "round_begins_anew"]


def test_one_that_loses_its_machine_for_ever_fails_its_round(here: World) -> None:
    """After a bounded number of tries, with the reason."""
    learner = Lives([(0, LOST)] * 10)
    assert run(here, learner).state is RoundState.FAILED
    assert len(learner.micro_batches) == 1 + MOST_ANEW
    assert here.store.rounds.read(1).detail == "its pod was evicted"


def test_a_learner_that_crashes_fails_its_round_and_leaves_no_save(here: World) -> None:
    """Its directory is there for a person to look at, without several times the model."""
    assert run(here, Lives([(10, CRASHED)])).state is RoundState.FAILED
    assert here.rooms.round_dir(1).exists()
    assert not (here.rooms.round_dir(1) / SAVED).exists()


@pytest.mark.parametrize("ended", [STOPPED, Cut])
def test_a_round_goes_on_when_the_service_starts_again(here: World, ended: LearnerExit | type[Cut]) -> None:
    """Stopped or killed with its learner: the same round, the same text, from the same directory."""
    with capture_logs() as logs:
        if ended is Cut:
            with pytest.raises(Cut):
                run(here, Lives([(10, Cut)]))
        else:
            assert run(here, Lives([(10, STOPPED)])).state is RoundState.TRAINING
            assert "goes on from step 10" in here.store.rounds.read(1).detail
    assert [line for line in logs if line["event"] == "round_ended"] == []
    drawn = here.store.rounds.text(1)
    learner = Lives([])
    recovered, conclusion = start_again(here, learner)
    assert recovered == []
    assert conclusion is not None
    assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
    assert here.store.rounds.text(1).keys() == drawn.keys()
    assert here.store.rounds.standing().rounds_begun == 1
    assert here.current.progress is None


def test_a_service_that_is_stopped_again_and_again_keeps_its_round(here: World) -> None:
    """A stop says nothing of the round, even where it came no further between."""
    assert run(here, Lives([(10, STOPPED)])).state is RoundState.TRAINING
    for _ in range(3):
        recovered, conclusion = start_again(here, Lives([(0, STOPPED)]))
        assert recovered == []
        assert conclusion is not None
        assert conclusion.state is RoundState.TRAINING
    assert start_again(here, Lives([]))[1] is not None
    assert here.store.rounds.read(1).state is RoundState.ACCEPTED


def test_a_round_that_takes_the_service_with_it_at_one_place_is_given_up(here: World) -> None:
    """Once more from there, then never again; the next round begins smaller, as after any such end."""
    with pytest.raises(Cut):
        run(here, Lives([(10, Cut)]))
    with pytest.raises(Cut):
        start_again(here, Lives([(0, Cut)]))
    (conclusion,), further = start_again(here, Lives([]))
    assert conclusion.state is RoundState.ABANDONED
    assert "the next round begins with a micro-batch of" in conclusion.detail
    assert further is None
    assert not here.rooms.round_dir(1).exists()


def test_a_round_goes_on_a_bounded_number_of_times(tmp_path: Path) -> None:
    """Only where it came further, and not for ever."""
    assert GoneOn().may_from(1)
    assert not GoneOn().may_from(None)
    assert not GoneOn(times=1, step=5).may_from(5)
    assert GoneOn(times=1, step=5).may_from(6)
    assert not GoneOn(times=MOST_TIMES).may_from(6)
    steps = []
    for step in range(1, MOST_TIMES + 3):
        save(tmp_path, step)
        steps.append(note_going_on(tmp_path))
        note_stopped(tmp_path)
    assert steps == [*range(1, MOST_TIMES + 1), None, None]


def test_text_that_is_erased_meanwhile_is_not_trained_on(here: World) -> None:
    """Its directory is gone with what it had saved: before the round is taken up, and between that and its begin."""
    for erased_late in (False, True):
        assert run(here, Lives([(10, STOPPED)])).state is RoundState.TRAINING
        number = here.store.rounds.standing().rounds_begun
        runner = runner_of(here, Lives([]))
        if erased_late:
            assert runner.recover() == []
        erase_directories(here.rooms.rounds_dir, [number])
        if not erased_late:
            assert [conclusion.state for conclusion in runner.recover()] == [RoundState.ABANDONED]
        runner.go_on(must_stop=lambda: False)
        assert here.store.rounds.read(number).state is RoundState.ABANDONED
        assert not here.rooms.round_dir(number).exists()


def test_a_round_whose_parent_serves_no_more_does_not_go_on(here: World) -> None:
    """Nothing could come of it."""
    assert run(here, Lives([])).state is RoundState.ACCEPTED
    here.feed(seed=3)
    assert run(here, Lives([(10, STOPPED)])).state is RoundState.TRAINING
    StoreControl(here.settings, here.store, here.rooms.checkpoints).rollback(0)
    recovered, further = start_again(here, Lives([]))
    assert [conclusion.state for conclusion in recovered] == [RoundState.ABANDONED]
    assert further is None


def test_a_round_that_is_called_off_or_only_tried_does_not_go_on(here: World) -> None:
    """A person's word ends it; a dry run has nobody who waits for it any more."""
    here.current.begin(1, 0.0)

    class CalledOff(Lives):
        def run(self, directory: Path, **more: object) -> LearnerExit:
            here.current.call_off("a person said so")
            return super().run(directory, **more)  # type: ignore[arg-type]

    assert run(here, CalledOff([(10, STOPPED)])).state is RoundState.ABANDONED
    conclusion = runner_of(here, Lives([(10, STOPPED)])).run(DRY, "a test", must_stop=lambda: False)
    assert conclusion is not None
    assert conclusion.state is RoundState.ABANDONED


def test_where_it_went_on_from_is_shown(here: World) -> None:
    """In the status, beside the step."""
    here.current.begin(1, 0.0)
    for event in (
        ProgressEvent("phase", name="train"),
        ProgressEvent("goes_on", step=10, steps=30),
        ProgressEvent("step", step=11, steps=30),
    ):
        here.current.hear(event)
    progress = here.current.progress
    assert progress is not None
    assert (progress.step, progress.gone_on_from) == (11, 10)
    facts = {"phase": "train", "step": 11, "steps": 30, "gone_on_from": 10, "work": None}
    assert describe_phase(facts) == "train, step 11 of 30 (went on from step 10)"  # type: ignore[arg-type]


def test_a_save_that_the_disk_refuses_is_logged_once_and_counted(here: World) -> None:
    """And so is that a round began anew."""
    learner = RoundLearner(cast("Learner", Lives([])), here.current, here.metrics)
    with capture_logs() as logs:
        for event in (
            ProgressEvent("not_saved", step=3, reason="No space left"),
            ProgressEvent("not_saved", step=9, reason="No space left"),
            ProgressEvent("begun_anew", reason="it is damaged"),
        ):
            learner._hear(event)
    assert [line["event"] for line in logs] == ["round_not_saved", "round_begun_anew"]
    assert here.metric("riverkeep_round_saves_total", outcome="failed") == 2
