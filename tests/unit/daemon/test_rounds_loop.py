"""The loop that begins rounds, as a part of the service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.backoff import Backoff
from daemon.rounds_loop import RoundsLoop
from daemon.shutdown import Shutdown
from daemon.supervisor import Part, State, Supervisor
from daemon.triggers import Asks
from tests.harness import wait_until
from tests.unit.daemon.rooms import BY_HAND, World, world

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
        wait_until(lambda: here.store.unfinished_rounds() and here.store.round(1).state == "training")
        for _ in range(3):
            now[0] += 10 * STUCK_SECONDS
            wait_until(lambda: part.health().state is State.RUNNING)
        shutdown.begin()
        wait_until(lambda: here.store.round(1).state == "abandoned")
