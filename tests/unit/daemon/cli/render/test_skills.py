"""What a person is shown of skills."""

import io

import pytest
from rich.console import Console

from daemon.cli.render.generations import print_generations
from daemon.cli.render.rounds import print_round
from tests.harness import Facts
from tests.unit.daemon.cli.render.screens import show_on
from tests.unit.daemon.cli.render.test_status import NOW, round_line

ROUND: Facts = {
    "parent": 2,
    "fresh_tokens": 9,
    "replay_tokens": 9,
    "report": {
        "skills": {"sums": {"version": "v", "prompts": 60, "right": {"base": 0.5, "parent": 0.9, "0.25": 0.45}}}
    },
    "verdict": {
        "broken": {"sums": [{"line": 7, "prompt": "'7 + 5 ='", "expected": "'12'", "answered": "'the \x1b[2Jriver'"}]},
        "checks": [
            {
                "name": "skill_parent",
                "slice": "sums-1",
                "figure": 0.45,
                "bound": 0.1,
                "lower": 0.3,
                "upper": 0.6,
                "documents": 60,
                "passed": False,
                "unit": "of the prompts",
            }
        ],
    },
}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, in 120 columns without colours."""
    written = io.StringIO()
    show_on(Console(file=written, width=120), monkeypatch)
    return written


def test_a_round_shows_what_each_model_answers_and_what_broke(screen: io.StringIO) -> None:
    """Shares, and prompts with what was expected and answered; a skill's name is no slice's."""
    print_round(round_line(3, "refused") | ROUND)
    shown = " ".join(screen.getvalue().split())
    for words in ("base", "parent", "candidate 0.25", "50.0%", "90.0%", "45.0%", "right answers lost vs parent"):
        assert words in shown
    assert "Broken in sums, line 7: '7 + 5 =', expected '12', answered 'the" in shown
    assert "held-out text of" not in shown
    assert "\x1b[2J" not in screen.getvalue()


def test_generations_show_skills_and_mark_what_cannot_be_compared(screen: io.StringIO) -> None:
    """A daemon of an earlier version tells of none."""
    line: Facts = {"skill": "sums", "version": "v", "prompts": 60, "scored": None}
    rows = [
        {**line, "generation": 0, "right": 0.5, "comparable": False},
        {**line, "generation": 1, "right": 0.75, "comparable": True},
    ]
    facts: Facts = {"serving": 1, "generations": [], "slices": [], "scores": []}
    print_generations(facts | {"skills": rows}, now=NOW)
    shown = " ".join(screen.getvalue().split())
    assert "50.0% of 60*" in shown
    assert "1 ← 75.0% of 60 " in shown
    assert "* of other prompts than what serves was asked" in shown
    print_generations(facts, now=NOW)
