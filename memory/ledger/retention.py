"""How much of the past is kept: what rounds and generations leave behind, and when that goes too.

Samples of a round (`lineage_rounds`), its verdict and report (REPORTS), its line (ROUNDS); a generation's line with its
round's, its row of R (R_ROWS), and at last where it came from (PAST_GENERATIONS). What something still hangs on stays.
"""

from collections.abc import Collection, Iterable, Sequence

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.identity import similar_keys
from memory.ledger import rounds
from memory.ledger.history import audit, canaries
from memory.ledger.records import GenerationState
from memory.ledger.skills import skill_scores
from memory.ledger.states import RoundState
from memory.samples.records import Role
from memory.settings import MemorySettings

REPORTS = 1_000
"""Latest rounds whose verdict and report stay, tens of kilobytes each: as many as the gate looks back over."""
ROUNDS = 5_000
"""Latest rounds that have a line of about two kilobytes: seven weeks of a round every quarter of an hour."""
R_ROWS = 256
"""Latest generations with a row of R, which has a score for every slice; all rows are read after each round."""
PAST_GENERATIONS = 100_000
"""Latest generations of which number, parent, round, digest and time stay, 100 bytes each: three years of the same."""


def prune(tx: Connection, settings: MemorySettings) -> None:
    """Let go of what lies beyond the bounds. The cost is that of what goes, and of a look at what is kept past them."""
    rounds_begun = facts.get_int(tx, "rounds_begun")
    not_over = _find_not_over(tx)
    oldest = rounds_begun - max(ROUNDS, settings.lineage_rounds)
    _forget_samples(tx, rounds_begun - settings.lineage_rounds, not_over)
    # Before the rounds: a round's line stays as long as its generation is listed.
    _forget_generations(tx, oldest)
    _forget_rounds(tx, oldest, not_over)
    _forget_reports(tx, rounds_begun - REPORTS)
    canaries.prune(tx, oldest)
    audit.prune(tx, settings.audit_rows)
    similar_keys.prune(tx)
    beyond_r = facts.get_int(tx, "generations_numbered") - R_ROWS
    _forget_scores(tx, beyond_r)
    skill_scores.prune(tx, beyond_r)


def _find_not_over(tx: Connection) -> set[int]:
    """Rounds that are not over: unfinished, waiting for a person, or approved by one and not judged again yet."""
    # Where the approved text is gone by now, no round can be begun with it.
    approved = {round_.number for round_ in rounds.find_approved(tx) if _is_fresh(tx, round_.number)}
    return {round_.number for round_ in rounds.find_unfinished(tx)} | set(rounds.waiting(tx)) | approved


def _is_fresh(tx: Connection, number: int) -> bool:
    """Whether text that a round was given can still be drawn."""
    row = tx.execute(
        "SELECT 1 FROM round_samples r JOIN samples s ON s.id = r.sample WHERE r.round = ? AND s.role = ? LIMIT 1",
        (number, Role.FRESH),
    ).fetchone()
    return row is not None


def _forget_samples(tx: Connection, last: int, not_over: Collection[int]) -> None:
    """Forget which samples the rounds up to `last` were given."""
    expired = [number for number in _distinct(tx, "round_samples", "round", last) if number not in not_over]
    tx.executemany("DELETE FROM round_samples WHERE round = ?", [(number,) for number in expired])
    facts.put(tx, "lineage_from", max(facts.get_int(tx, "lineage_from"), last + 1))


def _forget_generations(tx: Connection, last_round: int) -> None:
    """Of generations whose files are gone, made by rounds up to `last_round`, keep only where they came from.

    One with scores of documents is the best so far on some slice, and stays whole.
    """
    expired = _without_document_scores(
        tx,
        tx.execute(
            "SELECT number FROM generations WHERE round <= ? AND state IN (?, ?)",
            (last_round, GenerationState.RETIRED, GenerationState.RESERVED),
        ),
    )
    chosen = (sqlite.as_json(expired),)
    tx.execute(
        "INSERT INTO past_generations(number, parent, round, digest, created_at) "
        "SELECT number, parent, round, digest, created_at FROM generations "
        # Without a digest a number was reserved and no model came of it: there is nothing to know of it.
        "WHERE digest != '' AND number IN (SELECT value FROM json_each(?))",
        chosen,
    )
    tx.execute("DELETE FROM scores WHERE generation IN (SELECT value FROM json_each(?))", chosen)
    tx.execute("DELETE FROM generations WHERE number IN (SELECT value FROM json_each(?))", chosen)
    numbered = facts.get_int(tx, "generations_numbered")
    tx.execute("DELETE FROM past_generations WHERE number < ?", (numbered - PAST_GENERATIONS,))
    tx.execute(
        "DELETE FROM erased_rounds WHERE round <= ? AND round NOT IN (SELECT round FROM generations WHERE round IS NOT "
        "NULL UNION ALL SELECT round FROM past_generations WHERE round IS NOT NULL)",
        (last_round,),
    )


def _forget_rounds(tx: Connection, last: int, not_over: Collection[int]) -> None:
    """Forget the rounds up to `last`, but for those of a generation that is listed or of text that is aside."""
    rows = tx.execute(
        "SELECT number FROM rounds WHERE number <= ? "
        "AND number NOT IN (SELECT round FROM generations WHERE round IS NOT NULL) "
        "AND NOT EXISTS (SELECT 1 FROM aside WHERE aside.round = rounds.number)",
        (last,),
    ).fetchall()
    expired = [row for row in rows if row[0] not in not_over]
    tx.executemany("DELETE FROM round_offsets WHERE round = ?", expired)
    tx.executemany("DELETE FROM rounds WHERE number = ?", expired)


def _forget_reports(tx: Connection, last: int) -> None:
    # Those that are empty already are left out: else each round would write thousands of rows again.
    tx.execute(
        "UPDATE rounds SET verdict = '{}', report = '{}' WHERE number <= ? AND state != ? AND report != '{}'",
        (last, RoundState.WAITING),
    )


def _forget_scores(tx: Connection, end: int) -> None:
    """Take the rows of generations below `end` out of R: not of those that have files, or a best so far."""
    rows = [number for number in _distinct(tx, "scores", "generation", end - 1) if _is_retired(tx, number)]
    expired = _without_document_scores(tx, ((number,) for number in rows))
    tx.executemany("DELETE FROM scores WHERE generation = ?", [(number,) for number in expired])


def _is_retired(tx: Connection, generation: int) -> bool:
    row = tx.execute("SELECT state FROM generations WHERE number = ?", (generation,)).fetchone()
    return row is None or row[0] == GenerationState.RETIRED


def _without_document_scores(tx: Connection, generations: Iterable[Sequence[int]]) -> list[int]:
    query = "SELECT 1 FROM document_scores WHERE generation = ? LIMIT 1"
    return [number for (number,) in list(generations) if tx.execute(query, (number,)).fetchone() is None]


def _distinct(tx: Connection, table: str, column: str, last: int) -> list[int]:
    """The different values up to `last` in the column that a table is ordered by; a step for each, not for each row."""
    rows = tx.execute(
        f"WITH RECURSIVE found(value) AS (SELECT min({column}) FROM {table} UNION ALL "
        f"SELECT (SELECT min({column}) FROM {table} WHERE {column} > found.value) FROM found WHERE found.value < ?1) "
        "SELECT value FROM found WHERE value <= ?1",
        (last,),
    )
    return [row[0] for row in rows]
