"""Whether a watched generation is promoted, goes back, or is watched on. Pure; when it looks is part of the verdict.

Who looks at growing evidence until it says what they hope is bound to see it say so (optional stopping). So the looks
are few, and share the chance of error. For harm there is a look each time that the answers have doubled, at 8, 16, 32
and so on, and look k has 6/(π² k²) of the chance, which add up to the whole; the criteria share it too, as one broken
bound is enough. For proof there are three: the first once the window is over and the answers suffice, the others when
answers have doubled, each with a quarter of the first one's chance, as where candidates are judged again
(`gate.looks`). There the criteria share nothing: all have to be kept, and a generation that breaks one passes that one
by luck no more often than stated (Berger 1982, "Multiparameter hypothesis testing and acceptance sampling").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from gate.live.intervals import enough_groups, loss_difference, rate_difference, ratio
from gate.live.verdict import LiveCheck, LiveDecision, LiveVerdict
from gate.looks import LATER, LOOKS
from gate.statistics.comparisons import Floats

FIRST_LOOK: Final = 8
ANSWERS, ERRORS, FIRSTS, LOG_FIRST, PACED, LOG_PACE = range(6)
"""The columns of counts, as serving tells them for each group of callers."""
COLUMNS: Final = 6
LOSS: Final = "loss"


@dataclass(frozen=True, slots=True)
class LiveBounds:
    """What a watched generation must not be worse in, and how long it is watched.

    Attributes:
        confidence: of a verdict, 0.5 to 1 exclusive.
        minimum_answers: of either before anything is proven.
        watch_seconds: how long it answers before it may serve, at least.
        deadline_seconds: when the watch ends, proven or not; later where it was not there to be watched until then.
        back_at_deadline: whether an unproven one goes back even if nothing looks worse.
        max_error_rise: by how much the rate of failed answers may be higher.
        max_first_token_ratio, max_pace_ratio: how many times as long tokens may take; None: not compared.
        max_loss_rise: by how many nats a token it may foretell worse what arrives.
    """

    confidence: float
    minimum_answers: int
    watch_seconds: float
    deadline_seconds: float
    back_at_deadline: bool
    max_error_rise: float
    max_first_token_ratio: float | None
    max_pace_ratio: float | None
    max_loss_rise: float = 0.01


@dataclass(frozen=True, slots=True)
class FurtherRate:
    """Another rate of bad answers to compare, such as those that users rejected; by few callers it proves nothing.

    Attributes:
        name: of the check.
        bound: by how much it may be higher.
        ours, theirs: answers and bad ones by group of callers, shape (groups, 2).
        must_be_proven: whether nothing is promoted before it is proven to keep the bound; else it is only held against
            a generation: what few people say would keep every watch from its end.
    """

    name: str
    bound: float
    ours: Floats
    theirs: Floats
    must_be_proven: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """What was counted of a watched generation and of the serving one meanwhile.

    Attributes:
        ours, theirs: by group of callers, shape (groups, COLUMNS).
        watched_s: seconds for which it has been answering.
        open_s: seconds since the watch began, those before it answered included.
        rates: what else is compared.
        losses: of text that arrived meanwhile and both read, by group of keys: tokens, and the sum of the watched
            one's losses minus the serving one's, in nats, shape (groups, 2); None or all 0: none was read.
        no_losses: why none can be read here; empty where they can.
    """

    ours: Floats
    theirs: Floats
    watched_s: float = 0.0
    open_s: float = 0.0
    rates: Sequence[FurtherRate] = ()
    losses: Floats | None = None
    no_losses: str = ""

    @property
    def answers(self) -> int:
        """Of the watched generation."""
        return int(self.ours[:, ANSWERS].sum())

    @property
    def serving_answers(self) -> int:
        """Of the serving one."""
        return int(self.theirs[:, ANSWERS].sum())


@dataclass(frozen=True, slots=True)
class Looks:
    """How often was looked so far, and at how many answers of the watched generation last.

    Attributes:
        harm, harm_at: for proof that it is worse.
        proof, proof_at: for proof that it is not.
    """

    harm: int = 0
    harm_at: int = 0
    proof: int = 0
    proof_at: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, and the looks that were taken with it."""

    verdict: LiveVerdict
    looks: Looks = field(default_factory=Looks)


def judge_live(traffic: Traffic, looks: Looks, bounds: LiveBounds) -> Judged:
    """Say what follows for a watched generation by now."""
    if traffic.answers >= max(FIRST_LOOK, 2 * looks.harm_at):
        looks = replace(looks, harm=looks.harm + 1, harm_at=traffic.answers)
        criteria = sum(not check.not_compared for check in _checks(traffic, bounds, bounds.confidence))
        checks = _checks(traffic, bounds, _confidence_of_harm(bounds, looks.harm, criteria))
        if broken := [check for check in checks if check.proven_broken]:
            why = f"it is worse than what serves: {broken[0].sentence()}"
            return Judged(_verdict("roll_back", why, traffic, checks), looks)
    if _may_be_proven(traffic, looks, bounds):
        looks = replace(looks, proof=looks.proof + 1, proof_at=traffic.answers)
        checks = _checks(traffic, bounds, _confidence_of_proof(bounds, looks.proof))
        if all(check.proven_kept for check in _to_be_proven(checks, traffic)) and _many_callers(traffic):
            return Judged(_verdict("promote", f"proven in traffic: {_all(checks)}", traffic, checks), looks)
    checks = _checks(traffic, bounds, bounds.confidence)
    if traffic.open_s >= bounds.deadline_seconds:
        return Judged(_at_deadline(traffic, bounds, checks), looks)
    return Judged(_verdict("hold", _waits_for(traffic, bounds), traffic, checks), looks)


def _to_be_proven(checks: Sequence[LiveCheck], traffic: Traffic) -> list[LiveCheck]:
    spared = {rate.name for rate in traffic.rates if not rate.must_be_proven}
    if traffic.losses is not None and not enough_groups(traffic.losses):
        # Where hardly anything arrives it would keep every watch from its end.
        spared.add(LOSS)
    if traffic.no_losses:
        # Said, and held against nobody: nothing that a generation does could prove it.
        spared.add(LOSS)
    return [check for check in checks if check.name not in spared]


def _may_be_proven(traffic: Traffic, looks: Looks, bounds: LiveBounds) -> bool:
    enough = min(traffic.answers, traffic.serving_answers) >= bounds.minimum_answers
    return (
        traffic.watched_s >= bounds.watch_seconds
        and enough
        and looks.proof < LOOKS
        and traffic.answers >= 2 * looks.proof_at
    )


def _confidence_of_harm(bounds: LiveBounds, look: int, criteria: int) -> float:
    return 1 - (1 - bounds.confidence) * 6 / (math.pi * look) ** 2 / criteria


def _confidence_of_proof(bounds: LiveBounds, look: int) -> float:
    return 1 - (1 - bounds.confidence) * (1.0 if look == 1 else LATER)


def _checks(traffic: Traffic, bounds: LiveBounds, confidence: float) -> tuple[LiveCheck, ...]:
    ours, theirs = traffic.ours, traffic.theirs
    errors = FurtherRate("errors", bounds.max_error_rise, ours[:, : ERRORS + 1], theirs[:, : ERRORS + 1])
    checks = [_rate_check(errors, confidence), *(_claimed(rate, confidence) for rate in traffic.rates)]
    for name, bound, column in (
        ("first_token", bounds.max_first_token_ratio, FIRSTS),
        ("pace", bounds.max_pace_ratio, PACED),
    ):
        columns = slice(column, column + 2)
        # A classifier has no further tokens: what neither side has is no question.
        if bound is not None and (ours[:, column].any() or theirs[:, column].any()):
            found = ratio(ours[:, columns], theirs[:, columns], confidence)
            answers = int(ours[:, column].sum())
            checks.append(LiveCheck(name, "ratio", found.estimate, bound, found.lower, found.upper, answers))
    if traffic.losses is not None and traffic.losses[:, 0].any():
        apart = loss_difference(traffic.losses, confidence)
        tokens = int(traffic.losses[:, 0].sum())
        checks.append(LiveCheck(LOSS, "nats", apart.estimate, bounds.max_loss_rise, apart.lower, apart.upper, tokens))
    elif traffic.no_losses:
        bound, nothing = bounds.max_loss_rise, (-math.inf, math.inf, 0)
        checks.append(LiveCheck(LOSS, "nats", math.nan, bound, *nothing, not_compared=traffic.no_losses))
    return tuple(checks)


def _rate_check(rate: FurtherRate, confidence: float) -> LiveCheck:
    found = rate_difference(rate.ours, rate.theirs, confidence)
    answers = int(rate.ours[:, 0].sum())
    return LiveCheck(rate.name, "difference", found.estimate, rate.bound, found.lower, found.upper, answers)


def _claimed(rate: FurtherRate, confidence: float) -> LiveCheck:
    """Of what callers say, and nobody measured: by few of them nothing is proven, for or against."""
    check = _rate_check(rate, confidence)
    return check if enough_groups(rate.ours, rate.theirs) else replace(check, lower=-math.inf, upper=math.inf)


def _many_callers(traffic: Traffic) -> bool:
    return enough_groups(traffic.ours, traffic.theirs)


def _at_deadline(traffic: Traffic, bounds: LiveBounds, checks: Sequence[LiveCheck]) -> LiveVerdict:
    unproven = "unproven at the deadline"
    # One caller's word on one answer is a hundred per cent of what was said.
    too_few = {rate.name for rate in traffic.rates if not enough_groups(rate.ours, rate.theirs)}
    if worse := [check for check in checks if check.looks_broken and check.name not in too_few]:
        return _verdict("roll_back", f"{unproven}, and it looks worse: {worse[0].sentence()}", traffic, checks)
    if bounds.back_at_deadline:
        return _verdict("roll_back", f"{unproven}, where at_deadline says to go back", traffic, checks)
    if traffic.watched_s < bounds.watch_seconds:
        # A quiet night speaks for nobody; a night without serving says nothing at all.
        why = (
            f"{unproven}, and watched on: the generation was there to answer for {traffic.watched_s:,.0f} s of "
            f"the {bounds.watch_seconds:,.0f} s that it is to be watched for, else serving was away or had not brought "
            "it in; see that serving answers, or end the watch with `riverkeep rollback`"
        )
        return _verdict("hold", why, traffic, checks)
    return _verdict("promote", f"{unproven}, but nothing that was measured is beyond its bound", traffic, checks)


def _waits_for(traffic: Traffic, bounds: LiveBounds) -> str:
    least = bounds.minimum_answers
    lacking = []
    if traffic.watched_s < bounds.watch_seconds:
        lacking.append(f"{bounds.watch_seconds - traffic.watched_s:,.0f} s more")
    if traffic.answers < least:
        lacking.append(f"{least - traffic.answers:,} answers more of it")
    if traffic.serving_answers < least:
        lacking.append(f"{least - traffic.serving_answers:,} answers more of the one that serves")
    if not lacking:
        return "watched on: no proof yet, more answers may bring it" + (
            "" if _many_callers(traffic) else "; too few different callers tell (see `serving.canary.sticky_by_key`)"
        )
    return f"watched for {' and '.join(lacking)}"


def _all(checks: Sequence[LiveCheck]) -> str:
    return "; ".join(check.sentence() for check in checks)


def _verdict(decision: LiveDecision, why: str, traffic: Traffic, checks: Sequence[LiveCheck]) -> LiveVerdict:
    return LiveVerdict(decision, f"{why[0].upper()}{why[1:]}.", tuple(checks), traffic.answers, traffic.serving_answers)


def no_traffic(groups: int) -> Floats:
    """Counts of so many groups before the first answer."""
    return np.zeros((groups, COLUMNS))
