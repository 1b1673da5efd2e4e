"""Near-duplicates of held-out text, and of text that was trained on."""

from collections.abc import Collection, Sequence

import numpy as np

from memory.database.sqlite import Connection, as_json
from memory.identity.fingerprints import Bools, Bytes, Int64s, normalise
from memory.identity.sketches import BANDS, PLACES, Sketches, sketch
from memory.identity.sorted_runs import SortedRuns

CANDIDATES = 4
"""Texts looked at for each band that agrees: text that so many share in a band is found through another one."""


def sketch_texts(texts: Sequence[str]) -> Sketches:
    """The sketches of texts as they are kept."""
    return sketch(normalise([text.encode() for text in texts]))


def near(places: Bytes, other_places: Bytes, similarity: float) -> Bools:
    """Which pairs of signatures, rows of two (n, PLACES) arrays, agree in enough places."""
    agreeing: Int64s = (places == other_places).sum(axis=1)
    return agreeing >= similarity * PLACES


class SketchIndex:
    """Sketches of some texts in RAM (about 130 bytes a text), to find which of a batch come near one of them."""

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._bands = SortedRuns()
        self._places = np.zeros((64, PLACES), np.uint8)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, sketches: Sketches) -> None:
        """Add texts; those too short for a sketch are left out."""
        long_enough = sketches.take(sketches.known)
        if not len(long_enough):
            return
        end = self._size + len(long_enough)
        if end > len(self._places):
            # Twice what is needed, so that growing costs no copy for each batch. Rows beyond the size are never read.
            self._places = np.resize(self._places, (2 * end, PLACES))
        self._places[self._size : end] = long_enough.places
        owners = np.repeat(np.arange(self._size, end, dtype=np.int32), BANDS)
        self._bands.add(long_enough.bands.ravel(), owners)
        self._size = end

    def near(self, sketches: Sketches) -> Bools:
        """For each text whether it is a near-duplicate of one that was added."""
        is_near = np.zeros(len(sketches), bool)
        if not self._size:
            return is_near
        rows = np.flatnonzero(sketches.known)
        hits, owners = self._bands.owners_of(sketches.bands[rows].ravel(), CANDIDATES)
        candidates = rows[hits // BANDS]
        alike = near(sketches.places[candidates], self._places[owners], self._similarity)
        is_near[candidates[alike]] = True
        return is_near


def near_trained(tx: Connection, sketches: Sketches, similarity: float) -> Bools:
    """For each text whether it is a near-duplicate of one that was trained on."""
    is_near = np.zeros(len(sketches), bool)
    rows = np.flatnonzero(sketches.known)
    # SQLite has no unsigned numbers: the same 64 bits, read as signed.
    bands = sketches.bands[rows].ravel().view(np.int64).tolist()
    hits = tx.execute(
        # The bound holds for each band by itself, which a join with a LIMIT could not say.
        "WITH hits AS (SELECT j.key AS place, (SELECT group_concat(document) FROM (SELECT document FROM trained_bands "
        "WHERE band = j.value ORDER BY document DESC LIMIT ?)) AS documents FROM json_each(?) j) "
        "SELECT hits.place, t.places FROM hits, json_each('[' || hits.documents || ']') d "
        "JOIN trained t ON t.id = d.value WHERE hits.documents IS NOT NULL",
        (CANDIDATES, as_json(bands)),
    ).fetchall()
    if hits:
        candidates = rows[np.array([place for place, _ in hits], np.int64) // BANDS]
        trained_places = np.frombuffer(b"".join(places for _, places in hits), np.uint8).reshape(-1, PLACES)
        is_near[candidates[near(sketches.places[candidates], trained_places, similarity)]] = True
    return is_near


def record_trained(tx: Connection, ids: Sequence[int], sketches: Sketches, most: int) -> None:
    """Remember the sketches of text that was trained on; the oldest beyond `most` are forgotten, a tenth at a time."""
    first = int(tx.execute("SELECT coalesce(max(id), 0) + 1 FROM trained").fetchone()[0])
    rows = np.flatnonzero(sketches.known)
    documents = np.arange(first, first + len(rows), dtype=np.int64)
    tx.executemany(
        "INSERT INTO trained(id, sample, places) VALUES (?, ?, ?)",
        [
            (document, ids[row], sketches.places[row].tobytes())
            for document, row in zip(documents.tolist(), rows.tolist(), strict=True)
        ],
    )
    bands = sketches.bands[rows].ravel().view(np.int64)
    owners = np.repeat(documents, BANDS)
    order = np.argsort(bands, kind="stable")  # In the table's order, a page is written once for all its new rows.
    tx.executemany(
        "INSERT OR IGNORE INTO trained_bands(band, document) VALUES (?, ?)",
        zip(bands[order].tolist(), owners[order].tolist(), strict=True),
    )
    _forget_oldest(tx, most)


def forget_trained(tx: Connection, ids: Collection[int]) -> None:
    """Forget the sketches of these samples; looks through all of them."""
    forgotten = tx.execute(
        "DELETE FROM trained WHERE sample IN (SELECT value FROM json_each(?)) RETURNING id", (as_json(ids),)
    ).fetchall()
    if forgotten:
        tx.execute(
            "DELETE FROM trained_bands WHERE document IN (SELECT value FROM json_each(?))",
            (as_json(row[0] for row in forgotten),),
        )


def _forget_oldest(tx: Connection, most: int) -> None:
    oldest, latest = tx.execute("SELECT min(id), max(id) FROM trained").fetchone()
    if oldest is None or latest - oldest + 1 <= most * 1.1:
        return
    tx.execute("DELETE FROM trained WHERE id <= ?", (latest - most,))
    tx.execute("DELETE FROM trained_bands WHERE document <= ?", (latest - most,))
