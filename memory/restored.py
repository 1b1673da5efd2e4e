"""What a store makes of what is known elsewhere and not by it: an older copy of it was put back, or a new one begun."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from memory import facts, generations
from memory.kept_apart import KeptApart
from memory.records import GenerationState, SliceScore
from memory.removal import as_json
from memory.sqlite import Connection


@dataclass(frozen=True, slots=True)
class FoundGeneration:
    """A generation on disk that the ledger does not know.

    Attributes:
        parent: the one that it was trained from, which the ledger knows or is told of before this one.
        round: that made it.
        scores: R's row, by slice name, as its card has it.
    """

    number: int
    parent: int
    round: int
    digest: str
    created_at: float
    scores: Mapping[str, SliceScore] = field(default_factory=dict)


class Restored(KeptApart):
    """The part of a store that learns of numbers and generations that it did not give."""

    def accepted_among(self, numbers: Iterable[int]) -> frozenset[int]:
        """Those generations among these that the ledger knows as accepted, at whatever time."""
        return self._read(_accepted_among, list(numbers))

    def number_above(self, *, generation: int, round_number: int) -> bool:
        """See that the next numbers are above these; returns whether they would not have been."""
        return self._write(_number_above, generation, round_number)

    def take_up_generations(self, found: Sequence[FoundGeneration]) -> None:
        """Enter generations that served, parents first; the last of them serves.

        Which samples their rounds were given is not known, and so of no earlier round whether that is all.
        """
        self._write(_take_up, found)


def _accepted_among(tx: Connection, numbers: list[int]) -> frozenset[int]:
    rows = tx.execute(
        "SELECT number FROM generations WHERE state != ? AND number IN (SELECT value FROM json_each(?)) "
        "UNION SELECT number FROM past_generations WHERE number IN (SELECT value FROM json_each(?))",
        (GenerationState.RESERVED, as_json(numbers), as_json(numbers)),
    )
    return frozenset(number for (number,) in rows)


def _number_above(tx: Connection, generation: int, round_number: int) -> bool:
    behind = False
    for name, lowest in (("generations_numbered", generation + 1), ("rounds_begun", round_number)):
        if facts.get_int(tx, name) < lowest:
            facts.put(tx, name, lowest)
            behind = True
    return behind


def _take_up(tx: Connection, found: Sequence[FoundGeneration]) -> None:
    for one in found:
        tx.execute(
            "INSERT OR REPLACE INTO generations(number, state, parent, round, digest, source_path, created_at) "
            "VALUES (?, ?, ?, ?, ?, '', ?)",
            (one.number, GenerationState.ACCEPTED, one.parent, one.round, one.digest, one.created_at),
        )
        generations.save_scores(tx, one.number, one.scores)
    last_round = max(one.round for one in found)
    _number_above(tx, max(one.number for one in found), last_round)
    facts.put(tx, "serving", found[-1].number)
    facts.put(tx, "lineage_from", max(facts.get_int(tx, "lineage_from"), last_round + 1))
