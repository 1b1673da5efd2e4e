"""One record through the memory, by its offset or by its key: what it became, and what was given it. Changes nothing.

What rounds were given is kept by round and sample, to which no index leads from an offset or a key: of a record whose
text has left memory it is read over, as it is asked for so seldom.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.intake import dead_letters_and_gaps
from memory.intake.records import StoredDeadLetter
from memory.ledger.states import RoundState
from memory.people import erasure
from memory.samples import offsets, slice_names
from memory.samples.reading import FoundSample, read_places
from streams.document import Gap, Partition


@dataclass(frozen=True, slots=True)
class RoundUse:
    """A round that was given a record.

    Attributes:
        part: as `memory.ledger.records.TrainedSample` has it.
        generation: that the round made; None where it made none.
    """

    round: int
    part: str
    state: RoundState
    generation: int | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """Which round set a sample aside, why, and since when (unix seconds)."""

    round: int
    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class Traced:
    """What is known of one record.

    Attributes:
        next_offset: that is read next in its partition.
        sample_id: of the sample that it became, also where that has left memory while the ledger still knows it.
        sample: where it is kept.
        slice: of held-out text, the one that it is in.
        aside: where it is set aside.
        refusals: of rounds that had it to train on and were refused.
        letter: where the quarantine has it.
        gap: where it never came.
        uses: rounds that were given it, oldest first.
        generations, descendants, lineage_from: as in `memory.people.erasure.Forgotten`, of this record alone.
        scored_by: generations whose score on it is kept.
        key_hashes: of the keys that it is known by.
        erased_at: when a key of it was erased, unix seconds; None where none was.
    """

    partition: Partition
    offset: int
    next_offset: int
    sample_id: int | None
    sample: FoundSample | None
    slice: str | None
    aside: SetAside | None
    refusals: int
    letter: StoredDeadLetter | None
    gap: Gap | None
    uses: tuple[RoundUse, ...]
    generations: tuple[int, ...]
    descendants: tuple[int, ...]
    lineage_from: int
    scored_by: tuple[int, ...]
    key_hashes: tuple[int, ...]
    erased_at: float | None

    @property
    def is_anything(self) -> bool:
        """Whether anything is known but how far its partition was read."""
        return self.sample_id is not None or self.letter is not None or self.gap is not None


@dataclass(frozen=True, slots=True)
class TracedPage:
    """Records of a key, by their samples' ids; the first page begins with the key's dead letters.

    Attributes:
        next: the id that the next page goes on after; None where there is none.
    """

    records: tuple[Traced, ...]
    next: int | None


def partitions_read(tx: Connection, topic: str) -> list[int]:
    """The numbers of a topic's partitions that were ever read."""
    rows = tx.execute("SELECT DISTINCT number FROM streams WHERE topic = ? ORDER BY number", (topic,))
    return [number for (number,) in rows]


def of_offset(tx: Connection, topic: str, number: int, offset: int) -> tuple[Traced, ...]:
    """What is known of a record; several where the topic was made anew and each had this offset, the latest first.

    Empty where the partition was never read.
    """
    streams = tx.execute(
        "SELECT id FROM streams WHERE topic = ? AND number = ? ORDER BY moved_at DESC, id DESC", (topic, number)
    ).fetchall()
    traced = [_trace(tx, stream, offset) for (stream,) in streams]
    return tuple(each for each in traced if each.is_anything) or tuple(traced[:1])


def of_key(tx: Connection, key: str | None, key_hash: int, *, limit: int, after: int) -> TracedPage:
    """See `Store.people.trace`."""
    rows = tx.execute(
        "SELECT sample, stream, offset FROM (SELECT id AS sample, stream, offset FROM samples WHERE key_hash = ?1 "
        "UNION SELECT sample, stream, offset FROM round_samples WHERE key_hash = ?1) WHERE sample > ?2 "
        "ORDER BY sample LIMIT ?3",
        (key_hash, after, limit + 1),
    ).fetchall()
    samples = {(stream, offset): sample for sample, stream, offset in rows[:limit]}
    letters = _letters_of_key(tx, key, key_hash, limit) if after == 0 else []
    # Of a sample whose id is known what rounds were given need not be read over.
    traced = tuple(_trace(tx, *place, sample=samples.get(place)) for place in dict.fromkeys([*letters, *samples]))
    return TracedPage(traced, rows[limit - 1][0] if len(rows) > limit else None)


def _letters_of_key(tx: Connection, key: str | None, key_hash: int, limit: int) -> list[tuple[int, int]]:
    ids = sorted(dead_letters_and_gaps.of_key(tx, key, key_hash))[:limit]
    return tx.execute(
        "SELECT stream, offset FROM dead_letters WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (sqlite.as_json(ids),),
    ).fetchall()


def _trace(tx: Connection, stream: int, offset: int, *, sample: int | None = None) -> Traced:
    letter = dead_letters_and_gaps.find_at(tx, stream, offset)
    if sample is None and letter is None:
        sample = _sample_at(tx, stream, offset)
    sample_id, key_hash, is_kept = (None, None, False) if sample is None else _known_of(tx, sample)
    keys = [key_hash, *([] if letter is None else _keys_of_letter(tx, letter.id))]
    known = tuple(dict.fromkeys(key for key in keys if key is not None))
    uses = () if sample_id is None else _uses_of(tx, sample_id)
    lineage_from = facts.get_int(tx, "lineage_from")
    parts = {use.round: [use.part] for use in uses}
    generations, descendants, _ = erasure.seen_by(tx, erasure.find_training_rounds(parts), lineage_from)
    row = tx.execute("SELECT next_offset FROM streams WHERE id = ?", (stream,)).fetchone()
    return Traced(
        partition=offsets.partitions(tx, [stream])[stream],
        offset=offset,
        next_offset=0 if row is None else row[0],
        sample_id=sample_id,
        sample=next(iter(read_places(tx, [sample_id])), None) if is_kept and sample_id is not None else None,
        slice=None if sample_id is None else slice_of(tx, sample_id),
        aside=None if sample_id is None else _aside_of(tx, sample_id),
        refusals=0 if sample_id is None else _refusals_of(tx, sample_id),
        letter=letter,
        gap=dead_letters_and_gaps.gap_over(tx, stream, offset),
        uses=uses,
        generations=generations,
        descendants=descendants,
        lineage_from=lineage_from,
        scored_by=() if sample_id is None else _scored_by(tx, sample_id),
        key_hashes=known,
        erased_at=_erased_at(tx, known),
    )


def _sample_at(tx: Connection, stream: int, offset: int) -> int | None:
    """The sample that a record became, also where its text has left memory while the ledger knows it."""
    for table, column in (("samples", "id"), ("round_samples", "sample")):
        row = tx.execute(
            f"SELECT {column} FROM {table} WHERE stream = ? AND offset = ? LIMIT 1", (stream, offset)
        ).fetchone()
        if row is not None:
            return int(row[0])
    return None


def _known_of(tx: Connection, sample: int) -> tuple[int, int | None, bool]:
    """The sample itself, its key's hash, and whether its text is kept."""
    row = tx.execute("SELECT key_hash FROM samples WHERE id = ?", (sample,)).fetchone()
    if row is not None:
        return sample, row[0], True
    row = tx.execute(
        "SELECT u.key_hash FROM rounds r CROSS JOIN round_samples u ON u.round = r.number AND u.sample = ? LIMIT 1",
        (sample,),
    ).fetchone()
    return sample, None if row is None else row[0], False


def _uses_of(tx: Connection, sample: int) -> tuple[RoundUse, ...]:
    rows = tx.execute(
        # Round after round by the primary key: the other way round all that rounds were given would be read over.
        "SELECT r.number, u.part, r.state, r.generation FROM rounds r CROSS JOIN round_samples u "
        "ON u.round = r.number AND u.sample = ? ORDER BY r.number",
        (sample,),
    )
    return tuple(RoundUse(number, part, RoundState(state), made) for number, part, state, made in rows)


def _keys_of_letter(tx: Connection, letter: int) -> Iterable[int]:
    row = tx.execute("SELECT key_hashes FROM dead_letters WHERE id = ?", (letter,)).fetchone()
    hashes: list[int] = json.loads(row[0])
    return hashes


def slice_of(tx: Connection, sample: int) -> str | None:
    """The slice that a sample is held out in; None where it is in none."""
    row = tx.execute(
        "SELECT s.state, coalesce(n.name, ''), s.first_round, s.last_round FROM holdout h "
        "JOIN slices s ON s.id = h.slice LEFT JOIN sources n ON n.id = s.source WHERE h.sample = ?",
        (sample,),
    ).fetchone()
    if row is None:
        return None
    _, source, first, last = row
    return slice_names.name_of(source, first, last) if source else slice_names.ANCHOR


def _aside_of(tx: Connection, sample: int) -> SetAside | None:
    row = tx.execute("SELECT round, reason, since FROM aside WHERE sample = ?", (sample,)).fetchone()
    return None if row is None else SetAside(*row)


def _refusals_of(tx: Connection, sample: int) -> int:
    row = tx.execute("SELECT times FROM refusals WHERE sample = ?", (sample,)).fetchone()
    return 0 if row is None else int(row[0])


def _scored_by(tx: Connection, sample: int) -> tuple[int, ...]:
    rows = tx.execute("SELECT generation FROM document_scores WHERE sample = ? ORDER BY generation", (sample,))
    return tuple(generation for (generation,) in rows)


def _erased_at(tx: Connection, key_hashes: Collection[int]) -> float | None:
    row = tx.execute(
        "SELECT max(at) FROM forgotten WHERE key_hash IN (SELECT value FROM json_each(?))",
        (sqlite.as_json(key_hashes),),
    ).fetchone()
    return None if row[0] is None else float(row[0])
