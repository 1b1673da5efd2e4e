"""A round that judges once more what an earlier one trained: the same text by id, held-out slices drawn anew."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.errors import NotJudgedAgain
from memory.identity.categories import all_categories
from memory.identity.near_duplicates import SketchIndex, sketch_texts
from memory.ledger import draw, left_out, near_held_out, rounds
from memory.ledger.records import RoundDraw, Slice
from memory.ledger.states import RoundState
from memory.samples import reading, slices
from memory.samples.reading import Placed
from memory.samples.records import Role, Sample
from memory.settings import MemorySettings

JudgeableOn: TypeAlias = Callable[[Sequence[Slice], Sequence[Sample]], bool]
"""Whether a round that was trained on this fresh text can be judged on these slices."""

_TAKEN_OVER = (
    "recipe, seed, parent_generation, base_generation, fresh_samples, fresh_bytes, replay_samples, replay_bytes, "
    "early_stop_samples"
)


def begin(
    tx: Connection,
    kept: int,
    *,
    trigger: str,
    reason: str,
    now: float,
    judgeable: JudgeableOn,
    settings: MemorySettings,
) -> RoundDraw:
    """See `Store.rounds.begin_again`."""
    rounds.refuse_if_unfinished(tx)
    rounds.refuse_if_aside_is_full(tx, settings)
    earlier = rounds.read(tx, kept)
    parent, base = rounds.generations_to_start_from(tx)
    if parent != earlier.parent_generation:
        raise NotJudgedAgain(f"generation {earlier.parent_generation}, from which it was trained, does not serve")
    _refuse_if_text_changed(tx, kept)
    text = _text(tx, kept)
    number = facts.get_int(tx, "rounds_begun") + 1
    near_held_out.drop_held_out_near_trained(tx, settings.near_duplicate_similarity)
    slices.seal(tx, number, settings)
    drawn = draw.draw_slices(tx, settings, all_categories(tx, settings.key_quota))
    judged_on = _apart_from(drawn, text, settings.near_duplicate_similarity)
    if not judgeable(judged_on, [placed.sample for placed in text["fresh"]]):
        raise NotJudgedAgain("too little is held out that is unlike what it was trained on")
    left = tuple(part for part in left_out.left_of_slices(tx, settings, drawn) if part.documents > 0)
    _enter(tx, number, kept, trigger=trigger, reason=reason, now=now, left=left_out.write(left))
    _record_samples(tx, number, kept, [sample.id for part in judged_on for sample in part.samples])
    return RoundDraw(
        number=number,
        seed=earlier.seed,
        parent_generation=parent,
        base_generation=base,
        fresh=tuple(placed.sample for placed in text["fresh"]),
        replay=tuple(placed.sample for placed in text["replay"]),
        early_stop=tuple(placed.sample for placed in text["early_stop"]),
        slices=judged_on,
        offsets=rounds.offsets_of(tx, number),
        left_out=left,
    )


def _refuse_if_text_changed(tx: Connection, kept: int) -> None:
    """Whoever accepts a candidate answers for all of its text: none of it may be erased, set aside or settled."""
    if tx.execute("SELECT 1 FROM erased_rounds WHERE round = ?", (kept,)).fetchone() is not None:
        raise NotJudgedAgain("text that it was trained on has been erased")
    drawn, fresh = tx.execute(
        "SELECT count(*), coalesce(sum(s.role = ?), 0) FROM round_samples r LEFT JOIN samples s ON s.id = r.sample "
        "WHERE r.round = ? AND r.part IN ('fresh', 'early_stop')",
        (Role.FRESH, kept),
    ).fetchone()
    if not drawn or drawn != fresh:
        raise NotJudgedAgain("new text that it was trained on is not fresh any more")


def _text(tx: Connection, kept: int) -> dict[str, list[Placed]]:
    """What is kept of a round's text, by its part; replayed text may have left the memory since."""
    weights: dict[str, dict[int, float]] = defaultdict(dict)
    for sample, part, weight in tx.execute("SELECT sample, part, weight FROM round_samples WHERE round = ?", (kept,)):
        weights[part][sample] = weight
    return {part: _read(tx, weights[part]) for part in ("fresh", "replay", "early_stop")}


def _read(tx: Connection, weights: Mapping[int, float]) -> list[Placed]:
    """Samples that are kept, each with what it counted then."""
    return [
        placed._replace(sample=replace(placed.sample, weight=weights[placed.sample.id]))
        for placed in reading.read(tx, weights)
    ]


def _apart_from(drawn: Sequence[Slice], text: Mapping[str, Sequence[Placed]], similarity: float) -> tuple[Slice, ...]:
    """Slices without what comes near text that the candidates were trained on.

    Where a round trains, it is the training text that gives way to held-out text which came since. Here it was trained
    on already.
    """
    index = SketchIndex(similarity)
    index.add(sketch_texts([placed.sample.text for part in text.values() for placed in part]))
    apart = []
    for part in drawn:
        close = index.near(sketch_texts([sample.text for sample in part.samples]))
        samples = tuple(sample for sample, is_close in zip(part.samples, close, strict=True) if not is_close)
        if samples:
            apart.append(replace(part, samples=samples))
    return tuple(apart)


def _enter(tx: Connection, number: int, kept: int, *, trigger: str, reason: str, now: float, left: str) -> None:
    facts.put(tx, "rounds_begun", number)
    tx.execute(
        f"INSERT INTO rounds(number, state, trigger, begun_at, reason, detail, verdict, report, left_out, trained_in, "
        f"{_TAKEN_OVER}) SELECT ?, ?, ?, ?, ?, '', '{{}}', '{{}}', ?, coalesce(trained_in, number), {_TAKEN_OVER} "
        "FROM rounds WHERE number = ?",
        (number, RoundState.DRAWN, trigger, now, reason, left, kept),
    )
    tx.execute(
        "INSERT INTO round_offsets(round, stream, first, last) "
        "SELECT ?, stream, first, last FROM round_offsets WHERE round = ?",
        (number, kept),
    )


def _record_samples(tx: Connection, number: int, kept: int, judged_on: Sequence[int]) -> None:
    columns = "round, sample, part, stream, offset, key_hash"
    tx.execute(
        f"INSERT INTO round_samples({columns}, weight) "
        f"SELECT ?, {columns.removeprefix('round, ')}, weight FROM round_samples "
        "WHERE round = ? AND part != 'slice'",
        (number, kept),
    )
    tx.execute(
        f"INSERT INTO round_samples({columns}) SELECT ?, id, 'slice', stream, offset, key_hash FROM samples "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (number, sqlite.as_json(judged_on)),
    )
