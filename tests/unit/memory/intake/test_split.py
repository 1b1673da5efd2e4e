"""The split: how much is held out follows what the gate needs, and no group ever changes its side."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.identity.fingerprints import Bools, UInt64s
from memory.intake.split import Offered, Splitter
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Partition
from tests.unit.memory.helpers import Stream, accept, begin, open_store, text

ROUND = 800
FOR_A_LANGUAGE_MODEL = 54
FOR_A_CLASSIFIER = 144
MINIMUM = 36


def held_in_periods(store: Store, periods: Sequence[int], *, source: str = "news", keys: int = 0) -> list[int]:
    """How many groups are held out of each period's documents; a round is accepted after each of them.

    Args:
        store: where they are put.
        periods: how many documents each brings.
        source: of theirs.
        keys: how many keys they have in each period, all of them new; 0: none has one.
    """
    stream, held, number = Stream(), [], 0
    for period, documents in enumerate(periods):
        before = groups_held(store)
        for start in range(0, documents, 100):
            numbers = range(number + start, number + min(start + 100, documents))
            named = [f"{period} {n % keys}" for n in numbers] if keys else None
            store.append(stream.of([text(n) for n in numbers], source=source, keys=named))
        number += documents
        held.append(groups_held(store) - before)
        accept(store, begin(store))
    return held


def give_an_anchor(store: Store) -> None:
    """Text from before the stream, so that the anchor takes nothing of what comes."""
    before = Stream(Partition("before", 0))
    store.append(before.of([text(-n) for n in range(1, 1_200)], source="before"), before_stream=True)


def groups_held(store: Store) -> int:
    """Different keys of all held-out samples, where they have some."""
    with store.file.database.read() as tx:
        rows = tx.execute("SELECT count(DISTINCT coalesce(key_hash, 'sample ' || id)) FROM samples WHERE role = 4")
        return int(rows.fetchone()[0])


@pytest.mark.parametrize("keys", [0, 400])
@pytest.mark.parametrize(("asked", "least"), [(FOR_A_LANGUAGE_MODEL, MINIMUM), (FOR_A_CLASSIFIER, 120)])
def test_every_period_of_a_small_source_can_be_judged(tmp_path: Path, asked: int, least: int, keys: int) -> None:
    """Four rounds of 800 documents, of which a share of 5 % holds out too few to prove anything."""
    with open_store(tmp_path / "a.db", slice_documents=512) as store:
        store.ask_for_held_out(asked)
        held = held_in_periods(store, [ROUND] * 4, keys=keys)
    reachable = 0.2 * (keys or ROUND)
    assert all(min(least, 0.8 * reachable) <= number <= 0.25 * (keys or ROUND) for number in held)


def test_without_being_asked_the_least_share_is_held_out(tmp_path: Path) -> None:
    """As before there was a need to follow: 5 % of everything."""
    with open_store(tmp_path / "a.db") as store:
        assert sum(held_in_periods(store, [ROUND] * 2)) < 0.07 * 2 * ROUND


def test_a_large_source_goes_down_to_the_least_share(tmp_path: Path) -> None:
    """What is needed is soon there: after it no more is held out than always, and so in the periods that follow."""
    with open_store(tmp_path / "a.db", slice_documents=4_000) as store:
        give_an_anchor(store)
        store.ask_for_held_out(FOR_A_LANGUAGE_MODEL)
        first, second = held_in_periods(store, [3_000] * 2)
        assert store.held_out_shares()["news"] == 0.05
    assert 0.04 * 3_000 < second < 0.06 * 3_000
    assert second < first < 0.09 * 3_000


def test_a_steady_source_is_held_out_evenly(tmp_path: Path) -> None:
    """From its second period on the share is the same for the first document and for the last."""
    with open_store(tmp_path / "a.db", slice_documents=512) as store:
        give_an_anchor(store)
        store.ask_for_held_out(FOR_A_CLASSIFIER)
        held_in_periods(store, [ROUND])
        shares = []
        stream = Stream()
        stream.offset = ROUND
        for start in range(0, ROUND, 200):
            store.append(stream.of([text(n) for n in range(10_000 + start, 10_200 + start)]))
            shares.append(store.held_out_shares()["news"])
    assert shares == pytest.approx([FOR_A_CLASSIFIER / ROUND] * 4, rel=0.15)
    assert all(later <= earlier for earlier, later in pairwise(shares))


def test_sources_too_small_to_be_judged_alone_give_what_is_needed_together(tmp_path: Path) -> None:
    """Forty sources of 40 documents: held out of each as though it were alone, a fifth of all text were not trained."""
    with open_store(tmp_path / "a.db", slice_documents=512) as store:
        give_an_anchor(store)
        store.ask_for_held_out(FOR_A_LANGUAGE_MODEL)
        stream, before = Stream(), groups_held(store)
        for start in range(0, 1_600, 40):
            numbers = range(start, start + 40)
            store.append(stream.batch([stream.documents([text(n)], source=f"s{n % 40}")[0] for n in numbers]))
        held, shares = groups_held(store) - before, store.held_out_shares()
    assert FOR_A_LANGUAGE_MODEL <= held < 0.12 * 1_600
    assert {share for source, share in shares.items() if source != "before"} == {0.05}


class Splits:
    """A splitter over a store, to which groups arrive; what it says is compared with what it said before."""

    def __init__(self, path: Path) -> None:
        self.store = open_store(path)
        self.sides: dict[int, bool] = {}
        self.restart(0.05, 0.2)

    def restart(self, least: float, most: float) -> None:
        """As after a restart with other settings."""
        how = {"remembered_sides": 1_000, "holdout_share": least, "holdout_share_most": most}
        self.splitter, self.is_new = Splitter(MemorySettings(**how)), True

    def arrive(self, groups: UInt64s, source: int) -> Bools:
        """Split them, and see that each stays where it is."""
        hashes, keyed = groups.view(np.int64), np.ones(len(groups), bool)
        offered = Offered(hashes, keyed, groups, groups, np.full(len(groups), source, np.int64))
        with self.store.file.database.write() as tx:
            if self.is_new:
                self.splitter.load(tx)
            self.is_new = False
            held = self.splitter.split(tx, offered, before_stream=False)
        for group, is_held in zip(groups.tolist(), held.tolist(), strict=True):
            assert self.sides.setdefault(group, is_held) == is_held
        return held


ARRIVALS = st.lists(
    st.tuples(
        st.integers(1, 3),  # source
        st.integers(0, 400),  # keys asked for
        st.integers(0, 9).map(lambda start: 700 * start),  # the first of the groups that come
        st.integers(1, 2_000),  # how many of them
        st.sampled_from([None, None, (0.05, 0.2), (0.01, 0.5), (0.3, 0.1), (0.5, 0.5)]),  # a restart with settings
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ARRIVALS)
def test_no_group_changes_its_side(
    tmp_path_factory: pytest.TempPathFactory,
    arrivals: list[tuple[int, int, int, int, tuple[float, float] | None]],
) -> None:
    """Whatever is asked, in whatever order they come, over restarts, other settings, and bounds on what is known."""
    groups = np.random.default_rng(5).integers(0, 2**64, 8_500, np.uint64)
    splits = Splits(tmp_path_factory.mktemp("store") / "a.db")
    with splits.store:
        for source, asked, start, count, restarted in arrivals:
            splits.store.ask_for_held_out(asked)
            if restarted is not None:
                splits.restart(*restarted)
            splits.arrive(groups[start : start + count], source)
        with splits.store.file.database.read() as tx:
            remembered = tx.execute("SELECT coalesce(sum(length(hashes) / 8), 0) FROM sides").fetchone()[0]
    # Its slack, and the batch that went beyond it.
    assert remembered <= 1_100 + 2_000


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 700), min_size=1, max_size=8), st.integers(1, 200))
def test_where_batches_begin_decides_nothing(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], asked: int
) -> None:
    """What is delivered again after a crash, in other batches, falls on the side that it fell on before."""
    groups = np.random.default_rng(6).integers(0, 2**64, sum(lengths), np.uint64)
    sides = []
    for cuts in ([len(groups)], lengths):
        splits = Splits(tmp_path_factory.mktemp("store") / "a.db")
        with splits.store:
            splits.store.ask_for_held_out(asked)
            ends = np.cumsum(cuts)
            parts = [splits.arrive(groups[end - cut : end], 1) for cut, end in zip(cuts, ends, strict=True)]
        sides.append(np.concatenate(parts))
    assert (sides[0] == sides[1]).all()


def test_a_key_stays_trained_on_in_a_source_that_needs_more(tmp_path: Path) -> None:
    """Of a large source most keys are trained on; where they write in a small one too, none of that is held out."""
    keys = [f"k{n}" for n in range(2_000)]
    stream = Stream()
    with open_store(tmp_path / "a.db", key_quota=10, slice_documents=4_000) as store:
        store.append(stream.of([text(n) for n in range(2_000)], source="large", keys=keys))
        store.ask_for_held_out(FOR_A_CLASSIFIER)
        store.append(stream.of([text(n) for n in range(5_000, 5_600)], source="small", keys=keys[:600]))
        store.append(
            stream.of([text(n) for n in range(6_000, 6_600)], source="new", keys=[f"n{n}" for n in range(600)])
        )
        with store.file.database.read() as tx:
            sides = tx.execute("SELECT key_hash, count(DISTINCT role) FROM samples GROUP BY key_hash").fetchall()
            held = dict(
                tx.execute(
                    "SELECT o.name, count(*) FROM samples s JOIN sources o ON o.id = s.source WHERE role = 4 GROUP BY 1"
                )
            )
    assert {roles for _, roles in sides} == {1}
    assert held["small"] < 0.08 * 600
    assert held["new"] > 0.15 * 600
