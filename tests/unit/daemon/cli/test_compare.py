"""`riverkeep compare`: a prompt by standard input, answers side by side or blind, picks."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon.exit_codes import ExitCode
from tests.command_line import riverkeep
from tests.unit.daemon.cli.test_main import control, home
from tests.unit.daemon.fakes import FakeControl

__all__ = ["control", "home"]


def test_the_prompt_comes_by_standard_input_and_two_answers_are_shown(home: Path, control: FakeControl) -> None:
    """One line end at its end is not part of it; what a model wrote commands no terminal."""
    words = ["compare", "ask", "1", "2", "--max-tokens", "9", "--seed", "3", "--chat"]
    run = riverkeep(*words, cwd=home, stdin="The river\nrises\n")
    assert run.returncode == ExitCode.OK
    assert control.calls == [("compare", "The river\nrises", 1, 2, False, True, 9, None, 3)]
    assert "Generation 1 (9 tokens, 0.5 s, cut there)" in run.stdout
    assert "    [bold]an answer\\x1b[2J" in run.stdout
    assert "[b]flood\\x1b[2J" in run.stdout
    assert "75.0%" in run.stdout
    assert "its process begins" in run.stderr


def test_blind_answers_have_no_names_and_are_picked_from_afterwards(
    home: Path, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to do next is said, and who has picked."""

    def hidden(number: int) -> Any:
        answer = FakeControl.comparison(control, number)
        nothing = dict.fromkeys(("generation", "tokens", "prompt_tokens", "seconds_loading", "seconds_answering"))
        answers = [{**line, **nothing} for line in answer["answers"]]
        return {**answer, "blind": True, "tally": None, "answers": answers}

    monkeypatch.setattr(control, "comparison", hidden)
    run = riverkeep("compare", "ask", "--blind", cwd=home, stdin="x")
    assert "The left answer (cut there)\n" in run.stdout
    assert "`riverkeep compare pick 7 left (or right, or equal)`" in run.stdout
    assert "eneration" not in run.stdout
    monkeypatch.undo()
    run = riverkeep("compare", "pick", "7", "right", cwd=home)
    assert "The left answer is generation 1's." in run.stdout
    assert "ada@host found generation 2's answer better." in run.stdout
    assert "generation 1: 1, 2: 4, equal: 2 (people: 2)" in run.stdout


def test_picks_are_shown_with_an_interval(home: Path, control: FakeControl) -> None:
    """Of those that found one better."""
    run = riverkeep("compare", "picks", cwd=home)
    assert "20%, 4% to 62%" in run.stdout


@pytest.mark.parametrize(("stdin", "says"), [("", "There is no prompt"), ("\n", "no prompt"), ("x" * 32_001, "longer")])
def test_what_is_no_prompt_is_said(home: Path, control: FakeControl, stdin: str, says: str) -> None:
    """Before anything is asked."""
    run = riverkeep("compare", "ask", cwd=home, stdin=stdin)
    assert (run.returncode, control.calls) == (ExitCode.BAD_USAGE, [])
    assert says in run.stderr


def test_who_comes_second_and_what_fails_is_told(
    home: Path, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an exit status for scripts."""
    run = riverkeep("compare", "ask", cwd=home, stdin="busy")
    assert (run.returncode, run.stderr) == (ExitCode.REFUSED, "riverkeep: Another comparison is under way.\n")
    failed = {**control.comparison(7), "state": "failed", "detail": "Generation 2 cannot answer.", "answers": []}
    monkeypatch.setattr(control, "comparison", lambda _number: failed)
    run = riverkeep("compare", "ask", "--json", cwd=home, stdin="x")
    assert run.returncode == ExitCode.FAILED
    assert json.loads(run.stdout)["detail"] == "Generation 2 cannot answer."


def test_ctrl_c_calls_it_off(home: Path, control: FakeControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes on that nobody waits for."""
    running = {**control.comparison(7), "state": "running", "doing": "generation 1 answers, 3 of 9 tokens"}
    monkeypatch.setattr(control, "comparison", lambda _number: running)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, "-m", "daemon", "compare", "ask"],
        cwd=home,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        signal.signal(signal.SIGINT, before)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("x")
        process.stdin.close()
        next(line for line in iter(process.stderr.readline, "") if "generation 1 answers …" in line)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Comparison 7 is called off." in said
    assert control.calls[-1] == ("cancel_comparison", 7)
