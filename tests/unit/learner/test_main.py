"""`python -m learner`: exit codes and the last line on standard error."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.errors import UnusableModel
from learner.__main__ import is_to_hold_little, main
from learner.directory.round_directory import read_round
from learner.errors import LearnerError
from learner.processes import in_this_process as command
from tests.unit.learner import tiny


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the round fail with an error of the test's choice."""

    def fail_with(error: Exception) -> None:
        def run_round(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(command, "run_round", run_round)

    return fail_with


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), 3, "out of memory: CUDA out of memory."),
        (MemoryError("no room"), 3, "out of memory: no room"),
        (LearnerError("the device cuda is not here"), 1, "the device cuda is not here"),
        (OSError(28, "No space left on device"), 5, "round: no space (No space left on device). Free space on that"),
        (OSError(27, "File too large", "a"), 5, "round: no space to write a (File too large). Free space on that disk"),
        (OSError(122, "Disk quota exceeded", "read", None, "copy"), 5, "no space to write copy (Disk quota exceeded)"),
        (OSError(5, "Input/output error", "a"), 1, "round: [Errno 5] Input/output error: 'a'"),
    ],
)
def test_each_failure_has_its_exit_code_and_reason(
    failing: Any, capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    """The daemon tells from the code what to do, and a person from the line what happened."""
    failing(error)
    assert main(["round"]) == code
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_memory_error_without_words_is_named(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Python's own says nothing."""
    failing(MemoryError())
    assert main(["round"]) == 3
    assert "out of memory" in capsys.readouterr().err


def test_memory_that_ran_out_while_the_parent_was_loaded_is_no_fault_of_the_parent(
    failing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loader says that it could not load; what it was raised from says why."""
    unusable = UnusableModel("parent cannot be loaded")
    unusable.__cause__ = RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)")
    failing(unusable)
    assert main(["round"]) == 3
    assert "out of memory: parent cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("shapes do not match\n\nset an option to know more"), "RuntimeError: shapes do not match. "),
        (KeyError("weight"), "KeyError: 'weight'. "),
        (AssertionError(), "AssertionError. "),
    ],
)
def test_a_fault_in_the_program_is_told_in_a_sentence_behind_its_traceback(
    failing: Any, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    """A person reads what happened, to which round and what to do; the log has where in the program."""
    failing(error)
    assert main(["round"]) == 1
    *above, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"the round in round ended by a fault that nobody foresaw: {told}")
    assert "riverkeep doctor" in last
    assert above[0] == "Traceback (most recent call last):"
    assert any("in run_round" in line for line in above)


def test_directory_that_is_no_round_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, and which file is missing."""
    assert main([str(tmp_path)]) == 4
    assert "lacks round.json" in capsys.readouterr().err


@pytest.mark.slow
def test_process_prints_its_progress_as_json_lines(tmp_path: Path) -> None:
    """Each line of the output is an event, from the first phase to done, as in the file; the input stays as it was."""
    base = tiny.generation(tmp_path / "g", tiny.llama(), tiny.tokenizer(), "causal-lm")
    path = tiny.causal_round(tmp_path / "round", base)
    given = read_round(path)
    finished = subprocess.run([sys.executable, "-m", "learner", str(path)], capture_output=True, text=True, check=True)
    events = [json.loads(line)["event"] for line in finished.stdout.splitlines()]
    assert (events[0], events[-1]) == ("phase", "done")
    assert {"start", "step", "candidate"} <= set(events)
    assert finished.stdout == (path / "progress.jsonl").read_text()
    assert finished.stderr == ""
    assert read_round(path) == given


@pytest.mark.parametrize("checkpointing", [True, False, None])
def test_a_round_that_computes_activations_again_is_to_hold_little(tmp_path: Path, checkpointing: bool | None) -> None:
    """Any other takes its blocks from the heap, which is quicker; what is no round is left to who runs it."""
    base = tiny.generation(tmp_path / "g", tiny.llama(), tiny.tokenizer(), "causal-lm")
    recipe = tiny.SMALL.model_copy(update={"gradient_checkpointing": checkpointing})
    path = tiny.causal_round(tmp_path / "round", base, recipe=recipe)
    assert is_to_hold_little(path) == bool(checkpointing)
    assert not is_to_hold_little(tmp_path)
