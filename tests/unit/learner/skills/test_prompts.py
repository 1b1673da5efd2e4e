"""A skill's file: what its lines may say, and what is wrong with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from learner.skills.prompts import MOST_PROMPTS, Asking, BadSkill, Skill, read_skill, version_of
from learner.skills.settings import EvaluationSettings, SkillSettings
from streams.chats import Message

ASKING = Asking(32, None, ignore_case=False, choice_by="sum", between=" ", chat_template=True)


def skill(*lines: dict[str, Any] | str) -> Skill:
    """A skill of these lines."""
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return Skill.of("sums", "\n".join(written).encode(), ASKING)


def test_the_three_kinds_of_answers_and_the_two_of_prompts() -> None:
    """Blank lines are passed over, and the lines keep their numbers; a mark of byte order is none of the text."""
    content = (
        "\ufeff"
        '{"prompt": "1 + 1 =", "exact": "2", "id": "a-7"}\n\n'
        '{"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "2 + 2?"}], '
        '"contains": ["4", "four"]}\r\n'
        '{"prompt": "Paris lies in", "choices": ["Spain", "France"], "answer": "France"}\n'
        '{"prompt": "Rome lies in", "choices": ["Italy", "France"], "answer": 0}\n'
    )
    one, two, three, four = Skill.of("s", content.encode(), ASKING).prompts
    assert (one.line, one.asked, one.kind, one.expected) == (1, "1 + 1 =", "exact", ("2",))
    assert (two.line, two.kind, two.expected) == (3, "contains", ("4", "four"))
    assert two.asked == (Message("system", "Be short."), Message("user", "2 + 2?"))
    assert (two.text, two.question) == ("2 + 2?", "2 + 2?")
    assert (three.line, three.right, three.right_answers, four.right_answers) == (4, 1, ("France",), ("Italy",))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nope", "line 2 is wrong: the line is not JSON"),
        ("[]", "line 2 is wrong"),
        ({"prompt": 3, "exact": "a"}, "line 2 is wrong: line.prompt is a number, not text"),
        ({"prompt": "a", "exat": "b"}, "line 2 is wrong: line.exat is not a field"),
        ({"prompt": "a"}, "line 2 needs an expected answer, one of `exact`, `contains` or `choices`, and has none"),
        ({"prompt": "a", "exact": "b", "contains": "b"}, "and has several (exact, contains)"),
        ({"exact": "b"}, "line 2 needs what is asked, one of `prompt` or `messages`, and has none"),
        ({"prompt": " ", "exact": "b"}, "line 2 asks nothing"),
        ({"messages": [], "exact": "b"}, "line 2 asks nothing"),
        ({"messages": [{"role": "robot", "content": "a"}], "exact": "b"}, "line.messages[0].role is 'robot'"),
        ({"messages": [{"role": "assistant", "content": "a"}], "exact": "b"}, "line 2 ends with a turn of the assist"),
        ({"prompt": "a", "exact": 12}, "line 2 needs a text, or a list of texts, as `exact`, and has 12"),
        ({"prompt": "a", "contains": []}, "line 2 needs a text, or a list of texts, as `contains`, and has []"),
        ({"prompt": "a", "contains": ["b", " "]}, "line 2 expects an empty answer as `contains`"),
        ({"prompt": "a", "exact": "b", "answer": "b"}, "line 2 has `answer`, which only goes with `choices`"),
        ({"prompt": "a", "choices": ["b"], "answer": 0}, "line 2 needs 2 to 64 `choices`"),
        ({"prompt": "a", "choices": ["b", "b"], "answer": 0}, "line 2 has the same choice twice"),
        ({"prompt": "a", "choices": ["b", "c"], "answer": 2}, "its place from 0 to 1, and has 2"),
        ({"prompt": "a", "choices": ["b", "c"]}, "its place from 0 to 1, and has none"),
        ({"prompt": "1 + 1 =", "exact": "2"}, "line 2 asks the same as line 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: dict[str, Any] | str, why: str) -> None:
    """In a sentence for who wrote the file."""
    with pytest.raises(BadSkill) as error:
        skill({"prompt": "1 + 1 =", "exact": "2"}, line)
    assert why in str(error.value)


def test_of_many_mistakes_the_first_are_told_and_the_others_counted() -> None:
    """All lines are looked at, so that they can be mended at once."""
    with pytest.raises(BadSkill, match=r"line 1 .*line 5 .*; and 3 more$") as error:
        skill(*[{"prompt": f"{number}"} for number in range(8)])
    assert "line 6" not in str(error.value)


def test_a_file_without_prompts_or_with_too_many_is_refused() -> None:
    """The one would guard nothing, the other cost every candidate hours."""
    with pytest.raises(BadSkill, match="it has no prompts"):
        skill("", "  ")
    with pytest.raises(BadSkill, match="at most 10,000 are asked"):
        skill(*[{"prompt": f"{number} + 1 =", "exact": "2"} for number in range(MOST_PROMPTS + 1)])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the skill that it belongs to."""
    settings = SkillSettings(name="sums", file=tmp_path / "sums.jsonl")
    with pytest.raises(BadSkill, match=r"skill sums: .*sums.jsonl cannot be read: No such file"):
        read_skill(settings)
    settings.file.write_bytes(b'{"prompt": "\xff", "exact": "a"}')
    with pytest.raises(BadSkill, match=r"skill sums: .*sums.jsonl: line 1 is wrong"):
        read_skill(settings)


def test_the_version_tells_prompts_and_asking_apart() -> None:
    """By whatever changes an answer or what is right."""
    versions = {
        version_of(content, asking)
        for content in (b"a", b"b")
        for asking in (ASKING, Asking(33, None, ignore_case=False, choice_by="sum", between=" ", chat_template=True))
    }
    assert len(versions) == 4
    assert version_of(b"a", ASKING) in versions


def test_what_is_kept_out_of_training_is_all_that_is_said() -> None:
    """Prompts, the last turn by itself, and both with each right answer; not what the system is told."""
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    said = skill(
        {"prompt": "1 + 1 =", "exact": ["2", "two"]},
        {"messages": turns, "contains": "A"},
        {"prompt": "P", "choices": ["wrong", "right"], "answer": 1},
    ).texts()
    assert list(said) == [
        *("1 + 1 =", "1 + 1 = 2", "1 + 1 = two"),
        *("user\n\nassistant\n\nuser", "user\n\nassistant\n\nuser A", "user", "user A"),
        *("P", "P right"),
    ]


def test_of_a_skill_some_prompts_may_be_asked() -> None:
    """Spread over the file, and known by their lines."""
    whole = skill(*[{"prompt": f"{number} + 1 =", "exact": "x"} for number in range(10)])
    assert [prompt.line for prompt in whole.sampled(4).prompts] == [1, 4, 7, 10]
    assert whole.sampled(10).prompts == whole.prompts


def test_names_tell_skills_apart() -> None:
    """Verdicts and metrics go by them."""
    one = {"name": "sums", "file": "a.jsonl"}
    with pytest.raises(ValueError, match="several skills are called 'sums'"):
        EvaluationSettings.model_validate({"skills": [one, one]})
    with pytest.raises(ValueError, match="pattern"):
        EvaluationSettings.model_validate({"skills": [{**one, "name": "news@1-2"}]})
