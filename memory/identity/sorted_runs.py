"""A growing set of 64-bit numbers as a few sorted arrays: 8 bytes a number, and a whole batch looked up at once."""

import numpy as np
from numpy.typing import NDArray

from memory.identity.fingerprints import Bools, Int64s, UInt64s


class SortedRuns:
    """Sorted arrays of falling size, each at least twice the next: an in-memory log-structured merge tree.

    Each number may carry an owner, a 32-bit number; a number may occur more than once.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[UInt64s, NDArray[np.int32]]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._runs)

    def all(self) -> UInt64s:
        """Every number, in no order."""
        return np.concatenate([np.zeros(0, np.uint64), *(keys for keys, _ in self._runs)])

    def add(self, keys: UInt64s, owners: NDArray[np.int32] | None = None) -> None:
        """Add numbers; n log n in what is added, and now and then a merge."""
        if not len(keys):
            return
        order = np.argsort(keys, kind="stable") if owners is not None else None
        run = np.sort(keys) if order is None else keys[order]
        owned = np.zeros(0, np.int32) if owners is None or order is None else owners[order]
        self._runs.append((run, owned))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._merge_last_two()

    def _merge_last_two(self) -> None:
        (later, later_owners), (earlier, earlier_owners) = self._runs.pop(), self._runs.pop()
        keys = np.concatenate([earlier, later])
        owners = np.concatenate([earlier_owners, later_owners])
        if len(owners):
            order = np.argsort(keys, kind="stable")
            self._runs.append((keys[order], owners[order]))
        else:
            keys.sort(kind="stable")
            self._runs.append((keys, owners))

    def contains(self, keys: UInt64s) -> Bools:
        """For each number whether it was added."""
        is_member = np.zeros(len(keys), bool)
        order = np.argsort(keys)
        ordered = keys[order]  # Looked up in order, which the processor's caches and numpy's search like.
        for run, _ in self._runs:
            # searchsorted answers len(run) for what is greater than all.
            places = np.minimum(np.searchsorted(run, ordered), len(run) - 1)
            is_member[order] |= run[places] == ordered
        return is_member

    def owners_of(self, keys: UInt64s, most: int) -> tuple[Int64s, NDArray[np.int32]]:
        """Pairs (index into `keys`, owner) for numbers that were added, up to `most` of a number in each run."""
        indexes, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        order = np.argsort(keys)
        ordered = keys[order]
        for run, owned in self._runs:
            places = np.searchsorted(run, ordered)
            hits = np.flatnonzero(run[np.minimum(places, len(run) - 1)] == ordered)
            # Equal numbers stand side by side: one place further for each that is looked for.
            for step in range(most):
                within = places[hits] + step
                alike = (within < len(run)) & (run[np.minimum(within, len(run) - 1)] == ordered[hits])
                hits, within = hits[alike], within[alike]
                if not len(hits):
                    break
                indexes.append(order[hits])
                owners.append(owned[within])
        return np.concatenate(indexes), np.concatenate(owners)
