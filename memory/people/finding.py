"""What is known of a person, by key. Nothing is changed by asking."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from memory.database import facts
from memory.database.sqlite import Connection
from memory.intake import dead_letters_and_gaps, feedback
from memory.people import erasure
from memory.samples.reading import FoundSample, read_places
from memory.samples.records import Role


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a person.

    Attributes:
        by_role: how many samples are kept.
        samples: a page of those, by id.
        dead_letters: ids of those that name the key, as an erasure would take them.
        rounds: for each round that was given the person's text, how many samples as which part
            (`memory.ledger.records.TrainedSample`), also where the text has left memory since.
        generations, descendants, clean_generation, lineage_from: as in `memory.people.erasure.Forgotten`.
        erased_at: when the key was erased, unix seconds; None where it never was.
        feedback: what the person said of answers, or had answered, that is kept.
    """

    by_role: Mapping[Role, int]
    samples: tuple[FoundSample, ...]
    dead_letters: tuple[int, ...]
    rounds: Mapping[int, Mapping[str, int]]
    generations: tuple[int, ...]
    descendants: tuple[int, ...]
    clean_generation: int | None
    lineage_from: int
    erased_at: float | None
    feedback: int = 0

    @property
    def is_anything(self) -> bool:
        """Whether anything is known of the person, be it that there was an erasure."""
        return bool(self.by_role or self.dead_letters or self.rounds or self.feedback or self.erased_at is not None)


def find(tx: Connection, key: str | None, key_hash: int, *, limit: int, after: int) -> Found:
    """See `Store.people.find`. Reads over all samples: keys have no index, as they are asked for so seldom."""
    samples = tx.execute("SELECT id, role FROM samples WHERE key_hash = ? ORDER BY id", (key_hash,)).fetchall()
    page = [sample for sample, _ in samples if sample > after][:limit]
    uses = tx.execute(
        "SELECT round, part, count(*) FROM round_samples WHERE key_hash = ? GROUP BY round, part ORDER BY round",
        (key_hash,),
    ).fetchall()
    rounds: dict[int, dict[str, int]] = {}
    for number, part, count in uses:
        rounds.setdefault(number, {})[part] = count
    lineage_from = facts.get_int(tx, "lineage_from")
    generations, descendants, clean = erasure.seen_by(tx, erasure.find_training_rounds(rounds), lineage_from)
    erased = tx.execute("SELECT at FROM forgotten WHERE key_hash = ?", (key_hash,)).fetchone()
    return Found(
        by_role={Role(role): count for role, count in sorted(Counter(role for _, role in samples).items())},
        samples=read_places(tx, page),
        dead_letters=tuple(sorted(dead_letters_and_gaps.of_key(tx, key, key_hash))),
        rounds=rounds,
        generations=generations,
        descendants=descendants,
        clean_generation=clean,
        lineage_from=lineage_from,
        erased_at=None if erased is None else erased[0],
        feedback=feedback.of_key(tx, key_hash),
    )
