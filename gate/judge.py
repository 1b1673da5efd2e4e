"""The gate: whether a round's candidate may serve. Pure, and closed unless everything is proven.

A candidate must be better than the serving parent on the newest text, and on all older text stay within
bounds of the parent, of the best generation so far and (on the anchor) of the base model: small losses add
up. A bound is kept when the confidence limit of the paired difference over documents keeps it.

Many comparisons are made, and that cannot open the gate: a candidate passes only if it keeps every bound, so
the chance to accept one that breaks a bound is at most that of a single comparison (intersection-union test,
Berger 1982). Several candidates could open it, one of them passing by luck, so they share the chance of error
(Bonferroni). The price is power: small slices leave wide limits, and a refusal says when it is for want of
evidence. What was refused for that alone may be judged again on more text: `gate.looks` says how often, and how much
surer each later judgement has to be.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from zlib import crc32

from gate.best_so_far import ENOUGH_OF, KnownScores, lacking
from gate.bootstrap import Resampling, interval
from gate.comparisons import (
    Comparison,
    accuracy_difference,
    balanced_difference,
    f1_difference,
    mean_of,
    nll_difference,
)
from gate.evidence import BEST_BY, Evidence, Scores, always_the_most_frequent, gather
from gate.held_out import (
    LABELS_TO_TELL,
    Group,
    Groups,
    HeldOut,
    InsufficientEvidence,
    Need,
    group_slices,
    members_of,
    needs,
)
from gate.keys import KeyOf, keys_among
from gate.looks import confidence_at, more_for_next_look
from gate.settings import GateSettings
from gate.text_bounds import plausibility_bounds
from gate.verdict import (
    ALL_TEXT,
    LOSS_UNITS,
    MAJORITY,
    OF_TEXT,
    Check,
    Verdict,
    accepted,
    evidence_wanted,
    not_judgeable,
    refused,
    unit_of,
    unproven,
    with_bounds_not_held,
    with_what_is_new,
)
from learner.directory.plausibility_bounds import PlausibilityBounds
from learner.directory.report import Outcome, Report
from learner.evaluation.text_plausibility import Departure, PrequentialSummary, compare, new_kinds, too_few

__all__ = ["Check", "GateSettings", "HeldOut", "Verdict", "best_candidate", "judge", "plausibility_bounds"]

EQUAL_NATS: Final = 0.02
NO_BEST: Final[Mapping[str, int]] = MappingProxyType({})

Difference = Callable[[Scores, Scores, KeyOf], Comparison]

FIGURES: Final = {
    "mean_nll": "a mean loss of {:.3f} {}",
    "upper_nll": "a loss of {:.3f} {} in its upper decile",
    "contradicted_share": "a share of {:.3f} documents whose label the parent is sure to be another",
    "incoherent_share": "a share of {:.3f} documents that are incoherent (words in an order that no others share, "
    "broken characters, or read like random tokens)",
    "repetitive_share": "a share of {:.3f} documents that mostly repeat themselves or each other",
}


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
    verdict = _on_candidates(report, slices, known, settings, look, judged_text=judged_text)
    if verdict.candidate is not None and verdict.evidence:
        more = more_for_next_look(settings, look, len(report.candidates))
        verdict = replace(verdict, evidence=evidence_wanted(verdict.checks, more=more))
    if verdict.candidate is not None:
        tokens = {row.id: row.tokens for scores in report.slices.values() for row in scores.parent}
        with_answers = report.kind == "classifier"
        lacked = lacking(slices, best, known, settings.minimum_documents, tokens, answers=with_answers)
        verdict = with_bounds_not_held(verdict, lacked)
    # Beside those of the candidate, which decide: how near to a wait the text came.
    verdict = replace(verdict, checks=(*of_text, *verdict.checks), too_few=few, look=look)
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
        groups = group_slices(slices, settings.minimum_documents)
        evidence = gather(report, slices, known, settings.minimum_documents)
        return _judge_candidates(report, evidence, groups, settings, look)
    except InsufficientEvidence as error:
        newest = next(need.found for need in needs(slices, settings.minimum_documents) if need.what == "newest")
        return unproven(str(error), newest=newest)


def best_candidate(means: Mapping[str, float]) -> str:
    """The best of several candidates: the lowest mean loss over all slices, and of equals the one that learned most.

    Interpolation toward the parent trades new text for old along a line on which the mean hardly moves, so the
    lowest of nearly equal means is chance, and taking it costs plasticity round after round. Means within
    `EQUAL_NATS` of the lowest therefore count as equal, and the smallest share of the parent is taken.

    The figures that are then reported come from the documents that chose. That flatters the chosen one by 0.001 nats of
    the newest text's gain where candidates lie on one line (a fiftieth of the half-width of its limit), and by 0.009 (a
    seventh) were they unlike each other, with 36 documents a slice; its limits, which all candidates share, err in less
    than the stated 5 % (`tests/unit/gate/test_choice.py`). So no documents are set apart for the choice alone: halves
    would widen every limit by two fifths.

    Args:
        means: mean loss over all slices, in nats, by candidate; names are the parent's share in it.
    """
    lowest = min(means.values())
    return min(name for name, mean in means.items() if mean <= lowest + EQUAL_NATS)


def _judge_candidates(report: Report, evidence: Evidence, groups: Groups, settings: GateSettings, look: int) -> Verdict:
    if not evidence.candidates:
        return unproven(evidence.rejected[min(evidence.rejected)])
    checks = {
        name: _checks(_Judged(report, evidence, name, settings, look), report.kind, groups, settings)
        for name in evidence.candidates
    }
    passing = [name for name in checks if all(check.passed for check in checks[name])]
    if passing:
        # Only among those that pass: the lowest mean could belong to one that gave up the anchor for the news.
        best = best_candidate({name: evidence.mean_over_slices(name) for name in passing})
        return accepted(best, checks[best])
    nearest = min(checks, key=lambda name: _distance(evidence, checks, name))
    return refused(nearest, checks[nearest])


def _distance(evidence: Evidence, checks: Mapping[str, Sequence[Check]], name: str) -> tuple[int, int, float, str]:
    """How far a candidate is from passing: proven failures first, then all of them, then its mean loss."""
    failed = [check for check in checks[name] if not check.passed]
    proven = sum(not check.unproven for check in failed)
    return proven, len(failed), evidence.mean_over_slices(name), name


def _checks(judged: "_Judged", kind: str, groups: Groups, settings: GateSettings) -> tuple[Check, ...]:
    """Every check of one candidate."""
    # Every check has to pass, so that no order among them matters, and none can be bought by another.
    checks = [judged.learned(groups.newest)]
    checks += [judged.rise("parent", group, settings.max_rise_parent) for group in groups.sources]
    for group in groups.older:
        checks.append(judged.rise("parent", group, settings.max_rise_parent))
        checks.append(judged.rise("best", group, settings.max_rise_best))
        # Of later text the base knows nothing to be held to.
        if group.kind == "anchor":
            checks.append(judged.rise("anchor", group, settings.max_rise_anchor))
    checks.append(judged.average("best", groups.older, settings.max_average_forgetting))
    if kind == "classifier":
        checks += judged.answers(groups)
        if (above := judged.above_majority(groups)) is not None:
            checks.append(above)
    return tuple(checks)


class _Judged:
    """One candidate compared with its references, with limits shared by the round's candidates."""

    def __init__(self, report: Report, evidence: Evidence, candidate: str, settings: GateSettings, look: int) -> None:
        self._evidence = evidence
        self._candidate = candidate
        self._settings = settings
        # Bonferroni: of several candidates one would pass by chance more often than the setting says.
        self._confidence = 1 - (1 - settings.confidence) / len(report.candidates)
        # And of several looks. Only at text that came since: what is looked at again as it was cannot pass by chance.
        self._confidence_newest = 1 - (1 - confidence_at(settings, look)) / len(report.candidates)
        self._round = report.round
        self._kind = report.kind

    def learned(self, newest: Group) -> Check:
        gain = self._nll("parent", newest)
        return self._check("learned", newest, gain, -self._settings.minimum_gain, strict=True)

    def rise(self, reference: str, group: Group, bound: float) -> Check:
        rise = self._nll("base" if reference == "anchor" else reference, group)
        return self._check(reference, group, rise, bound)

    def average(self, reference: str, groups: Sequence[Group], bound: float) -> Check:
        mean = mean_of([self._nll(reference, group) for group in groups])
        return self._check("average", _together(groups), mean, bound)

    def answers(self, groups: Groups) -> list[Check]:
        """A classifier's accuracy and macro-F1 against the parent's, the best so far and, on the anchor, the base's.

        They move in steps of a whole document, so that on one slice their limits are too wide to prove
        anything: there the estimate is bounded, and the limit over all slices together.
        """
        every, settings = (groups.newest, *groups.older), self._settings
        anchors = [group for group in groups.older if group.kind == "anchor"]
        measures = (
            ("accuracy", accuracy_difference, settings.max_accuracy_drop, settings.max_accuracy_drop_best),
            ("f1", f1_difference, settings.max_f1_drop, settings.max_f1_drop_best),
        )
        checks: list[Check] = []
        for name, difference, bound, bound_best in measures:
            checks += self._drops(f"{name}_parent", "parent", every, difference, bound)
            checks += self._drops(f"{name}_best", f"{BEST_BY}{name}", groups.older, difference, bound_best)
            checks += self._drops(f"{name}_anchor", "base", anchors, difference, bound_best)
        return checks

    def _drops(
        self, name: str, reference: str, groups: Sequence[Group], difference: Difference, bound: float
    ) -> list[Check]:
        """What was lost against one reference: on each group by estimate, on all together by the limit."""
        drops = [difference(*self._pair(reference, group), group.key_of).negated() for group in groups]
        alone = [
            self._check(name, group, drop, bound, by_estimate=True) for group, drop in zip(groups, drops, strict=True)
        ]
        return [*alone, self._check(name, _together(groups), mean_of(drops), bound)]

    def above_majority(self, groups: Groups) -> Check | None:
        """Whether it is better than always answering alike; None where the base was, or something trained serves.

        A new head answers at random, and one that has learned a little answers nearly one label: both are no worse than
        such a parent on every slice.

        Raises:
            InsufficientEvidence: the held-out text has one label, so that nobody can tell.
        """
        if not self._evidence.parent_is_base:
            return None
        everything = Group("held-out text", "newest", (*groups.newest.members, *members_of(groups.older)))
        parent = self._evidence.of(everything, "parent")
        if (labels := len({score.label for score in parent})) < LABELS_TO_TELL:
            raise InsufficientEvidence(Need("labels", labels, LABELS_TO_TELL).sentence())
        majority, key_of = always_the_most_frequent(parent), everything.key_of
        margin = self._settings.minimum_over_majority
        if balanced_difference(parent, majority, key_of).estimate > margin:
            return None
        gain = balanced_difference(self._evidence.of(everything, self._candidate), majority, key_of)
        return self._check(MAJORITY, everything, gain.negated(), -margin, strict=True)

    def _nll(self, reference: str, group: Group) -> Comparison:
        return nll_difference(*self._pair(reference, group), group.key_of)

    def _pair(self, reference: str, group: Group) -> tuple[Scores, Scores]:
        theirs = self._evidence.of(group, reference)
        both = {score.id for score in theirs}
        ours = tuple(score for score in self._evidence.of(group, self._candidate) if score.id in both)
        # The best so far may lack a few documents that were drawn since: it is held to for all that.
        needed = math.ceil(self._settings.minimum_documents * (ENOUGH_OF if reference.startswith("best") else 1))
        if (keys := keys_among([score.id for score in ours], group.key_of)) < needed:
            counted = f"{keys} documents" if keys == len(ours) else f"{len(ours)} documents of {keys} keys"
            raise InsufficientEvidence(f"slice {group.name} has {counted} with tokens, at least {needed} are needed")
        return ours, theirs

    def _check(
        self,
        name: str,
        where: Group,
        difference: Comparison,
        bound: float,
        *,
        strict: bool = False,
        by_estimate: bool = False,
    ) -> Check:
        # By round and slice: a verdict can be reached again, and no slice shares another's luck.
        seed = crc32(f"{self._round}/{where.name}".encode())
        grows = any(member.kind == "newest" for member in where.members)
        confidence = self._confidence_newest if grows else self._confidence
        how = Resampling(confidence, self._settings.resamples, seed)
        limits = interval(difference, how)
        # `max` would pass over a limit that is no number.
        worst = math.nan if math.isnan(limits.upper) else max(limits.estimate, limits.upper)
        # The limit, not the estimate: what cannot be ruled out counts as having happened.
        decisive = limits.estimate if by_estimate else worst
        return Check(
            name=name,
            slice=where.name,
            figure=limits.estimate,
            bound=bound,
            lower=limits.lower,
            upper=limits.upper,
            documents=limits.documents,
            passed=decisive < bound or (decisive == bound and not strict),
            unit=unit_of(name, self._kind),
            keys=limits.keys,
        )


def _together(groups: Sequence[Group]) -> Group:
    return Group(" + ".join(group.name for group in groups), groups[0].kind, tuple(members_of(groups)))


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


def _text_check(departure: Departure, kind: str) -> Check:
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
        "of the documents" if departure.name.endswith("_share") else LOSS_UNITS[kind],
    )


def _waiting(report: Report, beyond: Sequence[Departure], checks: Sequence[Check]) -> Verdict:
    """The round waits for a person's word; a source is named rather than all text, a mean rather than a decile."""
    reason = report.detail or "the learner found the fresh text implausible"
    if beyond:
        worst = min(beyond, key=lambda each: (each.source is None, list(FIGURES).index(each.name), each.source))
        where = "the fresh text" if worst.source is None else f"the fresh text of source {worst.source}"
        figure = FIGURES[worst.name].format(worst.figure, LOSS_UNITS[report.kind])
        earlier = f"the bound of {worst.bound:.3f} that earlier text sets"
        reason = f"{where} has {figure}, more than {earlier} ({worst.documents} documents)"
    return Verdict("wait", None, tuple(checks), f"Waiting for a person's word: {reason}.")
