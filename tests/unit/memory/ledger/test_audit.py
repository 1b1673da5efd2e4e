"""The audit log: lines come with what they tell of, stay as they are, and are bounded."""

from pathlib import Path
from typing import Any

import pytest

from memory.ledger.history.canaries import CanaryPlan
from memory.store import Store
from tests.unit.memory.helpers import Stream, accept, begin, open_store, round_of, text


def lines(store: Store) -> list[tuple[str, str, dict[str, Any]]]:
    """What, who and detail of each, oldest first."""
    return [(line.what, line.who, dict(line.detail)) for line in reversed(store.audit.latest())]


def watch(store: Store, stream: Stream) -> int:
    """A round whose generation is watched."""
    at = stream.offset
    store.append(stream.of([text(n) for n in range(at, at + 60)]))
    return accept(store, begin(store), canary=CanaryPlan("canary", 0.25))


def test_what_served_when_can_be_told(store: Store, stream: Stream) -> None:
    """From the base on, through a round, a canary that went back, one that was promoted, and a rollback."""
    round_of(store, stream, [text(n) for n in range(60)])
    watch(store, stream)
    store.canaries.roll_back(2, by="its watch")
    watch(store, stream)
    store.canaries.promote(3, by="its watch")
    store.generations.rollback(1, by="ada@host")
    assert lines(store) == [
        ("serves", "the daemon", {"generation": 0, "before": None}),
        ("serves", "the daemon", {"generation": 1, "before": 0, "round": 1}),
        ("watched", "the daemon", {"generation": 2, "beside": 1, "mode": "canary", "share": 0.25, "round": 2}),
        ("taken_back", "its watch", {"generation": 2, "beside": 1}),
        ("watched", "the daemon", {"generation": 3, "beside": 1, "mode": "canary", "share": 0.25, "round": 3}),
        ("serves", "its watch", {"generation": 3, "before": 1}),
        ("serves", "ada@host", {"generation": 1, "before": 3}),
    ]


def test_to_whom_it_was_a_canary_stands_beside_what_came_of_it(store: Store, stream: Stream) -> None:
    """By the names of API keys: those with most requests, how many others, and all without a key as one."""
    round_of(store, stream, [text(n) for n in range(60)])
    askers = {f"key-{number:02}": number for number in range(1, 13)} | {"": 50, "(others)": 7}
    for number, end in ((2, store.canaries.roll_back), (3, store.canaries.promote)):
        watch(store, stream)
        store.canaries.note(number, {"askers": askers}, {})
        end(number, by="its watch")
    told = [detail for what, who, detail in lines(store) if who == "its watch"]
    assert [detail["answered_to"] for detail in told] == [
        {"": 50, **{f"key-{number:02}": number for number in range(12, 3, -1)}}
    ] * 2
    assert {(detail["other_keys"], detail["other_requests"]) for detail in told} == {(4, 3 + 2 + 1 + 7)}


def test_pages_go_back_from_the_newest(store: Store) -> None:
    """By id, as other lists do."""
    for number in range(5):
        store.audit.note("pause_rounds", {"number": number}, who="ada@host")
    first = store.audit.latest(limit=2)
    assert [line.detail["number"] for line in first] == [4, 3]
    assert [line.detail["number"] for line in store.audit.latest(limit=2, before=first[-1].id)] == [2, 1]


def test_a_line_never_changes(store: Store) -> None:
    """The database itself refuses."""
    with pytest.raises(Exception, match="a line of the audit log"), store.file.database.write() as tx:
        tx.execute("UPDATE audit SET who = 'somebody else'")


def test_the_oldest_lines_go_beyond_the_bound(tmp_path: Path) -> None:
    """And numbers are not given again."""
    with open_store(tmp_path / "bounded.db", audit_rows=1_000) as store:
        for number in range(1_010):
            store.audit.note("pause_rounds", {"number": number}, who="ada@host")
        kept = store.audit.latest(limit=5_000)
        assert len(kept) == 1_000
        assert kept[0].detail["number"] == 1_009
        assert kept[0].id == kept[-1].id + 999
