"""How reading gets on: how far behind, how much comes and written as what, what never came."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.kept import GapLine, MemoryAnswer
from daemon.control.answers.streams import ArrivedAmount, ArrivedLately, ReadPartition, ReadTopic, StreamsAnswer
from daemon.control.wording import FORMS, bytes_rate, fate_words, rate
from daemon.ingestion.flood_sentence import flooded
from daemon.page.addresses import PEEK, with_query
from daemon.page.views.records import SOURCES_SHOWN, SourceRow, source_rows

PARTITIONS_SHOWN: Final = 200
TOPICS_SHOWN: Final = 40
NO_RATE: Final = "–"


@dataclass(frozen=True, slots=True)
class RateCell:
    """How much comes a second, in words; of what is not counted dashes."""

    documents: str
    size: str


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A partition.

    Attributes:
        lag: records not read yet; None where that is not known.
        next_offset: the store's; None where it has none.
        missing: offsets that never came.
        paused: why it is paused; empty while it is not.
        is_read: whether it is read here now.
        is_flooded: whether a person lets it be read on.
        peek: where its newest records are looked at.
    """

    name: str
    topic: str
    number: int
    lag: int | None
    minute: RateCell
    hour: RateCell
    next_offset: int | None
    missing: int
    paused: str
    is_read: bool
    is_flooded: bool
    peek: str


@dataclass(frozen=True, slots=True)
class FormRow:
    """Records of one topic that were written in one way; `share` of the topic's records."""

    topic: str
    words: str
    documents: int
    dead_letters: int
    share: float


@dataclass(frozen=True, slots=True)
class StreamsView:
    """How reading gets on.

    Attributes:
        trouble: why nothing comes, or all of it pauses; empty while all is well.
        unread: what is not read though the rest is, a sentence each.
        lag: of all partitions together; None while that is not known.
        since: when counting began, unix seconds; None where nothing is counted.
        came: since then.
        lately: spans in seconds, and rates of all together within them: a minute, an hour, or since counting began.
        became: what the store made of it, in words.
        partitions: those that stand still first, then those furthest behind.
        reasons: dead letters by topic and reason since counting began.
        packed: records by topic and their producer's compression.
        gap_offsets: that never came, ever.
        dead_letters: that are kept.
    """

    is_read: bool
    trouble: str
    unread: tuple[str, ...]
    lag: int | None
    since: float | None
    came: ArrivedAmount | None
    lately: tuple[tuple[float, RateCell], ...]
    became: tuple[tuple[str, int], ...]
    partitions: tuple[PartitionRow, ...]
    partitions_left_out: int
    counted_together: int
    forms: tuple[FormRow, ...]
    topics_left_out: int
    reasons: tuple[tuple[str, str, int], ...]
    packed: tuple[tuple[str, str, int], ...]
    sources: tuple[SourceRow, ...]
    sources_left_out: int
    gaps: tuple[GapLine, ...]
    gap_offsets: int
    dead_letters: int


def streams_view(answer: StreamsAnswer, memory: MemoryAnswer) -> StreamsView:
    """How reading gets on, and what is kept of each source."""
    reading, sources = answer["reading"], source_rows(memory)
    floods = frozenset(flooded({} if reading is None else reading["paused"]))
    rows = sorted(
        (_partition(line, floods) for line in answer["partitions"]),
        # What stands still comes first, then what is furthest behind; what nobody reads here last.
        key=lambda row: (not row.is_read, not row.paused, -(row.lag or 0)),
    )
    topics = answer["topics"][:TOPICS_SHOWN]
    return StreamsView(
        is_read=reading is not None,
        trouble="" if reading is None else reading["trouble"] or reading["reason"],
        unread=() if reading is None else tuple(reading["unread"]),
        lag=None if reading is None else reading["lag_records"],
        since=answer["since"],
        came=answer["since_start"],
        lately=tuple(_spans(answer)),
        became=tuple((fate_words(name), number) for name, number in answer["became"].items()),
        partitions=tuple(rows[:PARTITIONS_SHOWN]),
        partitions_left_out=max(0, len(rows) - PARTITIONS_SHOWN),
        counted_together=answer["counted_together"],
        forms=tuple(row for topic in topics for row in _forms(topic)),
        topics_left_out=max(0, len(answer["topics"]) - TOPICS_SHOWN),
        reasons=_named(topics, "reasons"),
        packed=_named(topics, "packed"),
        sources=sources[:SOURCES_SHOWN],
        sources_left_out=max(0, len(sources) - SOURCES_SHOWN),
        gaps=tuple(answer["gaps"]),
        gap_offsets=answer["gap_offsets"],
        dead_letters=memory["quarantine"]["dead_letters"],
    )


def _partition(line: ReadPartition, floods: frozenset[str]) -> PartitionRow:
    name = f"{line['topic']}/{line['partition']}"
    return PartitionRow(
        name=name,
        topic=line["topic"],
        number=line["partition"],
        lag=line["lag"],
        minute=_cell(line["minute"]),
        hour=_cell(line["hour"]),
        next_offset=line["next_offset"],
        missing=line["gap_offsets"],
        paused=line["paused"].replace("_", " "),
        is_read=line["lag"] is not None or bool(line["paused"]),
        is_flooded=name in floods,
        peek=with_query(PEEK, {"topic": line["topic"], "partition": line["partition"]}),
    )


def _spans(answer: StreamsAnswer) -> Iterator[tuple[float, RateCell]]:
    minute, hour = answer["minute"], answer["hour"]
    for lately in (minute, hour):
        # In its first minute both are the same.
        if lately is not None and (lately is minute or minute is None or lately["seconds"] > minute["seconds"]):
            yield lately["seconds"], _cell(lately)


def _cell(lately: ArrivedLately | None) -> RateCell:
    if lately is None:
        return RateCell(NO_RATE, NO_RATE)
    return RateCell(rate(lately["documents"], lately["seconds"]), bytes_rate(lately["bytes"], lately["seconds"]))


def _forms(topic: ReadTopic) -> list[FormRow]:
    records = sum(form["documents"] + form["dead_letters"] for form in topic["forms"])
    return [
        FormRow(
            topic["topic"],
            FORMS.get(form["form"], form["form"]),
            form["documents"],
            form["dead_letters"],
            (form["documents"] + form["dead_letters"]) / max(1, records),
        )
        for form in topic["forms"]
    ]


def _named(topics: Sequence[ReadTopic], what: str) -> tuple[tuple[str, str, int], ...]:
    """Of each topic names and numbers, the largest first."""
    return tuple(
        (topic["topic"], name.replace("_", " "), number)
        for topic in topics
        for name, number in sorted((topic["reasons"] if what == "reasons" else topic["packed"]).items(), key=_most)
    )


def _most(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]
