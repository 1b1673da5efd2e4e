"""Bytes to a document, or the reason why not. No bytes make this raise: only a schema registry that is away does."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

import orjson

from streams.chats import INPUT, TARGET, Message, join
from streams.decoding import field_values, forms, framing, json_records, several_labels, times, unknown_label
from streams.decoding.fields import MISSING, Field, behind
from streams.decoding.messages import read_chat
from streams.decoding.needs import TEXT_ALONE, RecordNeeds
from streams.decoding.several_labels import LabelSet
from streams.decoding.times import EARLIEST, LATEST
from streams.document import Document, Partition, Reason, RecordForm, Rejection, key_text
from streams.errors import RegistryAway
from streams.filters import find_rejection
from streams.settings import FilterSettings, StreamsSettings
from streams.topic_settings import TopicFormat

BOM = b"\xef\xbb\xbf"
SHOWN_CHARACTERS = 40
SHOWN_LABELS = 10
LONGEST_NAME = 128
"""Characters of a source or a label; they become metric labels and class names."""
USUAL_MESSAGES = "messages"
"""Where the messages of a chat stand, if no setting names the field."""
USUAL_INPUT, USUAL_TARGET = "input", "target"
"""Where the two parts of a pair stand, likewise."""
NO_PAIR = "a sequence-to-sequence model's record has fields for its input and its target, plain text has none"
MOST_KEYS = 100
"""Of bytes that are no JSON so many keys are taken at most; nearly all have one."""


class Framed(Protocol):
    """What reads values behind a schema registry's bytes."""

    def read(self, value: bytes) -> Any:
        """What a framed value holds; a tuple is the `Rejection`. Raises RegistryAway where its schema cannot come."""

    def kind_of(self, number: int) -> str:
        """The kind of a schema that was asked for, in the registry's word: AVRO, PROTOBUF, JSON; else empty."""


class Decoder:
    """Turns the records of one partition into documents.

    Args:
        format_: what a record is.
        default_source: the source of documents that name none.
        needs: what the model that is to learn from them needs.
        registry: reads framed values; None: they are dead letters.
    """

    def __init__(
        self,
        format_: TopicFormat,
        default_source: str,
        *,
        needs: RecordNeeds = TEXT_ALONE,
        filters: FilterSettings | None = None,
        max_record_bytes: int,
        registry: Framed | None = None,
    ) -> None:
        self._registry = registry
        self._json = format_.format == "json"
        self._text = Field(format_.text_field)
        self._messages = Field(format_.messages_field or USUAL_MESSAGES)
        self._parts_first = format_.messages_field is not None or needs.pairs
        self._no_chats = needs.no_chats
        self._pair = None
        if needs.pairs:
            self._pair = Field(format_.input_field or USUAL_INPUT), Field(format_.target_field or USUAL_TARGET)
        self._key = _field(format_.key_field)
        self._key_sought = None if self._key is None else behind(self._key)
        self._label = _field(format_.label_field)
        self._source = _field(format_.source_field)
        self._time = _field(format_.time_field)
        labels = needs.labels
        self._has_fields = labels is not None or bool(self._key or self._label or self._source or self._time)
        self._default_source = format_.source or default_source
        self._labels = labels
        self._labels_shown = _list_names(labels or ())
        self._filters = filters or FilterSettings()
        self._max_record_bytes = max_record_bytes

    def decode(  # noqa: C901, PLR0911, PLR0912, PLR0917  # for each record: nothing is called that can be done here
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

        Raises:
            RegistryAway: the value is framed, and its schema cannot be asked for now.
        """
        if value is None:
            return Reason.TOMBSTONE, "no value"
        if len(value) > self._max_record_bytes:
            return Reason.TOO_LARGE, f"{len(value)} bytes; max_record_bytes is {self._max_record_bytes}"
        record: object = None
        turns: str | None = None
        if self._json:
            try:
                record = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                # RFC 8259 forbids a byte order mark and lets readers pass over it; orjson does not.
                if value.startswith(BOM):
                    return self.decode(value[3:], key, event_time, partition, offset, arrived_at)
                record, value = self._load_otherwise(value, error)
                # A tuple is no value of JSON: it stands for the rejection, without another type around each record.
                if isinstance(record, tuple):
                    return record
            text = _text_of(record, self._text)
            if self._parts_first or isinstance(text, tuple):
                text, turns = self._parts_of(record, text)
        else:
            text = self._text_alone(value)
        if isinstance(text, tuple):
            return text
        if "\0" in text:
            return Reason.NUL_BYTE, "the text holds a NUL character"
        if not text or text.isspace():
            return Reason.EMPTY_TEXT, "the text is empty"
        if rejection := find_rejection(text, self._filters):
            return rejection
        document = Document(
            text, self._default_source, key_text(key), None, event_time, arrived_at, partition, offset, turns
        )
        if self._has_fields:
            return self._with_fields(document, record, value)
        if event_time is None or EARLIEST <= event_time < LATEST:
            return document
        return _with_plausible_time(document)

    @property
    def usual_form(self) -> RecordForm:
        """What a document that is no chat and behind no schema was written as."""
        if not self._json:
            return RecordForm.TEXT
        return RecordForm.JSON_TEXT if self._pair is None else RecordForm.JSON_PAIR

    @property
    def reads_framed(self) -> bool:
        """Whether values behind a schema registry's bytes are read."""
        return self._registry is not None

    def form_of_framed(self, value: bytes) -> RecordForm | None:
        """By which kind of schema a record's value is to be read; None where it is not framed."""
        return forms.of_framed(value, self._registry)

    def form_of_refused(self, value: bytes) -> RecordForm:
        """What a record that is no document was written as, as far as its bytes tell."""
        return self.form_of_framed(value) or forms.of_refused(value, is_json=self._json)

    def keys_in(self, value: bytes) -> tuple[str, ...]:
        """The keys that a record names which is no document: of a person's text no letter may stay either.

        Args:
            value: of bytes that are no JSON, or were cut, each key counts that stands behind the field's name.
        """
        if self._key is None or self._key_sought is None:
            return ()
        try:
            field_value = self._key.find(self._load_for_keys(value))
        except orjson.JSONDecodeError:
            return tuple(islice(dict.fromkeys(field_values.keys_behind(self._key_sought, value)), MOST_KEYS))
        key = field_values.key(field_value, self._key, value)
        return (key,) if isinstance(key, str) else ()

    def _parts_of(self, record: object, text: str | Rejection) -> tuple[str | Rejection, str | None]:
        """Text and turns of the pair that a record has to be, or of the chat that it is, or why it is none.

        Where it means no chat, the text that it had; where no setting names the field, a chat is one that has no text.
        """
        if self._pair is not None:
            return _pair_of(record, *self._pair)
        if not isinstance(record, dict) or not (self._parts_first or text[0] is Reason.MISSING_FIELD):
            return text, None
        messages = self._messages.find(record)
        if messages is MISSING or messages is None:
            return text, None
        if self._no_chats:
            return (Reason.CHAT_NOT_TAKEN, self._no_chats), None
        chat = read_chat(messages, self._messages)
        return (chat, None) if isinstance(chat, tuple) else (chat.text, chat.turns)

    def _text_alone(self, value: bytes) -> str | Rejection:
        if self._pair is not None:
            return Reason.MISSING_FIELD, NO_PAIR
        if (glue := framing.told_of_glue(value)) is not None:
            return Reason.SCHEMA_FRAMED, glue
        if (number := framing.schema_id(value)) is None:
            return _plain(value)
        return _only_text(self._behind_the_frame(value, number))

    def _load_otherwise(self, value: bytes, error: orjson.JSONDecodeError) -> tuple[Any, bytes]:
        """What a value holds, or the `Rejection`, that orjson does not read; and the value without its frame."""
        if (glue := framing.told_of_glue(value)) is not None:
            return (Reason.SCHEMA_FRAMED, glue), value
        if (number := framing.schema_id(value)) is None:
            return json_records.after_all(value, error), value
        return self._behind_the_frame(value, number), value[framing.HEAD_BYTES :]

    def _behind_the_frame(self, value: bytes, number: int) -> Any:
        if self._registry is None:
            return Reason.SCHEMA_FRAMED, framing.describe(number)
        return self._registry.read(value)

    def _load_for_keys(self, value: bytes) -> object:
        if self._registry is not None and framing.schema_id(value) is not None:
            # A letter's keys are looked for when it is buried, and that must not wait: then its bytes are searched.
            with suppress(RegistryAway):
                record = self._registry.read(value)
                if not isinstance(record, tuple):
                    return record
        return orjson.loads(value)

    def _with_fields(self, document: Document, record: object, value: bytes) -> Document | Rejection:
        source, key, label, time = document.source, document.key, document.label, document.event_time
        if self._source and (field_value := self._source.find(record)) not in (MISSING, None):
            if not isinstance(field_value, str) or not 0 < len(field_value) <= LONGEST_NAME or "\0" in field_value:
                return field_values.wrong(self._source, field_value, f"a string of 1 to {LONGEST_NAME} characters")
            source = field_value
        if self._key and (field_value := self._key.find(record)) not in (MISSING, None):
            new_key = field_values.key(field_value, self._key, value)
            if isinstance(new_key, tuple):
                return new_key
            key = new_key
        if self._label:
            read_label = self._several_of if isinstance(self._labels, LabelSet) else self._label_of
            new_label = read_label(_label_in(record, self._label), self._label, value)
            if isinstance(new_label, tuple):
                return new_label
            label = new_label
        elif self._labels is not None:
            return Reason.MISSING_FIELD, "a classifier's documents need a label, and no label_field is set for these"
        if self._time and (field_value := self._time.find(record)) not in (MISSING, None):
            try:
                time = times.of_field(field_value)
            except times.BadTime as error:
                return Reason.BAD_TIME, f"field {self._time.name} {error}"
        return _with_plausible_time(document._replace(source=source, key=key, label=label, event_time=time))

    def _label_of(self, field_value: object, field: Field, value: bytes) -> str | Rejection | None:
        if field_value is MISSING or field_value is None:
            if self._labels is None:
                return None
            return Reason.MISSING_FIELD, f"field {field.name} is missing"
        names = field_values.label_names(field_value, field, value, any_number=self._labels is not None)
        if not names or not all(0 < len(name) <= LONGEST_NAME and "\0" not in name for name in names):
            return field_values.wrong(field, field_value, f"a string of 1 to {LONGEST_NAME} characters")
        if self._labels is None:
            return names[0]
        label = next((name for name in names if name in self._labels), None)
        if label is None:
            detail = unknown_label.tell(field.name, _shorten(names[0]), len(self._labels), self._labels_shown)
            return Reason.UNKNOWN_LABEL, detail
        return label

    def _several_of(self, field_value: object, field: Field, value: bytes) -> str | Rejection | None:
        """The label that stands for all that fit: the field holds a list of them, or one alone."""
        if field_value is MISSING or field_value is None:
            return Reason.MISSING_FIELD, f"field {field.name} is missing (a list without labels says that none fits)"
        names = [
            self._label_of(each, field, value)
            for each in (field_value if isinstance(field_value, list) else [field_value])
        ]
        refused = next((name for name in names if not isinstance(name, str)), None)
        return refused or several_labels.write_set(name for name in names if isinstance(name, str))


def decoder_by(
    settings: StreamsSettings,
    format_: TopicFormat,
    source: str,
    *,
    needs: RecordNeeds,
    registry: Framed | None = None,
) -> Decoder:
    """A decoder with the filters and limits that are set for all text; see `Decoder` for the rest."""
    return Decoder(
        format_,
        source,
        needs=needs,
        filters=settings.filters,
        max_record_bytes=settings.max_record_bytes,
        registry=registry,
    )


def _field(name: str | None) -> Field | None:
    return Field(name) if name else None


def _with_plausible_time(document: Document) -> Document | Rejection:
    time = document.event_time
    if time is None or EARLIEST <= time < LATEST:
        return document
    return Reason.BAD_TIME, f"the record's own timestamp {times.why_implausible(time)}"


def _shorten(word: str) -> str:
    """A word in ASCII with what cannot be printed escaped, cut where it is long."""
    return ascii(word if len(word) <= SHOWN_CHARACTERS else word[:SHOWN_CHARACTERS] + "...")


def _list_names(labels: Iterable[str]) -> str:
    names = sorted(labels)
    more = f" and {len(names) - SHOWN_LABELS} more" if len(names) > SHOWN_LABELS else ""
    return ", ".join(map(_shorten, names[:SHOWN_LABELS])) + more


def _pair_of(record: object, *fields: Field) -> tuple[str | Rejection, str | None]:
    """Text and turns of the pair that a record is, or why it is none."""
    parts: list[Message] = []
    for role, field in zip((INPUT, TARGET), fields, strict=True):
        text = _text_of(record, field)
        if isinstance(text, tuple):
            return text, None
        if not text.strip():
            return (Reason.EMPTY_TEXT, f"field {field.name} is empty"), None
        parts.append(Message(role, text))
    pair = join(parts)
    return pair.text, pair.turns


def _text_of(record: object, field: Field) -> str | Rejection:
    if not isinstance(record, dict):
        return Reason.NOT_AN_OBJECT, f"{field_values.type_name(record)}, not an object"
    # The usual name, without dots, costs one look-up in the record.
    text: Any = record.get(field.plain) if field.plain is not None else field.find(record)
    if type(text) is str:
        return text
    if text is None or text is MISSING:
        text = field.left_out(record)
    if isinstance(text, str):
        return text
    if text is None or text is MISSING:
        return Reason.MISSING_FIELD, field.why_missing(record)
    return field_values.wrong(field, text, "a string")


def _label_in(record: object, field: Field) -> object:
    label = field.find(record)
    if label is not MISSING:
        return label
    # Zero is a class as any other, and a name without a letter is none.
    left_out = field.left_out(record)
    return MISSING if isinstance(left_out, str | bytes) and not left_out else left_out


def _only_text(record: object) -> str | Rejection:
    if isinstance(record, str | tuple):
        return record
    detail = f'the value is {field_values.type_name(record)}, not a text alone: set format = "json" and text_field'
    return Reason.WRONG_TYPE, detail


def _plain(value: bytes) -> str | Rejection:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return json_records.not_utf8(value, error)
    # Line ends are how a system writes, not what was written: the same text from two systems is one.
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
