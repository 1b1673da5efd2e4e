"""The skills that a round is held to, and what earlier generations are known to answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pydantic.dataclasses
from pydantic import PositiveInt

from checkpoints.json_files import STRICT

KnownRights = Mapping[int, Mapping[str, str]]
"""By generation and skill what was answered rightly, of the very version that is judged and taken in the same way."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class GuardedSkill:
    """A skill as it was drawn for a round.

    Attributes:
        version: of its prompts and of how they are asked.
        prompts: how many must have been answered.
        max_drop_parent, max_drop_best: see `SkillSettings`.
    """

    name: str
    version: str
    prompts: PositiveInt
    max_drop_parent: float
    max_drop_best: float


@dataclass(frozen=True, slots=True)
class GuardedSkills:
    """What a round's candidates must still be able to do; without skills nothing.

    Attributes:
        skills: as drawn.
        known: of the generations that led to the serving one.
    """

    skills: tuple[GuardedSkill, ...] = ()
    known: KnownRights = field(default_factory=dict)


NO_GUARD = GuardedSkills()
