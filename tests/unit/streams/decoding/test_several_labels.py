"""Several labels of a document are one label: read from a list, equal where the sets are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.decoding.decode import Decoder
from streams.decoding.needs import RecordNeeds
from streams.decoding.several_labels import LabelSet, is_set, members, write_set
from streams.document import Document, Partition, Reason
from streams.topic_settings import TopicFormat

LABELS = LabelSet({"calm", "flood", "1", "true"})


def decoded(value: object) -> Document | tuple[Reason, str]:
    """A record with a text and this in the field of labels."""
    decoder = Decoder(TopicFormat(label_field="labels"), "s", needs=RecordNeeds(LABELS), max_record_bytes=10_000)
    record = json.dumps({"text": "The river rises.", "labels": value}).encode()
    return decoder.decode(record, None, 12.5, Partition("t", 0), 7, 99.0)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (["flood", "calm"], '["calm","flood"]'),
        (["calm", "flood", "calm"], '["calm","flood"]'),
        ([], "[]"),
        ("calm", '["calm"]'),
        ([1, 1.0, True], '["1","true"]'),
    ],
)
def test_a_list_of_labels_is_taken(value: object, label: str) -> None:
    """In any order; none that fits is an answer too."""
    document = decoded(value)
    assert isinstance(document, Document)
    assert document.label == label


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.MISSING_FIELD),
        (["calm", "frost"], Reason.UNKNOWN_LABEL),
        (["calm", None], Reason.MISSING_FIELD),
        ([["calm"]], Reason.WRONG_TYPE),
        ({"calm": True}, Reason.WRONG_TYPE),
        ([""], Reason.WRONG_TYPE),
    ],
)
def test_what_is_no_list_of_known_labels_is_a_dead_letter(value: object, reason: Reason) -> None:
    """With the reason of the first that is none."""
    found = decoded(value)
    assert isinstance(found, tuple)
    assert found[0] is reason


@given(st.sets(st.text(max_size=20)))
def test_a_set_of_labels_is_read_back(names: set[str]) -> None:
    """Whatever the names."""
    names = {name for name in names if not any("\ud800" <= letter <= "\udfff" for letter in name)}
    assert members(write_set(names)) == names


@given(st.text(max_size=20).filter(lambda name: not name.startswith("[")))
def test_a_label_alone_stands_for_itself(name: str) -> None:
    """As does one that only looks like a list."""
    assert members(name) == {name}
    assert members("[calm") == {"[calm"}
    assert members(None) == frozenset()


@pytest.mark.parametrize(
    ("label", "expected"),
    [(write_set(["b", "a"]), True), ("[]", True), ("calm", False), ("[calm]", False), ("", False), (None, False)],
)
def test_a_set_is_told_from_a_label(label: str | None, *, expected: bool) -> None:
    """A label whose name begins like a list is one all the same."""
    assert is_set(label) is expected
