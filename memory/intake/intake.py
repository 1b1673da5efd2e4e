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
from memory.intake import dead_letters_and_gaps, split, tombstones
from memory.intake.hashes_and_sketches import Looked, Looker
from memory.intake.names import NO_LABEL
from memory.intake.recall import Recall
from memory.intake.records import Appended
from memory.samples import counters, offsets, replay_budgets, slices
from memory.samples.offsets import Position, position_of
from memory.samples.records import Role
from memory.settings import MemorySettings
from streams.document import Batch, Partition

T = TypeVar("T")

_INSERT = """
    INSERT INTO samples(id, role, bytes, source, label, stream, offset, key_hash, event_time, arrived_at, text)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
        self._recall = Recall(settings)
        with database.read() as tx:
            self._looker = Looker(facts.secret(tx), settings.holdout_share)

    @property
    def salt(self) -> int:
        """The salt of every random order of samples."""
        return self._looker.hasher.salt

    def key_hash(self, key: str) -> int:
        """The keyed hash by which a key is known."""
        return self._looker.hasher.key(key)[0]

    def is_erased(self, key_hashes: Sequence[int]) -> bool:
        """Whether one of these keys was erased."""
        hashes = np.array(key_hashes, np.int64)
        return bool(self._recall.is_forgotten(hashes, np.ones(len(hashes), bool)).any())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no batch in while the block runs, and look at the store anew afterwards."""
        with self._lock:
            self._recall.stale()
            yield

    def append(
        self, batch: Batch, *, before_stream: bool, keep_unpublished: bool, opened: int | None = None
    ) -> Appended:
        """See `Store.append`."""
        looked = self._looker.look(batch.documents)
        with self._lock:
            try:
                with self._database.write() as tx:
                    self._refuse_reopened(opened)
                    self._recall.catch_up(tx)
                    return self._take(tx, batch, looked, before_stream=before_stream, keep_unpublished=keep_unpublished)
            except BaseException:
                self._recall.stale()
                raise

    def _refuse_reopened(self, opened: int | None) -> None:
        if opened not in (None, self._database.opened):
            raise StoreReopened("The database was opened anew: reading begins again from its offsets.")

    def _take(
        self, tx: Connection, batch: Batch, looked: Looked, *, before_stream: bool, keep_unpublished: bool
    ) -> Appended:
        positions = offsets.move_on(tx, batch, self._clock())
        erasures = tombstones.note(tx, batch.erasures, positions, self)
        letters = dead_letters_and_gaps.take(
            tx, batch.dead_letters, positions, self, self._settings, keep_unpublished=keep_unpublished
        )
        gaps = dead_letters_and_gaps.store_gaps(tx, batch.gaps, positions, self._clock(), self._settings.gaps_kept)
        appended = self._take_documents(
            tx, looked, positions, tombstones.withdrawn(looked, erasures), before_stream=before_stream
        )
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
        looked: Looked,
        positions: Mapping[Partition, Position],
        withdrawn: Bools,
        *,
        before_stream: bool,
    ) -> Appended:
        if not len(looked):
            return Appended()
        recall = self._recall
        streams, new = _place(looked, positions)
        forgotten = new & recall.is_forgotten(looked.keys, looked.keyed)
        withdrawn &= new & ~forgotten
        rows = np.flatnonzero(new & ~forgotten & ~withdrawn)
        rows = rows[recall.seen.unseen(looked.contents[rows])]
        recall.seen.add(tx, looked.contents[rows])
        sorting, surplus = self._sort(tx, looked, streams, rows, before_stream=before_stream)
        self._insert(tx, looked, sorting, Role.REPLAY if before_stream else Role.FRESH)
        if before_stream:
            self._settle(tx, looked, sorting)
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
            redelivered=len(looked) - int(new.sum()),
        )

    def _sort(
        self, tx: Connection, looked: Looked, streams: Int64s, rows: Int64s, *, before_stream: bool
    ) -> tuple[_Sorting, int]:
        """Split documents, find held-out ones a place, and keep what comes near them out of training.

        Returns also how many held-out documents found none.
        """
        held_out = self._held_out(tx, looked, rows, before_stream=before_stream)
        first = facts.get_int(tx, "next_sample")
        facts.put(tx, "next_sample", first + len(looked))
        ids = np.arange(first, first + len(looked), dtype=np.int64)
        offered = rows[held_out[rows]]
        held = self._admit(tx, looked, ids, offered, anchor=before_stream)
        self._recall.held.add(looked.sketches.take(held))
        self._recall.assigned(first + len(looked) - 1)
        fresh = rows[~held_out[rows]]
        fresh = fresh[~self._recall.held.near(looked.sketches.take(fresh))]
        return _Sorting(streams, ids, fresh, held), len(offered) - len(held)

    def _held_out(self, tx: Connection, looked: Looked, rows: Int64s, *, before_stream: bool) -> Bools:
        return split.sides(
            tx,
            keys=looked.keys,
            keyed=looked.keyed,
            held_by_key=looked.held,
            held_by_content=looked.held_by_content,
            sources=self._by_source(tx, looked, rows),
            categories=self._recall.categories,
            before_stream=before_stream,
        )

    def _by_source(self, tx: Connection, looked: Looked, rows: Int64s) -> Iterator[tuple[int, Int64s]]:
        """These documents by the number of their source."""
        sources = self._sources(tx, looked, rows)
        for source in np.unique(sources).tolist():
            yield source, rows[sources == source]

    def _admit(self, tx: Connection, looked: Looked, ids: Int64s, rows: Int64s, *, anchor: bool) -> Int64s:
        """Find held-out documents a place; returns those that found one."""
        samples = ids[rows].tolist()
        order = priorities(ids[rows], self.salt).tolist()
        sources = self._sources(tx, looked, rows).tolist()
        offered = [slices.Held(*held) for held in zip(order, samples, sources, strict=True)]
        settings = self._settings
        bound = settings.anchor_documents if anchor else settings.slice_documents
        admitted = slices.admit(tx, offered, bound, anchor=anchor)
        found: Bools = np.array([sample in admitted for sample in samples], bool)
        return np.extract(found, rows)

    def _insert(self, tx: Connection, looked: Looked, sorting: _Sorting, role: Role) -> None:
        rows = np.sort(np.concatenate([sorting.fresh, sorting.held]))
        if not len(rows):
            return
        sources, labels = self._numbers(tx, looked, rows)
        roles = np.full(len(looked), role, np.int64)
        roles[sorting.held] = Role.HOLDOUT
        keys: list[int | None] = looked.keys[rows].tolist()
        if not looked.keyed[rows].all():
            keys = [key if keyed else None for key, keyed in zip(keys, looked.keyed[rows].tolist(), strict=True)]
        tx.executemany(
            _INSERT,
            zip(
                sorting.ids[rows].tolist(),
                roles[rows].tolist(),
                looked.sizes[rows].tolist(),
                sources.tolist(),
                labels.tolist(),
                sorting.streams[rows].tolist(),
                looked.offsets[rows].tolist(),
                keys,
                _taken(looked.event_times, rows),
                _taken(looked.arrivals, rows),
                _taken(looked.texts, rows),
                strict=True,
            ),
        )
        if looked.dresses:
            similar_keys.note(tx, looked.keys[rows].tolist(), looked.dresses)
        counters.add(tx, _changes(roles[rows], sources, labels, looked.sizes[rows]))
        if len(sorting.held):
            slices.shrink(tx, self._settings.holdout_documents)

    def _sources(self, tx: Connection, looked: Looked, rows: Int64s) -> Int64s:
        """The number of each document's source."""
        distinct = set(looked.sources)
        if len(distinct) == 1 and len(rows):
            (name,) = distinct
            return np.full(len(rows), self._recall.sources.numbers(tx, distinct)[name], np.int64)
        names = _taken(looked.sources, rows)
        known = self._recall.sources.numbers(tx, set(names))
        return np.fromiter(map(known.__getitem__, names), np.int64, len(names))

    def _numbers(self, tx: Connection, looked: Looked, rows: Int64s) -> tuple[Int64s, Int64s]:
        sources = self._sources(tx, looked, rows)
        if not any(looked.labels):
            return sources, np.full(len(rows), NO_LABEL, np.int64)
        given = _taken(looked.labels, rows)
        numbers = self._recall.labels.numbers(tx, {label for label in given if label is not None})
        labels = [NO_LABEL if label is None else numbers[label] for label in given]
        return sources, np.array(labels, np.int64)

    def _settle(self, tx: Connection, looked: Looked, sorting: _Sorting) -> None:
        """Let text from before the stream into replay at once."""
        ids = sorting.ids[sorting.fresh].tolist()
        sketches = looked.sketches.take(sorting.fresh)
        near_duplicates.record_trained(tx, ids, sketches, self._settings.trained_documents)
        replay_budgets.settle(tx, ids, replay_budgets.BEFORE_STREAM, self._settings, self.salt)


def _taken(column: Sequence[T], rows: Int64s) -> Sequence[T]:
    """The entries at these rows; what itemgetter does in C takes a third of the time that a comprehension takes."""
    return itemgetter(*rows.tolist())(column) if len(rows) > 1 else [column[row] for row in rows.tolist()]


def _place(looked: Looked, positions: Mapping[Partition, Position]) -> tuple[Int64s, Bools]:
    """The stream of each document, and which of them the store does not have yet."""
    # Documents of a partition share its object: comparing identities spares a hash of three fields for each.
    distinct = {id(partition): partition for partition in looked.partitions}
    codes = {identity: code for code, identity in enumerate(distinct)}
    members = np.array([codes[id(partition)] for partition in looked.partitions], np.int64)
    known = []
    for code, partition in enumerate(distinct.values()):
        highest = int(looked.offsets[members == code].max())
        known.append(position_of(positions, partition, highest))
    streams = np.array([position.stream for position in known], np.int64)
    starts = np.array([position.first_new for position in known], np.int64)
    return streams[members], looked.offsets >= starts[members]


def _changes(roles: Int64s, sources: Int64s, labels: Int64s, sizes: Int64s) -> list[counters.Change]:
    """What a batch adds to the counters."""
    codes = (sources << 32) | (labels << 8) | roles
    distinct, members = np.unique(codes, return_inverse=True)
    samples = np.bincount(members)
    sums = np.bincount(members, weights=sizes)
    return [
        (int(code) & 0xFF, int(code) >> 32, (int(code) >> 8) & 0xFFFFFF, int(count), int(size))
        for code, count, size in zip(distinct, samples, sums, strict=True)
    ]
