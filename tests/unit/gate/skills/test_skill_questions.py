"""The gate on skills: a candidate that breaks one is refused, whatever it learned."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.checks.check import Check
from gate.judge import Verdict, judge
from gate.looks import may_prove
from gate.skills.guarded import GuardedSkill, GuardedSkills
from gate.skills.prompts_needed import confidence_of_each, prompts_needed, unseen_drop
from learner.directory.report import Report
from learner.directory.round_skills import BrokenAnswer, SkillScores
from tests.unit.gate.test_judge import GOOD, SETTINGS, SLICES, report

BROKEN = BrokenAnswer(7, "'7 + 5 ='", "'12'", "'the river'")


def rights(prompts: int, wrong: int, *, seed: int = 1) -> str:
    """Answers of which so many are wrong, at random places."""
    places = random.Random(seed).sample(range(prompts), wrong)
    return "".join("0" if at in places else "1" for at in range(prompts))


def asked(
    candidates: Mapping[str, str], *, parent: str | None = None, base: str | None = None, version: str = "v1"
) -> Report:
    """A report on candidates that learned well, and what they answer to one skill."""
    parent = parent or "1" * len(next(iter(candidates.values())))
    scores = SkillScores(version, base or parent, parent, candidates, dict.fromkeys(candidates, (BROKEN,) * 5))
    return replace(report(dict.fromkeys(candidates, GOOD)), skills={"sums": scores})


def verdict_on(
    what: Report, *, prompts: int = 100, known: Mapping[int, Mapping[str, str]] | None = None, version: str = "v1"
) -> Verdict:
    """The gate's word where a drop of 0.1 below the parent, and of 0.15 below others, is allowed."""
    guard = GuardedSkills((GuardedSkill("sums", version, prompts, 0.1, 0.15),), known or {})
    return judge(what, SLICES, known={}, history=(), settings=SETTINGS, guard=guard)


def check(verdict: Verdict, name: str) -> Check:
    """The check of this name."""
    return next(each for each in verdict.checks if each.name == name)


def test_a_candidate_that_keeps_the_skill_is_accepted() -> None:
    """With a few answers broken and as many mended; each reference has its check, counted in prompts."""
    verdict = verdict_on(asked({"0.00": rights(100, 4, seed=2)}, parent=rights(100, 4, seed=1)))
    assert verdict.decision == "accept"
    of_skill = [each for each in verdict.checks if each.is_of_skill]
    assert [each.name for each in of_skill] == ["skill_parent", "skill_best", "skill_anchor"]
    assert {(each.slice, each.documents, each.keys, each.unit) for each in of_skill} == {
        ("sums", 100, 0, "of the prompts")
    }


def test_a_candidate_that_breaks_a_skill_is_refused_though_it_learned() -> None:
    """The sentence names the skill, the figures and a prompt; the verdict tells more of them."""
    verdict = verdict_on(asked({"0.00": rights(100, 40)}))
    assert (verdict.decision, verdict.unproven, verdict.evidence) == ("refuse", False, 0)
    assert "on skill sums its share of right answers is 0.400 lower than that of the" in verdict.sentence
    assert "(100 prompts)" in verdict.sentence
    assert "Broken, for one: '7 + 5 =' (expected '12')" in verdict.sentence
    assert verdict.broken == {"sums": (BROKEN, BROKEN, BROKEN)}
    assert all(each.passed for each in verdict.checks if not each.is_of_skill)


def test_of_two_the_one_that_keeps_the_skill_serves() -> None:
    """The other learned as much."""
    verdict = verdict_on(asked({"0.00": rights(100, 30), "0.50": rights(100, 1)}))
    assert (verdict.decision, verdict.candidate) == ("accept", "0.50")


def test_small_losses_add_up_against_the_best_and_the_base() -> None:
    """A candidate no worse than its parent is refused where both are far below what was answered before."""
    lost = rights(100, 30)
    below_base = verdict_on(asked({"0.00": lost}, parent=lost, base="1" * 100))
    assert (below_base.decision, check(below_base, "skill_anchor").passed) == ("refuse", False)
    below_best = verdict_on(asked({"0.00": lost}, parent=lost), known={3: {"sums": "1" * 100}, 4: {"sums": "11"}})
    assert check(below_best, "skill_parent").passed
    assert check(below_best, "skill_anchor").passed
    assert not check(below_best, "skill_best").passed
    # What was known of another skill, or of another version with other prompts, is no measure.
    assert verdict_on(asked({"0.00": lost}, parent=lost), known={4: {"sums": "11", "names": "1" * 100}}).decision == (
        "accept"
    )


def test_too_few_prompts_say_how_many_are_missing() -> None:
    """Though no answer changed: a loss could have struck none of those that were asked. More text would not help."""
    verdict = verdict_on(asked({"0.00": "1" * 12}), prompts=12)
    assert (verdict.decision, verdict.unproven, verdict.evidence) == ("refuse", True, 0)
    assert "within the bound of 0.100, but 12 prompts cannot rule out 0.221: about 17 more may" in verdict.sentence
    assert not may_prove(verdict, SLICES, look=1)
    # With so many it is accepted.
    assert verdict_on(asked({"0.00": "1" * 29}), prompts=29).decision == "accept"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (replace(asked({"0.00": "1" * 100}), skills={}), "skill sums was not asked"),
        (asked({"0.00": "1" * 100}, version="v2"), "another version"),
        (asked({"0.00": "1" * 99}, parent="1" * 100), "candidate 0.00 was asked 99"),
        (asked({"0.00": "1" * 100}, base="1"), "the base was asked 1"),
    ],
)
def test_a_skill_that_was_not_asked_as_drawn_opens_nothing(what: Report, why: str) -> None:
    """Nothing is accepted on trust."""
    verdict = verdict_on(what)
    assert (verdict.decision, verdict.candidate) == ("refuse", None)
    assert why in verdict.sentence


def test_a_skill_that_nobody_drew_makes_the_report_unbelievable() -> None:
    """It is of another round, or somebody wrote into it."""
    verdict = judge(asked({"0.00": "1" * 100}), SLICES, known={}, history=(), settings=SETTINGS)
    assert "a skill sums that was not drawn" in verdict.sentence


@settings(max_examples=50)
@given(st.floats(0.01, 0.9), st.floats(0.5, 0.999), st.integers(1, 9))
def test_so_many_prompts_and_no_fewer_rule_a_drop_out(bound: float, confidence: float, candidates: int) -> None:
    """The exact limit of none of n."""
    each = confidence_of_each(confidence, candidates)
    needed = prompts_needed(bound, each)
    assert unseen_drop(needed, each) <= bound + 1e-9
    assert needed == 1 or unseen_drop(needed - 1, each) >= bound - 1e-9
