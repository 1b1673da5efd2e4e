"""What came by the streams: how far reading is, what never came, what could not be understood."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.kept import DeadLetterLine, GapLine, MemoryAnswer
from daemon.control.answers.status import StatusAnswer
from daemon.ingestion.flood_sentence import flooded
from daemon.page.addresses import record_address

SOURCES_SHOWN: Final = 40
PARTITIONS_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """One record that could not be understood.

    Attributes:
        trace: the address where the record is followed.
        value, key: what was kept of it; None until somebody asks for it, or where there is none.
        cut: whether the record was longer than what was kept.
    """

    id: int
    place: str
    trace: str
    reason: str
    detail: str
    size: int
    arrived_at: float
    value: str | None
    key: str | None
    cut: bool
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DeadLettersView:
    """A page of them, newest first.

    Attributes:
        kept: how many there are in all; `size` in bytes.
        reasons: since the beginning, also of those that made room, the most frequent first.
        older: what `before` brings the next page; None where there is none.
        is_shown: whether the records are.
    """

    rows: tuple[DeadLetterRow, ...]
    kept: int
    size: int
    reasons: tuple[tuple[str, int], ...]
    older: int | None
    is_shown: bool


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A partition that is read.

    Attributes:
        lag: records not read yet; None where that is not known.
        paused: why it is paused; empty while it is not.
        is_flooded: whether a person lets it be read on.
    """

    name: str
    lag: int | None
    paused: str
    is_flooded: bool


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What is kept of one source: samples by role."""

    name: str
    fresh: int
    replay: int
    holdout: int
    aside: int
    tokens: int


@dataclass(frozen=True, slots=True)
class StreamsView:
    """How reading gets on.

    Attributes:
        trouble: why nothing comes, or all of it pauses; empty while all is well.
        lag: of all partitions together; None while that is not known.
    """

    is_read: bool
    trouble: str
    lag: int | None
    partitions: tuple[PartitionRow, ...]
    partitions_left_out: int
    sources: tuple[SourceRow, ...]
    sources_left_out: int
    gaps: tuple[GapLine, ...]
    gap_offsets: int
    dead_letters: int


def dead_letters_view(
    letters: Sequence[DeadLetterLine], memory: MemoryAnswer, *, limit: int, text: bool
) -> DeadLettersView:
    """A page of dead letters, of at most `limit`."""
    rows = tuple(dead_letter_row(letter) for letter in letters)
    reasons = sorted(memory["dead_letter_reasons"].items(), key=lambda entry: -entry[1])
    return DeadLettersView(
        rows,
        memory["quarantine"]["dead_letters"],
        memory["quarantine"]["bytes"],
        tuple(reasons),
        rows[-1].id if len(rows) == limit and rows[-1].id > 1 else None,
        text,
    )


def dead_letter_row(letter: DeadLetterLine) -> DeadLetterRow:
    """One of them, with its record where the answer has it."""
    headers = tuple((name or "", "null" if value is None else value) for name, value in letter.get("headers", ()))
    return DeadLetterRow(
        id=letter["id"],
        place=f"{letter['topic']}/{letter['partition']} at {letter['offset']}",
        trace=record_address(letter["topic"], letter["partition"], letter["offset"]),
        reason=letter["reason"].replace("_", " "),
        detail=letter["detail"],
        size=letter["value_bytes"],
        arrived_at=letter["arrived_at"],
        value=letter.get("value"),
        key=letter.get("key"),
        cut=letter.get("cut", False),
        headers=headers,
    )


def streams_view(facts: StatusAnswer, memory: MemoryAnswer, gaps: Sequence[GapLine]) -> StreamsView:
    """How reading gets on, what is kept of each source, and which offsets never came."""
    ingest, sources = facts["ingest"], source_rows(memory)
    paused = {} if ingest is None else ingest["paused"]
    lags = {} if ingest is None else ingest["lag_by_partition"]
    floods = frozenset(flooded(paused))
    rows = [
        PartitionRow(name, lags.get(name), paused.get(name, "").replace("_", " "), name in floods)
        for name in sorted({*lags, *paused})
    ]
    # What stands still comes first, then what is furthest behind.
    rows.sort(key=lambda row: (not row.paused, -(row.lag or 0)))
    return StreamsView(
        is_read=ingest is not None,
        trouble="" if ingest is None else ingest["trouble"] or ingest["reason"],
        lag=None if ingest is None else ingest["lag_records"],
        partitions=tuple(rows[:PARTITIONS_SHOWN]),
        partitions_left_out=max(0, len(rows) - PARTITIONS_SHOWN),
        sources=sources[:SOURCES_SHOWN],
        sources_left_out=max(0, len(sources) - SOURCES_SHOWN),
        gaps=tuple(gaps),
        gap_offsets=memory["tallies"].get("gap_offsets", 0),
        dead_letters=memory["quarantine"]["dead_letters"],
    )


def source_rows(memory: MemoryAnswer) -> tuple[SourceRow, ...]:
    """By source, the one of most tokens first."""
    samples: dict[str, dict[str, int]] = {}
    tokens: dict[str, int] = {}
    for line in memory["kept"]:
        by_role = samples.setdefault(line["source"], {})
        by_role[line["role"]] = by_role.get(line["role"], 0) + line["samples"]
        tokens[line["source"]] = tokens.get(line["source"], 0) + line["tokens"]
    rows = [
        SourceRow(
            name,
            by_role.get("fresh", 0),
            by_role.get("replay", 0),
            by_role.get("holdout", 0),
            by_role.get("aside", 0),
            tokens[name],
        )
        for name, by_role in samples.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.tokens, row.name)))
