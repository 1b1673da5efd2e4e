"""Which share of a slice's new groups is held out: as large as brings the keys that the gate needs, within bounds."""

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memory.database import facts
from memory.database.sqlite import Connection
from memory.identity.fingerprints import Int64s, UInt64s
from memory.identity.known_sides import Zone, below, find_zone
from memory.samples import slices
from memory.settings import MemorySettings

Floats = NDArray[np.float64]

KEYS_ASKED: Final = "holdout_keys"
"""The fact that says how many keys each slice is to have."""
MOST_COUNTED: Final = 4_096
"""Groups of a slice that are told apart while it is counted; a slice with more has had enough of them held out."""


@dataclass(frozen=True, slots=True)
class ShareAsked:
    """How much is to be held out.

    Attributes:
        keys: that each slice is to have, so that a round can be judged by it; 0 where nobody has asked for any.
        least: share of groups that is held out in any case, above 0.
        most: the largest share, at least `least`; where it is no more than that the share is always the same.
    """

    keys: int
    least: float
    most: float

    @property
    def is_fixed(self) -> bool:
        """Whether the share does not depend on what arrives."""
        return not self.keys or self.most <= self.least

    @property
    def enough(self) -> int:
        """Groups below `most` from which on no more than the least share of all is needed; at most MOST_COUNTED."""
        return min(math.ceil(self.keys * self.most / self.least), MOST_COUNTED)

    def of(self, of_source: Int64s, together: Int64s) -> Floats:
        """The share of groups to hold out, between `least` and `most`.

        A source that could not have half the keys, were as much as allowed held out of it, is judged with others: it
        gives what brings them the keys together.

        Args:
            of_source: how many different groups a source's slice will have been offered, of any shape.
            together: the same of all sources.
        """
        if self.is_fixed:
            return np.full(np.shape(of_source), self.least)
        groups = np.where(of_source * self.most >= self.keys / 2, of_source, together)
        return np.clip(self.keys / np.maximum(groups, 1), self.least, self.most)

    def of_one(self, of_source: int, together: int) -> float:
        """The same of a single source."""
        return float(self.of(np.array(of_source), np.array(together)))


ALL_SOURCES: Final = 0
"""No source has this number."""


class SliceOf(NamedTuple):
    """Whose slice is counted: of a source, or of all sources together, as the anchor is."""

    source: int
    before_stream: bool


@dataclass(frozen=True, slots=True, eq=False)
class SliceArrivals:
    """What has been offered to a source's present slice.

    Only groups with a hash below the largest share are counted, as no other can be held out: they are that share of
    all.

    Attributes:
        period: the slice's number.
        earlier: groups that the slice before it was offered, of all hashes. As many are expected: so a steady source's
            share stays the same, and only of a first slice is more of its beginning held out.
        counted: different groups below the largest share, in no order; no more are added once they are enough.
    """

    period: int
    earlier: int
    counted: UInt64s

    def in_period(self, period: int, most: float) -> "SliceArrivals":
        """These arrivals, or those of a slice that begins."""
        if period == self.period:
            return self
        groups = round(len(self.counted) / most)
        return SliceArrivals(period, groups or self.earlier, np.zeros(0, np.uint64))

    def plus(self, groups: UInt64s, asked: ShareAsked) -> tuple["SliceArrivals", Int64s]:
        """The arrivals with these groups too, and how many were counted when each of them came, (groups,)."""
        if len(self.counted) >= asked.enough:
            return self, np.full(len(groups), asked.enough, np.int64)
        rows = np.flatnonzero(below(groups, asked.most))
        distinct, first = np.unique(groups[rows], return_index=True)
        is_new = ~np.isin(distinct, self.counted)
        if not is_new.any():
            return self, np.full(len(groups), len(self.counted), np.int64)
        adds = np.zeros(len(groups), np.int64)
        adds[rows[first[is_new]]] = 1
        counted = np.concatenate([self.counted, distinct[is_new]])[: asked.enough]
        return replace(self, counted=counted), np.minimum(len(self.counted) + np.cumsum(adds), asked.enough)


NOTHING_ARRIVED: Final = SliceArrivals(-1, 0, np.zeros(0, np.uint64))


class Arrivals:
    """The arrivals of every source's present slice, kept in the store and remembered.

    Changed inside a transaction; when that is undone, `forget` must be called.
    """

    def __init__(self) -> None:
        self._arrived: dict[SliceOf, SliceArrivals] = {}

    def forget(self) -> None:
        """Look everything up anew: another process, or an undone transaction, may have made a difference."""
        self._arrived.clear()

    def arrive(self, tx: Connection, whose: SliceOf, period: int, groups: UInt64s, asked: ShareAsked) -> Int64s:
        """Count documents' groups, and return how many are expected in all, by what had come with each, (groups,).

        It hangs on what came before and not on where batches begin: what is delivered again in other batches falls on
        the same sides.
        """
        before = self._arrived.get(whose)
        if before is None:
            before = _read(tx, whose)
        arrived, counts = before.in_period(period, asked.most).plus(groups, asked)
        self._arrived[whose] = arrived
        if arrived is not before:
            tx.execute(
                "INSERT OR REPLACE INTO arrivals(source, before_stream, period, earlier, counted) "
                "VALUES (?, ?, ?, ?, ?)",
                (*whose, arrived.period, arrived.earlier, arrived.counted.tobytes()),
            )
        expected: Int64s = np.maximum(np.round(counts / asked.most).astype(np.int64), arrived.earlier)
        return expected


def _read(tx: Connection, whose: SliceOf) -> SliceArrivals:
    row = tx.execute(
        "SELECT period, earlier, counted FROM arrivals WHERE source = ? AND before_stream = ?", whose
    ).fetchone()
    return NOTHING_ARRIVED if row is None else SliceArrivals(row[0], row[1], np.frombuffer(row[2], np.uint64))


def share_asked(tx: Connection, settings: MemorySettings, zone: Zone | None, *, before_stream: bool) -> ShareAsked:
    """How much is to be held out now, within the settings and what the store's zone leaves open."""
    keys = facts.find_int(tx, KEYS_ASKED) or 0
    if keys and not before_stream and slices.anchor_takes_of_stream(tx, settings):
        # Half of what the stream's first slices hold becomes the anchor.
        keys *= 2
    most = max(settings.holdout_share, settings.holdout_share_most)
    if zone is not None:
        most = min(most, zone.end)
    # A slice keeps no more than its bound, whatever is asked.
    return ShareAsked(min(keys, settings.slice_documents), settings.holdout_share, most)


def most_in_force(tx: Connection, settings: MemorySettings) -> float:
    """The largest share that may be held out of a source's new groups now."""
    return share_asked(tx, settings, find_zone(tx), before_stream=False).most


def shares_in_force(tx: Connection, settings: MemorySettings) -> dict[str, float]:
    """By source, the share that is held out of its new groups now; those first that bring most."""
    asked = share_asked(tx, settings, find_zone(tx), before_stream=False)
    now = facts.get_int(tx, "rounds_begun") + 1
    expected = {
        source: _expected(now, asked, *counted)
        for source, *counted in tx.execute(
            "SELECT source, period, earlier, length(counted) / 8 FROM arrivals WHERE before_stream = 0"
        )
    }
    together = expected.pop(ALL_SOURCES, 0)
    names = tx.execute("SELECT id, name FROM sources").fetchall()
    names.sort(key=lambda source: (-expected.get(source[0], 0), source[1]))
    return {name: asked.of_one(expected.get(source, 0), together) for source, name in names}


def _expected(now: int, asked: ShareAsked, period: int, earlier: int, counted: int) -> int:
    """How many groups a slice is expected to be offered in the period `now`."""
    groups = round(counted / asked.most)
    return max(groups, earlier) if period == now else groups or earlier


def steady_share(groups: int, keys: int, settings: MemorySettings) -> float:
    """The share that is held out of a single source.

    Args:
        groups: how many different ones it brings in each period.
        keys: that a slice is to have.
        settings: of the memory.
    """
    most = max(settings.holdout_share, settings.holdout_share_most)
    return ShareAsked(min(keys, settings.slice_documents), settings.holdout_share, most).of_one(groups, groups)
