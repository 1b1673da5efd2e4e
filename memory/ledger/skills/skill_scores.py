"""What generations answer rightly, prompt by prompt, of the latest version of each skill that they were asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from memory.database.sqlite import Connection
from memory.ledger import scorings
from memory.ledger.records import GenerationState
from memory.ledger.scorings import Scoring

MOST_SKILLS_KEPT: Final = 64
"""Skills of a generation whose figures are kept: those of others, which are asked no more, go first by their name."""


@dataclass(frozen=True, slots=True)
class SkillScore:
    """What was answered rightly of one version of a skill.

    Attributes:
        version: a digest of its prompts and of how they are asked: only figures of one version can be compared.
        rights: a letter for each prompt, 1 where it was answered rightly, else 0.
    """

    version: str
    rights: str

    @property
    def share(self) -> float:
        """The share of prompts that was answered rightly, 0 to 1; 0 of none."""
        return self.rights.count("1") / max(len(self.rights), 1)


@dataclass(frozen=True, slots=True)
class SkillRow:
    """One generation's figure of one skill.

    Attributes:
        scored: how it was taken.
    """

    generation: int
    skill: str
    score: SkillScore
    scored: Scoring | None


def save(tx: Connection, generation: int, scores: Mapping[str, SkillScore], how: Scoring) -> None:
    """Keep what a generation answers rightly, by the skill's name, in place of what was known of these skills."""
    scoring = scorings.number_of(tx, how)
    tx.executemany(
        "INSERT OR REPLACE INTO skill_scores(generation, skill, version, scoring, rights) VALUES (?, ?, ?, ?, ?)",
        [(generation, name, score.version, scoring, score.rights) for name, score in scores.items()],
    )
    tx.execute(
        "DELETE FROM skill_scores WHERE generation = ?1 AND skill NOT IN (SELECT value FROM json_each(?2)) "
        "AND (SELECT count(*) FROM skill_scores WHERE generation = ?1) > ?3",
        (generation, json.dumps(list(scores)), MOST_SKILLS_KEPT),
    )


def listed(tx: Connection) -> list[SkillRow]:
    """All that is known of generations that were accepted, by generation and skill."""
    rows = tx.execute(
        "SELECT s.generation, s.skill, s.version, s.rights, s.scoring FROM skill_scores s "
        "JOIN generations g ON g.number = s.generation WHERE g.state != ? ORDER BY s.generation, s.skill",
        (GenerationState.RESERVED,),
    )
    ways = scorings.list_scorings(tx)
    return [SkillRow(number, skill, SkillScore(*score), ways[how]) for number, skill, *score, how in rows]


def forget(tx: Connection, generation: int) -> None:
    """Let go of what a generation was found to answer."""
    tx.execute("DELETE FROM skill_scores WHERE generation = ?", (generation,))


def prune(tx: Connection, end: int) -> None:
    """Let go of what generations below `end` answered whose files are gone, where another one answered more rightly."""
    tx.execute(
        "DELETE FROM skill_scores WHERE generation < ? "
        "AND generation NOT IN (SELECT number FROM generations WHERE state != ?) "
        "AND EXISTS (SELECT 1 FROM skill_scores o WHERE o.skill = skill_scores.skill "
        "AND o.version = skill_scores.version AND o.scoring = skill_scores.scoring "
        "AND length(replace(o.rights, '0', '')) > length(replace(skill_scores.rights, '0', '')))",
        (end, GenerationState.RETIRED),
    )
    tx.execute("DELETE FROM skill_scores WHERE generation NOT IN (SELECT number FROM generations)")
