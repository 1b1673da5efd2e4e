"""Dead letters and gaps: what could not be understood, and what never came."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from memory import counters, offsets, removal
from memory.offsets import Position, position_of
from memory.records import StoredDeadLetter
from memory.settings import MemorySettings
from memory.sqlite import Connection
from streams.document import DeadLetter, Gap, Partition, Reason, key_text


def store(tx: Connection, letters: Sequence[DeadLetter], positions: Mapping[Partition, Position]) -> int:
    """Store the dead letters that are new. Returns how many were not: they were delivered again."""
    rows = []
    for letter in letters:
        position = position_of(positions, letter.partition, letter.offset)
        if letter.offset >= position.first_new:
            rows.append((position.stream, letter))
    tx.executemany(
        "INSERT INTO dead_letters(stream, offset, reason, detail, key, value, value_bytes, arrived_at, published) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
        [
            (stream, one.offset, one.reason, one.detail, one.key, one.value, one.value_bytes, one.arrived_at)
            for stream, one in rows
        ],
    )
    reasons = Counter(f"dead_letters:{letter.reason}" for _, letter in rows)
    size = sum(_size(letter.key, letter.value) for _, letter in rows)
    counters.tally(tx, {"dead_letters": len(rows), "quarantine_rows": len(rows), "quarantine_bytes": size, **reasons})
    return len(letters) - len(rows)


def _size(key: bytes | None, value: bytes) -> int:
    return len(value) + len(key or b"")


def store_gaps(
    tx: Connection, gaps: Sequence[Gap], positions: Mapping[Partition, Position], now: float, kept: int
) -> int:
    """Store the gaps that are new, and forget the oldest beyond the bound. Returns how many were new."""
    rows = []
    for gap in gaps:
        position = position_of(positions, gap.partition, gap.last)
        if gap.last >= position.first_new:
            rows.append((position.stream, max(gap.first, position.first_new), gap.last, gap.reason, now))
    if rows:
        tx.executemany("INSERT INTO gaps(stream, first, last, reason, recorded_at) VALUES (?, ?, ?, ?, ?)", rows)
        tx.execute("DELETE FROM gaps WHERE id <= (SELECT max(id) FROM gaps) - ?", (kept,))
        counters.tally(tx, {"gaps": len(rows), "gap_offsets": sum(last - first + 1 for _, first, last, *_ in rows)})
    return len(rows)


def latest_gaps(tx: Connection, limit: int) -> list[Gap]:
    """The latest gaps, newest first."""
    rows = tx.execute("SELECT stream, first, last, reason FROM gaps ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
    names = offsets.partitions(tx, (row[0] for row in rows))
    return [Gap(names[stream], first, last, reason) for stream, first, last, reason in rows]


def is_full(tx: Connection, settings: MemorySettings) -> bool:
    """Whether the dead letters have reached their budget in rows or in bytes."""
    rows, size = counters.quarantine(tx)
    return rows >= settings.quarantine_rows or size >= settings.quarantine_bytes


def listed(tx: Connection, limit: int, after: int, *, unpublished: bool = False) -> list[StoredDeadLetter]:
    """Dead letters with ids above `after`, oldest first."""
    condition = "AND published = 0" if unpublished else ""
    rows = tx.execute(
        "SELECT id, stream, offset, reason, detail, key, value, value_bytes, arrived_at, published FROM dead_letters "
        f"WHERE id > ? {condition} ORDER BY id LIMIT ?",
        (after, limit),
    ).fetchall()
    names = offsets.partitions(tx, (row[1] for row in rows))
    return [
        StoredDeadLetter(
            id=number,
            partition=names[stream],
            offset=offset,
            reason=Reason(reason),
            detail=detail,
            key=key,
            value=value,
            value_bytes=value_bytes,
            arrived_at=arrived_at,
            published=bool(published),
        )
        for number, stream, offset, reason, detail, key, value, value_bytes, arrived_at, published in rows
    ]


def mark_published(tx: Connection, ids: Iterable[int]) -> None:
    """Note that these were acknowledged by the dead-letter topic."""
    tx.execute(
        "UPDATE dead_letters SET published = 1 WHERE id IN (SELECT value FROM json_each(?))", (removal.as_json(ids),)
    )


def drop(tx: Connection, ids: Iterable[int] | None, *, published_only: bool) -> int:
    """Remove dead letters: these or all, and of those only the published ones if asked. Returns how many."""
    wanted, conditions = [], ["1"]
    if ids is not None:
        wanted.append(removal.as_json(ids))
        conditions.append("id IN (SELECT value FROM json_each(?))")
    if published_only:
        conditions.append("published = 1")
    gone = tx.execute(
        f"DELETE FROM dead_letters WHERE {' AND '.join(conditions)} RETURNING length(value) + coalesce(length(key), 0)",
        wanted,
    ).fetchall()
    counters.tally(tx, {"quarantine_rows": -len(gone), "quarantine_bytes": -sum(size for (size,) in gone)})
    return len(gone)


def erase(tx: Connection, key: str) -> int:
    """Remove the dead letters of a key: those that carry it as their key, or anywhere in their bytes as a whole word.

    Returns how many.
    """
    escaped = json.dumps(key)[1:-1]
    spellings = {
        key.encode("utf-8", "surrogatepass"),
        escaped.encode(),
        # Other writers of JSON take capital hex digits, and some escape the slash.
        re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), escaped).encode(),
        escaped.replace("/", "\\/").encode(),
        json.dumps(key, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"),
    }
    # `u1` is not meant where the bytes say `u12`.
    pattern = re.compile(b"(?<![0-9A-Za-z_])(?:" + b"|".join(map(re.escape, spellings)) + b")(?![0-9A-Za-z_])")
    ids = [
        letter
        for letter, its_key, value in tx.execute("SELECT id, key, value FROM dead_letters")
        if key_text(its_key) == key or pattern.search(value) or (its_key is not None and pattern.search(its_key))
    ]
    return drop(tx, ids, published_only=False)
