"""The gate: whether a round's candidate may serve. Pure, and closed unless everything is proven.

A candidate must be better than the serving parent on the newest text, and on all older text stay within
bounds of the parent, of the best generation so far and (on the anchor) of the base model: small losses add
up. A bound is kept when the confidence limit of the paired difference over documents keeps it.

Many comparisons are made, and that cannot open the gate: a candidate passes only if it keeps every bound, so
the chance to accept one that breaks a bound is at most that of a single comparison (intersection-union test,
Berger 1982). Several candidates could open it, one of them passing by luck, so they share the chance of error, by how
much they do alike (`gate.statistics.joint_levels`). The price is power: small slices leave wide limits, and a refusal
says when it is for want of evidence. What was refused for that alone may be judged again on more text: `gate.looks`
says how often, and how much surer each later judgement has to be.

Bounds are in proportion too: what was lost on older text may not be proven to be more than a share of what was gained
on the newest. That one is open where nothing is proven, so that noise refuses no harmless round of a small gain; the
bounds above stay closed.

Skills, prompts with expected answers, are bounded like older text: in the share that is answered rightly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from zlib import crc32

from checkpoints.kinds import KINDS, ModelKind
from gate.best_so_far import KnownScores, lacking
from gate.checks.check import ALL_TEXT, FIGURES, OF_TEXT, Check, unit_of
from gate.checks.proven_harm import stopped_scoring
from gate.choice import best_candidate, pairwise
from gate.evidence import Evidence, gather
from gate.held_out import Group, Groups, HeldOut, InsufficientEvidence, group_slices, needs
from gate.looks import confidence_at, more_for_next_look
from gate.plausible_new_text import plausibility_bounds
from gate.questions import PARENT, Question, Questions, spread_of
from gate.settings import GateSettings
from gate.skills.guarded import NO_GUARD, GuardedSkills
from gate.skills.prompts_needed import prompts_needed, unseen_drop
from gate.skills.skill_questions import ask_about_skills, with_broken
from gate.statistics.bootstrap import Interval, Resampling, interval
from gate.statistics.joint_levels import joint_level
from gate.statistics.power import keys_to_prove
from gate.verdict import (
    Verdict,
    accepted,
    evidence_wanted,
    not_judgeable,
    refused,
    unproven,
    with_bounds_not_held,
    with_what_is_new,
)
from learner.directory.plausibility_bounds import PlausibilityBounds
from learner.directory.report import Outcome, Report
from learner.evaluation.text_plausibility import Departure, PrequentialSummary, compare, new_kinds, too_few

__all__ = ["Check", "GateSettings", "HeldOut", "Verdict", "judge", "plausibility_bounds"]

NO_BEST: Final[Mapping[str, int]] = MappingProxyType({})


def judge(
    report: Report,
    slices: Sequence[HeldOut],
    *,
    known: KnownScores,
    history: Sequence[PrequentialSummary],
    settings: GateSettings,
    approved: bool = False,
    best: Mapping[str, int] = NO_BEST,
    look: int = 1,
    guard: GuardedSkills = NO_GUARD,
) -> Verdict:
    """Decide whether one of the round's candidates may serve.

    Args:
        report: what the learner found.
        slices: what was drawn for the round: every slice and document that must have been scored.
        known: document scores of earlier generations, from which the best so far on each slice is taken: also of one
            that this round scored again.
        history: fresh text of earlier rounds that led to what serves or were approved, oldest first.
        settings: bounds and confidence.
        approved: a person has let this text pass; its plausibility is not judged, the candidates are.
        best: the generation that R says was best on each slice, where it is neither parent nor base.
        look: how often these candidates have been judged with this time, from 1.
        guard: the skills that were drawn for the round, with what earlier generations are known to answer.

    Returns:
        The verdict. It depends on nothing but the arguments, and not on the order of anything in them.
    """
    bounds = _text_bounds(report, slices, history, settings)
    # A person's word is about the text alone: whether the candidate forgot is judged all the same.
    departures = () if approved else compare(report.prequential, bounds, report.kind)
    few = {} if approved else too_few(report.prequential, bounds)
    beyond = [departure for departure in departures if not departure.within]
    of_text = tuple(_text_check(departure, report.kind) for departure in departures)
    if report.outcome is Outcome.IMPLAUSIBLE or beyond:
        return with_what_is_new(replace(_waiting(report, beyond, of_text), too_few=few), *_what_is_new(report, bounds))
    judged_text = bool(departures) or approved
    verdict = _on_candidates(report, slices, known, settings, look, guard=guard, judged_text=judged_text)
    if verdict.candidate is not None:
        tokens = {row.id: row.tokens for scores in report.slices.values() for row in scores.parent}
        with_answers = report.kind == "classifier"
        lacked = lacking(slices, best, known, settings.minimum_documents, tokens, answers=with_answers)
        verdict = with_bounds_not_held(verdict, lacked)
    # Beside those of the candidate, which decide: how near to a wait the text came.
    verdict = with_broken(replace(verdict, checks=(*of_text, *verdict.checks), too_few=few, look=look), report)
    verdict = replace(verdict, stopped=stopped_scoring(report, slices, settings))
    return with_what_is_new(verdict, *_what_is_new(report, bounds))


def _what_is_new(report: Report, bounds: PlausibilityBounds) -> tuple[Mapping[str, int], Sequence[str]]:
    """Labels that the parent has not learned, and sources whose text is of a kind that memory does not hold."""
    return report.new_labels, new_kinds(report.prequential, bounds.minimum_documents)


def _on_candidates(
    report: Report,
    slices: Sequence[HeldOut],
    known: KnownScores,
    settings: GateSettings,
    look: int,
    *,
    guard: GuardedSkills,
    judged_text: bool,
) -> Verdict:
    """The verdict on a round whose text is plausible, or was approved."""
    if report.outcome is Outcome.NOT_JUDGEABLE:
        return not_judgeable(report.detail)
    if report.outcome is not Outcome.TRAINED:
        detail = f": {report.detail}" if report.detail else ""
        return unproven(f"the learner's outcome is {report.outcome.value}, not trained{detail}")
    if not judged_text:
        return unproven("the fresh text was not scored under the parent before training")
    try:
        # Before anything is looked at: whether there is enough does not hang on what was scored.
        group_slices(slices, settings.minimum_documents)
        evidence = gather(report, slices, known, settings.minimum_documents)
        return _judge_candidates(report, evidence, slices, settings, look=look, guard=guard)
    except InsufficientEvidence as error:
        newest = next(need.found for need in needs(slices, settings.minimum_documents) if need.what == "newest")
        return unproven(str(error), newest=newest)


def _judge_candidates(
    report: Report,
    evidence: Evidence,
    slices: Sequence[HeldOut],
    settings: GateSettings,
    *,
    look: int,
    guard: GuardedSkills,
) -> Verdict:
    if not evidence.candidates:
        # One that should have been scored whole, rather than one that was scored no further.
        stopped = {each.candidate for each in report.stopped}
        return unproven(evidence.rejected[min(evidence.rejected, key=lambda name: (name in stopped, name))])
    groups, undiluted = _grouped(evidence, slices, settings)
    questions = Questions(evidence, report.kind, settings).ask(groups, undiluted)
    questions += ask_about_skills(report, guard, evidence.candidates)
    limits = _Limits(report, evidence.candidates, questions, settings, look)
    checks = _checks(evidence.candidates, questions, limits)
    passing = [name for name in checks if all(check.passed for check in checks[name])]
    if passing:
        # Only among those that pass: the lowest mean could belong to one that gave up the anchor for the news.
        best = _best(passing, evidence, slices)
        return accepted(best, checks[best])
    nearest = min(checks, key=lambda name: _distance(evidence, checks, name))
    verdict = refused(nearest, checks[nearest])
    if verdict.evidence:
        asked = zip(questions, verdict.checks, strict=True)
        more = [1.0 if check.passed else limits.more_at_next_look(question) for question, check in asked]
        verdict = replace(verdict, evidence=evidence_wanted(verdict.checks, more))
    return verdict


def _best(names: Sequence[str], evidence: Evidence, slices: Sequence[HeldOut]) -> str:
    key_of = {document: key for each in slices for document, key in each.keys.items()}
    older = {each.name: evidence.slices[each.name] for each in slices if each.kind != "newest"}
    newest = {name: scores for name, scores in evidence.slices.items() if name not in older}
    return best_candidate(names, on_newest=pairwise(newest, key_of), on_older=pairwise(older, key_of))


def _distance(evidence: Evidence, checks: Mapping[str, Sequence[Check]], name: str) -> tuple[int, int, float, str]:
    """How far a candidate is from passing: proven failures first, then all of them, then its mean loss."""
    failed = [check for check in checks[name] if not check.passed]
    proven = sum(not check.unproven for check in failed)
    return proven, len(failed), evidence.mean_over_slices(name), name


def _checks(
    candidates: Sequence[str], questions: Sequence[Question], limits: "_Limits"
) -> dict[str, tuple[Check, ...]]:
    """Every check of every candidate, in the order of the questions."""
    answers = [limits.checks(question) for question in questions]
    return {name: tuple(checks[name] for checks in answers) for name in candidates}


def _grouped(evidence: Evidence, slices: Sequence[HeldOut], settings: GateSettings) -> tuple[Groups, list[Group]]:
    """The groups that are judged, and what was joined to others only as it could prove nothing by itself."""
    least = settings.minimum_documents
    plain = group_slices(slices, least)

    def enough(kind: str) -> int:
        spread = spread_of(evidence, [each for each in slices if each.kind == kind], slices)
        return keys_to_prove(settings.max_rise_parent, spread, settings.confidence)

    groups = group_slices(slices, least, enough=enough("period"), enough_new=enough("newest"))
    judged = {group.name for group in (*groups.sources, *groups.older)}
    return groups, [group for group in (*plain.sources, *plain.older) if group.name not in judged]


class _Limits:
    """How a round's candidates stand to what they are asked, with limits that share the chance of error."""

    def __init__(
        self,
        report: Report,
        candidates: Sequence[str],
        questions: Sequence[Question],
        settings: GateSettings,
        look: int,
    ) -> None:
        self._round = report.round
        self._kind = report.kind
        self._look = look
        self._candidates = candidates
        self._settings = settings
        # Bad candidates may lie on both sides of the good ones, and each side gets half of the chance of error.
        self._sides = 2
        if len(candidates) < 2 or not any(self._parent_may_break(question) for question in questions):
            self._sides = 1

    def checks(self, question: Question) -> dict[str, Check]:
        """The check that a question is for each candidate."""
        confidence = self._confidence(question, self._look)
        return {name: self._check(question, name, self._of(question, name, confidence)) for name in self._candidates}

    def more_at_next_look(self, question: Question) -> float:
        """How many times the keys that just prove the answer to a question at this look prove it at the next."""
        if question.by != "limit":
            return 1.0
        return more_for_next_look(*(self._confidence(question, look) for look in (self._look, self._look + 1)))

    def _check(self, question: Question, candidate: str, limits: Interval) -> Check:
        # The limit, not the estimate: what cannot be ruled out counts as having happened.
        least = limits.estimate - question.differences[candidate].standard_error
        decisive = {"limit": _worst(limits), "error": least, "proof": limits.lower}[question.by]
        raised = question.gains.get(candidate, 0.0)
        passed = decisive < question.bound or (decisive == question.bound and not question.strict)
        return Check(
            name=question.name,
            slice=question.where.name,
            figure=limits.estimate + raised,
            bound=question.bound + raised,
            lower=limits.lower + raised,
            upper=limits.upper + raised,
            documents=limits.documents,
            passed=passed,
            unit=unit_of(question.name, self._kind),
            keys=0 if question.is_of_skill else limits.keys,
            missing=0 if passed or not question.is_of_skill else self._missing(question, limits),
        )

    def _missing(self, question: Question, limits: Interval) -> int:
        """About how many more prompts would prove that a skill keeps its bound, were the figure the true one."""
        room, prompts = question.bound - limits.estimate, limits.documents
        if room <= 0:
            return 0
        needed = prompts_needed(question.bound, self._confidence(question, self._look))
        # Those first in which no loss could hide; the limit draws near with the root of their number only from there.
        if prompts < needed:
            return needed - prompts
        return math.ceil(prompts * ((limits.upper - limits.estimate) / room) ** 2) - prompts

    def _confidence(self, question: Question, look: int) -> float:
        if question.by == "proof":
            # The other way round: none is to be refused by luck because there were many chances for it.
            return 1 - (1 - self._settings.confidence) / question.alike
        # Several looks share it too. Only at text that came since: what is looked at as it was cannot pass by chance.
        grows = any(member.kind == "newest" for member in question.where.members)
        stated = confidence_at(self._settings, look) if grows else self._settings.confidence
        chance = (1 - stated) / self._sides
        if not question.is_of_losses:
            return 1 - chance / len(self._candidates)
        asked = [question.differences[name] for name in self._candidates]
        if self._sides > 1 and PARENT in question.differences:
            asked.append(question.differences[PARENT])
        return 1 - joint_level(asked, chance, resamples=self._settings.resamples, seed=self._seed(question))

    def _parent_may_break(self, question: Question) -> bool:
        if question.by != "limit" or question.parent_breaks or PARENT not in question.differences:
            return question.parent_breaks
        return not _worst(self._of(question, PARENT, self._confidence(question, self._look))) <= question.bound

    def _of(self, question: Question, model: str, confidence: float) -> Interval:
        how = Resampling(confidence, self._settings.resamples, self._seed(question))
        limits = interval(question.differences[model], how)
        if not question.is_of_skill:
            return limits
        # Text has a least number of documents for it: a harm that struck none of them has a limit of nothing.
        return replace(limits, upper=max(limits.upper, unseen_drop(limits.documents, confidence)))

    def _seed(self, question: Question) -> int:
        # By round and slice: a verdict can be reached again, and no slice shares another's luck.
        return crc32(f"{self._round}/{question.where.name}".encode())


def _worst(limits: Interval) -> float:
    # `max` would pass over a limit that is no number.
    return math.nan if math.isnan(limits.upper) else max(limits.estimate, limits.upper)


def _text_bounds(
    report: Report,
    slices: Sequence[HeldOut],
    history: Sequence[PrequentialSummary],
    settings: GateSettings,
) -> PlausibilityBounds:
    """What the fresh text is compared with: earlier text and the anchor as the parent read them."""
    anchors = [report.slices[s.name] for s in slices if s.kind == "anchor" and s.name in report.slices]
    anchor = [(score.nll, score.tokens) for scores in anchors for score in scores.parent]
    return plausibility_bounds(history, anchor, settings)


def _text_check(departure: Departure, kind: ModelKind) -> Check:
    where = ALL_TEXT if departure.source is None else f"{ALL_TEXT} of {departure.source}"
    figure = departure.figure
    return Check(
        f"{OF_TEXT}{departure.name}",
        where,
        figure,
        departure.bound,
        figure,
        figure,
        departure.documents,
        departure.within,
        "of the documents" if departure.name.endswith("_share") else KINDS[kind].unit,
    )


def _waiting(report: Report, beyond: Sequence[Departure], checks: Sequence[Check]) -> Verdict:
    """The round waits for a person's word; a source is named rather than all text, a mean rather than a decile."""
    reason = report.detail or "the learner found the fresh text implausible"
    if beyond:
        worst = min(beyond, key=lambda each: (each.source is None, list(FIGURES).index(each.name), each.source))
        where = "the fresh text" if worst.source is None else f"the fresh text of source {worst.source}"
        figure = FIGURES[worst.name].format(worst.figure, KINDS[report.kind].unit)
        earlier = f"the bound of {worst.bound:.3f} that earlier text sets"
        reason = f"{where} has {figure}, more than {earlier} ({worst.documents} documents)"
    return Verdict("wait", None, tuple(checks), f"Waiting for a person's word: {reason}.")
