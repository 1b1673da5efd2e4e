"""The latest rounds in few words: what each began from, which text was new to it, and what came of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from memory.database.sqlite import Connection
from memory.ledger.states import RoundState
from memory.samples import offsets
from streams.document import Partition


@dataclass(frozen=True, slots=True)
class Attempt:
    """A round without its recipe, verdict and report, which are long.

    Attributes:
        number: of the round.
        parent: the generation that it began from.
        generation: that it made; None where it made none.
        begun_at, ended_at: unix seconds; None while it goes on.
        offsets: first and last offset of its fresh samples for each partition.
    """

    number: int
    state: RoundState
    parent: int
    generation: int | None
    begun_at: float
    ended_at: float | None
    offsets: Mapping[Partition, tuple[int, int]]


def attempts(tx: Connection, limit: int) -> list[Attempt]:
    """See `Store.rounds.attempts`."""
    rows = tx.execute(
        "SELECT number, state, parent_generation, generation, begun_at, ended_at FROM rounds "
        "ORDER BY number DESC LIMIT ?",
        (limit,),
    ).fetchall()
    oldest = min((row[0] for row in rows), default=0)
    spans = tx.execute("SELECT round, stream, first, last FROM round_offsets WHERE round >= ?", (oldest,)).fetchall()
    names = offsets.partitions(tx, {stream for _, stream, _, _ in spans})
    of_round: defaultdict[int, dict[Partition, tuple[int, int]]] = defaultdict(dict)
    for number, stream, first, last in spans:
        of_round[number][names[stream]] = first, last
    return [
        Attempt(number, RoundState(state), parent, generation, begun_at, ended_at, of_round[number])
        for number, state, parent, generation, begun_at, ended_at in rows
    ]
