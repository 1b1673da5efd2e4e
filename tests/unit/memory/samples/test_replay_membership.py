"""Who stays in replay: allowances, uniformity, eras."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memory.identity.fingerprints import priorities
from memory.samples.replay_membership import Amount, RoundSpan, Stratum, allowances, merge_eras, too_many

HELD = st.dictionaries(
    st.builds(Stratum, st.integers(1, 4), st.integers(0, 5), st.integers(0, 3)),
    st.builds(Amount, st.integers(0, 50), st.integers(0, 5_000)),
    max_size=20,
)


@given(HELD, st.builds(Amount, st.integers(0, 200), st.integers(0, 20_000)), st.integers(1, 60))
def test_allowances_keep_budgets_and_quotas(held: dict[Stratum, Amount], budget: Amount, quota: int) -> None:
    """In samples, in bytes, and for each source."""
    allowed = allowances(held, budget, quota)
    assert sum(amount.samples for amount in allowed.values()) <= budget.samples
    assert sum(amount.bytes for amount in allowed.values()) <= budget.bytes
    for source in {stratum.source for stratum in held}:
        own = [amount.samples for stratum, amount in allowed.items() if stratum.source == source]
        assert sum(own) <= quota


@given(HELD, st.integers(1, 200))
def test_no_era_dies_out(held: dict[Stratum, Amount], budget: int) -> None:
    """An era of a source keeps something wherever its source's share has room for each of its eras."""
    allowed = allowances(held, Amount(budget, 10**9), 10**9)
    for source in {stratum.source for stratum in held}:
        own = {stratum: held[stratum].samples for stratum in held if stratum.source == source}
        eras = {stratum.era for stratum, samples in own.items() if samples}
        kept = sum(allowed[stratum].samples for stratum in own)
        if kept >= len(eras):
            assert {stratum.era for stratum in own if allowed[stratum].samples} == eras


@given(
    st.lists(st.integers(1, 100), max_size=30),
    st.integers(0, 30),
    st.integers(0, 2_000),
)
def test_a_stratum_gives_up_no_more_than_it_must(sizes: list[int], samples: int, size: int) -> None:
    """What is left fits, and with the last one given up it would not."""
    held, allowed = Amount(len(sizes), sum(sizes)), Amount(samples, size)
    leaving = too_many(held, allowed, enumerate(sizes))
    left = sizes[len(leaving) :]
    assert leaving == list(range(len(leaving)))
    assert len(left) <= samples
    assert sum(left) <= size
    if leaving:
        before = sizes[len(leaving) - 1 :]
        assert len(before) > samples or sum(before) > size


def test_the_reservoir_is_uniform() -> None:
    """Ten of each of 4,000 streams of 100: each place is kept equally often (chi-square of 99, p = 0.9999)."""
    kept: Counter[int] = Counter()
    for stream in range(4_000):
        order = priorities(np.arange(100), salt=stream)
        falling = sorted(range(100), key=lambda n: -order[n])
        gone = set(too_many(Amount(100, 100), Amount(10, 100), [(n, 1) for n in falling]))
        kept.update(set(range(100)) - gone)
    expected = 4_000 * 10 / 100
    # Ten of a hundred without replacement: the counts vary by (1 - 1/10) of what independent draws would.
    statistic = sum((kept[n] - expected) ** 2 / (expected * 0.9) for n in range(100))
    assert statistic < 161


@given(st.integers(1, 60), st.integers(2, 8), st.booleans())
def test_eras_are_merged_down_to_their_bound_and_cover_all_rounds(rounds: int, most: int, before: bool) -> None:
    """RoundSpan by era as rounds settle: never too many, no gap, and the one from before the stream stays."""
    eras = [RoundSpan(0, 0)] if before else []
    for number in range(1, rounds + 1):
        eras.append(RoundSpan(number, number))
        for one, two in merge_eras(eras, most):
            assert one.last + 1 == two.first
            eras = [era for era in eras if era not in (one, two)] + [RoundSpan(one.first, two.last)]
        eras.sort()
        assert len(eras) <= most
    own = [era for era in eras if era.first]
    assert own[0].first == 1
    assert own[-1].last == rounds
    assert all(one.last + 1 == two.first for one, two in pairwise(own))
    assert (RoundSpan(0, 0) in eras) == before


def test_eras_stay_about_as_long_as_each_other() -> None:
    """After a thousand rounds the longest of eight is at most four times the median."""
    eras: list[RoundSpan] = []
    for number in range(1, 1_001):
        eras.append(RoundSpan(number, number))
        for one, two in merge_eras(eras, 8):
            eras = sorted([era for era in eras if era not in (one, two)] + [RoundSpan(one.first, two.last)])
    lengths = sorted(era.last - era.first + 1 for era in eras)
    assert lengths[-1] <= 4 * lengths[len(lengths) // 2]
