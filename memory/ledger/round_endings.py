"""How a round ends: accepted, refused, made to wait; and a person's word for one that waits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from memory.database.sqlite import Connection
from memory.errors import WrongState
from memory.identity.near_duplicates import record_trained, sketch_texts
from memory.ledger import aside, generations, rounds
from memory.ledger.history.canaries import CanaryPlan
from memory.ledger.records import DocumentScore, SliceScore, Trained
from memory.ledger.scorings import Scoring
from memory.ledger.states import RoundState
from memory.samples import counters, reading, removal, replay_budgets, slices
from memory.samples.records import Role
from memory.settings import MemorySettings


def accept(
    tx: Connection,
    number: int,
    *,
    generation: int,
    digest: str,
    scores: Mapping[str, SliceScore],
    document_scores: Iterable[DocumentScore],
    scored: Scoring | None,
    verdict: Mapping[str, Any],
    report: Mapping[str, Any],
    trained: Trained | None,
    canary: CanaryPlan | None,
    now: float,
    settings: MemorySettings,
    salt: int,
) -> None:
    """See `Store.rounds.accept`."""
    # First, as it raises where this was done before: the rest takes effect once.
    rounds.end(tx, number, RoundState.ACCEPTED, now=now, verdict=verdict, report=report, detail="")
    generations.accept(tx, generation, round_number=number, digest=digest, canary=canary, now=now)
    generations.save_scores(tx, generation, scores, scored)
    generations.save_document_scores(tx, generation, document_scores, scored)
    drawn = _by_part(tx, number)
    counters.tally(tx, {"over_quota": removal.remove(tx, drawn["over_quota"])})
    used, spent = drawn["fresh"] + drawn["early_stop"], list[int]()
    if trained is not None:
        spent = [sample for sample in used if sample in trained.untrainable]
        used = [sample for sample in used if sample in trained.touched]
        rounds.note_untouched(tx, number, trained.touched)
    # While the text is there: replay may have no room for all of it, and it was trained on all the same.
    _remember_trained(tx, used, settings)
    # What has passed once was not what the earlier rounds were refused for.
    aside.acquit(tx, used + aside.held_out_lately(tx))
    replay_budgets.settle_fresh(tx, used + spent, number, settings, salt)
    if trained is not None:
        # Before the slices close: what arrived after the text that was used is to stay open.
        slices.keep_newest(tx, max(used, default=0), settings.slice_documents)
    slices.settle(tx, number, settings)


def _by_part(tx: Connection, number: int) -> dict[str, list[int]]:
    """The fresh samples that a round was given and that are still fresh, by what it did with them."""
    parts: dict[str, list[int]] = {part: [] for part in rounds.PARTS_DRAWN_FRESH}
    rows = tx.execute(
        "SELECT r.part, r.sample FROM round_samples r JOIN samples s ON s.id = r.sample "
        "WHERE r.round = ? AND s.role = ? ORDER BY r.sample",
        (number, Role.FRESH),
    )
    for part, sample in rows:
        parts[part].append(sample)
    return parts


def _remember_trained(tx: Connection, ids: Sequence[int], settings: MemorySettings) -> None:
    """Note what was trained on: held-out text that comes near it is dropped when the next round begins."""
    samples = [placed.sample for placed in reading.read(tx, ids)]
    sketches = sketch_texts([sample.text for sample in samples])
    record_trained(tx, [sample.id for sample in samples], sketches, settings.trained_documents)


def refuse(
    tx: Connection,
    number: int,
    *,
    verdict: Mapping[str, Any],
    report: Mapping[str, Any],
    detail: str,
    against_text: bool,
    now: float,
    settings: MemorySettings,
) -> int:
    """See `Store.rounds.refuse`."""
    rounds.end(tx, number, RoundState.REFUSED, now=now, verdict=verdict, report=report, detail=detail)
    if not against_text:
        return 0
    concerned = rounds.drawn_fresh(tx, number) + aside.held_out_lately(tx)
    aside.count_refusals(tx, concerned)
    # After the count, of which this refusal is one.
    often = aside.find_refused_often(tx, concerned, settings.refusals_until_aside)
    reason = f"refused {settings.refusals_until_aside} times, last by round {number}"
    return aside.set_aside(tx, often, round_number=number, reason=reason, now=now)


def hold(
    tx: Connection,
    number: int,
    *,
    verdict: Mapping[str, Any],
    report: Mapping[str, Any],
    detail: str,
    now: float,
) -> int:
    """See `Store.rounds.hold`."""
    rounds.end(tx, number, RoundState.WAITING, now=now, verdict=verdict, report=report, detail=detail)
    concerned = rounds.drawn_fresh(tx, number) + aside.held_out_lately(tx)
    return aside.set_aside(tx, concerned, round_number=number, reason=f"round {number} waits", now=now)


def release(tx: Connection, number: int, *, now: float, settings: MemorySettings, salt: int) -> int:
    """See `Store.rounds.release`."""
    rounds.step(tx, number, RoundState.RELEASED, now=now)
    return aside.release(tx, aside.choose(tx, number, None), settings, salt)


def drop(tx: Connection, number: int, *, now: float) -> int:
    """See `Store.rounds.drop`."""
    rounds.step(tx, number, RoundState.DROPPED, now=now)
    return removal.remove(tx, aside.choose(tx, number, None))


def drop_part(tx: Connection, number: int, ids: Sequence[int], *, now: float) -> tuple[int, int]:
    """See `Store.aside.drop_part`."""
    dropped = removal.remove(tx, aside.part_of(tx, number, ids))
    remaining = int(tx.execute("SELECT count(*) FROM aside WHERE round = ?", (number,)).fetchone()[0])
    # Nothing is left for a person to decide on.
    if remaining == 0 and rounds.read(tx, number).state is RoundState.WAITING:
        rounds.step(tx, number, RoundState.DROPPED, now=now)
    return dropped, remaining


def release_part(
    tx: Connection, number: int, ids: Sequence[int], *, settings: MemorySettings, salt: int
) -> tuple[int, int]:
    """See `Store.aside.release_part`."""
    if rounds.read(tx, number).state is RoundState.WAITING:
        raise WrongState(f"Round {number} waits: erase the part that is wrong, then approve the rest as a whole.")
    released = aside.release(tx, aside.part_of(tx, number, ids, undone="released"), settings, salt)
    return released, int(tx.execute("SELECT count(*) FROM aside WHERE round = ?", (number,)).fetchone()[0])


def drop_matching(
    tx: Connection, number: int, *, source: str | None, key_hash: int | None, now: float
) -> tuple[int, int]:
    """See `Store.aside.drop_of`."""
    return drop_part(tx, number, list(aside.matching(tx, number, source=source, key_hash=key_hash)), now=now)
