"""The daemon's note on a round: what is written is read back, and what is broken names its field."""

from pathlib import Path

import pytest

from checkpoints.card import DataRange
from daemon.rounds.record import DRAW, BadRecord, RoundRecord
from gate.held_out import HeldOut

NOTE = RoundRecord(
    number=3,
    parent=2,
    base=0,
    dry_run=False,
    approved=True,
    slices=(HeldOut("anchor", "anchor", "", frozenset({7, 5}), frozenset({"calm"})),),
    data=DataRange(offsets={"news/0": (1, 9)}, first_time=5.0, last_time=6.0, samples=2, tokens=8),
)
WRITTEN_BEFORE = """{"number": 3, "parent": 2, "base": 0, "dry_run": false, "approved": true, "slices": [
{"name": "anchor", "kind": "anchor", "source": "", "documents": [5, 7]%s}],
"data": {"offsets": {"news/0": [1, 9]}, "first_time": 5.0,
"last_time": 6.0, "samples": 2, "tokens": 8, "replayed_samples": 0, "labels": {}, "replayed_labels": {}}}"""


def test_a_note_is_read_back(tmp_path: Path) -> None:
    """Whole, and the same bytes each time."""
    NOTE.write(tmp_path)
    assert RoundRecord.read(tmp_path) == NOTE
    written = (tmp_path / DRAW).read_bytes()
    RoundRecord.read(tmp_path).write(tmp_path)
    assert (tmp_path / DRAW).read_bytes() == written


@pytest.mark.parametrize(("labels", "read"), [(', "labels": ["calm"]', frozenset({"calm"})), ("", frozenset())])
def test_what_the_version_before_wrote_is_read(tmp_path: Path, labels: str, read: frozenset[str]) -> None:
    """Also a round from before slices had labels."""
    (tmp_path / DRAW).write_text(WRITTEN_BEFORE % labels)
    note = RoundRecord.read(tmp_path)
    assert (note.data, note.slices[0].documents, note.slices[0].labels) == (NOTE.data, NOTE.slices[0].documents, read)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "the draw is not JSON"),
        ("[]", "draw is an array, not an object"),
        ('{"number": 3}', "draw.parent is missing"),
        (WRITTEN_BEFORE % ', "labels": "calm"', "draw.slices[0].labels is text, not an array"),
        (WRITTEN_BEFORE.replace("[5, 7]%s", '[5, "7"]'), "draw.slices[0].documents[1] is text, not a whole number"),
    ],
)
def test_what_is_no_note_names_its_field(tmp_path: Path, content: str, said: str) -> None:
    """With the file that it stands in."""
    (tmp_path / DRAW).write_text(content)
    with pytest.raises(BadRecord) as error:
        RoundRecord.read(tmp_path)
    assert said in str(error.value)
    assert DRAW in str(error.value)


def test_no_note_is_said(tmp_path: Path) -> None:
    """A directory that lacks it is no round of this daemon."""
    with pytest.raises(BadRecord, match=r"draw\.json cannot be read"):
        RoundRecord.read(tmp_path)
