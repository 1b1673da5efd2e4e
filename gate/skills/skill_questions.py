"""What candidates are asked about skills: against the parent, the best generation so far, and the base model. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from gate.checks.check import OF_SKILL
from gate.held_out import Group, InsufficientEvidence
from gate.questions import PARENT, Question
from gate.skills.guarded import GuardedSkill, GuardedSkills
from gate.statistics.comparisons import Comparison, accuracy_difference
from gate.verdict import Verdict
from learner.directory.report import Report
from learner.directory.round_skills import BrokenAnswer, SkillScores, share_right
from memory.ledger.records import DocumentScore

EXAMPLES: Final = 3
"""Broken prompts of a skill that a verdict tells."""


def ask_about_skills(report: Report, guard: GuardedSkills, candidates: Sequence[str]) -> list[Question]:
    """Each skill's bounds with the drops that they are held to, prompt by prompt.

    Raises:
        InsufficientEvidence: a skill was not asked, or not as it was drawn.
    """
    drawn = {skill.name for skill in guard.skills}
    if stray := sorted(set(report.skills) - drawn):
        raise InsufficientEvidence(f"the report has a skill {stray[0]} that was not drawn")
    return [question for skill in guard.skills for question in _questions(skill, report, guard, candidates)]


def broken_by(report: Report, candidate: str) -> dict[str, tuple[BrokenAnswer, ...]]:
    """Some of the prompts that the parent answers rightly and a candidate does not, by skill."""
    told = {name: scores.broken.get(candidate, ())[:EXAMPLES] for name, scores in sorted(report.skills.items())}
    return {name: examples for name, examples in told.items() if examples}


def with_broken(verdict: Verdict, report: Report) -> Verdict:
    """The verdict that also tells some of what its candidate broke."""
    return verdict if verdict.candidate is None else verdict.and_broken(broken_by(report, verdict.candidate))


def _questions(skill: GuardedSkill, report: Report, guard: GuardedSkills, candidates: Sequence[str]) -> list[Question]:
    scores = _checked(skill, report, candidates)
    best = max((scores.parent, scores.base, *_known(skill, guard)), key=share_right)
    ours = {name: scores.candidates[name] for name in candidates}
    # The parent too, so that it shows whether it breaks these bounds itself: see `gate.statistics.joint_levels`.
    with_parent = {**ours, PARENT: scores.parent}
    return [
        _question(skill.name, "parent", skill.max_drop_parent, ours, scores.parent),
        _question(skill.name, "best", skill.max_drop_best, with_parent, best),
        _question(skill.name, "anchor", skill.max_drop_best, with_parent, scores.base),
    ]


def _known(skill: GuardedSkill, guard: GuardedSkills) -> list[str]:
    known = [guard.known[generation].get(skill.name, "") for generation in sorted(guard.known, reverse=True)]
    return [rights for rights in known if len(rights) == skill.prompts]


def _checked(skill: GuardedSkill, report: Report, candidates: Sequence[str]) -> SkillScores:
    scores = report.skills.get(skill.name)
    if scores is None:
        raise InsufficientEvidence(f"skill {skill.name} was not asked")
    if scores.version != skill.version:
        raise InsufficientEvidence(f"skill {skill.name} was asked in another version than was drawn")
    asked: Mapping[str, str] = {"the parent": scores.parent, "the base": scores.base}
    asked = {**asked, **{f"candidate {name}": scores.candidates.get(name, "") for name in candidates}}
    for who, rights in asked.items():
        if len(rights) != skill.prompts:
            raise InsufficientEvidence(
                f"skill {skill.name} has {skill.prompts} prompts, and {who} was asked {len(rights)}"
            )
    return scores


def _question(name: str, against: str, bound: float, ours: Mapping[str, str], theirs: str) -> Question:
    drops = {model: _drop(rights, theirs) for model, rights in ours.items()}
    return Question(f"{OF_SKILL}{against}", Group(name, "anchor", ()), bound, drops)


def _drop(ours: str, theirs: str) -> Comparison:
    return accuracy_difference(_answers(ours), _answers(theirs)).negated()


def _answers(rights: str) -> list[DocumentScore]:
    return [DocumentScore(number, 0.0, 1, was_right=right == "1") for number, right in enumerate(rights)]
