"""The audit log as a person sees it."""

import pytest

from daemon.cli.render.history import canary_text, print_audit, print_canary
from daemon.cli.render.screen import Screen
from daemon.control.answers.canaries import CanaryLine, CanaryStanding
from tests.unit.daemon.cli.render.screens import show_on


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the width of the terminal that the tests run in."""
    show_on(Screen(width=200), monkeypatch)


def test_each_line_says_when_who_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a name holds, it commands no terminal."""
    detail = {"generation": 5, "before": None, "reason": "a [bold]look[/]\x1b[2J"}
    print_audit([{"id": 7, "at": 0.0, "who": "ada@host", "what": "approve_round_refused", "detail": detail}])
    shown = " ".join(capsys.readouterr().out.split())
    assert "ada@host approve round refused" in shown
    assert "generation 5" in shown
    assert "[bold]look[/]" in shown
    assert "\x1b" not in shown


def test_an_empty_log_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than a table without lines."""
    print_audit([])
    assert "Nothing has been noted yet." in capsys.readouterr().out


STANDING: CanaryStanding = {
    "generation": 5,
    "beside": 4,
    "mode": "canary",
    "share": 0.1,
    "since": 0.0,
    "answers": 120,
    "serving_answers": 1080,
    "detail": "generation 5 is watched as a canary beside generation 4: watched for 600 s more",
    "answered_to": {
        "by_key": [{"key": "web", "requests": 1100}, {"key": "", "requests": 20}],
        "other_keys": 3,
        "other_requests": 4,
    },
}


def test_the_status_says_how_the_watch_stands() -> None:
    """Which, on what share, since when and with how many answers."""
    text = str(canary_text(STANDING, now=3600.0))
    assert text.startswith("generation 5 is watched as a canary beside generation 4: watched for 600 s more")
    assert "10% of the requests" in text
    assert "120 of its answers and 1,080 beside them" in text
    assert "it answered 1,100 of web, 20 of those without a key, 4 of 3 other keys" in text
    assert "it answered" not in str(canary_text({**STANDING, "answered_to": None}, now=3600.0))


def test_a_round_shows_what_was_found_in_traffic(capsys: pytest.CaptureFixture[str]) -> None:
    """Every check with figure, bound and limits; what is unknown is called so."""
    checks = [
        {
            "name": "errors",
            "kind": "difference",
            "figure": 0.1,
            "bound": 0.02,
            "lower": 0.03,
            "upper": 0.2,
            "answers": 64,
        },
        {"name": "pace", "kind": "ratio", "figure": 1.1, "bound": 1.25, "lower": None, "upper": None, "answers": 60},
        {"name": "loss", "kind": "nats", "figure": 0.01, "bound": 0.02, "lower": 0.0, "upper": 0.03, "answers": 9},
        {
            "name": "loss",
            "kind": "nats",
            "figure": None,
            "bound": 0.02,
            "lower": None,
            "upper": None,
            "answers": 0,
            "not_compared": "nobody can read",
        },
    ]
    line: CanaryLine = {
        "generation": 5,
        "beside": 4,
        "mode": "canary",
        "share": 0.1,
        "since": 0.0,
        "ended_at": 9.0,
        "outcome": "rolled_back",
        "ended_by": "its watch in traffic",
        "verdict": {"decision": "roll_back", "sentence": "It is worse.", "checks": checks},
        "answered_to": STANDING["answered_to"],
    }
    print_canary(line)
    shown = " ".join(capsys.readouterr().out.split())
    assert "generation 5 beside generation 4, 10%; rolled back by its watch in traffic. It is worse." in shown
    assert "failed answers +10.00% +2.00% +3.00% … +20.00% 64" in shown
    assert "1.10 times 1.25 times unknown … unknown 60" in shown
    assert "loss of what arrives +0.0100 nats +0.0200 nats +0.0000 nats … +0.0300 nats 9" in shown
    assert "loss of what arrives: not compared, as nobody can read unknown" in shown
    assert "Of requests it answered 1,100 of web, 20 of those without a key, 4 of 3 other keys." in shown
