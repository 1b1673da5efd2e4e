"""What the round in progress does."""

import threading
import time
from collections.abc import Mapping

import orjson
import pytest

from daemon.rounds.current import CurrentRound, PhaseWork
from learner.directory.progress_event import read_event
from serving.tracing.begin import begin_tracing
from serving.tracing.settings import TracingSettings
from tests.harness import wait_until
from tests.otlp_receiver import receiving


def hear(current: CurrentRound, line: Mapping[str, object]) -> None:
    """Hear what a learner writes as one line."""
    event = read_event(orjson.dumps(line))
    if event is not None:
        current.hear(event)


def test_progress_follows_the_learner() -> None:
    """Phases and steps are taken in; what makes no sense is passed over."""
    current = CurrentRound()
    current.begin(4, now=100.0, reason="9 samples are fresh", fresh=8, early_stop=1)
    hear(current, {"event": "phase", "name": "train"})
    hear(current, {"event": "step", "step": 3, "steps": 60, "tokens_per_second": 1000.0})
    for nonsense in ({}, {"event": "step"}, {"event": "phase", "name": 7}, {"event": "step", "step": "x"}):
        hear(current, nonsense)
    progress = current.progress
    assert progress is not None
    assert (progress.number, progress.phase, progress.step, progress.steps) == (4, "train", 3, 60)
    assert (progress.reason, progress.fresh_samples, progress.early_stop_samples) == ("9 samples are fresh", 8, 1)
    current.end()
    assert current.progress is None


def test_how_much_of_a_phase_is_done_is_known_until_the_next() -> None:
    """In the learner's own unit, with what is left; nonsense tells nothing."""
    current = CurrentRound()
    current.begin(4, now=100.0)
    hear(current, {"event": "phase", "name": "score", "unit": "tokens", "done": 0, "of": 4000, "seconds_left": None})
    assert current.progress is not None
    assert current.progress.work == PhaseWork(0, 4000, "tokens", None)
    hear(
        current, {"event": "work", "phase": "score", "unit": "tokens", "done": 1200, "of": 4000, "seconds_left": 190.0}
    )
    for nonsense in ({"of": 0}, {"done": "x"}, {"unit": 7}):
        hear(current, {"event": "work", "unit": "tokens", "done": 1, "of": 4000, **nonsense})
    assert current.progress.work is not None
    assert current.progress.work.sentence() == "1,200 of 4,000 tokens, about 3 min left"
    hear(current, {"event": "phase", "name": "load"})
    assert current.progress.work is None


def test_what_its_learner_waits_for_is_known_until_it_runs() -> None:
    """Or until the next phase, where nobody said that it runs."""
    current = CurrentRound()
    current.begin(4, now=100.0)
    for ends in ({"event": "runs"}, {"event": "phase", "name": "load"}):
        hear(current, {"event": "waits", "reason": "a node: 0/3 nodes are available"})
        assert current.progress is not None
        assert current.progress.waits_for == "a node: 0/3 nodes are available"
        hear(current, ends)
        assert current.progress.waits_for == ""


def test_only_the_round_that_is_meant_is_called_off() -> None:
    """Another number, or no round, is not called off; the next round begins uncalled."""
    current = CurrentRound()
    assert not current.call_off("rolled back")
    current.begin(4, now=0.0)
    assert not current.call_off("erased", number=3)
    assert current.call_off("erased", number=4)
    assert current.call_off("rolled back")
    assert current.called_off == "erased"
    current.end()
    current.begin(5, now=0.0)
    assert current.called_off == ""


def test_the_end_of_a_round_can_be_awaited() -> None:
    """Who waits is woken by the end."""
    current = CurrentRound()
    current.begin(1, now=0.0)
    assert not current.wait_for_end(0.01)
    ended: list[bool] = []
    waiter = threading.Thread(target=lambda: ended.append(current.wait_for_end(30)))
    waiter.start()
    current.end()
    wait_until(lambda: ended == [True])
    waiter.join()


def test_a_round_and_its_phases_are_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The phases within the round's; how it ended is said by figures and names alone."""
    with receiving() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        tracing = begin_tracing(TracingSettings(enabled=True), "daemon")
        current = CurrentRound(tracing=tracing)
        current.phase("judge")  # of a round that a crash cut off
        current.begin(4, now=100.0)
        ids = current.spans.begin(4, 3, time.time() - 60)
        hear(current, {"event": "phase", "name": "train"})
        hear(current, {"event": "phase", "name": "nonsense"})
        environment = current.spans.environment
        current.spans.conclude({"state": "accepted", "reason": "a sentence", "losses": {"new": 1.0}, "steps": 9})
        current.end()
        current.spans.begin(5, 4, None)
        current.end()
        tracing.close(60)
        draw, train, round_, _, broken = receiver.spans
    assert environment["TRACEPARENT"].startswith(f"00-{ids['trace_id']}-{ids['span_id']}-")
    assert [(each.name, each.parent) for each in (draw, train)] == [
        ("round draw", round_.span_id),
        ("round train", round_.span_id),
    ]
    assert (round_.name, round_.span_id, round_.failed) == ("round", ids["span_id"], False)
    assert min(round_.seconds, draw.seconds) >= 60
    assert round_.facts == {
        "riverkeep.round": 4,
        "riverkeep.generation.parent": 3,
        "riverkeep.round.state": "accepted",
        "riverkeep.round.steps": 9,
    }
    assert (broken.name, broken.failed, broken.parent) == ("round", True, "")
