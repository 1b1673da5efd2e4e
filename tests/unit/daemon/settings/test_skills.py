"""Skills in the settings: what `check` says of their files."""

import json
from pathlib import Path

import pytest

from daemon.settings.load import load
from daemon.settings.mistakes import BadSettings


def settings_with(path: Path, lines: list[str], *, kind: str = "causal-lm", more: str = "") -> Path:
    """A settings file with a model and one skill of these lines."""
    (path / "model").mkdir()
    (path / "sums.jsonl").write_text("\n".join(lines))
    config = path / "riverkeep.toml"
    config.write_text(
        f'state_dir = "state"\n[model]\npath = "model"\nkind = "{kind}"\nlabels = ["a", "b"]\n'
        f'[[evaluation.skills]]\nname = "sums"\nfile = "sums.jsonl"\n{more}'
    )
    return config


def prompts(count: int) -> list[str]:
    """Lines that are right."""
    return [json.dumps({"prompt": f"{number} + 1 =", "exact": f"{number + 1}"}) for number in range(count)]


def problems(config: Path) -> list[str]:
    """The mistakes, each as a line."""
    try:
        load(config, {}, files=True)
    except BadSettings as error:
        return [mistake.in_line() for mistake in error.mistakes]
    return []


def test_a_file_that_is_right_is_taken(tmp_path: Path) -> None:
    """Its path is relative to the settings' file."""
    config = settings_with(tmp_path, prompts(42))
    assert problems(config) == []
    assert load(config, {}).evaluation.skills[0].file == tmp_path / "sums.jsonl"


def test_lines_that_are_wrong_are_named(tmp_path: Path) -> None:
    """All that is wrong with the first few, and where the skill stands."""
    (problem,) = problems(settings_with(tmp_path, [*prompts(42), '{"prompt": "1"}', "nope"]))
    assert problem.startswith("evaluation.skills[0].file (riverkeep.toml line 6): Line 43 needs an expected answer")
    assert "line 44 is wrong: the line is not JSON" in problem
    assert "one of `exact`, `contains`, `choices`." in problem


@pytest.mark.parametrize(
    ("count", "more", "missing"), [(41, "", 1), (42, "max_drop_parent = 0.05\n", 44), (28, "max_drop_best = 0.2\n", 14)]
)
def test_so_few_prompts_that_nothing_could_be_proven_are_refused(
    tmp_path: Path, count: int, more: str, missing: int
) -> None:
    """Else every round would be refused for ever; how many are missing is told."""
    (problem,) = problems(settings_with(tmp_path, prompts(count), more=more))
    assert f"It has {count} prompts." in problem
    assert f"Add {missing} prompts, or raise" in problem


def test_a_chat_needs_a_template(tmp_path: Path) -> None:
    """As far as the model's files tell."""
    chat = json.dumps({"messages": [{"role": "user", "content": "1 + 1?"}], "contains": "2"})
    (problem,) = problems(settings_with(tmp_path, [*prompts(42), chat]))
    assert "Line 43 asks in `messages`, and the model has no chat template" in problem


def test_a_sequence_to_sequence_model_is_asked_prompts_and_no_chats(tmp_path: Path) -> None:
    """Its encoder reads them."""
    chat = json.dumps({"messages": [{"role": "user", "content": "1 + 1?"}], "contains": "2"})
    config = settings_with(tmp_path, [*prompts(42), chat], kind="seq2seq")
    (problem,) = (each for each in problems(config) if each.startswith("evaluation.skills"))
    assert "Line 43 asks in `messages`, and a sequence-to-sequence model learns from inputs" in problem
    assert "Ask with `prompt`, which its encoder reads." in problem
    (tmp_path / "sums.jsonl").write_text("\n".join(prompts(42)))
    assert not [each for each in problems(config) if each.startswith("evaluation.skills")]


@pytest.mark.parametrize("kind", ["classifier", "masked-lm"])
def test_a_model_that_writes_nothing_has_no_skills(tmp_path: Path, kind: str) -> None:
    """It answers no prompt."""
    problem = problems(settings_with(tmp_path, prompts(42), kind=kind))
    assert any(each.startswith("evaluation.skills") and "no prompt can be asked of it" in each for each in problem)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """As any other mistake."""
    config = settings_with(tmp_path, prompts(42))
    (tmp_path / "sums.jsonl").unlink()
    (problem,) = problems(config)
    assert "cannot be read: No such file" in problem
