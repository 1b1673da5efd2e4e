"""How reading gets on: how far behind, how much comes and written as what, and which offsets never came."""

from typing import TypedDict

from daemon.control.answers.kept import GapLine
from daemon.control.answers.status import IngestStanding


class ArrivedAmount(TypedDict):
    """How much came and was stored.

    Attributes:
        documents: whether they were kept or known already.
        dead_letters: records that are no documents.
        bytes: of the records' values.
    """

    documents: int
    dead_letters: int
    bytes: int


class ArrivedLately(ArrivedAmount):
    """How much came lately.

    Attributes:
        seconds: within so many; fewer than a minute, or an hour, where counting began later.
    """

    seconds: float


class ReadPartition(TypedDict):
    """One partition of a topic.

    Attributes:
        next_offset: the offset to read next, as the store has it; None where it has none yet.
        moved_at: when that changed last, unix seconds.
        lag: records that are not read yet; None where that is not known, or nobody reads it here.
        paused: why it is paused; empty while it is not.
        gap_offsets: offsets that never came, of those gaps that are kept.
        since_start: how much came since counting began; with `minute` and `hour` None where nothing has yet, or it is
            not counted alone.
    """

    topic: str
    partition: int
    next_offset: int | None
    moved_at: float | None
    lag: int | None
    paused: str
    gap_offsets: int
    since_start: ArrivedAmount | None
    minute: ArrivedLately | None
    hour: ArrivedLately | None


class FormLine(TypedDict):
    """How many records were written as what.

    Attributes:
        form: `text`, `json_text`, `json_messages`, `json_pair`, `avro`, `protobuf`, `json_schema`; and of what could
            not be understood `framed` (by a registry's client, with a schema of a kind that is not known), `glue`,
            `json` (without what is needed), `compressed`, `other_encoding`, `no_value`, `other`.
    """

    form: str
    documents: int
    dead_letters: int


class ReadTopic(TypedDict):
    """One topic since counting began.

    Attributes:
        forms: the most frequent first.
        reasons: dead letters by reason.
        packed: records by the compression that their producer sent them in: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    """

    topic: str
    since_start: ArrivedAmount
    forms: list[FormLine]
    reasons: dict[str, int]
    packed: dict[str, int]


class StreamsAnswer(TypedDict):
    """How reading gets on. What a running daemon counts begins anew with it; what the store has does not.

    Attributes:
        reading: None where nothing is read.
        since: when counting began, unix seconds; None where nothing is counted.
        since_start: how much came since then; with `minute` and `hour` None likewise.
        became: what the store made of it, in numbers by what became of them: `fresh`, `duplicates`, …
        partitions: those that are read or were, in the order of their names.
        topics: those of which something came, in the order of their names.
        counted_together: partitions that are counted in the totals alone, as there are too many.
        gaps: the latest offsets that never came, newest first.
        gap_offsets: how many never came, ever.
        dead_letter_reasons: dead letters by reason, ever.
    """

    reading: IngestStanding | None
    since: float | None
    since_start: ArrivedAmount | None
    minute: ArrivedLately | None
    hour: ArrivedLately | None
    became: dict[str, int]
    partitions: list[ReadPartition]
    topics: list[ReadTopic]
    counted_together: int
    gaps: list[GapLine]
    gap_offsets: int
    dead_letter_reasons: dict[str, int]
