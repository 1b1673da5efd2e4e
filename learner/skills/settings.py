"""Settings of skills: which files hold prompts with expected answers, how a model is asked, how much may be lost."""

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MOST_SKILLS = 32


class SkillSettings(BaseModel):
    """A skill: a file of prompts with expected answers, and how many of them may be lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^\w[\w.-]*$",
        description="What it is called in verdicts, metrics and tables: letters, digits, `_`, `-` and `.`.",
    )
    file: Path = Field(
        description='The prompts: a JSON object a line. `prompt` (a text) or `messages` (`[{"role": …, "content": '
        "…}]`, as OpenAI has them), and one of `exact` (the answer is this text, or one of a list), `contains` (this "
        "text, or one of a list, is in it) or `choices` (texts, of which `answer`, one of them or its place from 0, is "
        "to be the most likely one). It is read anew when a round begins. What comes near its text is not trained on.",
    )
    max_drop_parent: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Largest drop of the share of prompts that is answered rightly below the serving parent's. Its "
        "confidence limit has to keep it: 0.1 asks for 42 prompts at least where a round has four candidates, 0.05 "
        "for 86, and for some more where answers change.",
    )
    max_drop_best: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Largest drop below the best generation so far, and below the base model: small losses add up.",
    )
    most_tokens: int = Field(
        32, ge=1, le=1024, description="Most tokens of an answer to `exact` and `contains`; the most likely are taken."
    )
    stop: tuple[str, ...] | None = Field(
        None,
        max_length=16,
        description="Texts before which an answer ends, beside what ends the model's own. Left out: the line's end, "
        "where a prompt is a text that the model goes on with; nothing more in a chat, or where an encoder reads the "
        "prompt.",
    )
    ignore_case: bool = Field(
        default=False, description="Whether answers to `exact` and `contains` are compared without regard to case."
    )
    choice_by: Literal["sum", "length"] = Field(
        "sum",
        description="The most likely of `choices`: by the sum of its tokens' log-likelihoods (`acc` of "
        "lm-evaluation-harness), or by that divided by its characters (its `acc_norm`), where choices differ in "
        "length.",
    )
    between: str = Field(
        " ",
        max_length=8,
        description="What stands between a text to go on with and a choice, where neither has white space there "
        "(`target_delimiter` of lm-evaluation-harness).",
    )
    chat_template: bool = Field(
        default=True,
        description="Whether `prompt` is asked as a user's message where the model has a chat template; else it is a "
        "text that the model goes on with. `messages` always go by the template.",
    )

    @field_validator("stop")
    @classmethod
    def _stops_that_stop(cls, stop: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if any(not text for text in stop or ()):
            raise ValueError("an empty text would end every answer before it begins")
        return stop


class EvaluationSettings(BaseModel):
    """What a candidate is judged on beside held-out text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skills: tuple[SkillSettings, ...] = Field((), max_length=MOST_SKILLS)

    @field_validator("skills")
    @classmethod
    def _told_apart(cls, skills: tuple[SkillSettings, ...]) -> tuple[SkillSettings, ...]:
        twice = [name for name, times in Counter(skill.name for skill in skills).items() if times > 1]
        if twice:
            raise ValueError(f"several skills are called {twice[0]!r}: verdicts need names that tell them apart")
        return skills
