"""Skills in a round's directory, and what a report says of them. Torch-free.

skills/NNN.jsonl     the prompts, as their owner's file has them
known_skills.json    what earlier rounds found parent, base and best so far to answer rightly
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Final

import pydantic.dataclasses
from pydantic import PositiveInt, StringConstraints, ValidationError

from checkpoints.json_files import STRICT, explain_unreadable, read_json, write_json
from learner.errors import BadRoundDirectory
from learner.skills.prompts import Asking, BadSkill, Skill

SKILLS: Final = "skills"
KNOWN_SKILLS: Final = "known_skills.json"

Rights = Annotated[str, StringConstraints(pattern=r"^[01]*$")]
"""What was answered rightly: a letter for each prompt in the file's order, 1 where it was, else 0."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class SkillFile:
    """A skill of a round: its prompts are in `file`, below the round's directory."""

    name: str
    version: str
    asking: Asking
    file: str


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class KnownSkill:
    """What earlier rounds found of one version of a skill, taken as all scores of the round were; None: nothing."""

    version: str
    parent: Rights | None = None
    base: Rights | None = None


KnownSkills = Mapping[str, KnownSkill]
"""By the skill's name."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class BrokenAnswer:
    """A prompt that the parent answers rightly and a candidate does not; texts are shortened.

    Attributes:
        line: of the skill's file.
        prompt: what is asked last.
        expected: a right answer.
        answered: the candidate's.
    """

    line: PositiveInt
    prompt: str
    expected: str
    answered: str


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class SkillScores:
    """What was answered rightly of one skill.

    Attributes:
        version: of the skill: see `learner.skills.prompts.Skill`.
        base, parent: of these models.
        candidates: by the candidate's name.
        broken: some of what each candidate broke, by its name, in the file's order.
    """

    version: str
    base: Rights
    parent: Rights
    candidates: Mapping[str, Rights]
    broken: Mapping[str, tuple[BrokenAnswer, ...]] = field(default_factory=dict)


def write_skills(path: Path, skills: Sequence[Skill], known: KnownSkills) -> tuple[SkillFile, ...]:
    """Write skills into a round's directory; return their entries in its specification."""
    if not skills:
        return ()
    (path / SKILLS).mkdir()
    files = []
    for number, skill in enumerate(skills):
        file = f"{SKILLS}/{number:03d}.jsonl"
        (path / file).write_bytes(skill.content)
        files.append(SkillFile(skill.name, skill.version, skill.asking, file))
    (path / KNOWN_SKILLS).write_bytes(write_json(dict(known)))
    return tuple(files)


def read_skills(path: Path, files: Sequence[SkillFile]) -> tuple[Skill, ...]:
    """Read a round's skills back.

    Raises:
        BadRoundDirectory: a file is missing, or is not the one that was written.
    """
    return tuple(_read_skill(path, each) for each in files)


def _read_skill(path: Path, entry: SkillFile) -> Skill:
    try:
        skill = Skill.of(entry.name, (path / entry.file).read_bytes(), entry.asking)
    except (OSError, BadSkill) as error:
        raise BadRoundDirectory(f"{path / entry.file} cannot be used: {error}. Discard the round.") from error
    if skill.version != entry.version:
        raise BadRoundDirectory(f"{path / entry.file} is not what was written there. Discard the round.")
    return skill


def read_known_skills(path: Path, skills: Sequence[Skill]) -> dict[str, KnownSkill]:
    """What is known of these very versions; nothing where the file is missing.

    Raises:
        BadRoundDirectory: the file cannot be read.
    """
    if not skills:
        return {}
    try:
        known = read_json(dict[str, KnownSkill], (path / KNOWN_SKILLS).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        why = explain_unreadable(error, "skills")
        raise BadRoundDirectory(f"{path / KNOWN_SKILLS} cannot be read: {why}. Discard the round.") from error
    return {skill.name: known[skill.name] for skill in skills if _fits(known.get(skill.name), skill)}


def _fits(known: KnownSkill | None, skill: Skill) -> bool:
    if known is None or known.version != skill.version:
        return False
    return all(len(rights) == len(skill.prompts) for rights in (known.parent, known.base) if rights is not None)


def share_right(rights: str) -> float:
    """The share of prompts that was answered rightly, 0 to 1; 0 of none."""
    return rights.count("1") / max(len(rights), 1)
