"""The split: which text is held out, and never trained on. Decided once, as it arrives, and never otherwise again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memory.database import facts
from memory.database.sqlite import Connection
from memory.identity.categories import Categories, KeyedPart
from memory.identity.earlier_keys import EarlierKeys, SplitByShare
from memory.identity.fingerprints import Bools, Int64s, UInt64s
from memory.identity.known_sides import KnownSides
from memory.intake.held_out_share import ALL_SOURCES, Arrivals, Floats, SliceOf, share_asked
from memory.settings import MemorySettings

RowsBySource = Sequence[tuple[int, Int64s]]
"""Numbers of sources, each with the rows of a batch that are its."""


class Offered(NamedTuple):
    """Documents of a batch that may be stored, in order of arrival.

    Attributes:
        keys: signed keyed hashes of their keys, (documents,); 0 where there is none.
        keyed: whether there is one, (documents,).
        groups: hashes of what falls on one side together: of the key, or of the content where there is none.
        contents: hashes of the content alone.
        sources: the number of the source of each.
    """

    keys: Int64s
    keyed: Bools
    groups: UInt64s
    contents: UInt64s
    sources: Int64s


class Splitter:
    """Splits batches, one after the other, and remembers what that takes.

    Changed inside a transaction; when that is undone, `load` must be called.
    """

    def __init__(self, settings: MemorySettings) -> None:
        self._settings = settings
        self._categories = Categories(settings.key_quota)
        self._sides = KnownSides(settings.remembered_sides)
        self._earlier = EarlierKeys()
        self._arrived = Arrivals()

    def load(self, tx: Connection) -> None:
        """Read what is stored."""
        self._forget()
        self._earlier.load(tx)
        self._sides.load(tx, self._settings.holdout_share)

    def catch_up(self, tx: Connection) -> None:
        """Learn what another process has stored since."""
        self._forget()
        self._sides.catch_up(tx)

    def _forget(self) -> None:
        self._categories.forget()
        self._arrived.forget()

    def split(self, tx: Connection, offered: Offered, *, before_stream: bool) -> Bools:
        """Which documents are held out, (documents,).

        All of a person's documents fall on one side, or the model could be tested on what it knows of them. A language
        or a region is no person: by its key half of a stream could be held out, or nothing.

        Args:
            tx: counts what arrives, and remembers on which side it fell.
            offered: the documents.
            before_stream: the text is from before the stream: its keys may be of another kind, and it is offered to
                the anchor.
        """
        least = self._settings.holdout_share
        by_source = [
            (source, np.flatnonzero(offered.sources == source)) for source in np.unique(offered.sources).tolist()
        ]
        by_key = self._by_key(tx, offered, by_source, before_stream=before_stream)
        groups = np.where(by_key, offered.groups, offered.contents)
        shares = self._shares_of(tx, groups, by_source, before_stream=before_stream)
        if self._earlier.split_by_share is SplitByShare.CONTENTS:
            shares[~by_key] = least
        is_wanted = groups < (shares * 2.0**64).astype(np.uint64)
        is_wanted = self._earlier.keep_sides(offered.keys, by_key, is_wanted)
        return self._sides.decide(tx, groups, is_wanted, least)

    def _by_key(self, tx: Connection, offered: Offered, by_source: RowsBySource, *, before_stream: bool) -> Bools:
        """Which documents fall on the side of their key: those that have one, where it does not name a category."""
        by_key = offered.keyed.copy()
        for source, rows in by_source:
            keyed = rows[offered.keyed[rows]]
            part = KeyedPart(source, before_stream)
            common = self._categories.arrived(tx, part, offered.keys[keyed], without_key=len(rows) - len(keyed))
            by_key[keyed[np.isin(offered.keys[keyed], common)]] = False
        return by_key

    def _shares_of(self, tx: Connection, groups: UInt64s, by_source: RowsBySource, *, before_stream: bool) -> Floats:
        """The share that was in force when each of the documents came, (documents,)."""
        asked = share_asked(tx, self._settings, self._sides.zone, before_stream=before_stream)
        if asked.is_fixed:
            return np.full(len(groups), asked.least)
        # The anchor is one slice, of all sources, until it is frozen.
        period = 0 if before_stream else facts.get_int(tx, "rounds_begun") + 1
        together = self._arrived.arrive(tx, SliceOf(ALL_SOURCES, before_stream), period, groups, asked)
        of_source = together.copy()
        for source, rows in () if before_stream else by_source:
            of_source[rows] = self._arrived.arrive(tx, SliceOf(source, before_stream), period, groups[rows], asked)
        return asked.of(of_source, together)
