"""What every batch is compared with, kept in RAM and in step with the store."""

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.exact_duplicates import SeenContents
from memory.identity.fingerprints import Bools, Int64s
from memory.identity.near_duplicates import SketchIndex
from memory.intake.names import Names
from memory.intake.split import Splitter
from memory.samples import reading
from memory.settings import MemorySettings

MOST_LABELS = 10_000
STALE_SKETCHES = 4_096
"""Sketches of text that has left its slice stay in the index until it has doubled and grown by this much."""


class IntakeCaches:
    """Contents seen, held-out text, erased keys, what the split remembers, and the numbers of sources and labels.

    Changed inside a transaction; when that is undone, `stale` must be called.
    """

    def __init__(self, settings: MemorySettings) -> None:
        self._similarity = settings.near_duplicate_similarity
        self.sources = Names("sources", settings.max_sources)
        self.labels = Names("labels", MOST_LABELS)
        self.splitter = Splitter(settings)
        self.seen = SeenContents(settings.duplicate_window)
        self.held = SketchIndex(self._similarity)
        self._held_at_load = 0
        self._last_sample = 0
        self._forgotten: Int64s = np.zeros(0, np.int64)
        self._version: int | None = None

    def stale(self) -> None:
        """Know nothing until the next `catch_up`."""
        self._version = None

    def catch_up(self, tx: Connection) -> None:
        """Learn what other connections have committed since the last time."""
        # SQLite moves `data_version` with the commits of other connections alone: its own are known already.
        version = int(tx.execute("PRAGMA data_version").fetchone()[0])
        if self._version is None:
            self._load(tx)
        elif version != self._version:
            self.seen.catch_up(tx)
            self.splitter.catch_up(tx)
            self._read_held(tx)
            self._read_small(tx)
        elif len(self.held) > 2 * (self._held_at_load + STALE_SKETCHES):
            self._load_held(tx)
        self._version = version

    def _load(self, tx: Connection) -> None:
        self.seen.load(tx)
        self.splitter.load(tx)
        self._load_held(tx)
        self._read_small(tx)

    def _load_held(self, tx: Connection) -> None:
        self.held, self._last_sample = SketchIndex(self._similarity), 0
        self._read_held(tx)
        self._held_at_load = len(self.held)

    def _read_held(self, tx: Connection) -> None:
        self._last_sample = reading.read_held(tx, self.held, self._last_sample)

    def _read_small(self, tx: Connection) -> None:
        self.sources.forget()
        self.labels.forget()
        self._forgotten = np.array([row[0] for row in tx.execute("SELECT key_hash FROM forgotten")], np.int64)

    def assigned(self, last_sample: int) -> None:
        """Know that held-out text up to this id is in the index."""
        self._last_sample = max(self._last_sample, last_sample)

    def is_forgotten(self, keys: Int64s, keyed: Bools) -> Bools:
        """Which keys were erased."""
        if not len(self._forgotten):
            return np.zeros(len(keys), bool)
        return keyed & np.isin(keys, self._forgotten)
