"""Times by their size or as ISO 8601; what lies in no year of a text is refused with its year."""

import json
from typing import Any

import pytest
from kafka.structs import TopicPartition

from streams.chunk import Chunk
from streams.decoding import times
from streams.decoding.decode import Decoder
from streams.document import Document, Partition, Reason
from streams.reading import PartitionRead, PartitionReader
from streams.topic_settings import TopicFormat

AT = 1712113012.0
HERE = Partition("t", 0)


def at(value: object, timestamp: int = -1, **fields: Any) -> float | str | None:
    """The time of a record's document, or why there is none."""
    format_ = TopicFormat.model_validate({"time_field": "at", **fields})
    reader = PartitionReader(HERE, Decoder(format_, "t", max_record_bytes=1000), 0, 1000)
    part = PartitionRead(HERE, 0)
    record = {"text": "The river rose."} | ({} if value is None else {"at": value})
    reader.read(Chunk(TopicPartition("t", 0), 0, 1, [(0, timestamp, None, json.dumps(record).encode())]), part, 99.0)
    if part.dead_letters:
        assert part.dead_letters[0].reason is Reason.BAD_TIME
        return part.dead_letters[0].detail
    (document,) = part.documents
    assert isinstance(document, Document)
    return document.event_time


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1712113012, AT),
        (1712113012345, AT + 0.345),
        (1712113012345678, AT + 0.345678),
        (1712113012345678900, AT + 0.3456789),
        (1.712113012e9, AT),
        ("1712113012", AT),
        ("1712113012345", AT + 0.345),
        ("1712113012345678", AT + 0.345678),
        ("1712113012345678900", AT + 0.3456789),
        (" 1712113012.345 ", AT + 0.345),
        ("1.712113012345e12", AT + 0.345),
        ("-5680195200", -5680195200.0),
        ("-5680195200000", -5680195200.0),
        ("2024-04-03T02:56:52Z", AT),
        ("20240403T025652Z", AT),
        ("20240403025652", AT),
        (20240403025652, AT),
        ("20240403", 1712102400.0),
        (20240403, 1712102400.0),
        ("1066-10-14", -28502755200.0),
        (0, 0.0),
        (20240403.0, 1712102400.0),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("20161231T235960,5Z", 1483228800.5),
        ("2017-01-01T00:59:60.25+01:00", 1483228800.25),
        ("2024-04-02T24:00:00Z", 1712102400.0),
        ("2024-04-02 24:00", 1712102400.0),
        ("2024-094", 1712102400.0),
        ("2024-094T02:56:52Z", AT),
        ("2024-366", 1735603200.0),
        ("2024-04-03t02:56:52z", AT),
        ("2024-04-03T00:56:52\u221202:00", AT),
        ("2024-04-03 02:56:52 UTC", AT),
        ("2024-04-03T02:56:52GMT", AT),
        ("2024-04-03T04:56:52+02:00[Europe/Berlin]", AT),
        ("2024-04-03T04:56:52,345+0200", AT + 0.345),
    ],
)
def test_unix_time_is_known_by_its_size_in_numbers_and_in_digits(value: object, seconds: float) -> None:
    """In each of its units; a date without anything between is a date."""
    assert at(value) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("9999-12-31", "in the year 9999"),
        ("0001-01-01T00:00:00Z", "in the year 1"),
        (-62135596800, "in the year 1"),
        ("99999999999", "in the year 5138"),
        (7.5e18, "in the year 2207"),
        (10**40, "more than a million years"),
        ("2024", "too few digits"),
        ("12", "too few digits"),
        ("9999-01-01", "in the year 9999"),
        (20240431, "is none"),
        ("20240431", "is none"),
        (20241301.0, "is none"),
        (202404031011, "milliseconds of the 1970s"),
        ("202404031011", "milliseconds of the 1970s"),
        (-(2**63), "stands for no time"),
        (str(-(2**63)), "stands for no time"),
        ("2024-04-02T24:00:01Z", "ISO 8601"),
        ("2024-04-02T10:11:60Z", "ISO 8601"),
        ("2023-366", "ISO 8601"),
        ("2024-000", "ISO 8601"),
        ("１７１２１１３０１２", "ISO 8601"),
        ("yesterday", "ISO 8601"),
        ("1712113012 ms", "ISO 8601"),
        ("", "ISO 8601"),
        (True, "ISO 8601"),
    ],
)
def test_what_no_text_is_from_is_refused_with_its_year(value: object, told: str) -> None:
    """Zero times and ends of time of other systems, other units, years."""
    found = at(value)
    assert isinstance(found, str)
    assert "field at" in found
    assert told in found


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        (1712113012345, AT + 0.345),
        (1712113012345678, AT + 0.345678),
        (1712113012345678900, AT + 0.3456789),
        (1712113012, AT),
        (1500, 1.5),
        (-1, None),
    ],
)
def test_a_records_own_timestamp_is_known_by_its_size(timestamp: int, seconds: float | None) -> None:
    """Some producers write seconds, micro- or nanoseconds where Kafka wants milliseconds."""
    assert at(None, timestamp) == (seconds if seconds is None else pytest.approx(seconds, abs=1e-5))
    assert at(None, timestamp, time_field=None) == (seconds if seconds is None else pytest.approx(seconds, abs=1e-5))


def test_an_implausible_timestamp_is_refused_unless_a_field_tells_the_time() -> None:
    """It is told that it is the record's own."""
    beyond = 20_000_000_000_000
    found = at(None, beyond)
    assert isinstance(found, str)
    assert found.startswith("the record's own timestamp is a time in the year 2603")
    assert at("2024-04-03T02:56:52Z", beyond) == AT


def test_the_years_that_count_are_those_that_are_told() -> None:
    """The bounds of the message are the bounds of the check."""
    assert at("2199-12-31T23:59:59") == times.LATEST - 1
    assert at("1000-01-01") == times.EARLIEST
