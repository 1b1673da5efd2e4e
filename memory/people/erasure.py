"""Erasing a person's text by key, and naming what had seen it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from memory.database import facts
from memory.database.connection import Database
from memory.database.sqlite import Connection
from memory.errors import StoreBusy, StoreFull
from memory.identity import earlier_keys, near_duplicates
from memory.intake import dead_letters_and_gaps, feedback
from memory.ledger.records import GenerationState, lineage
from memory.samples import removal


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What an erasure erased, and what had seen it.

    Attributes:
        sample_ids: the erased samples that were still kept.
        rounds: rounds that were given the key's text, as training or as held-out text: their directories hold it.
        generations: generations trained on it.
        descendants: generations that started from one of those, so that they carry it on.
        clean_generation: the latest generation that has not seen it, from which a clean one can be built.
        lineage_from: the first round of which it is known what it was given. Rounds before it, and generations of
            theirs, may have seen the text without being named; nothing that came of them is called clean.
        feedback: what the person said of answers, or had answered, that was kept.
    """

    samples: int
    dead_letters: int
    sample_ids: tuple[int, ...]
    rounds: tuple[int, ...]
    generations: tuple[int, ...]
    descendants: tuple[int, ...]
    clean_generation: int | None
    lineage_from: int
    feedback: int = 0


def erase(tx: Connection, key: str | None, key_hash: int, now: float) -> Forgotten:
    """Remove all of a key's text from the tables, and keep its hash. `scrub` then clears the file itself.

    Args:
        tx: of the erasure.
        key: None where only its hash is known: dead letters are then found where their record names it as its key.
        key_hash: of the key.
        now: unix seconds.
    """
    sample_ids = [row[0] for row in tx.execute("SELECT id FROM samples WHERE key_hash = ?", (key_hash,))]
    uses = tx.execute("SELECT round, sample, part FROM round_samples WHERE key_hash = ?", (key_hash,)).fetchall()
    remove_samples(tx, sample_ids, uses)
    letters = dead_letters_and_gaps.erase(tx, key, key_hash)
    opinions = feedback.erase(tx, [key_hash])
    tx.execute("DELETE FROM key_dresses WHERE key_hash = ?", (key_hash,))
    earlier_keys.forget_key(tx, key_hash)
    # Kept for ever: a redelivery of the erased text is known by it.
    tx.execute("INSERT OR IGNORE INTO forgotten(key_hash, at) VALUES (?, ?)", (key_hash, now))
    return replace(name_who_saw(tx, sample_ids, letters, uses), feedback=opinions)


def remove_samples(tx: Connection, sample_ids: Sequence[int], uses: Iterable[tuple[int, int, str]]) -> None:
    """Remove samples, and what was made of their text.

    Args:
        tx: of the erasure.
        sample_ids: the samples that are still kept.
        uses: round, sample and part of all that rounds were given of the text.
    """
    # Sketches are made from text: those of samples that have left memory go too.
    near_duplicates.forget_trained(tx, {*sample_ids, *(sample for _, sample, _ in uses)})
    removal.remove(tx, sample_ids)


def name_who_saw(
    tx: Connection, sample_ids: Sequence[int], letters: int, uses: Iterable[tuple[int, int, str]]
) -> Forgotten:
    """What was erased, and what had seen it, which is kept in mind.

    Args:
        tx: of the erasure.
        sample_ids: the samples that were still kept.
        letters: how many dead letters went.
        uses: round, sample and part of all that rounds were given of the text.
    """
    rounds: dict[int, set[str]] = {}
    for number, _, part in uses:
        rounds.setdefault(number, set()).add(part)
    lineage_from = facts.get_int(tx, "lineage_from")
    trained = find_training_rounds(rounds)
    tx.executemany("INSERT OR IGNORE INTO erased_rounds(round) VALUES (?)", [(number,) for number in trained])
    generations, descendants, clean = seen_by(tx, trained, lineage_from)
    return Forgotten(
        samples=len(sample_ids),
        dead_letters=letters,
        sample_ids=tuple(sample_ids),
        rounds=tuple(sorted(rounds)),
        generations=generations,
        descendants=descendants,
        clean_generation=clean,
        lineage_from=lineage_from,
    )


def find_training_rounds(rounds: Mapping[int, Collection[str]]) -> list[int]:
    """Of rounds with the parts in which they were given a person's text, those that trained on it."""
    return sorted(number for number, parts in rounds.items() if not {"fresh", "replay"}.isdisjoint(parts))


def saw_erased_text(tx: Connection) -> dict[int, bool]:
    """See `Store.people.saw_erased_text`."""
    erased = {number for (number,) in tx.execute("SELECT round FROM erased_rounds")}
    if not erased:
        return {}
    rows = tx.execute(
        "SELECT number, parent, round FROM past_generations UNION ALL "
        "SELECT number, parent, round FROM generations WHERE state != ? ORDER BY number",
        (GenerationState.RESERVED,),
    )
    saw: dict[int, bool] = {}
    for number, parent, its_round in rows:  # A parent's number is lower, so it has been looked at before.
        if its_round in erased or parent in saw:
            saw[number] = its_round in erased
    return saw


def seen_by(
    tx: Connection, rounds: Sequence[int], lineage_from: int
) -> tuple[tuple[int, ...], tuple[int, ...], int | None]:
    """Generations of these rounds, those that started from them, and the latest ancestor of serving that is neither.

    One whose files retention has removed cannot be built upon, and is passed over; so is one that came of a round
    before `lineage_from`, of which nobody can tell.
    """
    rows = tx.execute(
        "SELECT number, parent, round, state FROM generations WHERE state != ? ORDER BY number",
        (GenerationState.RESERVED,),
    ).fetchall()
    parents = {number: parent for number, parent, _, _ in rows}
    concerned, unknown, trained_in = set(), set(), set(rounds)
    for number, parent, its_round, _ in rows:  # A parent's number is lower, so it has been looked at before.
        if its_round in trained_in or parent in concerned:
            concerned.add(number)
        if parent is not None and (its_round < lineage_from or parent in unknown or parent not in parents):
            unknown.add(number)
    direct = tuple(number for number, _, its_round, _ in rows if its_round in trained_in)
    retired = {number for number, _, _, state in rows if state == GenerationState.RETIRED}
    serving = facts.find_int(tx, "serving")
    led_here = [] if serving is None else lineage(parents, serving)
    # Once, and not for each of thousands of generations.
    unfit = concerned | unknown | retired
    clean = next((number for number in reversed(led_here) if number not in unfit), None)
    return direct, tuple(sorted(concerned - set(direct))), clean


def scrub(database: Database) -> None:
    """Rewrite the file without its free space, where old copies of moved rows can linger, and truncate the log.

    Raises:
        StoreBusy: a reader kept the log from being truncated.
        StoreFull: there is no room for the file that is written.
    """
    try:
        with database.exclusive() as connection:
            connection.execute("VACUUM")
            # VACUUM writes the whole file through the log, which holds the old pages until it is cut.
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except StoreFull as error:
        raise StoreFull(
            "The text is erased from every table, but there is no room to rewrite the file, in which copies may "
            f"linger. Free about twice the size of {database.path}, there and in the folder for temporary files, and "
            "run the same erasure again."
        ) from error
    if busy:
        raise StoreBusy(
            "The text is erased from every table, but a reader kept the write-ahead log from being truncated: "
            "copies may linger in the -wal file. Run the same erasure again."
        )
