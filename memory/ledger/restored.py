"""What a store makes of what is known elsewhere and not by it: an older copy of it was put back, or a new one begun."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from memory.database import facts
from memory.database.sqlite import Connection, as_json
from memory.ledger import generations
from memory.ledger.history import audit
from memory.ledger.records import GenerationState, SliceScore


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


def find_accepted(tx: Connection, numbers: list[int]) -> frozenset[int]:
    """Those generations among these that the ledger knows as accepted, at whatever time."""
    rows = tx.execute(
        "SELECT number FROM generations WHERE state != ? AND number IN (SELECT value FROM json_each(?)) "
        "UNION SELECT number FROM past_generations WHERE number IN (SELECT value FROM json_each(?))",
        (GenerationState.RESERVED, as_json(numbers), as_json(numbers)),
    )
    return frozenset(number for (number,) in rows)


def number_above(tx: Connection, generation: int, round_number: int) -> bool:
    """See that the next numbers are above these; returns whether they would not have been."""
    behind = False
    for name, lowest in (("generations_numbered", generation + 1), ("rounds_begun", round_number)):
        if facts.get_int(tx, name) < lowest:
            facts.put(tx, name, lowest)
            behind = True
    return behind


def take_up(tx: Connection, line: Sequence[FoundGeneration], now: float) -> None:
    """Enter generations that served, parents first; the last of them serves."""
    for generation in line:
        # Another generation may have had the number here: its scores are not this one's.
        generations.forget_scores(tx, generation.number)
        tx.execute(
            # The number may be reserved in this older copy: what served under it counts.
            "INSERT OR REPLACE INTO generations(number, state, parent, round, digest, source_path, created_at) "
            "VALUES (?, ?, ?, ?, ?, '', ?)",
            (
                generation.number,
                GenerationState.ACCEPTED,
                generation.parent,
                generation.round,
                generation.digest,
                generation.created_at,
            ),
        )
        generations.save_scores(tx, generation.number, generation.scores, None)
    last_round = max(generation.round for generation in line)
    number_above(tx, max(generation.number for generation in line), last_round)
    detail = {"generation": line[-1].number, "before": facts.find_int(tx, "serving"), "found_on_disk": True}
    audit.note(tx, "serves", detail, who=audit.BY_DAEMON, now=now)
    facts.put(tx, "serving", line[-1].number)
    # What their rounds were given is not known here: who saw whose text can be told of later rounds alone.
    facts.put(tx, "lineage_from", max(facts.get_int(tx, "lineage_from"), last_round + 1))
