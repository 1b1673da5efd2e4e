"""Candidates that were scored no further, as they break a bound beyond doubt: what the learner goes by. Pure.

Each candidate has to keep every bound, so that nothing that would be scored after one is broken could let it pass; time
is saved with those that did harm. The learner is told the bounds on each older text that is judged whatever comes, and
by how many standard errors a rise has to be beyond one. What it then left out is looked at here again: with an interval
for the bound that was broken, or, where that does not prove it, as a candidate whose scores are not whole. Neither can
pass, and one candidate is always scored whole.

What the others are asked is shared among them alone. That opens nothing: on other text, which says nothing of why a
candidate is gone, those that are left share the chance of error as if they had been all; and on the same text one that
is gone could not have passed. `tests/unit/gate/test_proven_harm.py` counts it.
"""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from gate.checks.check import Check, unit_of
from gate.checks.stopped_scoring import StoppedScoring
from gate.evidence import Scores
from gate.held_out import Group, HeldOut, InsufficientEvidence, group_slices
from gate.settings import GateSettings
from gate.statistics.bootstrap import Resampling, interval, t_quantile
from gate.statistics.comparisons import nll_difference
from learner.directory.harm_bounds import HarmBound
from learner.directory.report import Report, StoppedCandidate

SURER: Final = 1.5
"""Times as many standard errors as Student's limit is away: the gate's own, of rare or uneven harm, may be wider."""
LEAST_KEYS: Final = 6
"""From which on Student's quantile is near enough by its expansion."""


def harm_bounds(slices: Sequence[HeldOut], settings: GateSettings) -> tuple[HarmBound, ...]:
    """What every candidate of a round is asked on older text, the anchor first; nothing where none can be judged.

    Args:
        slices: as drawn.
        settings: bounds and confidence.
    """
    groups = _judged_anyway(slices, settings)
    confidence = _confidence(groups, settings)
    return tuple(_bound(group, confidence, settings) for group in groups if group.size >= LEAST_KEYS)


def stopped_scoring(report: Report, slices: Sequence[HeldOut], settings: GateSettings) -> tuple[StoppedScoring, ...]:
    """Tell of the candidates that were scored no further, each with the check that it failed where that is proven.

    Args:
        report: the learner's.
        slices: as drawn.
        settings: bounds and confidence.
    """
    groups = _judged_anyway(slices, settings)
    by_name = {group.name: group for group in groups}
    confidence = _confidence(groups, settings)

    def told(each: StoppedCandidate) -> StoppedScoring:
        group = by_name.get(each.on)
        checks = [] if group is None else _checks(report, group, each.candidate, confidence, settings)
        proven = [check for check in checks if check.lower > check.bound]
        broken = max(proven, key=lambda check: check.excess, default=None)
        return StoppedScoring(each.candidate, broken, each.unscored, each.unasked)

    return tuple(map(told, report.stopped))


def _judged_anyway(slices: Sequence[HeldOut], settings: GateSettings) -> list[Group]:
    """Older text that is judged by itself whatever comes: what needs more keys to prove a bound is asked beside it."""
    try:
        older = group_slices(slices, settings.minimum_documents).older
    except InsufficientEvidence:
        return []
    return sorted(older, key=lambda group: (group.kind != "anchor", group.size, group.name))


def _confidence(groups: Sequence[Group], settings: GateSettings) -> float:
    """As sure as the gate has to be of any of these where it asks what is proven: see `gate.checks.check`."""
    return 1 - (1 - settings.confidence) / max(1, len(groups))


def _bound(group: Group, confidence: float, settings: GateSettings) -> HarmBound:
    return HarmBound(
        tuple(member.name for member in group.members),
        settings.max_rise_parent,
        settings.max_rise_anchor if group.kind == "anchor" else None,
        SURER * t_quantile(confidence, group.size - 1),
        dict(group.key_of),
    )


def _checks(report: Report, group: Group, candidate: str, confidence: float, settings: GateSettings) -> list[Check]:
    """How a candidate stands to its bounds on a group; nothing where that was not scored whole."""
    asked = [("parent", "parent", settings.max_rise_parent)]
    if group.kind == "anchor":
        asked.append(("anchor", "base", settings.max_rise_anchor))
    # By round and slice, as all limits of a verdict are.
    how = Resampling(confidence, settings.resamples, crc32(f"{report.round}/{group.name}".encode()))
    checks = []
    for name, reference, bound in asked:
        ours, theirs = (_scores(report, group, model) for model in (candidate, reference))
        if len(ours) < settings.minimum_documents or _tokens(ours) != _tokens(theirs):
            continue
        limits = interval(nll_difference(ours, theirs, group.key_of), how)
        checks.append(
            Check(
                name=name,
                slice=group.name,
                figure=limits.estimate,
                bound=bound,
                lower=limits.lower,
                upper=limits.upper,
                documents=limits.documents,
                passed=False,
                unit=unit_of(name, report.kind),
                keys=limits.keys,
            )
        )
    return checks


def _scores(report: Report, group: Group, model: str) -> Scores:
    scored = [report.slices[member.name] for member in group.members if member.name in report.slices]
    rows = [{"base": each.base, "parent": each.parent}.get(model) or each.candidates.get(model, ()) for each in scored]
    return tuple(sorted((row for each in rows for row in each if row.tokens > 0), key=lambda row: row.id))


def _tokens(scores: Scores) -> list[tuple[int, int]]:
    return [(row.id, row.tokens) for row in scores]
