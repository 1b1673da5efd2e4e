"""What a stream hands over: documents, dead letters, gaps, and how far each partition has been read."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Partition:
    """One append-only sequence of offsets.

    Attributes:
        topic: Kafka's topic; `file:` and the absolute path for a file; `stdin:` and a name for standard
            input.
        number: Kafka's partition number; 0 for files.
        incarnation: tells a topic from one of the same name made anew (Kafka's topic id, where the broker
            tells one) and a file from one that was replaced; empty where nothing tells them apart.
    """

    topic: str
    number: int
    incarnation: str = ""


CORRECTIONS: Final = Partition("(feedback)", 0)
"""Where what people said of answers comes from, and the documents that their corrections are: no topic's name has
parentheses."""


class Document(NamedTuple):
    """Decoded text with its metadata.

    A named tuple, not a dataclass: one is made for each record, and a frozen dataclass takes four times
    as long. Times are unix seconds. `turns` are a chat's, as in `streams.chats`; None for a document that is none.
    """

    text: str
    source: str
    key: str | None
    label: str | None
    event_time: float | None
    arrived_at: float
    partition: Partition
    offset: int
    turns: str | None = None


def key_text(key: bytes | None) -> str | None:
    """A record's own key as a document bears it, and as a person names it: a binary one is `0x` and its hex digits."""
    if not key:
        return None
    # A binary key still tells whose text it is; losing the text for it would help nobody.
    try:
        return key.decode() if b"\0" not in key else "0x" + key.hex()
    except UnicodeDecodeError:
        return "0x" + key.hex()


class Reason(StrEnum):
    """Why a record became a dead letter.

    Values are metric labels and part of the stored data: never rename one.
    """

    TOMBSTONE = "tombstone"
    NOT_UTF8 = "not_utf8"
    LONE_SURROGATE = "lone_surrogate"
    NUL_BYTE = "nul_byte"
    SCHEMA_FRAMED = "schema_framed"
    UNKNOWN_SCHEMA = "unknown_schema"
    NOT_OF_SCHEMA = "not_of_schema"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    BAD_NUMBER = "bad_number"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_TIME = "bad_time"
    UNKNOWN_LABEL = "unknown_label"
    EMPTY_TEXT = "empty_text"
    TOO_SHORT = "too_short"
    TOO_LARGE = "too_large"
    REPETITIVE = "repetitive"
    NO_MESSAGES = "no_messages"
    UNKNOWN_ROLE = "unknown_role"
    EMPTY_TURN = "empty_turn"
    NO_ASSISTANT_TURN = "no_assistant_turn"
    TOOL_CALLS = "tool_calls"
    NOT_TEXT = "not_text"
    CHAT_NOT_TAKEN = "chat_not_taken"
    UNDECODABLE_BATCH = "undecodable_batch"


Rejection = tuple[Reason, str]
"""Why there is no document, and the particulars for a person. Of the record it holds at most an unknown label."""

Header = tuple[str, bytes | None]
"""One of a record's own headers. Names may come more than once; a value may be null."""

FILTERED = frozenset({Reason.EMPTY_TEXT, Reason.TOO_SHORT, Reason.REPETITIVE})
"""Understood, and judged not worth keeping: nothing is wrong."""


class GapReason(StrEnum):
    """Why offsets never came. Values are metric labels."""

    RETENTION = "retention"
    """The broker deleted them before they were read."""
    UNDECODABLE_BATCH = "undecodable_batch"
    """A batch that cannot be read; there is a dead letter for it."""
    STORED_ELSEWHERE = "stored_elsewhere"
    """Another replica of this group had the partition meanwhile and stored them."""
    BEFORE_START = "before_start"
    """Before the place where a memory that knew nothing of the partition began, as `streams.start` says."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be understood or is not worth keeping, with its reason.

    Attributes:
        value: the record's bytes, cut to the configured limit.
        value_bytes: how long the record was before the cut.
        named_keys: keys that the record names as far as it was read, beside `key`: by them a person's letters are
            known. Of one that is longer than a record may be that is its beginning.
        headers: the record's own, as many of the first as fit into the configured limit.
        headers_dropped: how many more there were.
    """

    partition: Partition
    offset: int
    reason: Reason
    detail: str
    key: bytes | None
    value: bytes
    value_bytes: int
    arrived_at: float
    named_keys: tuple[str, ...] = ()
    headers: tuple[Header, ...] = ()
    headers_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Erasure:
    """A tombstone whose key's earlier text is to be erased."""

    partition: Partition
    offset: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one person said of one answer of a generation.

    Attributes:
        answer: the answer's id.
        giver: the name of the API key that it came by; empty where keys have none.
        key: the person's; None: nobody was named.
        verdict: `accept` or `reject`.
        generation: that gave the answer.
        answered_at: when, unix seconds.
        given_at: when this was said.
        group: among which callers the answer was counted, while a generation was watched; None: among none.
        corrected: whether it says what the answer should have been.
        learned: `yes` where that is a document of the same batch, else why not; None where nothing was corrected.
        prompt: what was asked; None where no text was kept, as with the next two.
        text: of the answer.
        correction: what it should have been.
    """

    partition: Partition
    offset: int
    answer: str
    giver: str
    key: str | None
    verdict: str
    generation: int
    answered_at: float
    given_at: float
    group: int | None = None
    corrected: bool = False
    learned: str | None = None
    prompt: str | None = None
    text: str | None = None
    correction: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets, `first` to `last` inclusive, that never came, and why: a `GapReason`.

    Offsets that Kafka itself uses up (transaction markers, aborted and compacted records) are no gap.
    """

    partition: Partition
    first: int
    last: int
    reason: str


class RecordForm(StrEnum):
    """What a record was written as. Values are part of answers: never rename one.

    Of a record that is no document it is what its beginning tells.
    """

    TEXT = "text"
    JSON_TEXT = "json_text"
    JSON_MESSAGES = "json_messages"
    JSON_PAIR = "json_pair"
    AVRO = "avro"
    PROTOBUF = "protobuf"
    JSON_SCHEMA = "json_schema"
    FRAMED = "framed"
    """By a schema registry's client, and nobody can tell by which kind of schema."""
    GLUE = "glue"
    """By a client of AWS Glue's schema registry."""
    JSON = "json"
    """JSON of which no document came."""
    COMPRESSED = "compressed"
    """By who wrote the value, not by Kafka's producer."""
    OTHER_ENCODING = "other_encoding"
    """Text that is not UTF-8."""
    NO_VALUE = "no_value"
    OTHER = "other"


@dataclass(slots=True)
class Arrived:
    """How much came of a partition, and written as what; of a batch it changes no more.

    Attributes:
        value_bytes: of the records' values, as their producer wrote them.
        documents, dead_letters: how many, by what they were written as.
        packed: records by the compression that their producer sent them in: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    """

    value_bytes: int = 0
    documents: Counter[RecordForm] = field(default_factory=Counter)
    dead_letters: Counter[RecordForm] = field(default_factory=Counter)
    packed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll brought.

    Attributes:
        next_offsets: for each partition in the batch, the offset to read next once the batch is durable.
        erasures: tombstones of topics that erase by them; each is a dead letter too.
        arrived: how much came of each partition; of what no stream brought nothing is told.
    """

    documents: tuple[Document, ...]
    dead_letters: tuple[DeadLetter, ...]
    gaps: tuple[Gap, ...]
    next_offsets: Mapping[Partition, int]
    erasures: tuple[Erasure, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    arrived: Mapping[Partition, Arrived] = field(default_factory=dict)


def partition_name(partition: Partition) -> str:
    """`topic/number`."""
    return f"{partition.topic}/{partition.number}"


class Pause(StrEnum):
    """Why a partition is paused. Values are metric labels."""

    MEMORY_FULL = "memory_full"
    DEAD_LETTERS_WAIT = "dead_letters_wait"
    DEAD_LETTER_FLOOD = "dead_letter_flood"
    SCHEMA_REGISTRY_AWAY = "schema_registry_away"
