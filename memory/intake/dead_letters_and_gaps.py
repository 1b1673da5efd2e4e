"""Dead letters and gaps: what could not be understood, and what never came."""

import json
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from memory.database import sqlite
from memory.database.sqlite import Connection
from memory.intake.records import StoredDeadLetter, StoredGap
from memory.samples import counters, offsets
from memory.samples.offsets import Position, position_of
from memory.settings import MemorySettings
from streams.document import DeadLetter, Gap, Header, Partition, Reason, key_text

_SIZE = "length(value) + coalesce(length(key), 0) + coalesce(length(headers), 0)"

EVICTED = {
    "published_dead_letters_evicted": "published = 1",
    "filtered_dead_letters_evicted": "published = 0 AND reason IN ('empty_text', 'repetitive', 'too_short')",
    "dead_letters_evicted": "published = 0",
}
"""What makes room, in this order, by the name that it is counted under: what is in its topic, then filtered text, so
that much of it hides nothing that is wrong. Said in the words of the indexes."""
NOT_KEPT = frozenset({Reason.TOMBSTONE})
"""Counted, but there is nothing in them to keep."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch's dead letters, in numbers of them.

    Attributes:
        new: counted by their reasons.
        forgotten: of a key that was erased.
        redelivered: the store had them already.
        evicted: older ones, neither published nor filtered text, that went to make room.
    """

    new: int = 0
    forgotten: int = 0
    redelivered: int = 0
    evicted: int = 0


class KnownKeys(Protocol):
    """What is known of keys."""

    def key_hash(self, key: str) -> int:
        """The keyed hash by which a key is known."""

    def is_erased(self, key_hashes: Sequence[int]) -> bool:
        """Whether one of these keys was erased."""


class _Letter(NamedTuple):
    stream: int
    letter: DeadLetter
    key_hashes: list[int]


def take(
    tx: Connection,
    letters: Sequence[DeadLetter],
    positions: Mapping[Partition, Position],
    keys: KnownKeys,
    settings: MemorySettings,
    *,
    keep_unpublished: bool,
) -> Taken:
    """Count the dead letters that are new, and store those that hold something; the oldest make room for them.

    Args:
        keep_unpublished: none goes before it is published: the quarantine grows beyond its bounds instead.
    """
    if not letters:
        return Taken()
    new = []
    for letter in letters:
        position = position_of(positions, letter.partition, letter.offset)
        if letter.offset >= position.first_new:
            new.append(_Letter(position.stream, letter, _hashes(letter, keys)))
    # An erasure holds for what comes later too, whatever it becomes: a letter may quote the erased text.
    admissible = [entry for entry in new if not keys.is_erased(entry.key_hashes)]
    counters.tally(
        tx, {"dead_letters": len(admissible), **Counter(f"dead_letters:{entry.letter.reason}" for entry in admissible)}
    )
    _store(tx, [entry for entry in admissible if entry.letter.reason not in NOT_KEPT])
    evicted = _make_room(tx, settings, keep_unpublished=keep_unpublished)
    return Taken(len(admissible), len(new) - len(admissible), len(letters) - len(new), evicted)


def _hashes(letter: DeadLetter, keys: KnownKeys) -> list[int]:
    own_key = key_text(letter.key)
    return [keys.key_hash(key) for key in dict.fromkeys((*letter.named_keys, *((own_key,) if own_key else ())))]


def _store(tx: Connection, letters: Sequence[_Letter]) -> None:
    tx.executemany(
        "INSERT INTO dead_letters(stream, offset, reason, detail, key, value, value_bytes, arrived_at, published, "
        "key_hashes, headers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        [(stream, *_columns(letter), json.dumps(hashes), _write_headers(letter)) for stream, letter, hashes in letters],
    )
    size = sum(
        len(entry.letter.value) + len(entry.letter.key or b"") + len(_write_headers(entry.letter) or "")
        for entry in letters
    )
    counters.tally(tx, {"quarantine_rows": len(letters), "quarantine_bytes": size})


def _columns(letter: DeadLetter) -> tuple[Any, ...]:
    return letter.offset, letter.reason, letter.detail, letter.key, letter.value, letter.value_bytes, letter.arrived_at


def _write_headers(letter: DeadLetter) -> str | None:
    """The record's own headers as ASCII, values in base64: JSON has no bytes."""
    if not letter.headers and not letter.headers_dropped:
        return None
    encoded = [[name, None if value is None else b64encode(value).decode()] for name, value in letter.headers]
    return json.dumps([encoded, letter.headers_dropped])


def _read_headers(text: str | None) -> tuple[tuple[Header, ...], int]:
    if text is None:
        return (), 0
    encoded, dropped = json.loads(text)
    return tuple((name, None if value is None else b64decode(value)) for name, value in encoded), dropped


def _make_room(tx: Connection, settings: MemorySettings, *, keep_unpublished: bool) -> int:
    """Evict letters beyond the bounds: of the first kind that there is, the oldest. Returns how many of the last."""
    evicted = dict.fromkeys(EVICTED, 0)
    # Measured anew for each kind: what one gave up, the next need not.
    for kind, condition in list(EVICTED.items())[: 1 if keep_unpublished else None]:
        rows, size = counters.quarantine(tx)
        ids = _oldest(tx, condition, rows - settings.quarantine_rows, size - settings.quarantine_bytes)
        evicted[kind] = drop(tx, ids) if ids else 0
    counters.tally(tx, evicted)
    return evicted["dead_letters_evicted"]


def _oldest(tx: Connection, condition: str, rows: int, size: int) -> list[int]:
    """The oldest letters, so many that they are `rows` or more and hold `size` bytes or more, or all there are."""
    ids: list[int] = []
    if rows <= 0 and size <= 0:
        return ids
    for number, its_size in tx.execute(f"SELECT id, {_SIZE} FROM dead_letters WHERE {condition} ORDER BY id"):
        if len(ids) >= rows and size <= 0:
            break
        ids.append(number)
        size -= its_size
    return ids


def store_gaps(
    tx: Connection, gaps: Sequence[Gap], positions: Mapping[Partition, Position], now: float, most: int
) -> int:
    """Store the gaps that are new, and forget the oldest beyond the bound. Returns how many were new."""
    rows = []
    for gap in gaps:
        position = position_of(positions, gap.partition, gap.last)
        if gap.last >= position.first_new:
            # A batch that comes again may tell of a gap that is noted in part.
            rows.append((position.stream, max(gap.first, position.first_new), gap.last, gap.reason, now))
    if rows:
        tx.executemany("INSERT INTO gaps(stream, first, last, reason, recorded_at) VALUES (?, ?, ?, ?, ?)", rows)
        tx.execute("DELETE FROM gaps WHERE id <= (SELECT max(id) FROM gaps) - ?", (most,))
        counters.tally(tx, {"gaps": len(rows), "gap_offsets": sum(last - first + 1 for _, first, last, *_ in rows)})
    return len(rows)


def latest_gaps(tx: Connection, limit: int, before: int | None) -> list[StoredGap]:
    """The latest gaps, those with smaller ids than `before`; newest first."""
    rows = tx.execute(
        # Without `before` each id is compared with itself plus one: all are below.
        "SELECT id, stream, first, last, reason, recorded_at FROM gaps WHERE id < coalesce(?, id + 1) "
        "ORDER BY id DESC LIMIT ?",
        (before, limit),
    ).fetchall()
    names = offsets.partitions(tx, (row[1] for row in rows))
    return [
        StoredGap(number, Gap(names[stream], first, last, reason), at)
        for number, stream, first, last, reason, at in rows
    ]


def is_full(tx: Connection, settings: MemorySettings) -> bool:
    """Whether letters that are not published fill the quarantine, in rows or in bytes."""
    rows, size = counters.quarantine(tx)
    # The counters first, which cost nothing: only beyond the bounds are the letters looked through.
    if rows < settings.quarantine_rows and size < settings.quarantine_bytes:
        return False
    rows, size = tx.execute(
        f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM dead_letters WHERE published = 0"
    ).fetchone()
    return bool(rows >= settings.quarantine_rows or size >= settings.quarantine_bytes)


def list_letters(tx: Connection, limit: int, after: int, *, unpublished: bool = False) -> list[StoredDeadLetter]:
    """Dead letters with ids above `after`, oldest first."""
    condition = "AND published = 0" if unpublished else ""
    return _letters(tx, f"WHERE id > ? {condition} ORDER BY id LIMIT ?", (after, limit))


def latest(tx: Connection, limit: int, before: int | None) -> list[StoredDeadLetter]:
    """Dead letters with ids below `before`, newest first."""
    return _letters(tx, "WHERE id < coalesce(?, id + 1) ORDER BY id DESC LIMIT ?", (before, limit))


def by_detail(tx: Connection, reason: Reason) -> dict[str, int]:
    """How many dead letters of one reason there are, by the particulars."""
    return dict(tx.execute("SELECT detail, count(*) FROM dead_letters WHERE reason = ? GROUP BY detail", (reason,)))


def find_letter(tx: Connection, number: int) -> StoredDeadLetter | None:
    """The dead letter of that id, where there is one."""
    return next(iter(_letters(tx, "WHERE id = ?", (number,))), None)


def find_at(tx: Connection, stream: int, offset: int) -> StoredDeadLetter | None:
    """The dead letter that a record became, where the quarantine has it."""
    return next(iter(_letters(tx, "WHERE stream = ? AND offset = ?", (stream, offset))), None)


def gap_over(tx: Connection, stream: int, offset: int) -> Gap | None:
    """The gap that an offset lies in, where that is known."""
    row = tx.execute(
        "SELECT first, last, reason FROM gaps WHERE stream = ? AND first <= ? AND last >= ? ORDER BY id DESC LIMIT 1",
        (stream, offset, offset),
    ).fetchone()
    return None if row is None else Gap(offsets.partitions(tx, [stream])[stream], *row)


def _letters(tx: Connection, condition: str, values: tuple[int | None, ...]) -> list[StoredDeadLetter]:
    rows = tx.execute(
        "SELECT id, stream, offset, reason, detail, key, value, value_bytes, arrived_at, published, headers "
        "FROM dead_letters " + condition,
        values,
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
            headers=headers,
            headers_dropped=dropped,
        )
        for number, stream, offset, reason, detail, key, value, value_bytes, arrived_at, published, headers_text in rows
        for headers, dropped in [_read_headers(headers_text)]
    ]


def mark_published(tx: Connection, ids: Iterable[int]) -> None:
    """Note that these were acknowledged by the dead-letter topic."""
    tx.execute(
        "UPDATE dead_letters SET published = 1 WHERE id IN (SELECT value FROM json_each(?))", (sqlite.as_json(ids),)
    )


def note_reasons(tx: Connection, reasons: Mapping[int, tuple[Reason, str]]) -> None:
    """Note why these dead letters (by id) are dead today, and the particulars."""
    rows = [(reason, detail, number) for number, (reason, detail) in reasons.items()]
    tx.executemany("UPDATE dead_letters SET reason = ?, detail = ? WHERE id = ?", rows)


def drop(tx: Connection, ids: Iterable[int] | None) -> int:
    """Remove dead letters, these or all. Returns how many."""
    condition, values = "1", []
    if ids is not None:
        condition, values = "id IN (SELECT value FROM json_each(?))", [sqlite.as_json(ids)]
    sizes = tx.execute(f"DELETE FROM dead_letters WHERE {condition} RETURNING {_SIZE}", values).fetchall()
    counters.tally(tx, {"quarantine_rows": -len(sizes), "quarantine_bytes": -sum(size for (size,) in sizes)})
    return len(sizes)


def erase(tx: Connection, key: str | None, key_hash: int) -> int:
    """Remove the dead letters of a key. Returns how many."""
    return drop(tx, of_key(tx, key, key_hash))


def _values(headers_text: str | None) -> Iterator[bytes | None]:
    return (value for _, value in _read_headers(headers_text)[0])


def of_key(tx: Connection, key: str | None, key_hash: int) -> set[int]:
    """Ids of a key's dead letters: those that carry it as their key, or anywhere in their bytes or headers as a word.

    So too where the bytes that name it were cut off after they had been read.
    """
    query = "SELECT id FROM dead_letters WHERE EXISTS (SELECT 1 FROM json_each(key_hashes) WHERE value = ?)"
    ids = {letter for (letter,) in tx.execute(query, (key_hash,))}
    if key is None:
        return ids
    escaped = json.dumps(key)[1:-1]
    spellings = {
        key.encode("utf-8", "surrogatepass"),
        escaped.encode(),
        # Other writers of JSON take capital hex digits, and some escape the slash.
        re.sub(r"\\u[0-9a-f]{4}", lambda match: "\\u" + match[0][2:].upper(), escaped).encode(),
        escaped.replace("/", "\\/").encode(),
        json.dumps(key, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"),
    }
    # `u1` is not meant where the bytes say `u12`.
    pattern = re.compile(b"(?<![0-9A-Za-z_])(?:" + b"|".join(map(re.escape, spellings)) + b")(?![0-9A-Za-z_])")
    ids |= {
        letter
        for letter, its_key, value, headers_text in tx.execute("SELECT id, key, value, headers FROM dead_letters")
        if key_text(its_key) == key
        or any(pattern.search(part) for part in (value, its_key, *_values(headers_text)) if part is not None)
    }
    return ids
