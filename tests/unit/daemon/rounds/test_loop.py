"""The loop that begins rounds, as a part of the service."""

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State, Supervisor
from daemon.rounds.asks_and_schedule import Asks, Schedule
from daemon.rounds.begin_or_wait import Ask, Begin, Decision, Wait, approval
from daemon.rounds.current import CurrentRound
from daemon.rounds.loop import RoundsLoop
from memory.ledger.states import RoundState
from memory.store import Store
from streams.backoff import Backoff
from tests.harness import wait_until
from tests.unit.daemon.rooms import BY_HAND, DRY, World, world

STUCK_SECONDS = 60.0


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base and fresh text."""
    with world(tmp_path) as made:
        yield made


def test_a_round_whose_learner_runs_long_is_not_stuck(here: World) -> None:
    """The loop does not turn meanwhile, but it is asked all the time whether the learner must stop."""
    now, asks = [0.0], Asks()
    shutdown = Shutdown(grace_seconds=10, round_grace_seconds=0)
    loop = RoundsLoop(
        here.rooms, here.runner("hang"), asks, here.current, settings=lambda: here.settings, shutdown=shutdown
    )
    part = Part(
        "rounds", loop.run, backoff=Backoff(0.01, 0.01), stuck_seconds=STUCK_SECONDS, vital=False, clock=lambda: now[0]
    )
    with Supervisor([part], seconds_left=shutdown.seconds_left):
        asks.add(BY_HAND)
        wait_until(lambda: here.store.rounds.unfinished() and here.store.rounds.read(1).state == "training")
        for _ in range(3):
            now[0] += 10 * STUCK_SECONDS
            wait_until(lambda: part.health().state is State.RUNNING)
        shutdown.begin()
        wait_until(lambda: here.store.rounds.read(1).state == "abandoned")


def test_no_round_is_touched_while_a_learner_of_an_earlier_life_runs(here: World) -> None:
    """It may still write into a round's directory: the loop tries again until all have ended."""
    troubles = [OSError("nobody can tell"), OSError("still there")]

    def end_leftovers(_: object) -> bool:
        assert here.store.rounds.listed() == []
        if troubles:
            raise troubles.pop()
        return True

    asks, shutdown = Asks(), Shutdown(grace_seconds=10, round_grace_seconds=0)
    loop = RoundsLoop(
        here.rooms,
        here.runner(),
        asks,
        here.current,
        settings=lambda: here.settings,
        shutdown=shutdown,
        end_leftovers=end_leftovers,
    )
    part = Part("rounds", loop.run, backoff=Backoff(0.01, 0.01), stuck_seconds=STUCK_SECONDS, vital=False)
    asks.add(BY_HAND)
    with Supervisor([part], seconds_left=shutdown.seconds_left):
        wait_until(lambda: [one.state for one in here.store.rounds.listed()] == [RoundState.ACCEPTED])
        shutdown.begin()
    assert troubles == []


def decided(here: World, *, later: float = 0.0, asked: Ask | None = None) -> Decision:
    """What the loop does so many seconds after the rounds that were run, which take no time."""
    asks = Asks()
    if asked is not None:
        asks.add(asked)
    return RoundsLoop(
        here.rooms,
        here.runner(),
        asks,
        here.current,
        settings=lambda: here.settings,
        shutdown=Shutdown(grace_seconds=10, round_grace_seconds=0),
        clock=lambda: next((one.begun_at for one in here.store.rounds.listed(limit=1)), 0.0) + later,
    ).decision()


def test_neither_a_dry_run_nor_one_cut_off_ends_a_cool_down(tmp_path: Path) -> None:
    """The refusal before it still counts."""
    with world(tmp_path, triggers={"fresh_samples": 10, "minimum_fresh_samples": 1, "cooldown_seconds": 60}) as here:
        here.run("worse")
        here.run("good", DRY)
        here.runner("hang").run(BY_HAND, "a test", must_stop=lambda: True)
        decision = decided(here)
        assert isinstance(decision, Wait)
        assert "cooling down" in decision.reason
        assert isinstance(decided(here, later=1e9), Begin)


def test_what_a_person_called_off_does_not_begin_again_at_once(tmp_path: Path) -> None:
    """Its volume is still there: the cool-down counts from the word; a person may ask before."""
    now = [0.0]
    with world(tmp_path, triggers={"fresh_samples": 10, "minimum_fresh_samples": 1, "cooldown_seconds": 60}) as here:
        here.current = CurrentRound(lambda: now[0])
        assert isinstance(decided(here), Begin)
        here.current.cancel("a person called it off")
        assert "cooling down" in decided(here).reason
        assert isinstance(decided(here, asked=BY_HAND), Begin)
        now[0] = 61.0
        assert isinstance(decided(here), Begin)


def test_a_pause_outlives_a_restart_and_lets_a_person_begin_a_round(tmp_path: Path) -> None:
    """It is kept in the store: what began by its volume a moment before begins no more."""
    with world(tmp_path, triggers={"fresh_samples": 10, "minimum_fresh_samples": 1, "cooldown_seconds": 0}) as here:
        here.run("worse")
        assert isinstance(decided(here), Begin)
        here.store.rounds.pause("the GPU is lent out")
        with Store.open(here.settings.database, here.settings.memory) as again:
            assert again.rounds.paused() == here.store.rounds.paused()
        assert "paused (the GPU is lent out)" in decided(here).reason
        assert isinstance(decided(here, asked=BY_HAND), Begin)
        here.store.rounds.resume()
        assert isinstance(decided(here), Begin)


VOLUME = {"fresh_samples": 10, "minimum_fresh_samples": 1, "cooldown_seconds": 0}


def test_without_text_from_before_the_stream_no_round_begins_that_cannot_be_judged(tmp_path: Path) -> None:
    """What the anchor will take of the held-out text is counted before: what begins by itself is judged, at any amount.

    With 20 documents needed and half of them given to the anchor, 23 held-out ones begin nothing.
    """
    with world(tmp_path, before_stream=False, triggers=VOLUME, gate={"minimum_documents": 20}) as here:
        began = waited = 0
        for seed in range(10, 40):
            decision = decided(here)
            if isinstance(decision, Begin):
                conclusion = here.run("good", decision.ask)
                assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
                began += 1
            else:
                waited += 1
                assert "at least 20 are needed" in decision.reason or "waiting for 10 fresh" in decision.reason
            here.feed(30, seed=seed)
        assert began > 1
        assert waited > 1


def test_after_a_refusal_for_want_of_evidence_the_next_round_waits_for_it(tmp_path: Path) -> None:
    """Not for a cool-down alone, after which the same would be trained again; a person may ask before."""
    with world(tmp_path, triggers=VOLUME, gate={"minimum_documents": 5}) as here:
        refused = here.run("doubtful")
        assert refused.verdict is not None
        assert refused.verdict.unproven
        wanted = refused.verdict.evidence
        assert wanted > 5
        decision = decided(here, later=1e9)
        assert isinstance(decision, Wait)
        assert f"of the {wanted} held-out documents of new text are there" in decision.reason
        assert "round 1 was refused for want of evidence" in decision.reason
        assert isinstance(decided(here, asked=BY_HAND), Begin)
        # A seed of its own for each: what arrived before would arrive again, of which nothing is held out.
        seeds = itertools.count(100)
        while here.store.counts().open_holdout < wanted:
            here.feed(20, seed=next(seeds))
        decision = decided(here)
        assert isinstance(decision, Begin)
        assert here.run("good", decision.ask).state is RoundState.ACCEPTED


def test_another_recipe_need_not_wait_for_more_evidence(tmp_path: Path) -> None:
    """It may learn what the same text could not prove."""
    with world(tmp_path, triggers=VOLUME) as here:
        here.run("doubtful")
        assert isinstance(decided(here), Wait)
        recipe = here.settings.learner.recipe.model_copy(update={"epochs": 3})
        learner = here.settings.learner.model_copy(update={"recipe": recipe})
        here.settings = here.settings.model_copy(update={"learner": learner})
        assert isinstance(decided(here), Begin)


def test_much_more_fresh_text_ends_the_wait_too(tmp_path: Path) -> None:
    """Held-out text may be bounded: the river does not stop for it."""
    small = {"holdout_share": 0.2, "anchor_minimum": 8, "slice_documents": 16}
    with world(tmp_path, triggers=VOLUME, memory=small) as here:
        here.run("doubtful")
        decisions = []
        for seed in range(10, 16):
            decisions.append(isinstance(decided(here), Begin))
            here.feed(100, seed=seed)
        assert not decisions[0]
        assert isinstance(decided(here), Begin)


def test_an_approved_round_that_failed_is_tried_again_after_the_cool_down(tmp_path: Path) -> None:
    """At once it would only fail again."""
    with world(tmp_path, triggers={"cooldown_seconds": 60}) as here:
        here.run("implausible")
        here.store.rounds.release(1)
        assert _is_approval(decided(here))
        here.run("crash", approval(1))
        assert not _is_approval(decided(here))
        assert _is_approval(decided(here, later=1e9))


def _is_approval(decision: Decision) -> bool:
    return isinstance(decision, Begin) and decision.ask == approval(1)


@pytest.mark.parametrize(
    ("schedule", "trigger"),
    [({"cron": "30 4 1 1 *", "timezone": "Asia/Tokyo"}, "cron"), ({"interval_seconds": 864_000}, "interval")],
    ids=["cron", "interval"],
)
def test_a_round_begins_when_its_scheduled_time_comes(tmp_path: Path, schedule: dict[str, Any], trigger: str) -> None:
    """By the scheduler's own clock and thread, once; the ledger says why, and the next time is the one after."""
    rules = {"fresh_samples": None, "fresh_tokens": None, "minimum_fresh_samples": 1, "cooldown_seconds": 0}
    with world(tmp_path, triggers=rules | schedule) as here:
        asks, shutdown = Asks(), Shutdown(grace_seconds=10, round_grace_seconds=0)
        loop = RoundsLoop(
            here.rooms, here.runner(), asks, here.current, settings=lambda: here.settings, shutdown=shutdown
        )
        part = Part("rounds", loop.run, backoff=Backoff(0.01, 0.01), vital=False)
        times = Schedule(here.settings.triggers, asks, last_began=lambda: None, clock=time.time)
        with Supervisor([part], seconds_left=shutdown.seconds_left), times:
            wait_until(lambda: "waiting for the" in loop.reason)
            due = times.next_times()[trigger]
            assert here.store.rounds.listed() == []
            times._scheduler.modify_job(trigger, next_run_time=datetime.now(UTC))
            wait_until(lambda: here.store.rounds.by_state()["accepted"])
            assert [(each.trigger, each.number) for each in here.store.rounds.listed()] == [(trigger, 1)]
            assert times.next_times()[trigger] == pytest.approx(due, abs=60)
            shutdown.begin()
