"""Skills as the settings name them: read when a round begins, and told to the memory, which keeps their text out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from daemon.settings.tree import Settings
from gate.skills.guarded import GuardedSkill, KnownRights
from learner.skills.prompts import BadSkill, Skill, read_skill
from memory.ledger.scorings import Scoring
from memory.store import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SkillsRead:
    """The skills' files, as far as they can be read.

    Attributes:
        problem: what is wrong with one of them; None where all are read.
    """

    skills: tuple[Skill, ...] = ()
    problem: BadSkill | None = None

    def require(self) -> tuple[Skill, ...]:
        """All of them.

        Raises:
            BadSkill: one cannot be read: a skill that cannot be asked would go unguarded.
        """
        if self.problem is not None:
            raise self.problem
        return self.skills


def read_skills(settings: Settings) -> SkillsRead:
    """Read the files that the settings name; of several that cannot be read the first is told."""
    skills: list[Skill] = []
    problems: list[BadSkill] = []
    for each in settings.evaluation.skills:
        try:
            skills.append(read_skill(each))
        except BadSkill as error:
            problems.append(error)
    return SkillsRead(tuple(skills), next(iter(problems), None))


def keep_skills_out(store: Store, settings: Settings) -> SkillsRead:
    """Read the skills, and let nothing be trained on that comes near their text."""
    read = read_skills(settings)
    if read.problem is not None:
        log.warning("skill_not_read", reason=str(read.problem))
    store.keep_out([text for skill in read.skills for text in skill.texts()])
    return read


def guarded(skills: Iterable[Skill], settings: Settings) -> tuple[GuardedSkill, ...]:
    """What a round is held to: the skills with the bounds that the settings give them."""
    bounds = {each.name: each for each in settings.evaluation.skills}
    return tuple(
        GuardedSkill(
            skill.name,
            skill.version,
            len(skill.prompts),
            bounds[skill.name].max_drop_parent,
            bounds[skill.name].max_drop_best,
        )
        for skill in skills
    )


def known_rights(store: Store, versions: Mapping[str, str], how: Scoring | None) -> KnownRights:
    """What the generations that led to the serving one answered rightly.

    Args:
        versions: of the skills that are meant, by name.
        how: in which way; None: nothing is known.
    """
    if how is None or not versions:
        return {}
    line = store.generations.serving_line()
    known: dict[int, dict[str, str]] = {}
    for row in store.generations.skill_scores():
        if row.generation in line and row.scored == how and row.score.version == versions.get(row.skill):
            known.setdefault(row.generation, {})[row.skill] = row.score.rights
    return known
