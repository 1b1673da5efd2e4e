"""What comes near held-out text is kept out of a draw, and held-out text that comes near what was trained on goes."""

from collections.abc import Sequence

from memory.database.sqlite import Connection
from memory.identity import near_duplicates
from memory.identity.fingerprints import Bools
from memory.identity.kept_out import KeptOut
from memory.identity.near_duplicates import SketchIndex
from memory.samples import counters, reading
from memory.samples.reading import Placed
from memory.samples.removal import remove


class HeldOutIndex:
    """All held-out text, and what is kept out from outside, to keep what comes near it out of a draw."""

    def __init__(self, tx: Connection, similarity: float, kept_out: KeptOut) -> None:
        self._kept_out = kept_out
        self._index = SketchIndex(similarity)
        reading.read_held(tx, self._index, 0)

    def keep_apart(self, tx: Connection, drawn: Sequence[Placed]) -> list[Placed]:
        """Remove from the store, and from the draw, what is a near-duplicate of text that nothing is trained on."""
        texts = [placed.sample.text for placed in drawn]
        close = self._index.near(near_duplicates.sketch_texts(texts)) | self._kept_out.near(texts)
        return _remove_close(tx, drawn, close)


def drop_held_out_near_trained(tx: Connection, similarity: float) -> None:
    """Drop held-out text that comes near text which was trained on: it would measure what was learned by heart.

    Done for what arrived since the last round began, and not at its arrival: most of that finds no place in its slice,
    and comparing costs a search on disk.
    """
    rows = tx.execute(
        "SELECT h.sample FROM holdout h JOIN slices s ON s.id = h.slice WHERE s.state = 'open' "
        "OR (s.state = 'anchor' AND (SELECT value FROM facts WHERE name = 'anchor_frozen') = 0)"
    )
    held = reading.read(tx, [row[0] for row in rows])
    sketches = near_duplicates.sketch_texts([placed.sample.text for placed in held])
    close = near_duplicates.near_trained(tx, sketches, similarity)
    _remove_close(tx, held, close)


def _remove_close(tx: Connection, text: Sequence[Placed], close: Bools) -> list[Placed]:
    """Remove from the store what is close to something else; returns the others."""
    removed = remove(tx, [placed.sample.id for placed, is_close in zip(text, close, strict=True) if is_close])
    counters.tally(tx, {"near_duplicates": removed})
    return [placed for placed, is_close in zip(text, close, strict=True) if not is_close]
