"""Which of two generations' answers people found the better: counted by pair and person, bounded, and noted."""

import pytest

from memory.ledger.history import picks
from memory.ledger.history.picks import PickCounts
from memory.store import Store


def test_picks_are_counted_by_pair_and_person_whatever_the_pairs_order(store: Store) -> None:
    """The pair that was picked from last comes first; each pick is a line of the audit log."""
    for pair, won, who in (((2, 5), 5, "ada"), ((5, 2), 2, "ada"), ((2, 5), None, "bob"), ((1, 2), 1, "bob")):
        store.picks.note(pair, won, who=who)
    now = store.file.clock()
    ada, bob = PickCounts(2, 5, "ada", 1, 1, 0, now), PickCounts(2, 5, "bob", 0, 0, 1, now)
    assert store.picks.counts() == [PickCounts(1, 2, "bob", 1, 0, 0, now), bob, ada]
    assert store.picks.counts((5, 2)) == [bob, ada]
    assert store.picks.counts((1, 5)) == []
    line = store.audit.latest(limit=1)[0]
    assert (line.what, line.who, line.detail) == ("picked", "bob", {"first": 1, "second": 2, "won": 1})


def test_the_oldest_go_beyond_the_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is bounded."""
    monkeypatch.setattr(picks, "ROWS_KEPT", 3)
    for won in (1, 1, 2, 2, 2):
        store.picks.note((1, 2), won, who="ada")
    (counted,) = store.picks.counts()
    assert (counted.first_better, counted.second_better) == (0, 3)
