"""Bytes to a document, or the reason why not. Nothing here raises, whatever the bytes are."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson

from streams.document import Document, Partition, Reason, key_text
from streams.filters import rejected
from streams.settings import FilterSettings, TopicFormat

Rejection = tuple[Reason, str]
"""Why there is no document, and the particulars for a person. Of the record it holds at most an unknown label."""

BOM = b"\xef\xbb\xbf"
MILLISECONDS_FROM = 1e11
"""A time with a larger number than this is in milliseconds: in seconds it would be the year 5138."""
YEAR_1, YEAR_10000 = -62_135_596_800, 253_402_300_800
SHOWN_CHARACTERS = 40
SHOWN_LABELS = 10
LONGEST_NAME = 128
"""Characters of a source or a label; they become metric labels and class names."""
MOST_KEYS = 100
"""Of bytes that are no JSON so many keys are taken at most; nearly all have one."""

_NOT_A_NUMBER = re.compile(r"-?\s*(nan|inf)", re.IGNORECASE)
_ORJSON_SAYS = {
    "depth": Reason.TOO_DEEP,
    "surrogate": Reason.LONE_SURROGATE,
    "infinity": Reason.BAD_NUMBER,
}
_MISSING = object()
_JSON_TYPES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Decoder:
    """Turns the records of one partition into documents.

    Args:
        format_: what a record is.
        default_source: the source of documents that name none.
        labels: the labels there are, one of which each document must have; None where documents need none and any
            is taken.
    """

    def __init__(
        self,
        format_: TopicFormat,
        default_source: str,
        *,
        labels: frozenset[str] | None = None,
        filters: FilterSettings | None = None,
        max_record_bytes: int,
    ) -> None:
        self._json = format_.format == "json"
        self._text = _path(format_.text_field)
        self._key = _path(format_.key_field)
        self._key_sought = None if self._key is None else _sought(self._key[-1])
        self._label = _path(format_.label_field)
        self._source = _path(format_.source_field)
        self._time = _path(format_.time_field)
        needs_label = labels is not None
        self._has_fields = needs_label or bool(self._key or self._label or self._source or self._time)
        self._default_source = format_.source or default_source
        self._labels = labels
        self._labels_shown = _listed(labels or ())
        self._filters = filters or FilterSettings()
        self._max_record_bytes = max_record_bytes

    def decode(  # noqa: PLR0911, PLR0917  # once for each record: nothing is called that can be done here
        self,
        value: bytes | None,
        key: bytes | None,
        event_time: float | None,
        partition: Partition,
        offset: int,
        arrived_at: float,
    ) -> Document | Rejection:
        """The record as a document, or why it is none.

        Args:
            value: the record's bytes; None for a tombstone.
            key: the record's own key.
            event_time: the record's own time, in unix seconds.
            partition: where it came from.
            offset: its place there.
            arrived_at: now, in unix seconds.
        """
        if value is None:
            return Reason.TOMBSTONE, "no value"
        if len(value) > self._max_record_bytes:
            return Reason.TOO_LARGE, f"{len(value)} bytes; max_record_bytes is {self._max_record_bytes}"
        record: object = None
        if self._json:
            try:
                record = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                if value.startswith(BOM):
                    return self.decode(value[3:], key, event_time, partition, offset, arrived_at)
                return _why_not_json(value, error)
            text = _text_of(record, self._text)
        else:
            text = _plain(value)
        if isinstance(text, tuple):
            return text
        if "\0" in text:
            return Reason.NUL_BYTE, "the text holds a NUL character"
        if not text or text.isspace():
            return Reason.EMPTY_TEXT, "the text is empty"
        if rejection := rejected(text, self._filters):
            return rejection
        document = Document(text, self._default_source, key_text(key), None, event_time, arrived_at, partition, offset)
        return self._with_fields(document, record) if self._has_fields else document

    def keys_in(self, value: bytes) -> tuple[str, ...]:
        """The keys that a record names which is no document: of a person's text no letter may stay either.

        Args:
            value: of bytes that are no JSON, or were cut, each key counts that stands behind the field's name.
        """
        if self._key is None or self._key_sought is None:
            return ()
        try:
            found = _dig(orjson.loads(value), self._key)
        except orjson.JSONDecodeError:
            return tuple(islice(dict.fromkeys(_keys_behind(self._key_sought, value)), MOST_KEYS))
        return (str(found),) if _is_key(found) else ()

    def _with_fields(self, document: Document, record: object) -> Document | Rejection:
        source, key, label, time = document.source, document.key, document.label, document.event_time
        if self._source and (found := _dig(record, self._source)) not in (_MISSING, None):
            if not isinstance(found, str) or not 0 < len(found) <= LONGEST_NAME or "\0" in found:
                return _wrong(self._source, found, f"a string of 1 to {LONGEST_NAME} characters")
            source = found
        if self._key and (found := _dig(record, self._key)) not in (_MISSING, None):
            if found != "" and not _is_key(found):
                return _wrong(self._key, found, "a string or a whole number")
            key = str(found) or None
        if self._label:
            named = self._label_of(_dig(record, self._label))
            if isinstance(named, tuple):
                return named
            label = named
        elif self._labels is not None:
            return Reason.MISSING_FIELD, "a classifier's documents need a label, and no label_field is set for these"
        if self._time and (found := _dig(record, self._time)) not in (_MISSING, None):
            seconds = _unix_seconds(found)
            if seconds is None:
                return Reason.BAD_TIME, f"field {_name(self._time)} is no time: ISO 8601 or unix time"
            time = seconds
        return document._replace(source=source, key=key, label=label, event_time=time)

    def _label_of(self, found: object) -> str | Rejection | None:
        assert self._label is not None
        if found is _MISSING or found is None:
            if self._labels is None:
                return None
            return Reason.MISSING_FIELD, f"field {_name(self._label)} is missing"
        if not isinstance(found, str | int) or not 0 < len(str(found)) <= LONGEST_NAME or "\0" in str(found):
            return _wrong(self._label, found, f"a string of 1 to {LONGEST_NAME} characters")
        label = str(found).lower() if isinstance(found, bool) else str(found)
        if self._labels is not None and label not in self._labels:
            known = f"the {len(self._labels)} labels: {self._labels_shown}"
            return Reason.UNKNOWN_LABEL, f"field {_name(self._label)} is {_shown(label)}, none of {known}"
        return label


def _path(field: str | None) -> tuple[str, ...] | None:
    return tuple(field.split(".")) if field else None


def _is_key(found: object) -> bool:
    return isinstance(found, str | int) and not isinstance(found, bool) and found != "" and "\0" not in str(found)


def _sought(name: str) -> re.Pattern[bytes]:
    spellings = {name.encode(), orjson.dumps(name)[1:-1], json.dumps(name)[1:-1].encode()}
    names = b"|".join(map(re.escape, sorted(spellings)))
    return re.compile(b'"(?:' + names + rb')"\s*:\s*("(?:[^"\\]|\\.){1,1024}"|-?[0-9]{1,20})', re.DOTALL)


def _keys_behind(sought: re.Pattern[bytes], value: bytes) -> Iterator[str]:
    for match in sought.finditer(value):
        with suppress(orjson.JSONDecodeError):
            if _is_key(found := orjson.loads(match[1])):
                yield str(found)


def _shown(word: str) -> str:
    """A word in ASCII with what cannot be printed escaped, cut where it is long."""
    return ascii(word if len(word) <= SHOWN_CHARACTERS else word[:SHOWN_CHARACTERS] + "...")


def _listed(labels: Iterable[str]) -> str:
    names = sorted(labels)
    more = f" and {len(names) - SHOWN_LABELS} more" if len(names) > SHOWN_LABELS else ""
    return ", ".join(map(_shown, names[:SHOWN_LABELS])) + more


def _name(path: Sequence[str]) -> str:
    return ".".join(path)


def _dig(record: object, path: Sequence[str]) -> object:
    for name in path:
        if not isinstance(record, dict) or name not in record:
            return _MISSING
        record = record[name]
    return record


def _text_of(record: object, path: Sequence[str] | None) -> str | Rejection:
    assert path is not None
    if type(record) is not dict:
        return Reason.NOT_AN_OBJECT, f"{_JSON_TYPES[type(record)]}, not an object"
    text: Any = record.get(path[0]) if len(path) == 1 else _dig(record, path)
    if type(text) is str:
        return text
    if text is None or text is _MISSING:
        return Reason.MISSING_FIELD, f"field {_name(path)} is missing"
    return _wrong(path, text, "a string")


def _plain(value: bytes) -> str | Rejection:
    try:
        return value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _not_utf8(value, error)


def _wrong(path: Sequence[str], found: object, wanted: str) -> Rejection:
    return Reason.WRONG_TYPE, f"field {_name(path)} is {_JSON_TYPES.get(type(found), 'odd')}, not {wanted}"


def _not_utf8(value: bytes, error: UnicodeDecodeError) -> Rejection:
    try:
        value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return Reason.NOT_UTF8, f"invalid UTF-8 at byte {error.start}"
    return Reason.LONE_SURROGATE, f"half a surrogate pair at byte {error.start}"


def _why_not_json(value: bytes, error: orjson.JSONDecodeError) -> Rejection:
    try:
        text = value.decode()
    except UnicodeDecodeError as not_utf8:
        return _not_utf8(value, not_utf8)
    where = f"{error.msg} at character {error.pos}"
    if "\0" in text:
        return Reason.NUL_BYTE, "the record holds a NUL byte"
    for word, reason in _ORJSON_SAYS.items():
        if word in error.msg:
            return reason, where
    # NaN, Infinity and -Infinity; at the minus orjson has already gone on by one.
    if any(_NOT_A_NUMBER.match(text, place) for place in (error.pos, max(0, error.pos - 1))):
        return Reason.BAD_NUMBER, where
    return Reason.NOT_JSON, where


def _unix_seconds(found: object) -> float | None:
    if isinstance(found, str):
        try:
            moment = datetime.fromisoformat(found)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    seconds = found / 1000 if abs(found) > MILLISECONDS_FROM else float(found)
    return seconds if YEAR_1 <= seconds < YEAR_10000 else None
