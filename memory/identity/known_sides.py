"""On which side of the split each group fell, so that it stays there however much is held out later.

A group (a key, else a content) is held out where its hash lies below a share. While that share moves, a hash alone does
not tell on which side the group was when it came first. So the sides of groups are remembered whose hash lies in a zone
that no share leaves: below the zone a group is held out whatever is asked, above it never, and nothing is remembered.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.earlier_keys import SplitByShare, split_by_share
from memory.identity.fingerprints import Bools, UInt64s
from memory.identity.hash_log import HashLog
from memory.identity.sorted_runs import SortedRuns

SIDE: Final = np.uint64(1)
"""The lowest bit of what is remembered: 1 for held out, 0 for trained on; the other bits are the group's."""
WIDEST: Final = 0.5
"""The largest share that settings allow to be held out."""
NARROWEST: Final = 1e-6
"""A zone as narrow as this is closed."""
SLACK: Final = 1.1
"""Beyond so many times what may be remembered the zone is narrowed: each time rewrites the log."""


def below(groups: UInt64s, share: float) -> Bools:
    """Which groups lie in the lowest `share` (0 to 1, exclusive) of the hashes' range."""
    return groups < np.uint64(int(share * 2**64))


@dataclass(frozen=True, slots=True)
class Zone:
    """Shares of the hashes' range, 0 to 1.

    Attributes:
        start: every group below it is held out, unless it is remembered as trained on.
        end: no group from it on is held out, unless it is remembered as held out.
    """

    start: float
    end: float

    def of(self, groups: UInt64s) -> Bools:
        """Which groups lie in it."""
        return below(groups, self.end) & ~below(groups, self.start)

    def narrowed(self, least: float) -> "Zone":
        """A zone half as wide: what is always held out grows to the least share, and the rest is never held out."""
        start = min(max(self.start, least), self.end)
        middle = start + (self.end - start) / 2
        return Zone(start, middle if middle - start > NARROWEST else start)


class KnownSides:
    """The sides of groups in the zone: a log in the store and a sorted copy in RAM, 8 bytes a group.

    Changed inside a transaction; when that is undone, `load` must be called.

    Args:
        most: groups that are remembered; beyond it the zone is narrowed, so that no group ever changes its side.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._log = HashLog("sides")
        self._runs = SortedRuns()
        self._reach = np.uint64(0)
        self.zone = Zone(0.0, 0.0)

    def load(self, tx: Connection, least: float) -> None:
        """Read the whole log. In a new store any share that settings allow may be asked for at any time.

        Args:
            tx: the zone is noted in it, where the store has none yet.
            least: share of groups that is held out in any case.
        """
        self._runs, self._reach = SortedRuns(), np.uint64(0)
        self._remember(self._log.load(tx))
        if (zone := find_zone(tx)) is None:
            is_closed = split_by_share(tx) is SplitByShare.EVERYTHING
            zone = Zone(least, least) if is_closed else Zone(0.0, WIDEST)
            _keep(tx, zone)
        self.zone = zone

    def catch_up(self, tx: Connection) -> None:
        """Read what another process has added since."""
        self._remember(self._log.catch_up(tx))
        self.zone = find_zone(tx) or self.zone

    def decide(self, tx: Connection, groups: UInt64s, is_wanted: Bools, least: float) -> Bools:
        """The sides of a batch's groups: as remembered, and of a new one as is wanted where it comes first.

        Args:
            tx: the new sides are remembered in it.
            groups: one a document, in order of arrival, (documents,).
            is_wanted: whether it is to be held out if it is new, (documents,).
            least: share of groups that is held out in any case.

        Returns:
            Which are held out, (documents,).
        """
        held = below(groups, self.zone.start)
        rows = np.flatnonzero((groups <= self._reach) | self.zone.of(groups))
        if not len(rows):
            return held
        distinct, first, members = np.unique(groups[rows] & ~SIDE, return_index=True, return_inverse=True)
        is_held, is_trained = self._runs.contains(distinct | SIDE), self._runs.contains(distinct)
        is_new = self.zone.of(distinct) & ~(is_held | is_trained)
        is_held |= held[rows][first] & ~is_trained
        is_held |= is_new & is_wanted[rows][first]
        if is_new.any():
            self._add(tx, distinct[is_new] | is_held[is_new].astype(np.uint64), least)
        held[rows] = is_held[members]
        return held

    def _add(self, tx: Connection, sides: UInt64s, least: float) -> None:
        self._log.append(tx, sides)
        self._remember(sides)
        if len(self._runs) > SLACK * self._most:
            self._narrow(tx, least)

    def _remember(self, sides: UInt64s) -> None:
        if len(sides):
            self._runs.add(sides)
            self._reach = max(self._reach, sides.max() | SIDE)

    def _narrow(self, tx: Connection, least: float) -> None:
        """Forget sides that the hash tells from now on; a side that it would tell wrongly stays remembered."""
        zone, sides = self.zone, self._runs.all()
        kept = sides
        while len(kept) > self._most and zone.end > zone.start:
            zone = zone.narrowed(least)
            is_held = (sides & SIDE) == SIDE
            implied = (below(sides, zone.start) & is_held) | (~below(sides, zone.end) & ~is_held)
            kept = sides[~implied]
        self._log.replace(tx, kept)
        self._runs, self._reach = SortedRuns(), np.uint64(0)
        self._remember(kept)
        self.zone = zone
        _keep(tx, zone)


def find_zone(tx: Connection) -> Zone | None:
    """The zone that a store keeps to; None before its first text."""
    known = dict(tx.execute("SELECT name, value FROM facts WHERE name IN ('zone_start', 'zone_end')"))
    return Zone(float(known["zone_start"]), float(known["zone_end"])) if known else None


def _keep(tx: Connection, zone: Zone) -> None:
    tx.executemany(
        "INSERT OR REPLACE INTO facts(name, value) VALUES (?, ?)",
        [("zone_start", zone.start), ("zone_end", zone.end)],
    )
