"""A skill's file: a JSON object a line, a prompt with what is a right answer. Read whole, with every mistake's line."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic.dataclasses
from pydantic import Field, ValidationError

from checkpoints.files.config_fields import shorten
from checkpoints.json_files import STRICT, explain_json, read_json, write_sorted_json
from learner.errors import LearnerError
from learner.skills.settings import SkillSettings
from streams.chats import ASSISTANT, BETWEEN, Message

MOST_BYTES: Final = 64 * 2**20
MOST_PROMPTS: Final = 10_000
FEWEST_CHOICES: Final = 2
MOST_CHOICES: Final = 64
MISTAKES_TOLD: Final = 5
"""Of one file: what follows is often more of the same."""
FORMAT: Final = 1
"""Raised whenever prompts are asked or answers compared otherwise: figures from before are no measure after."""
AnswerKind = Literal["exact", "contains", "choices"]


class BadSkill(LearnerError):
    """A skill's file cannot be used; the message names the skill, the file and the lines."""

    exit_code = 4


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class _Turn:
    role: Literal["system", "developer", "user", "assistant"]
    content: str


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class _Line:
    """What a line may hold; `id` is its owner's alone."""

    prompt: str | None = None
    messages: list[_Turn] | None = None
    # Looked at by hand: of a value that may be one thing or another no reader tells plainly what is wrong.
    exact: Any = None
    contains: Any = None
    choices: list[str] | None = None
    answer: int | str | None = None
    id: int | str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt and what is a right answer to it.

    Attributes:
        line: of its file, from 1.
        asked: a text, or the turns of a chat that is to be answered.
        kind: how an answer is judged.
        expected: of `exact` and `contains` the texts, of which any will do; the choices else.
        right: the place of the right choice among them; 0 where there are no choices.
    """

    line: int
    asked: str | tuple[Message, ...]
    kind: AnswerKind
    expected: tuple[str, ...]
    right: int = 0

    @property
    def right_answers(self) -> tuple[str, ...]:
        """The texts that are right."""
        return self.expected[self.right : self.right + 1] if self.kind == "choices" else self.expected

    @property
    def text(self) -> str:
        """What is said before the answer, turn after turn; of a chat without what the system is told."""
        if isinstance(self.asked, str):
            return self.asked
        # An application tells all its chats the same: by that none is told from another.
        said = [message.content for message in self.asked if message.role not in {"system", "developer"}]
        return BETWEEN.join(said)

    @property
    def question(self) -> str:
        """What is said last before the answer."""
        return self.asked if isinstance(self.asked, str) else self.asked[-1].content


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class Asking:
    """How a skill's prompts are asked and its answers compared; see `SkillSettings`."""

    most_tokens: Annotated[int, Field(ge=1)]
    stop: tuple[str, ...] | None
    ignore_case: bool
    choice_by: Literal["sum", "length"]
    between: str
    chat_template: bool

    @classmethod
    def by(cls, settings: SkillSettings) -> "Asking":
        """As the settings say."""
        return cls(
            settings.most_tokens,
            settings.stop,
            settings.ignore_case,
            settings.choice_by,
            settings.between,
            settings.chat_template,
        )


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill as it is asked.

    Attributes:
        name: of the settings.
        prompts: in the file's order.
        asking: how.
        content: the file's bytes.
        version: a digest of content and asking: only figures of one version can be compared.
    """

    name: str
    prompts: tuple[Prompt, ...]
    asking: Asking
    content: bytes = field(repr=False)
    version: str

    @classmethod
    def of(cls, name: str, content: bytes, asking: Asking) -> "Skill":
        """Read a file's content.

        Raises:
            BadSkill: the content is wrong, with the first lines that are.
        """
        prompts, mistakes = _read(content)
        if mistakes:
            more = f"; and {len(mistakes) - MISTAKES_TOLD} more" if len(mistakes) > MISTAKES_TOLD else ""
            raise BadSkill("; ".join(mistakes[:MISTAKES_TOLD]) + more)
        return cls(name, tuple(prompts), asking, content, version_of(content, asking))

    def sampled(self, most: int) -> "Skill":
        """The same skill with so many of its prompts at most, evenly spread over the file; they keep their lines."""
        step = max(1, -(-len(self.prompts) // most))
        chosen = {prompt.line for prompt in self.prompts[::step]}
        lines = self.content.split(b"\n")
        kept = b"\n".join(line if number in chosen else b"" for number, line in enumerate(lines, 1))
        return Skill.of(self.name, kept, self.asking)

    def texts(self) -> Iterator[str]:
        """What must not be trained on: each prompt, what is asked last in it, and both with a right answer."""
        for prompt in self.prompts:
            for text in filter(None, dict.fromkeys((prompt.text, prompt.question))):
                yield text
                # White space is alike wherever texts are compared: it stands for whatever parts the two.
                yield from (f"{text} {answer}" for answer in prompt.right_answers)


def read_skill(settings: SkillSettings) -> Skill:
    """Read a skill's file.

    Raises:
        BadSkill: it cannot be read, or holds something else.
    """
    try:
        content = _content(settings.file)
        return Skill.of(settings.name, content, Asking.by(settings))
    except OSError as error:
        raise BadSkill(f"skill {settings.name}: {settings.file} cannot be read: {error.strerror}") from None
    except BadSkill as error:
        raise BadSkill(f"skill {settings.name}: {settings.file}: {error}") from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise BadSkill(f"it has more than {MOST_BYTES // 2**20} MiB: each round would read it for every candidate")
    return content


def version_of(content: bytes, asking: Asking) -> str:
    """The digest by which figures of the same prompts, asked alike, are known."""
    how = hashlib.sha256(write_sorted_json([FORMAT, asking]))
    how.update(hashlib.sha256(content).digest())
    return how.hexdigest()


def _read(content: bytes) -> tuple[list[Prompt], list[str]]:
    """The prompts and what is wrong with lines."""
    prompts: list[Prompt] = []
    mistakes: list[str] = []
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                prompts.append(_prompt(number, line))
            except BadSkill as error:
                mistakes.append(f"line {number} {error}")
    if not prompts and not mistakes:
        mistakes.append("it has no prompts")
    if len(prompts) > MOST_PROMPTS:
        mistakes.append(f"it has {len(prompts):,} prompts, at most {MOST_PROMPTS:,} are asked: each by every candidate")
    return prompts, [*mistakes, *_repeated(prompts)]


def _prompt(number: int, content: bytes) -> Prompt:
    try:
        line = read_json(_Line, content)
    except ValidationError as error:
        raise BadSkill(f"is wrong: {explain_json(error, 'line')}") from None
    kind = _only(_given(exact=line.exact, contains=line.contains, choices=line.choices), "an expected answer")
    asked = _asked(line)
    if kind != "choices" and line.answer is not None:
        raise BadSkill("has `answer`, which only goes with `choices`")
    if kind == "choices":
        choices = tuple(line.choices or ())
        return Prompt(number, asked, "choices", choices, _place(choices, line.answer))
    expected = line.exact if kind == "exact" else line.contains
    return Prompt(number, asked, "exact" if kind == "exact" else "contains", _texts(kind, expected))


def _asked(line: _Line) -> str | tuple[Message, ...]:
    if _only(_given(prompt=line.prompt, messages=line.messages), "what is asked") == "prompt":
        assert line.prompt is not None
        if not line.prompt.strip():
            raise BadSkill("asks nothing: its prompt is empty")
        return line.prompt
    if not line.messages:
        raise BadSkill("asks nothing: its messages are empty")
    if line.messages[-1].role == ASSISTANT:
        raise BadSkill("ends with a turn of the assistant's: the last one is the one that is answered")
    return tuple(Message(turn.role, turn.content) for turn in line.messages)


def _given(**fields: object) -> list[str]:
    return [name for name, value in fields.items() if value is not None]


def _only(given: Sequence[str], what: str) -> str:
    fields = {"an expected answer": "`exact`, `contains` or `choices`", "what is asked": "`prompt` or `messages`"}
    if len(given) != 1:
        found = f"several ({', '.join(given)})" if given else "none"
        raise BadSkill(f"needs {what}, one of {fields[what]}, and has {found}")
    return given[0]


def _texts(kind: str, expected: Any) -> tuple[str, ...]:
    texts = expected if isinstance(expected, list) else [expected]
    if not texts or any(not isinstance(text, str) for text in texts):
        raise BadSkill(f"needs a text, or a list of texts, as `{kind}`, and has {shorten(expected)}")
    if any(not text.strip() for text in texts):
        raise BadSkill(f"expects an empty answer as `{kind}`: any would be right, or none")
    return tuple(texts)


def _place(choices: Sequence[str], answer: int | str | None) -> int:
    if not FEWEST_CHOICES <= len(choices) <= MOST_CHOICES or not all(choices):
        raise BadSkill(f"needs {FEWEST_CHOICES} to {MOST_CHOICES} `choices`, none of them empty")
    if len(set(choices)) < len(choices):
        raise BadSkill("has the same choice twice: no answer could tell them apart")
    if isinstance(answer, str) and answer in choices:
        return choices.index(answer)
    if isinstance(answer, int) and 0 <= answer < len(choices):
        return answer
    shown = "none" if answer is None else shorten(answer)
    raise BadSkill(f"needs `answer`, one of its choices or its place from 0 to {len(choices) - 1}, and has {shown}")


def _repeated(prompts: Sequence[Prompt]) -> list[str]:
    """Lines that ask what an earlier one asks: counted twice they would seem to be twice the evidence."""
    first: dict[object, int] = {}
    repeated = []
    for prompt in prompts:
        earlier = first.setdefault((prompt.asked, prompt.kind, prompt.expected), prompt.line)
        if earlier != prompt.line:
            repeated.append(f"line {prompt.line} asks the same as line {earlier}")
    return repeated


def has_chats(skill: Skill) -> int | None:
    """The first line that asks in `messages`, which take a chat template; None where none does."""
    return next((prompt.line for prompt in skill.prompts if not isinstance(prompt.asked, str)), None)
