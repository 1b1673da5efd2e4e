"""The way in: what each arriving document becomes, decided for a whole batch at once, in one transaction."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TypeVar

import numpy as np

from memory.database import facts
from memory.database.connection import Database
from memory.database.sqlite import Connection
from memory.errors import StoreReopened
from memory.identity import near_duplicates, similar_keys
from memory.identity.fingerprints import Bools, Int64s, priorities
from memory.identity.kept_out import KeptOut
from memory.intake import dead_letters_and_gaps, feedback, tombstones
from memory.intake.caches import IntakeCaches
from memory.intake.hashes_and_sketches import Looked, Looker
from memory.intake.names import NO_LABEL
from memory.intake.records import Appended
from memory.intake.split import Offered
from memory.samples import corrections, counters, offsets, replay_budgets, slices
from memory.samples.offsets import Position, position_of
from memory.samples.records import Role
from memory.settings import MemorySettings
from streams.document import Batch, Partition

T = TypeVar("T")

_INSERT = """
    INSERT INTO samples(id, role, bytes, source, label, stream, offset, key_hash, event_time, arrived_at, text,
        turns)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(slots=True)
class _Sorting:
    """Documents of a batch on their way; the arrays hold indexes into the batch, ascending.

    Attributes:
        fresh: to train on.
        held: found a place in a slice.
        ids: of every document of the batch; only those that are stored use theirs.
    """

    streams: Int64s
    ids: Int64s
    fresh: Int64s
    held: Int64s


class Intake:
    """Takes batches in, one at a time."""

    def __init__(self, database: Database, settings: MemorySettings, clock: Callable[[], float]) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._caches = IntakeCaches(settings)
        with database.read() as tx:
            self._looker = Looker(facts.secret(tx))
        self._kept_out = KeptOut(self._looker.hasher, settings.near_duplicate_similarity)

    @property
    def salt(self) -> int:
        """The salt of every random order of samples."""
        return self._looker.hasher.salt

    @property
    def kept_out(self) -> KeptOut:
        """Text from outside that nothing may be trained on."""
        return self._kept_out

    def keep_out(self, texts: Sequence[str]) -> None:
        """See `Store.keep_out`."""
        # Replaced whole: a batch that is being taken in has all of the old or all of the new.
        self._kept_out = KeptOut(self._looker.hasher, self._settings.near_duplicate_similarity, texts)

    def key_hash(self, key: str) -> int:
        """The keyed hash by which a key is known."""
        return self._looker.hasher.key(key)[0]

    def is_erased(self, key_hashes: Sequence[int]) -> bool:
        """Whether one of these keys was erased."""
        hashes = np.array(key_hashes, np.int64)
        return bool(self._caches.is_forgotten(hashes, np.ones(len(hashes), bool)).any())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no batch in while the block runs, and look at the store anew afterwards."""
        with self._lock:
            # Before the block, so that it holds where the block raises too.
            self._caches.stale()
            yield

    def append(
        self, batch: Batch, *, before_stream: bool, keep_unpublished: bool, opened: int | None = None
    ) -> Appended:
        """See `Store.append`."""
        # Before the lock and the transaction: hashing needs nothing of the store and would only keep others waiting.
        columns = self._looker.look(batch.documents)
        with self._lock:
            try:
                with self._database.write() as tx:
                    self._refuse_reopened(opened)
                    self._caches.catch_up(tx)
                    return self._take(
                        tx, batch, columns, before_stream=before_stream, keep_unpublished=keep_unpublished
                    )
            # They have learned what is now undone; so too where a signal ended it.
            except BaseException:
                self._caches.stale()
                raise

    def _refuse_reopened(self, opened: int | None) -> None:
        if opened not in (None, self._database.opened):
            raise StoreReopened("The database was opened anew: reading begins again from its offsets.")

    def _take(
        self, tx: Connection, batch: Batch, columns: Looked, *, before_stream: bool, keep_unpublished: bool
    ) -> Appended:
        positions = offsets.move_on(tx, batch, self._clock())
        # Before the batch's letters and text: a tombstone erases what has a smaller number than what is stored now.
        erasures = tombstones.note(tx, batch.erasures, positions, self)
        letters = dead_letters_and_gaps.take(
            tx, batch.dead_letters, positions, self, self._settings, keep_unpublished=keep_unpublished
        )
        feedback.take(tx, batch.opinions, positions, self)
        gaps = dead_letters_and_gaps.store_gaps(tx, batch.gaps, positions, self._clock(), self._settings.gaps_kept)
        first = facts.get_int(tx, "next_sample")
        appended = self._take_documents(
            tx, columns, positions, tombstones.withdrawn(columns, erasures), before_stream=before_stream
        )
        corrections.note(tx, batch.opinions, positions, first)
        appended = replace(
            appended,
            redelivered=appended.redelivered + letters.redelivered + len(batch.gaps) - gaps,
            forgotten=appended.forgotten + letters.forgotten,
            dead_letters=letters.new,
            dead_letters_evicted=letters.evicted,
            gaps=gaps,
        )
        names = ("surplus", "duplicates", "near_duplicates", "forgotten", "redelivered")
        counters.tally(tx, {name: getattr(appended, name) for name in names})
        if appended.withdrawn:
            counters.tally(tx, {tombstones.TALLY: appended.withdrawn})
        return appended

    def _take_documents(
        self,
        tx: Connection,
        columns: Looked,
        positions: Mapping[Partition, Position],
        withdrawn: Bools,
        *,
        before_stream: bool,
    ) -> Appended:
        if not len(columns):
            return Appended()
        caches = self._caches
        streams, new = _place(columns, positions)
        forgotten = new & caches.is_forgotten(columns.keys, columns.keyed)
        withdrawn &= new & ~forgotten
        rows = np.flatnonzero(new & ~forgotten & ~withdrawn)
        rows = rows[caches.seen.unseen(columns.contents[rows])]
        caches.seen.add(tx, columns.contents[rows])
        sorting, surplus = self._sort(tx, columns, streams, rows, before_stream=before_stream)
        self._insert(tx, columns, sorting, Role.REPLAY if before_stream else Role.FRESH)
        if before_stream:
            self._settle(tx, columns, sorting)
        kept = len(sorting.fresh)
        return Appended(
            fresh=0 if before_stream else kept,
            replay=kept if before_stream else 0,
            holdout=len(sorting.held),
            surplus=surplus,
            duplicates=int(new.sum() - forgotten.sum() - withdrawn.sum()) - len(rows),
            withdrawn=int(withdrawn.sum()),
            near_duplicates=len(rows) - kept - len(sorting.held) - surplus,
            forgotten=int(forgotten.sum()),
            redelivered=len(columns) - int(new.sum()),
        )

    def _sort(
        self, tx: Connection, columns: Looked, streams: Int64s, rows: Int64s, *, before_stream: bool
    ) -> tuple[_Sorting, int]:
        """Split documents, find held-out ones a place, and keep what comes near them out of training.

        Returns also how many held-out documents found none.
        """
        held_out = self._held_out(tx, columns, rows, before_stream=before_stream)
        first = facts.get_int(tx, "next_sample")
        facts.put(tx, "next_sample", first + len(columns))
        ids = np.arange(first, first + len(columns), dtype=np.int64)
        offered = rows[held_out]
        held = self._admit(tx, columns, ids, offered, anchor=before_stream)
        # Before the rest of the batch is compared: what was held out of it is to be found too.
        self._caches.held.add(columns.sketches.take(held))
        self._caches.assigned(first + len(columns) - 1)
        fresh = rows[~held_out]
        fresh = fresh[~self._caches.held.near(columns.sketches.take(fresh))]
        fresh = fresh[~self._kept_out.near(_take_rows(columns.texts, fresh))]
        return _Sorting(streams, ids, fresh, held), len(offered) - len(held)

    def _held_out(self, tx: Connection, columns: Looked, rows: Int64s, *, before_stream: bool) -> Bools:
        """Which of these documents are held out, one entry each."""
        offered = Offered(
            columns.keys[rows],
            columns.keyed[rows],
            columns.groups[rows],
            columns.content_groups[rows],
            self._sources(tx, columns, rows),
        )
        return self._caches.splitter.split(tx, offered, before_stream=before_stream)

    def _admit(self, tx: Connection, columns: Looked, ids: Int64s, rows: Int64s, *, anchor: bool) -> Int64s:
        """Find held-out documents a place; returns those that found one."""
        samples = ids[rows].tolist()
        order = priorities(ids[rows], self.salt).tolist()
        sources = self._sources(tx, columns, rows).tolist()
        offered = [slices.Held(*place) for place in zip(order, samples, sources, strict=True)]
        admitted = slices.admit(tx, offered, self._settings, anchor=anchor)
        is_admitted: Bools = np.array([sample in admitted for sample in samples], bool)
        return np.extract(is_admitted, rows)

    def _insert(self, tx: Connection, columns: Looked, sorting: _Sorting, role: Role) -> None:
        # Ascending ids are appended at the table's end, where others would each be looked a place for.
        rows = np.sort(np.concatenate([sorting.fresh, sorting.held]))
        if not len(rows):
            return
        sources, labels = self._numbers(tx, columns, rows)
        roles = np.full(len(columns), role, np.int64)
        roles[sorting.held] = Role.HOLDOUT
        keys: list[int | None] = columns.keys[rows].tolist()
        if not columns.keyed[rows].all():
            keys = [key if keyed else None for key, keyed in zip(keys, columns.keyed[rows].tolist(), strict=True)]
        tx.executemany(
            _INSERT,
            zip(
                sorting.ids[rows].tolist(),
                roles[rows].tolist(),
                columns.sizes[rows].tolist(),
                sources.tolist(),
                labels.tolist(),
                sorting.streams[rows].tolist(),
                columns.offsets[rows].tolist(),
                keys,
                _take_rows(columns.event_times, rows),
                _take_rows(columns.arrivals, rows),
                _take_rows(columns.texts, rows),
                _take_rows(columns.turns, rows),
                strict=True,
            ),
        )
        if columns.dresses:
            similar_keys.note(tx, columns.keys[rows].tolist(), columns.dresses)
        counters.add(tx, _changes(roles[rows], sources, labels, columns.sizes[rows]))
        if len(sorting.held):
            slices.shrink(tx, self._settings.holdout_documents)

    def _sources(self, tx: Connection, columns: Looked, rows: Int64s) -> Int64s:
        """The number of each document's source."""
        distinct = set(columns.sources)
        if len(distinct) == 1 and len(rows):
            (name,) = distinct
            return np.full(len(rows), self._caches.sources.numbers(tx, distinct)[name], np.int64)
        names = _take_rows(columns.sources, rows)
        numbers = self._caches.sources.numbers(tx, set(names))
        return np.fromiter(map(numbers.__getitem__, names), np.int64, len(names))

    def _numbers(self, tx: Connection, columns: Looked, rows: Int64s) -> tuple[Int64s, Int64s]:
        sources = self._sources(tx, columns, rows)
        if not any(columns.labels):
            return sources, np.full(len(rows), NO_LABEL, np.int64)
        names = _take_rows(columns.labels, rows)
        numbers = self._caches.labels.numbers(tx, {label for label in names if label is not None})
        labels = [NO_LABEL if label is None else numbers[label] for label in names]
        return sources, np.array(labels, np.int64)

    def _settle(self, tx: Connection, columns: Looked, sorting: _Sorting) -> None:
        """Let text from before the stream into replay at once."""
        ids = sorting.ids[sorting.fresh].tolist()
        sketches = columns.sketches.take(sorting.fresh)
        near_duplicates.record_trained(tx, ids, sketches, self._settings.trained_documents)
        replay_budgets.settle(tx, ids, replay_budgets.BEFORE_STREAM, self._settings, self.salt)


def _take_rows(column: Sequence[T], rows: Int64s) -> Sequence[T]:
    """The entries at these rows; what itemgetter does in C takes a third of the time that a comprehension takes."""
    return itemgetter(*rows.tolist())(column) if len(rows) > 1 else [column[row] for row in rows.tolist()]


def _place(columns: Looked, positions: Mapping[Partition, Position]) -> tuple[Int64s, Bools]:
    """The stream of each document, and which of them the store does not have yet."""
    # Documents of a partition share its object: comparing identities spares a hash of three fields for each.
    distinct = {id(partition): partition for partition in columns.partitions}
    codes = {identity: code for code, identity in enumerate(distinct)}
    members = np.array([codes[id(partition)] for partition in columns.partitions], np.int64)
    places = []
    for code, partition in enumerate(distinct.values()):
        highest = int(columns.offsets[members == code].max())
        places.append(position_of(positions, partition, highest))
    streams = np.array([position.stream for position in places], np.int64)
    starts = np.array([position.first_new for position in places], np.int64)
    return streams[members], columns.offsets >= starts[members]


def _changes(roles: Int64s, sources: Int64s, labels: Int64s, sizes: Int64s) -> list[counters.Change]:
    """What a batch adds to the counters."""
    # Three numbers in one, so that one sort counts all: 8 bits for the role, 24 for the label.
    codes = (sources << 32) | (labels << 8) | roles
    distinct, members = np.unique(codes, return_inverse=True)
    samples = np.bincount(members)
    sums = np.bincount(members, weights=sizes)
    return [
        (int(code) & 0xFF, int(code) >> 32, (int(code) >> 8) & 0xFFFFFF, int(count), int(size))
        for code, count, size in zip(distinct, samples, sums, strict=True)
    ]
