"""Records with an input and its target, for a model that reads one text to write another."""

import json
from typing import Any

import pytest

from streams.chats import learned_text, split_pair
from streams.decoding.decode import Decoder
from streams.decoding.needs import TEXT_ALONE, RecordNeeds
from streams.document import Document, Partition, Reason, Rejection
from streams.topic_settings import TopicFormat

PAIRS = RecordNeeds(pairs=True)
PAIR = {"input": "What is it?", "target": "It is a river."}


def decoded(record: Any, *, needs: RecordNeeds = PAIRS, **fields: Any) -> Document | Rejection:
    """What becomes of a record."""
    decoder = Decoder(TopicFormat.model_validate(fields), "pairs", max_record_bytes=1 << 20, needs=needs)
    return decoder.decode(json.dumps(record).encode(), b"k", None, Partition("pairs", 0), 3, 1.0)


def test_input_and_target_become_a_pair() -> None:
    """One text of both, of which the target is learned; key and time are a document's."""
    pair = decoded({**PAIR, "who": 4711, "at": 1.0e9}, key_field="who", time_field="at")
    assert isinstance(pair, Document)
    assert (pair.text, pair.key, pair.event_time) == ("What is it?\n\nIt is a river.", "4711", 1.0e9)
    assert split_pair(pair.text, pair.turns) == ("What is it?", "It is a river.")
    assert learned_text(pair.text, pair.turns) == "It is a river."


def test_the_fields_may_be_called_otherwise() -> None:
    """As the settings name them, also within objects."""
    record = {"q": {"text": "one"}, "a": "two"}
    pair = decoded(record, input_field="q.text", target_field="a")
    assert isinstance(pair, Document)
    assert split_pair(pair.text, pair.turns) == ("one", "two")


@pytest.mark.parametrize(
    ("record", "reason", "named"),
    [
        ({"text": "A text alone."}, Reason.MISSING_FIELD, "input"),
        ({"input": "one"}, Reason.MISSING_FIELD, "target"),
        ({"input": "one", "target": None}, Reason.MISSING_FIELD, "target"),
        ({"input": 5, "target": "two"}, Reason.WRONG_TYPE, "input"),
        ({"input": " ", "target": "two"}, Reason.EMPTY_TEXT, "input"),
        ({"input": "one", "target": "\n"}, Reason.EMPTY_TEXT, "target"),
        ({"messages": [{"role": "user", "content": "x"}]}, Reason.MISSING_FIELD, "input"),
        (["one", "two"], Reason.NOT_AN_OBJECT, "an array"),
    ],
)
def test_what_is_no_pair_is_a_dead_letter_that_says_why(record: Any, reason: Reason, named: str) -> None:
    """And by which field."""
    found = decoded(record)
    assert not isinstance(found, Document)
    assert (found[0], named in found[1]) == (reason, True), found


def test_plain_text_has_no_two_parts() -> None:
    """Every record of such a topic is a dead letter."""
    found = decoded("one", format="text")
    assert (found[0], "plain text has none" in str(found[1])) == (Reason.MISSING_FIELD, True)


def test_other_models_take_texts_as_before() -> None:
    """A record with these fields beside a text is that text, and without one it lacks it."""
    document = decoded({**PAIR, "text": "The river."}, needs=TEXT_ALONE)
    assert isinstance(document, Document)
    assert (document.text, document.turns) == ("The river.", None)
    assert decoded(PAIR, needs=TEXT_ALONE)[0] is Reason.MISSING_FIELD
