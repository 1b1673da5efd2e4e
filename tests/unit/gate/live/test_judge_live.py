"""A watched generation is promoted when proven no worse, goes back when proven worse, and is watched until then."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from gate.live.judge_live import FurtherRate, Judged, LiveBounds, Looks, Traffic, judge_live, no_traffic
from gate.statistics.comparisons import Floats

GROUPS = 64
BOUNDS = LiveBounds(
    confidence=0.95,
    minimum_answers=300,
    watch_seconds=600,
    deadline_seconds=7200,
    back_at_deadline=False,
    max_error_rise=0.02,
    max_first_token_ratio=1.5,
    max_pace_ratio=1.25,
)
RNG = np.random.default_rng
RUNS = 200


def counts(
    rng: np.random.Generator,
    answers: int,
    *,
    errors: float = 0.0,
    slow: float = 1.0,
    spread: float = 0.5,
    apart: float = 0,
) -> Floats:
    """So many answers by groups of callers: errors at a rate, latencies log-normal around 50 ms times `slow`.

    Args:
        rng: of the randomness.
        answers: how many.
        errors: the mean rate.
        slow: times the usual latency.
        spread: of the logarithm of a latency.
        apart: how much callers differ: the spread of their own latency, and how errors gather in a tenth of them.
    """
    group = rng.integers(0, GROUPS, answers)
    own = rng.normal(0, apart, GROUPS)
    rates = np.full(GROUPS, errors)
    if apart:
        struck = rng.random(GROUPS) < 0.1
        rates = np.where(struck, min(1.0, errors * 10), 0.0)
    logs = rng.normal(np.log(0.05 * slow), spread, answers) + own[group]
    columns = (np.ones(answers), rng.random(answers) < rates[group], np.ones(answers), logs, np.ones(answers), logs - 1)
    return np.stack([np.bincount(group, values, GROUPS) for values in columns], axis=1)


def watched(seed: int, steps: Sequence[int], ours: dict[str, float]) -> Judged:
    """What comes of a watch, looked at after so many answers of the watched generation, with nine times as many beside.

    The window is over from the first step on.
    """
    rng = RNG(seed)
    mine, theirs, looks = no_traffic(GROUPS), no_traffic(GROUPS), Looks()
    before = 0
    for answers in steps:
        mine = mine + counts(rng, answers - before, **ours)
        theirs = theirs + counts(rng, 3 * (answers - before), errors=0.01, apart=ours.get("apart", 0.0))
        judged = judge_live(Traffic(mine, theirs, 600, 600), looks, BOUNDS)
        if judged.verdict.decision != "hold":
            return judged
        looks, before = judged.looks, answers
    return judged


STEPS = (10, 40, 160, 320, 640, 1280)


def share(decision: str, ours: dict[str, float], *, runs: int = RUNS, steps: Sequence[int] = STEPS) -> float:
    """In how many watches of so many that comes out."""
    return sum(watched(seed, steps, ours).verdict.decision == decision for seed in range(runs)) / runs


def test_one_that_is_as_good_is_promoted_and_hardly_ever_goes_back() -> None:
    """Nine in ten by 1,280 answers; proven worse without being so in fewer than stated."""
    decisions = [watched(seed, STEPS, {"errors": 0.01}).verdict.decision for seed in range(RUNS)]
    assert decisions.count("promote") > 0.9 * RUNS
    assert decisions.count("roll_back") <= 0.05 * RUNS


@pytest.mark.parametrize("ours", [{"errors": 0.031}, {"errors": 0.01, "slow": 1.26}], ids=["errors", "pace"])
def test_one_at_a_bound_is_promoted_no_more_often_than_stated(ours: dict[str, float]) -> None:
    """Over all looks together: 1.5 times the stated chance, and three standard errors of the simulation."""
    assert share("promote", ours) <= 0.075 + 3 * (0.075 * 0.925 / RUNS) ** 0.5


def test_callers_that_differ_take_no_chance_from_the_level() -> None:
    """Where latencies hang on the caller far more than on the answer, the limits widen with it."""
    assert share("promote", {"errors": 0.01, "slow": 1.26, "apart": 0.3}) <= 0.075 + 3 * (0.075 * 0.925 / RUNS) ** 0.5


def test_one_that_is_as_good_hardly_ever_goes_back_where_callers_differ() -> None:
    """Errors that gather in a few callers prove nothing of the generation."""
    assert share("roll_back", {"errors": 0.01, "apart": 0.3}) <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5


@pytest.mark.parametrize("ours", [{"errors": 0.5}, {"errors": 0.01, "slow": 5.0}], ids=["errors", "slow"])
def test_one_that_is_much_worse_goes_back_within_forty_answers(ours: dict[str, float]) -> None:
    """Long before the window is over."""
    assert share("roll_back", ours, runs=100, steps=[10, 40]) > 0.95


def test_nothing_is_proven_before_the_window_is_over_or_by_too_few() -> None:
    """However good it looks; the sentence says what is waited for."""
    rng = RNG(1)
    mine, theirs = counts(rng, 1000), counts(rng, 3000)
    early = judge_live(Traffic(mine, theirs, 100, 100), Looks(), BOUNDS).verdict
    assert (early.decision, early.sentence) == ("hold", "Watched for 500 s more.")
    few = judge_live(Traffic(counts(rng, 20), theirs, 900, 900), Looks(), BOUNDS).verdict
    assert (few.decision, few.sentence) == ("hold", "Watched for 280 answers more of it.")
    alone = judge_live(Traffic(mine, no_traffic(GROUPS), 900, 900), Looks(), BOUNDS).verdict
    assert alone.decision == "hold"
    assert "300 answers more of the one that serves" in alone.sentence
    assert judge_live(Traffic(mine, theirs, 900, 900), Looks(), BOUNDS).verdict.decision == "promote"


def test_too_few_callers_prove_nothing() -> None:
    """Of two keys nobody can tell how much callers differ; the sentence says what helps."""
    rng = RNG(2)
    mine, theirs = (counts(rng, answers) for answers in (2000, 6000))
    for side in (mine, theirs):
        side[2:] = 0
    verdict = judge_live(Traffic(mine * 32, theirs * 32, 900, 900), Looks(), BOUNDS).verdict
    assert verdict.decision == "hold"
    assert "sticky_by_key" in verdict.sentence


def test_at_the_deadline_what_looks_worse_goes_back_and_the_rest_serves() -> None:
    """Unless the settings say that nothing unproven does; of no traffic at all nothing speaks against it."""
    rng = RNG(3)
    theirs = counts(rng, 300, errors=0.01)
    for mine, back, decision in (
        (counts(rng, 20), False, "promote"),
        (counts(rng, 20), True, "roll_back"),
        (counts(rng, 100, errors=0.05), False, "roll_back"),
        (no_traffic(GROUPS), False, "promote"),
    ):
        bounds = replace(BOUNDS, back_at_deadline=back)
        # Looked at for harm before, so that the deadline alone decides.
        verdict = judge_live(Traffic(mine, theirs, 7200, 7200), Looks(harm=9, harm_at=10**6), bounds).verdict
        assert verdict.decision == decision, verdict.sentence
        assert verdict.sentence.startswith("Unproven at the deadline")


def test_one_that_was_not_there_to_answer_is_not_promoted_at_the_deadline() -> None:
    """Nor gone back from: that says nothing of it. What looks worse goes back all the same."""
    theirs = counts(RNG(3), 300, errors=0.01)
    for watched_s in (0.0, BOUNDS.watch_seconds - 1):
        traffic = Traffic(no_traffic(GROUPS), theirs, watched_s, 50_000)
        verdict = judge_live(traffic, Looks(), BOUNDS).verdict
        assert verdict.decision == "hold"
        assert f"answer for {watched_s:.0f} s of the 600 s" in verdict.sentence
        assert "`riverkeep rollback`" in verdict.sentence
        assert judge_live(traffic, Looks(), replace(BOUNDS, back_at_deadline=True)).verdict.decision == "roll_back"
    late = Traffic(no_traffic(GROUPS), theirs, BOUNDS.watch_seconds, 50_000)
    assert judge_live(late, Looks(), BOUNDS).verdict.decision == "promote"
    worse = Traffic(counts(RNG(3), 100, errors=0.05), theirs, 10, 50_000)
    assert judge_live(worse, Looks(harm=9, harm_at=10**6), BOUNDS).verdict.decision == "roll_back"


def test_looks_are_few() -> None:
    """Asked each second, it looks for harm when answers have doubled, and for proof three times."""
    rng, looks = RNG(4), Looks()
    mine, theirs = no_traffic(GROUPS), no_traffic(GROUPS)
    for _ in range(400):
        mine, theirs = mine + counts(rng, 8, errors=0.024), theirs + counts(rng, 24, errors=0.01)
        looks = judge_live(Traffic(mine, theirs, 900, 900), looks, BOUNDS).looks
    assert looks.harm <= 10
    assert looks.proof <= 3


def test_what_is_counted_elsewhere_is_one_more_criterion() -> None:
    """Such as answers that users rejected."""
    rng = RNG(5)
    mine, theirs = counts(rng, 1000), counts(rng, 3000)
    rejected = np.stack([np.full(GROUPS, 10.0), np.full(GROUPS, 6.0)], axis=1)
    fine = np.stack([np.full(GROUPS, 30.0), np.full(GROUPS, 1.0)], axis=1)
    rate = FurtherRate("rejected_by_users", 0.05, rejected, fine)
    verdict = judge_live(Traffic(mine, theirs, 900, 900, (rate,)), Looks(), BOUNDS).verdict
    assert verdict.decision == "roll_back"
    assert "rejected by users: +56.67%" in verdict.sentence


@pytest.mark.parametrize("groups", [1, 7, 8])
def test_what_fewer_than_eight_groups_of_callers_say_takes_nothing_back(groups: int) -> None:
    """However often they say so, neither by a look nor at the deadline; of as many as that it does."""
    rng = RNG(11)
    mine, theirs = counts(rng, 100), counts(rng, 300)
    rejected, fine = np.zeros((GROUPS, 2)), np.stack([np.full(GROUPS, 30.0), np.full(GROUPS, 1.0)], axis=1)
    rejected[:groups] = 40.0
    rate = FurtherRate("rejected", 0.1, rejected, fine, must_be_proven=False)
    decisions = [
        judge_live(Traffic(mine, theirs, watched_s, watched_s, (rate,)), looks, BOUNDS).verdict.decision
        for watched_s, looks in ((60, Looks()), (7200, Looks(harm=1, harm_at=100)))
    ]
    assert decisions == (["hold", "promote"] if groups < 8 else ["roll_back", "roll_back"])


def test_what_few_people_judged_keeps_nothing_from_being_promoted() -> None:
    """It proves nothing by so few; as a criterion that has to be proven it would."""
    rng = RNG(7)
    mine, theirs = counts(rng, 3000), counts(rng, 9000)
    few, other = np.zeros((GROUPS, 2)), np.zeros((GROUPS, 2))
    few[:3, 0], other[:5, 0] = 1.0, 1.0
    spared = FurtherRate("rejected", 0.1, few, other, must_be_proven=False)
    traffic = Traffic(mine, theirs, 900, 900, (spared,))
    verdict = judge_live(traffic, Looks(), BOUNDS).verdict
    assert verdict.decision == "promote"
    assert "rejected" in {check.name for check in verdict.checks}
    held = replace(traffic, rates=(replace(spared, must_be_proven=True),))
    assert judge_live(held, Looks(), BOUNDS).verdict.decision == "hold"


def test_a_classifier_has_no_pace_and_a_shadow_no_latency() -> None:
    """What is not measured is not asked."""
    rng = RNG(6)
    mine, theirs = counts(rng, 1000), counts(rng, 3000)
    for side in (mine, theirs):
        side[:, 4:] = 0
    verdict = judge_live(Traffic(mine, theirs, 900, 900), Looks(), BOUNDS).verdict
    assert [check.name for check in verdict.checks] == ["errors", "first_token"]
    shadow = replace(BOUNDS, max_first_token_ratio=None, max_pace_ratio=None)
    verdict = judge_live(Traffic(mine, theirs, 900, 900), Looks(), shadow).verdict
    assert (verdict.decision, [check.name for check in verdict.checks]) == ("promote", ["errors"])
    assert verdict.to_json()["checks"][0]["name"] == "errors"


def read_by_both(rng: np.random.Generator, worse: float, *, documents: int = 300, keys: int = 10**6) -> Floats:
    """Losses of documents of some keys, of which some are far harder than others, and a few change a lot."""
    sums = np.zeros((GROUPS, 2))
    tokens = rng.integers(20, 500, documents)
    differences = rng.normal(worse, 0.05, documents) + np.where(rng.random(documents) < 0.03, 0.3, 0.0) - 0.009
    np.add.at(sums, rng.integers(0, keys, documents) % GROUPS, np.stack([tokens, tokens * differences], axis=1))
    return sums


def test_one_that_foretells_worse_what_arrives_goes_back_and_one_that_does_not_is_promoted() -> None:
    """By the difference on the same documents, in nats a token; a verdict names bound and limits."""
    rng = RNG(8)
    mine, theirs = counts(rng, 1000), counts(rng, 3000)
    for worse, decision in ((0.06, "roll_back"), (-0.1, "promote"), (-0.02, "promote")):
        traffic = Traffic(mine, theirs, 900, 900, losses=read_by_both(rng, worse))
        verdict = judge_live(traffic, Looks(), BOUNDS).verdict
        assert verdict.decision == decision, verdict.sentence
        (check,) = (check for check in verdict.checks if check.name == "loss")
        assert (check.kind, check.bound) == ("nats", 0.01)
        assert check.lower < check.figure < check.upper
    assert "loss of what arrives: -0.0" in verdict.sentence


def test_losses_have_to_be_proven_as_soon_as_there_are_enough_keys() -> None:
    """Where hardly anything arrives no watch waits for it: of few keys nothing is proven, for or against."""
    rng = RNG(9)
    mine, theirs = counts(rng, 1000), counts(rng, 3000)
    unclear = read_by_both(rng, 0.01, documents=30)
    assert judge_live(Traffic(mine, theirs, 900, 900, losses=unclear), Looks(), BOUNDS).verdict.decision == "hold"
    few = read_by_both(rng, 0.5, keys=5)
    verdict = judge_live(Traffic(mine, theirs, 900, 900, losses=few), Looks(), BOUNDS).verdict
    assert verdict.decision == "promote"
    assert np.isinf(next(check for check in verdict.checks if check.name == "loss").upper)
    late = judge_live(Traffic(mine, theirs, 900, 7200, losses=few), Looks(proof=3), BOUNDS).verdict
    assert (late.decision, "it looks worse: loss of what arrives" in late.sentence) == ("roll_back", True)


def test_where_no_loss_can_be_read_that_is_said_and_keeps_nobody_from_serving() -> None:
    """A criterion that is left out in silence would pass for one that was held; proven it cannot be by anybody."""
    rng = RNG(12)
    mine, theirs = counts(rng, 1000), counts(rng, 3000)
    traffic = Traffic(mine, theirs, 900, 900, no_losses="the engine tells none")
    verdict = judge_live(traffic, Looks(), BOUNDS).verdict
    assert verdict.decision == "promote"
    (check,) = (check for check in verdict.checks if check.name == "loss")
    assert (check.not_compared, check.proven_kept, check.looks_broken) == ("the engine tells none", False, False)
    assert "loss of what arrives: not compared, as the engine tells none" in verdict.sentence
    late = judge_live(replace(traffic, open_s=7200, ours=no_traffic(GROUPS)), Looks(), BOUNDS).verdict
    assert (late.decision, late.to_json()["checks"][-1]["figure"]) == ("promote", None)


def test_one_that_foretells_worse_by_the_bound_is_promoted_no_more_often_than_stated() -> None:
    """At a look, where five in a hundred are stated: documents of several lengths, with a few that change a lot."""
    rng, mine, theirs = RNG(10), counts(RNG(1), 4000), counts(RNG(2), 12000)
    promoted = sum(
        judge_live(Traffic(mine, theirs, 900, 900, losses=read_by_both(rng, 0.01)), Looks(), BOUNDS).verdict.decision
        == "promote"
        for _ in range(RUNS)
    )
    assert promoted / RUNS <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5
