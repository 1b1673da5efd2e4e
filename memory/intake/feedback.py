"""What people said of answers, as it is kept: the last word of each on each answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from memory.database.sqlite import Connection
from memory.intake.dead_letters_and_gaps import KnownKeys
from memory.samples.offsets import Position, position_of
from streams.document import Opinion, Partition

ROWS_KEPT: Final = 100_000
"""Verdicts; the oldest go."""
TEXTS_KEPT: Final = 5_000
"""Of the latest of those the text is kept too."""
NOBODY: Final = 0
"""Stands for the hash of a key where nobody was named."""


@dataclass(frozen=True, slots=True)
class FeedbackCounts:
    """What was said of one generation's answers.

    Attributes:
        accepted: answers by who had them, each person's last word.
        rejected: likewise.
        corrected: of both, those with a correction.
    """

    accepted: int = 0
    rejected: int = 0
    corrected: int = 0


@dataclass(frozen=True, slots=True)
class GroupJudged:
    """What was said of one generation's answers to a group of callers.

    Attributes:
        group: of callers, as serving counts them.
        judged: answers of which something was said.
        rejected: of these.
    """

    group: int
    judged: int
    rejected: int


@dataclass(frozen=True, slots=True)
class StoredOpinion:
    """What one person said of one answer, as it is kept; see `Opinion`.

    Attributes:
        id: greater than those of what was said earlier.
    """

    id: int
    answer: str
    giver: str
    verdict: str
    generation: int
    answered_at: float
    given_at: float
    corrected: bool
    learned: str | None
    prompt: str | None
    text: str | None
    correction: str | None


def take(tx: Connection, opinions: Iterable[Opinion], positions: Mapping[Partition, Position], keys: KnownKeys) -> None:
    """Store what is new of a batch; who speaks again of an answer replaces what they said before."""
    rows = [
        _row(opinion, keys)
        for opinion in opinions
        if opinion.offset >= position_of(positions, opinion.partition, opinion.offset).first_new
    ]
    if not rows:
        return
    tx.executemany(
        "INSERT OR REPLACE INTO feedback(answer, giver, key_hash, verdict, generation, answered_at, given_at, "
        "corrected, learned, prompt, text, correction, caller_group) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    latest = int(tx.execute("SELECT max(id) FROM feedback").fetchone()[0])
    tx.execute("DELETE FROM feedback WHERE id <= ?", (latest - ROWS_KEPT,))
    tx.execute(
        "UPDATE feedback SET prompt = NULL, text = NULL, correction = NULL WHERE prompt IS NOT NULL AND id <= ?",
        (latest - TEXTS_KEPT,),
    )


def _row(opinion: Opinion, keys: KnownKeys) -> tuple[object, ...]:
    key_hash = NOBODY if opinion.key is None else keys.key_hash(opinion.key)
    texts: tuple[str | None, ...] = (opinion.prompt, opinion.text, opinion.correction)
    # The verdict tells of no person; the text would be what was erased.
    if key_hash != NOBODY and keys.is_erased([key_hash]):
        key_hash, texts = NOBODY, (None, None, None)
    return (
        opinion.answer,
        opinion.giver,
        key_hash,
        opinion.verdict,
        opinion.generation,
        opinion.answered_at,
        opinion.given_at,
        int(opinion.corrected),
        opinion.learned,
        *texts,
        opinion.group,
    )


def counts(tx: Connection) -> dict[int, FeedbackCounts]:
    """What was said of each generation's answers, by its number, the newest first."""
    rows = tx.execute(
        "SELECT generation, sum(verdict = 'accept'), sum(verdict = 'reject'), sum(corrected) FROM feedback "
        "GROUP BY generation ORDER BY generation DESC"
    )
    return {number: FeedbackCounts(*sums) for number, *sums in rows}


def by_group(tx: Connection, generation: int, since: float) -> list[GroupJudged]:
    """What was said of a generation's answers that were given from `since` on, unix seconds, by who had asked.

    An answer counts once, by the last word on it, whoever says how many people spoke; and only where it was one of
    those that are compared.
    """
    rows = tx.execute(
        # Of a query with max() SQLite takes the other columns from the row that has the greatest.
        "SELECT caller_group, count(*), sum(verdict = 'reject') FROM ("
        "SELECT caller_group, verdict, max(id) FROM feedback "
        "WHERE generation = ? AND answered_at >= ? AND caller_group IS NOT NULL GROUP BY answer) "
        "GROUP BY caller_group ORDER BY caller_group",
        (generation, since),
    )
    return [GroupJudged(*row) for row in rows]


def latest(tx: Connection, limit: int, before: int | None, generation: int | None) -> list[StoredOpinion]:
    """The latest of what was said, the newest first: at most `limit`, earlier than the id `before`."""
    rows = tx.execute(
        "SELECT id, answer, giver, verdict, generation, answered_at, given_at, corrected, learned, prompt, text, "
        "correction FROM feedback WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR generation = ?2) "
        "ORDER BY id DESC LIMIT ?3",
        (before, generation, limit),
    )
    return [replace(StoredOpinion(*row), corrected=bool(row[7])) for row in rows]


def of_key(tx: Connection, key_hash: int) -> int:
    """How much a person said, or had answered."""
    return int(tx.execute("SELECT count(*) FROM feedback WHERE key_hash = ?", (key_hash,)).fetchone()[0])


def erase(tx: Connection, key_hashes: Iterable[int]) -> int:
    """Remove all that these people said, or had answered; returns how much that was."""
    return sum(tx.execute("DELETE FROM feedback WHERE key_hash = ?", (each,)).rowcount for each in key_hashes)
