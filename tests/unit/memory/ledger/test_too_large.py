"""Micro-batches that were too large: noted by conditions, forgotten when one fits, bounded."""

from pathlib import Path

from memory.ledger.records import TooLarge
from memory.ledger.too_large import KEPT
from tests.unit.memory.helpers import NOW, open_store


def test_what_was_too_large_is_counted_and_certainty_stays(tmp_path: Path) -> None:
    """It outlives a restart."""
    with open_store(tmp_path / "a.db") as store:
        store.rounds.note_too_large("here", 16, certain=True, number=1)
        store.rounds.note_too_large("here", 16, certain=False, number=2)
    with open_store(tmp_path / "a.db") as store:
        assert store.rounds.too_large() == [TooLarge("here", 16, 2, certain=True, round=2, at=NOW)]


def test_a_size_that_fits_takes_back_what_was_noted_of_it_and_of_smaller_ones(tmp_path: Path) -> None:
    """Under its own conditions alone."""
    with open_store(tmp_path / "a.db") as store:
        for conditions in ("here", "there"):
            for size in (4, 8, 16):
                store.rounds.note_too_large(conditions, size, certain=False, number=1)
        store.rounds.note_fits("here", 8)
        noted = {(note.conditions, note.micro_batch) for note in store.rounds.too_large()}
        assert noted == {("here", 16), ("there", 4), ("there", 8), ("there", 16)}


def test_the_latest_notes_stay(tmp_path: Path) -> None:
    """However often something is another."""
    with open_store(tmp_path / "a.db") as store:
        for number in range(KEPT + 10):
            store.rounds.note_too_large(f"machine {number}", 16, certain=True, number=number)
        numbers = {note.round for note in store.rounds.too_large()}
        assert numbers == set(range(10, KEPT + 10))
