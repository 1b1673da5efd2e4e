"""Following a round to its end."""

import pytest

from daemon.cli.follow import PATIENCE_S, SERVES_WITHIN_S, until_it_serves, watch
from daemon.errors import Refused
from tests.harness import Facts
from tests.unit.daemon.fakes import FakeControl


def test_a_request_that_no_round_answers_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing in progress for a while, what the daemon waits for is said, or that there is nothing to learn."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    control = FakeControl()
    known = control.status()
    for fresh, why in ((1, "waiting for somebody to ask"), (0, "nothing is fresh")):
        facts = known | {"memory": known["memory"] | {"fresh_samples": fresh}}
        monkeypatch.setattr(control, "status", lambda facts=facts: facts)
        with pytest.raises(Refused, match=why):
            watch(control, 9, clock=lambda: now[0], pause=pause)
        assert now[0] > PATIENCE_S
        now[0] = 0.0


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


def test_without_a_terminal_it_is_told_in_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it waits behind another round, each phase once, and again after half a minute."""
    control = FakeControl()
    looks = iter([(9, "train", 1), (10, "start", 0), (10, "train", 1), (10, "train", 2), (10, "train", 60)])
    known, now = control.status(), [0.0]

    def status() -> Facts:
        number, phase, step = next(looks)
        work = {"done": step * 60, "of": 5400, "unit": "sequences", "seconds_left": 90.0 - step} if step else None
        round_ = {"number": number, "phase": phase, "step": step, "steps": 90, "work": work, "begun_at": 0.0}
        return known | {"round": round_}

    def pause(_seconds: float) -> None:
        now[0] += 20.0
        if now[0] >= 100.0:
            control.ended = [{"number": 10, "state": "accepted"}]

    monkeypatch.setattr(control, "status", status)
    assert watch(control, 9, clock=lambda: now[0], pause=pause)["number"] == 10
    assert capsys.readouterr().err.splitlines() == [
        "waiting: round 9 is in progress",
        "round 10: start, step 0 of 90",
        "round 10: train, step 1 of 90, 60 of 5,400 sequences, about 1 min left",
        "round 10: train, step 60 of 90, 3,600 of 5,400 sequences, about 30 s left",
    ]


def test_an_accepted_generation_is_waited_for_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it is said why it does not: none is started here, it takes too long, another is to serve by now."""
    control, now = FakeControl(), [0.0]

    def pause(seconds: float) -> None:
        now[0] += 100 * seconds

    def said(**serving: object) -> str:
        known = {"generation": 7, "ok": True, "answering": 6} | serving
        monkeypatch.setattr(control, "status", lambda: {"serving": known | {"answering": known["answering"]}})
        return until_it_serves(control, 7, clock=lambda: now[0], pause=pause)

    assert said(answering=7) == ""
    assert now == [0.0]
    assert "no serving process runs beside this daemon" in said(ok=None, answering=None)
    assert said(generation=6) == "generation 6 is to serve by now"
    assert "serving answers from 6" in said()
    assert now[0] > SERVES_WITHIN_S
