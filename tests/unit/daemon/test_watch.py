"""Following a round to its end."""

import pytest

from daemon.errors import Refused
from daemon.watch import PATIENCE_S, watch
from tests.unit.daemon.fakes import FakeControl


def test_a_request_that_no_round_answers_does_not_wait_for_ever() -> None:
    """With nothing in progress for a while, what the daemon waits for is said."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(Refused, match="waiting for somebody to ask"):
        watch(FakeControl(), 9, clock=lambda: now[0], pause=pause)
    assert now[0] > PATIENCE_S


def test_a_round_in_progress_is_waited_for_however_long() -> None:
    """Patience is for nothing happening; a day of training is something."""
    control = FakeControl()
    ended = {"number": 10, "state": "training"}
    control.ended = [ended]
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += PATIENCE_S * 2
        if now[0] > 86_400:
            ended["state"] = "accepted"

    assert watch(control, 9, clock=lambda: now[0], pause=pause)["state"] == "accepted"


def test_a_round_before_the_request_is_not_the_answer() -> None:
    """Of two new rounds the first one answers; older ones never do."""
    control = FakeControl()
    control.ended = [{"number": 11, "state": "failed"}, {"number": 10, "state": "refused"}]
    assert watch(control, 9)["number"] == 10
