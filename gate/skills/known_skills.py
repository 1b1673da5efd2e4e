"""What generations are known to answer, beside the one that serves: only figures of one version can be compared."""

from collections.abc import Iterable

from memory.ledger.skills.skill_scores import SkillRow


def comparable(rows: Iterable[SkillRow], serving: int) -> list[SkillRow]:
    """The rows of skills that the serving generation has answered, in the version and the way of its own."""
    listed = list(rows)
    asked = {row.skill: (row.score.version, row.scored) for row in listed if row.generation == serving}
    return [row for row in listed if asked.get(row.skill) == (row.score.version, row.scored)]
