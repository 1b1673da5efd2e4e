"""Which text goes into which step: packing that respects document boundaries, and the replay ratio. Pure numpy.

A causal LM's documents are cut into pieces of at most one sequence and packed best-fit into rows (Ding et al. 2024,
"Fewer Truncations Improve Language Modeling"): no piece is cut again to fill a row. Positions restart with every
piece, and given no other mask transformers lets no token attend across such a restart, so a packed document gets
the logits that it would get alone. `checkpoints.probe` asks each model for that; where it does not hold (a
recurrent model carries its state along) every piece is read in a row of its own. Steps are planned on packed rows all
the same, so that each holds as many tokens whatever the model is.

The pieces of a long document overlap by one token: the last of one is the context of the next one's first, so that
each token but the document's first is predicted exactly once. See `learner.material.pieces`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from learner.material.chats import Bools
from learner.material.encoding import Encoded, Ints, Tokens
from learner.material.pieces import Piece, pieces_of
from learner.material.weights import RowWeights, row_weights

AGE_GROUPS = 8


@dataclass(frozen=True, slots=True)
class Rows:
    """A causal LM's text in rows of whole pieces.

    Attributes:
        tokens: flat; pieces are slices of it.
        rows: the pieces of each row.
        targets: how many tokens each row predicts; shape (rows,).
        widths: how many tokens each row holds; shape (rows,).
        lead: the token that pieces begin with which are led by one; None where none is.
        learned: which tokens are to be predicted; None: all. See `Encoded`.
        weights: what each piece counts; None: all alike.
    """

    tokens: Tokens
    rows: tuple[tuple[Piece, ...], ...]
    targets: Ints
    widths: Ints
    lead: int | None = None
    learned: Bools | None = None
    weights: RowWeights | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Step:
    """The rows of one optimizer step.

    Attributes:
        new: as indices into the rows of new text.
        replayed: likewise of replayed text.
        number: of the step in its round: what is drawn for a step is drawn by it, also by a round that goes on.
    """

    new: Ints
    replayed: Ints
    number: int = 0

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.new) + len(self.replayed)


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put items into rows of at most `capacity`, best-fit decreasing; return the items' indices by row.

    Each item goes into the fullest row that still has room for it. No order of the items is lost or gained by
    chance: equal input gives equal rows.

    Raises:
        ValueError: an item is longer than the capacity.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free, row), ascending
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if lengths[item] > capacity:
            raise ValueError(f"an item of {lengths[item]} does not fit into a row of {capacity}")
        # Row -1 stands before all: of rows with equal room the first is filled, so that equal input gives equal rows.
        at = bisect_left(room, (lengths[item], -1))
        free, row = room.pop(at) if at < len(room) else (capacity, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(item)
        if free > lengths[item]:
            insort(room, (free - lengths[item], row))
    return rows


def rows_of(text: Encoded, longest: int) -> Rows:
    """Arrange a causal LM's documents in rows of at most `longest` tokens."""
    pieces = pieces_of(text, longest)
    lengths = [piece.width for piece in pieces]
    chosen = pack(lengths, longest)
    rows = tuple(tuple(pieces[i] for i in row) for row in chosen)
    return Rows(
        tokens=text.tokens,
        rows=rows,
        targets=np.asarray([sum(pieces[i].targets for i in row) for row in chosen], dtype=np.int64),
        widths=np.asarray([sum(lengths[i] for i in row) for row in chosen], dtype=np.int64),
        lead=text.lead,
        learned=text.learned,
        weights=row_weights(text, rows),
    )


@dataclass(frozen=True, slots=True)
class LonePieces:
    """The pieces of packed rows, each in a row of its own.

    Attributes:
        rows: of one piece each, those of a packed row one after another.
        first: of each packed row, which of these is its first, and behind the last one how many there are; shape
            (packed rows + 1,).
    """

    rows: Rows
    first: Ints

    @classmethod
    def of(cls, packed: Rows, text: Encoded) -> "LonePieces":
        """Part the rows that were made of a text."""
        rows = tuple((piece,) for row in packed.rows for piece in row)
        alone = replace(
            packed,
            rows=rows,
            targets=np.asarray([piece.targets for (piece,) in rows], dtype=np.int64),
            widths=np.asarray([piece.width for (piece,) in rows], dtype=np.int64),
            weights=row_weights(text, rows),
        )
        return cls(alone, np.cumsum([0, *map(len, packed.rows)]))

    def within(self, packed: Ints) -> Ints:
        """Return the rows that packed ones are parted into, in their order."""
        parts = [np.arange(self.first[row], self.first[row + 1]) for row in packed.tolist()]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def fill_row(rows: Rows, index: int, ids: Ints, positions: Ints, targets: Ints) -> None:
    """Write one row into its place in a batch: tokens, positions that restart, and the token to predict at each.

    The arrays have shape (width,), width at least the row's. `ids` comes filled with padding and `targets` with
    `IGNORED`. Padding stands to the right and continues the last piece, so that no token before it can see it.
    """
    at = 0
    for piece in rows.rows[index]:
        end = at + piece.width
        ids[at:end] = piece.ids(rows.tokens, rows.lead)
        piece.write_targets(targets[at:end], rows.tokens, rows.learned)
        positions[at:end] = np.arange(piece.width)
        at = end
    positions[at:] = np.arange(len(ids) - at) + positions[at - 1] + 1


def shuffled_passes(count: int, random: np.random.Generator) -> Iterator[int]:
    """Yield 0 to count - 1 in random order, again and again, each pass in a new order."""
    while count:
        yield from random.permutation(count).tolist()


def balanced_draws(classes: Ints, random: np.random.Generator, *, wanted: int, most: int) -> Iterator[int]:
    """Yield documents so that every class present comes equally often, each class's in random order.

    A class with too few documents for that comes as often as it may, spread over the whole as the others are, and
    these make up for it.

    Args:
        classes: of the documents that can be drawn; shape (documents,).
        random: the order.
        wanted: how many are to be drawn; fewer come where all have come `most` times.
        most: how often one document may come.
    """
    members = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    allowed = np.asarray([most * len(member) for member in members], dtype=np.int64)
    passes = _passes_for(wanted, allowed)
    shares = np.minimum(allowed, passes)
    orders = [shuffled_passes(len(member), random) for member in members]
    for number in range(passes):
        # A class that comes in fewer passes skips some throughout: at the end of a round it is needed as at its start.
        taking = np.flatnonzero(
            ((2 * number + 2) * shares + passes) // (2 * passes) > (2 * number * shares + passes) // (2 * passes)
        )
        for chosen in random.permutation(taking).tolist():
            yield int(members[chosen][next(orders[chosen])])


def _passes_for(wanted: int, allowed: Ints) -> int:
    """Return in how many passes, each over what may still be drawn, so many draws are made; at most as many as may."""
    most = int(allowed.max(initial=0))
    return bisect_left(range(most), wanted, key=lambda passes: int(np.minimum(passes, allowed).sum()))


def equal_steps(
    rows: int, *, most: int, epochs: int, random: np.random.Generator, ages: Ints | None = None
) -> Iterator[Ints]:
    """Yield the new rows of each step: every row once an epoch, steps of one epoch of equal size to within a row.

    A last step of what is left over would be taken at the full learning rate, on the gradient of a few rows.

    Args:
        rows: how many there are.
        most: rows in a step, which have one less where the rows do not fill whole steps.
        epochs: passes over the rows.
        random: their order.
        ages: of the rows; where given, older ones come before younger ones, in random order within an eighth of
            them, so that a plan that is cut off anywhere has seen the oldest. Shape (rows,).
    """
    for _ in range(epochs if rows else 0):
        order = random.permutation(rows)
        if ages is not None:
            order = order[np.argsort(_age_groups(ages)[order], kind="stable")]
        yield from np.array_split(order, -(-rows // most))


def add_replay(
    steps: Iterable[Ints], new: Ints, replayed: Ints, draws: Iterator[int], *, ratio: float
) -> Iterator[Step]:
    """Put replayed rows beside the new ones of each step, at the replay ratio, as long as there are draws.

    The ratio is kept in running totals, so that rounding to whole rows never adds up: after each step the replayed
    share is off by less than one row. With nothing to replay, steps have new rows alone.

    Args:
        steps: the new rows of each.
        new: the size (tokens, or 1 for a classifier) of each new row; shape (rows,).
        replayed: the size of each row that can be replayed.
        draws: indices into `replayed`; it may be empty when that is.
        ratio: replayed share of each step, in [0, 1).
    """
    owed = 0.0
    for number, rows in enumerate(steps):
        owed += float(new[rows].sum()) * ratio / (1 - ratio)
        drawn, paid = _draw(replayed, draws, owed)
        owed -= paid
        yield Step(rows, drawn, number)


def bearable_ratio(ratio: float, *, new: float, replayable: float, most: int) -> float:
    """Return the replay ratio that a round can keep to its end without replaying a row more than `most` times.

    Args:
        ratio: the wanted one, in [0, 1).
        new: what a round trains of new text, in tokens (documents for a classifier), repetitions counted.
        replayable: what there is to replay, each row counted once.
        most: how often a row may be replayed.
    """
    return min(ratio, most * replayable / (most * replayable + new)) if new else ratio


def _age_groups(ages: Ints) -> Ints:
    """Rows in eight groups of about equal number, the oldest in the first; shape (rows,)."""
    ranks = np.empty(len(ages), dtype=np.int64)
    ranks[np.argsort(ages, kind="stable")] = np.arange(len(ages))
    groups: Ints = ranks * AGE_GROUPS // max(len(ages), 1)
    return groups


def _draw(sizes: Ints, draws: Iterator[int], owed: float) -> tuple[Ints, float]:
    drawn: list[int] = []
    paid = 0.0
    if len(sizes):
        typical = float(sizes.mean())
        # Rounded to the nearest row: drawn only where it brings the total nearer to what is owed.
        while owed - paid > typical / 2 and (row := next(draws, None)) is not None:
            drawn.append(row)
            paid += float(sizes[row])
    return np.asarray(drawn, dtype=np.int64), paid if len(sizes) else owed


def within_budget(steps: Iterable[Step], new: Ints, replayed: Ints, *, max_tokens: int | None) -> list[Step]:
    """Keep the steps that fit a budget; at least one, if there is any.

    Args:
        steps: as planned.
        new: tokens of each new row.
        replayed: tokens of each row that can be replayed.
        max_tokens: the most tokens trained, new and replayed; None for no limit.
    """
    kept: list[Step] = []
    tokens = 0
    for step in steps:
        tokens += int(new[step.new].sum() + replayed[step.replayed].sum())
        if kept and max_tokens is not None and tokens > max_tokens:
            break
        kept.append(step)
    return kept
