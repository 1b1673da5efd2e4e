"""The split: which text is held out, and never trained on. Decided once, as it arrives, by hashes alone."""

from collections.abc import Iterable

import numpy as np

from memory.database.sqlite import Connection
from memory.identity.categories import Categories, KeyedPart
from memory.identity.fingerprints import Bools, Int64s, UInt64s


def held_out(groups: UInt64s, share: float) -> Bools:
    """Which groups are held out: those whose hash lies in the lowest `share` of its range.

    Not drawn by lot: text that comes again, or is put back from a copy, falls on the side that it fell on before.
    """
    return groups < np.uint64(int(share * 2**64))


def sides(
    tx: Connection,
    *,
    keys: Int64s,
    keyed: Bools,
    held_by_key: Bools,
    held_by_content: Bools,
    sources: Iterable[tuple[int, Int64s]],
    categories: Categories,
    before_stream: bool,
) -> Bools:
    """Which documents of a batch are held out: by key, but by content where the key names a category.

    All of a person's documents fall on one side, or the model could be tested on what it knows of them. A language or a
    region is no person: by its key half of a stream could be held out, or nothing.

    Args:
        tx: counts what arrives of each key.
        keys: signed keyed hashes, (documents,); 0 where `keyed` is false, (documents,).
        held_by_key: the side by key where there is one, else by content, (documents,).
        held_by_content: the side by content alone, (documents,).
        sources: each source's number with the rows that are its.
        categories: which keys are categories, kept in step with the store.
        before_stream: the text is from before the stream, whose keys may be of another kind.
    """
    held = held_by_key.copy()
    for source, rows in sources:
        of_keys = rows[keyed[rows]]
        part = KeyedPart(source, before_stream)
        common = categories.arrived(tx, part, keys[of_keys], without_key=len(rows) - len(of_keys))
        by_content = of_keys[np.isin(keys[of_keys], common)]
        held[by_content] = held_by_content[by_content]
    return held
