"""The candidate that the gate chose is written when it is chosen, and only then: the learner is a stand-in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.processes.learner import LearnerEnding, LearnerExit
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.runner import RoundRunner
from daemon.rounds.whole_candidate import MOST_TRIES, CandidateNotWritten, write_whole
from learner.directory.kept_candidates import KEPT
from memory.ledger.states import RoundState
from tests.unit.daemon.rooms import BY_HAND, DRY, InThisProcess, World, world
from tests.unit.daemon.rounds.kept.test_again_or_anew import again
from tests.unit.daemon.rounds.test_loop import VOLUME

KILLED = LearnerExit(LearnerEnding.OUT_OF_MEMORY, "killed by signal 9", 0.0, certain=False)
STOPPED = LearnerExit(LearnerEnding.STOPPED, "stopped", 0.0)
RESULT = Path("result") / "result.json"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base that serves and new text."""
    with world(tmp_path, triggers=VOLUME) as made:
        yield made


class Interrupted(InThisProcess):
    """Trains as the mode says; while it writes something comes between, once."""

    def __init__(self, mode: str, what: Callable[[], LearnerExit]) -> None:
        super().__init__(mode)
        self._what: Callable[[], LearnerExit] | None = what

    def run(self, directory: Path, *, write: str | None = None, **more: Any) -> LearnerExit:
        """As `Learner.run`."""
        if write is not None and self._what is not None:
            what, self._what = self._what, None
            return what()
        return super().run(directory, write=write, **more)


def interrupted(here: World, what: Callable[[], LearnerExit], mode: str = "large_good") -> RoundRunner:
    """A runner whose learner is interrupted while it writes."""
    return here.runner(learner=Interrupted(mode, what))


def whole(here: World, number: int = 1) -> list[str]:
    """The candidates of a round that are written whole."""
    return sorted(path.name for path in (here.rooms.round_dir(number) / "candidates").glob("*"))


def test_what_the_gate_accepts_is_written_and_serves(here: World) -> None:
    """Beside what it was made of, which stays."""
    conclusion = here.run("large_good")
    assert conclusion.state is RoundState.ACCEPTED
    assert whole(here) == ["0.00"]
    assert (here.rooms.round_dir(1) / RESULT).exists()
    here.rooms.checkpoints.verify(1)
    assert here.store.generations.serving() == 1


@pytest.mark.parametrize(("mode", "ask"), [("large_worse", BY_HAND), ("large_good", DRY)])
def test_what_does_not_take_effect_is_not_written(here: World, mode: str, ask: Ask) -> None:
    """Neither what is refused nor what is only tried."""
    assert here.run(mode, ask).state in (RoundState.REFUSED, RoundState.ABANDONED)
    assert (here.rooms.round_dir(1) / RESULT).exists()
    assert whole(here) == []


def test_who_is_killed_while_it_writes_is_begun_again(here: World) -> None:
    """The round goes on: its training is not lost."""
    conclusion = interrupted(here, lambda: KILLED).run(BY_HAND, "a test", must_stop=lambda: False)
    assert conclusion is not None
    assert conclusion.state is RoundState.ACCEPTED
    assert here.store.generations.serving() == 1


def test_what_cannot_be_written_fails_the_round_with_a_reason(here: World) -> None:
    """The old generation serves on, the text waits for the next round."""
    conclusion = here.run("large_damaged")
    assert conclusion.state is RoundState.FAILED
    assert "candidate 0.00, which the gate accepts, cannot be written" in conclusion.detail
    assert (here.store.generations.serving(), here.rooms.checkpoints.numbers()) == (0, [0])
    assert here.run("large_good").state is RoundState.ACCEPTED


def test_a_service_that_stops_meanwhile_goes_on_at_its_next_start(here: World) -> None:
    """Judged, and not abandoned by what goes on with rounds in training."""
    conclusion = interrupted(here, lambda: STOPPED).run(BY_HAND, "a test", must_stop=lambda: True)
    assert conclusion is not None
    assert (conclusion.state, conclusion.is_interrupted) == (RoundState.JUDGED, True)
    assert "the service was stopped before candidate 0.00 was written" in conclusion.detail
    assert here.runner("large_good").go_on(must_stop=lambda: False) is None
    stopped_again = interrupted(here, lambda: STOPPED)
    assert stopped_again.recover(must_stop=lambda: True) == []
    assert here.store.generations.serving() == 0
    (recovered,) = here.runner("large_good").recover()
    assert recovered.state is RoundState.ACCEPTED
    assert here.store.generations.serving() == 1
    assert here.metric("riverkeep_rounds_total", trigger="by_hand", outcome="accepted") == 1


def test_what_is_called_off_meanwhile_takes_no_effect(here: World) -> None:
    """A rollback or an erasure need not wait for minutes of writing."""

    def call_off() -> LearnerExit:
        here.current.call_off("generation 0 was rolled back")
        return STOPPED

    conclusion = interrupted(here, call_off).run(BY_HAND, "a test", must_stop=lambda: False)
    assert conclusion is not None
    assert (conclusion.state, conclusion.detail) == (RoundState.ABANDONED, "generation 0 was rolled back")
    assert here.store.rounds.unfinished() == []


def test_what_is_kept_is_written_when_it_is_proven(here: World) -> None:
    """The second round takes over what the candidate is made of, and has it written in its own directory."""
    by_itself = Ask(Trigger.VOLUME, by="volume")
    assert here.run("large_unsure", by_itself).state is RoundState.REFUSED
    assert whole(here) == []
    conclusion = again(here, "large_good")
    assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
    first, second = here.rooms.round_dir(1), here.rooms.round_dir(2)
    assert (second / KEPT / RESULT).samefile(first / RESULT)
    assert (whole(here, 1), whole(here, 2)) == ([], ["0.00"])
    assert here.rooms.checkpoints.card(1).trained_in == 1


def test_what_is_always_killed_is_given_up() -> None:
    """After a few times, with what was seen of it."""
    runs: list[int] = []

    def run() -> LearnerExit:
        runs.append(1)
        return KILLED

    with pytest.raises(CandidateNotWritten, match=r"candidate 0\.25, .* killed by signal 9"):
        write_whole("0.25", run)
    assert len(runs) == MOST_TRIES
