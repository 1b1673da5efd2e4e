"""Small older slices are judged together until a bound can be proven at all, and what is diluted so stays watched."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.held_out import Group, HeldOut, InsufficientEvidence, group_slices, needs
from gate.judge import GateSettings, Verdict, judge
from gate.statistics.bootstrap import Resampling, interval
from gate.statistics.comparisons import nll_difference, ratio
from gate.statistics.power import POWER, keys_to_prove, spread_within
from learner.directory.report import Report
from memory.ledger.records import DocumentScore
from tests.unit.gate.simulated_rounds import Course, Round

BOUND = 0.08
MINIMUM = GateSettings().minimum_documents


@pytest.mark.parametrize("spread", [0.15, 0.5])
def test_so_many_keys_clear_a_harmless_candidate_as_often_as_is_wanted(spread: float) -> None:
    """And half as many much less often."""
    keys = keys_to_prove(BOUND, spread, 0.95)
    cleared = {}
    for number in (keys, keys // 2):
        random = np.random.default_rng(number)
        harms = [ratio(random.normal(0, spread, number), np.ones(number), np.arange(number)) for _ in range(200)]
        upper = [interval(harm, Resampling(0.95, 300, seed)).upper for seed, harm in enumerate(harms)]
        cleared[number] = np.mean([limit <= BOUND for limit in upper])
    assert cleared[keys] > POWER - 0.06
    assert cleared[keys // 2] < POWER - 0.15


def test_a_bound_of_nothing_is_proven_by_no_number() -> None:
    """So that nothing is joined for it."""
    assert keys_to_prove(0.0, 0.5, 0.95) == keys_to_prove(BOUND, float("nan"), 0.95) == 0


def test_the_spread_is_that_within_slices() -> None:
    """A slice that was harmed is not thereby joined to others: what differs between slices is left out."""
    random = np.random.default_rng(0)
    parts = [
        ratio(random.normal(mean, 0.3, 4000), np.ones(4000), np.arange(4000) + 10_000 * at)
        for at, mean in enumerate((0.0, 5.0))
    ]
    assert spread_within(parts) == pytest.approx(0.3, rel=0.03)
    assert spread_within([]) == spread_within([ratio(np.ones(1), np.ones(1), np.arange(1))]) == 0.0


def held(*sizes: int, kind: str = "period", source: str = "") -> list[HeldOut]:
    """Slices of so many documents, each of a source of its own unless one is named."""
    return [
        HeldOut(f"{kind}{at}", kind, source or f"source{at}", frozenset(range(1000 * at, 1000 * at + size)))  # type: ignore[arg-type]
        for at, size in enumerate(sizes, start={"anchor": 0, "period": 10, "newest": 50}[kind])
    ]


def older_sizes(slices: Sequence[HeldOut], enough: int) -> list[int]:
    """How many keys each group of older slices has, the anchor left out."""
    groups = group_slices([*slices, *held(60, kind="anchor"), *held(60, kind="newest")], MINIMUM, enough=enough)
    return [group.size for group in groups.older if group.kind != "anchor"]


def test_older_slices_are_joined_until_each_group_has_enough() -> None:
    """Not all of them in one, in which harm would be diluted more than has to be."""
    assert older_sizes(held(40, 40, 40, 40, 40, 40), 80) == [80, 80, 80]
    assert older_sizes(held(40, 40, 40, 200), 80) == [120, 200] or older_sizes(held(40, 40, 40, 200), 80) == [
        80 + 40,
        200,
    ]
    assert older_sizes(held(40, 40), 300) == [80]
    assert older_sizes(held(40, 40, 50), 0) == [40, 40, 50]


def test_new_sources_are_joined_alike() -> None:
    """What is judged as the newest text already is not judged again."""
    new = held(40, 40, 40, 40, 10, kind="newest")
    groups = group_slices([*held(60, kind="anchor"), *new], MINIMUM, enough_new=80)
    assert [group.size for group in groups.sources] == [80, 80]
    assert group_slices([*held(60, kind="anchor"), *held(40, 40, kind="newest")], MINIMUM, enough_new=80).sources == ()


sizes = st.lists(st.integers(0, 120), max_size=6)


drawn = st.builds(
    lambda old, new, anchor: [*held(*old), *held(*new, kind="newest"), *held(anchor, kind="anchor")],
    sizes,
    sizes,
    st.integers(0, 80),
)


@given(drawn, st.integers(0, 1000), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_whether_a_round_can_be_judged_does_not_hang_on_what_is_found(
    slices: list[HeldOut], enough: int, enough_new: int, order: object
) -> None:
    """It is foreseen before anything was scored; every older document is in one group, whatever the order."""
    foreseen = all(need.is_met for need in needs(slices, MINIMUM))
    try:
        groups = group_slices(slices, MINIMUM, enough=enough, enough_new=enough_new)
    except InsufficientEvidence:
        assert not foreseen
        return
    assert foreseen
    assert all(group.size >= MINIMUM for group in (groups.newest, *groups.sources, *groups.older))
    judged = [document for group in groups.older for document in sorted(group.documents)]
    assert sorted(judged) == sorted(document for each in slices if each.kind != "newest" for document in each.documents)
    order.shuffle(slices)  # type: ignore[attr-defined]  # a Random
    assert group_slices(slices, MINIMUM, enough=enough, enough_new=enough_new) == groups


DOMAINS = Round(
    "classifier",
    newest=Course(-0.6, 0.2, 0.5),
    older=(Course(0.0, 0.0, 0.05), *[Course(0.0, 0.0, 0.5)] * 6),
    shares=(0.0,),
    flipped=0.0,
)
"""Six older domains of documents that differ by half a nat, and a candidate that did no harm to any."""


def verdict_on(report: Report, keys: int) -> Verdict:
    """What the gate says of it."""
    return judge(report, DOMAINS.slices(keys), known={}, history=[], settings=DOMAINS.settings)


def centred(report: Report, rises: dict[str, float]) -> Report:
    """The report with the mean of each older slice's difference to the parent as it is told."""
    slices = dict(report.slices)
    for name, rise in rises.items():
        rows = slices[name].candidates["0.00"]
        off = nll_difference(rows, slices[name].parent).estimate - rise
        moved = tuple(replace(row, nll=row.nll - off * row.tokens) for row in rows)
        slices[name] = replace(slices[name], candidates={"0.00": moved})
    return replace(report, slices=slices)


def domains(keys: int, **rises: float) -> Report:
    """A report on which each domain stands as it is told, those that are not named as the parent does."""
    names = [each.name for each in DOMAINS.slices(keys) if each.kind == "period"]
    return centred(DOMAINS.report(np.random.default_rng(4), keys), {name: rises.get(name[:8], 0.0) for name in names})


def test_a_harmless_classifier_is_not_unproven_for_ever() -> None:
    """Sixty documents that differ by half a nat cannot rule out 0.08: six domains of them together can."""
    verdict = verdict_on(domains(60), 60)
    assert verdict.decision == "accept", verdict.sentence
    joined = {check.slice for check in verdict.checks if check.name == "parent"}
    assert any(name.count(" + ") == 5 for name in joined)


def test_a_domain_that_is_provably_harmed_is_not_hidden_among_others() -> None:
    """On average over its group the harm keeps the bound."""
    report = domains(60, **{"domain-1": 0.30, "domain-2": -0.3})
    verdict = verdict_on(report, 60)
    assert verdict.decision == "refuse"
    failed = [(check.name, check.slice) for check in verdict.checks if not check.passed]
    assert ("alone", "domain-1@1-1") in failed
    assert "more than the bound of 0.080" in verdict.sentence


def test_a_domain_that_noise_alone_puts_beyond_the_bound_refuses_nothing() -> None:
    """What is not proven is said not to be."""
    verdict = verdict_on(domains(60, **{"domain-1": 0.1, "domain-2": -0.1}), 60)
    assert verdict.decision == "accept", verdict.sentence
    check = next(each for each in verdict.checks if each.name == "alone" and each.slice == "domain-1@1-1")
    assert check.figure > check.bound
    assert "which 60 documents do not prove to be more than the bound of 0.080" in check.sentence()


def test_slices_that_can_prove_the_bound_by_themselves_stay_apart() -> None:
    """A language model's documents differ by a tenth of a nat: as before, one slice after another."""
    plain = replace(DOMAINS, kind="causal-lm", older=(Course(0.0, 0.0, 0.05), *[Course(0.0, 0.0, 0.08)] * 3))
    report = plain.report(np.random.default_rng(1), 60)
    verdict = judge(report, plain.slices(60), known={}, history=[], settings=plain.settings)
    assert all("+" not in check.slice for check in verdict.checks if check.name == "parent")
    assert all(check.name != "alone" for check in verdict.checks)


def test_keys_are_counted_where_documents_share_them() -> None:
    """Ten documents of one key prove hardly more than one."""
    slice_ = held(400)[0]
    keyed = replace(slice_, keys={id_: id_ // 10 * 10 for id_ in slice_.documents if id_ % 10})
    assert Group("x", "period", (keyed,)).size == 40
    assert older_sizes([keyed, *held(300)[:0]], 80) == [40]
    scores = [DocumentScore(id_, 1.0, 1) for id_ in sorted(keyed.documents)]
    assert len(nll_difference(scores, scores, keyed.keys).keys) == 40
