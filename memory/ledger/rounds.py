"""The ledger of rounds: what each was given, and how it ended."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import structlog

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.errors import AsideFull, UnknownRound, WrongState
from memory.identity.categories import all_categories
from memory.identity.kept_out import KeptOut
from memory.ledger import draw, foreseen_slices, left_out, near_held_out
from memory.ledger.draw import FreshDraw
from memory.ledger.history import canaries
from memory.ledger.records import (
    ApprovedRound,
    DrawSpec,
    LeftOut,
    Round,
    RoundDraw,
    SliceOutline,
    TrainedSample,
)
from memory.ledger.states import UNFINISHED, RoundState, may_follow
from memory.samples import offsets, reading, slices
from memory.samples.reading import FoundSample, Placed, read_places
from memory.samples.records import Sample
from memory.settings import MemorySettings
from streams.document import Partition

log = structlog.get_logger(__name__)

Judgeable: TypeAlias = Callable[[Sequence[SliceOutline], Sequence[Sample]], bool]
"""Whether a round could be judged on these slices, were it trained on this fresh text."""

# What lies over its key's quota too: it was drawn, and shares the round's outcome.
PARTS_DRAWN_FRESH = ("fresh", "early_stop", "over_quota")

_BY_ADVANCING = {RoundState.TRAINING, RoundState.JUDGED, RoundState.FAILED, RoundState.ABANDONED}

_COLUMNS = (
    "number, state, trigger, recipe, seed, parent_generation, base_generation, generation, released_from, begun_at, "
    "ended_at, detail, verdict, report, fresh_samples, fresh_bytes, replay_samples, replay_bytes, early_stop_samples, "
    "left_out, trained_in, reason"
)


def begin(
    tx: Connection,
    *,
    trigger: str,
    reason: str,
    recipe: Mapping[str, Any],
    seed: int,
    spec: DrawSpec,
    now: float,
    released_from: int | None,
    judgeable: Judgeable | None,
    settings: MemorySettings,
    salt: int,
    kept_out: KeptOut,
) -> RoundDraw | None:
    """See `Store.rounds.begin`."""
    parent, base = generations_to_start_from(tx)
    refuse_if_unfinished(tx)
    refuse_if_aside_is_full(tx, settings)
    number = facts.get_int(tx, "rounds_begun") + 1
    among = None if released_from is None else _find_released(tx, released_from)
    chosen = draw.fresh_ids(tx, draw.fresh_budget(spec, settings) * facts.bytes_per_token(tx), among)
    # The search for near-duplicates goes to the disk: not where no round begins anyway.
    if chosen:
        near_held_out.drop_held_out_near_trained(tx, settings.near_duplicate_similarity)
    held_out = near_held_out.HeldOutIndex(tx, settings.near_duplicate_similarity, kept_out)
    drawn = draw.weigh(tx, held_out.keep_apart(tx, reading.read(tx, [sample for sample, _ in chosen])), spec)
    if not drawn:
        return None
    categories = all_categories(tx, settings.key_quota)
    fresh = draw.sort_fresh(tx, drawn, spec, number, settings, salt=salt, categories=categories)
    # Asked before the slices are sealed: where no round begins their period stays open.
    if judgeable is not None and not judgeable(foreseen_slices.foreseen(tx, settings), _samples(fresh.train)):
        return None
    if fresh.over_quota:
        log.warning("text_over_key_quota", samples=len(fresh.over_quota), key_quota=settings.key_quota)
    # Compared when it arrived, but held-out text may have come since.
    older = _draw_replay(tx, fresh, spec, seed)
    replayed = draw.within_key_quota(tx, older, fresh.train, settings.key_quota, categories)
    replay = draw.weigh(tx, held_out.keep_apart(tx, replayed), spec)
    slices.seal(tx, number, settings)
    judged_on = draw.draw_slices(tx, settings, categories)
    left = left_out.find_left_out(tx, settings, spec, among=among, fresh=fresh, judged_on=judged_on)
    request = (trigger, json.dumps(recipe), seed, parent, base, released_from, now, reason)
    _enter(tx, number, request=request, fresh=fresh, replay=replay, left=left)
    _record_samples(tx, number, fresh, replay, [sample.id for part in judged_on for sample in part.samples])
    return RoundDraw(
        number=number,
        seed=seed,
        parent_generation=parent,
        base_generation=base,
        fresh=tuple(placed.sample for placed in fresh.train),
        replay=tuple(placed.sample for placed in replay),
        early_stop=tuple(placed.sample for placed in fresh.early_stop),
        slices=judged_on,
        offsets=offsets_of(tx, number),
        left_out=left,
    )


def _samples(placed: Sequence[Placed]) -> list[Sample]:
    return [each.sample for each in placed]


def generations_to_start_from(tx: Connection) -> tuple[int, int]:
    """The serving generation and the base.

    Raises:
        WrongState: there are none.
    """
    serving, base = facts.find_int(tx, "serving"), facts.find_int(tx, "base")
    if serving is None or base is None:
        raise WrongState("No base model is registered, so no round can start. Run `riverkeep check`, then start again.")
    return serving, base


def refuse_if_unfinished(tx: Connection) -> None:
    """Raise WrongState where a round has no outcome yet, or the generation that one made."""
    if unfinished := find_unfinished(tx):
        raise WrongState(
            f"Round {unfinished[0].number} is {unfinished[0].state}: finish, fail or abandon it before another begins."
        )
    # What it would start from is not decided yet.
    if (canary := canaries.watched(tx)) is not None:
        raise WrongState(f"Generation {canary.generation} is watched in traffic: no round begins before that is over.")


def refuse_if_aside_is_full(tx: Connection, settings: MemorySettings) -> None:
    """Raise AsideFull where no further round may add to what is set aside."""
    count = int(tx.execute("SELECT count(*) FROM aside").fetchone()[0])
    if count >= settings.aside_samples:
        raise AsideFull(
            f"{count} samples are set aside (`memory.aside_samples` = {settings.aside_samples}): release or drop some "
            "(`riverkeep memory aside`), or no further round can begin."
        )


def _find_released(tx: Connection, number: int) -> list[int]:
    if (state := read(tx, number).state) is not RoundState.RELEASED:
        raise WrongState(f"Round {number} is {state}, not released: its text cannot be drawn by name.")
    return drawn_fresh(tx, number)


def drawn_fresh(tx: Connection, number: int) -> list[int]:
    """Ids of the fresh samples that a round was given, whatever became of them."""
    rows = tx.execute(
        "SELECT sample FROM round_samples WHERE round = ? AND part IN (?, ?, ?)", (number, *PARTS_DRAWN_FRESH)
    )
    return [row[0] for row in rows]


def note_untouched(tx: Connection, number: int, touched: Collection[int]) -> None:
    """Note of what a round drew to train on which it was not trained on."""
    tx.execute(
        "UPDATE round_samples SET part = 'untouched' WHERE round = ? AND part IN ('fresh', 'replay') "
        "AND sample NOT IN (SELECT value FROM json_each(?))",
        (number, sqlite.as_json(touched)),
    )


def _draw_replay(tx: Connection, fresh: FreshDraw, spec: DrawSpec, seed: int) -> list[Placed]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return reading.read(tx, draw.replay_ids(tx, generator, most_bytes=draw.replay_bytes(fresh.train, spec)))


def _enter(
    tx: Connection,
    number: int,
    *,
    request: tuple[str | float | None, ...],
    fresh: FreshDraw,
    replay: Sequence[Placed],
    left: Sequence[LeftOut],
) -> None:
    """Write a round's line: what was asked for (trigger to reason, as the columns stand), and what it drew."""
    facts.put(tx, "rounds_begun", number)
    tx.execute(
        "INSERT INTO rounds(number, state, trigger, recipe, seed, parent_generation, base_generation, "
        "released_from, begun_at, reason, detail, verdict, report, fresh_samples, fresh_bytes, "
        "replay_samples, replay_bytes, early_stop_samples, left_out) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '{}', '{}', ?, ?, ?, ?, ?, ?)",
        (
            number,
            RoundState.DRAWN,
            *request,
            len(fresh.train),
            sum(placed.bytes for placed in fresh.train),
            len(replay),
            sum(placed.bytes for placed in replay),
            len(fresh.early_stop),
            left_out.write(left),
        ),
    )
    tx.executemany(
        "INSERT INTO round_offsets(round, stream, first, last) VALUES (?, ?, ?, ?)",
        [(number, stream, *span) for stream, span in draw.offset_ranges(fresh.all()).items()],
    )


def _record_samples(
    tx: Connection, number: int, fresh: FreshDraw, replay: Sequence[Placed], judged_on: Sequence[int]
) -> None:
    parts = {"fresh": fresh.train, "early_stop": fresh.early_stop, "over_quota": fresh.over_quota, "replay": replay}
    tx.executemany(
        "INSERT INTO round_samples(round, sample, part, stream, offset, key_hash, weight) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (number, sample.id, part, placed.stream, placed.offset, sample.key_hash, sample.weight)
            for part, samples in parts.items()
            for placed in samples
            for sample in [placed.sample]
        ],
    )
    tx.execute(
        "INSERT INTO round_samples(round, sample, part, stream, offset, key_hash) "
        "SELECT ?, id, 'slice', stream, offset, key_hash FROM samples WHERE id IN (SELECT value FROM json_each(?))",
        (number, sqlite.as_json(judged_on)),
    )


def step(tx: Connection, number: int, state: RoundState, *, now: float, detail: str = "") -> Round:
    """Bring a round into another state and return how it was before.

    Raises:
        UnknownRound, WrongState.
    """
    earlier = read(tx, number)
    if not may_follow(earlier.state, state):
        raise WrongState(f"Round {number} is {earlier.state}; it cannot become {state}.")
    ended = None if state in UNFINISHED else now
    tx.execute(
        # A step without words of its own leaves those of the step before.
        "UPDATE rounds SET state = ?, ended_at = ?, detail = CASE ? WHEN '' THEN detail ELSE ? END WHERE number = ?",
        (state, ended, detail, detail, number),
    )
    return earlier


def advance(tx: Connection, number: int, state: RoundState, *, now: float, detail: str) -> None:
    """See `Store.rounds.advance`."""
    if state not in _BY_ADVANCING:
        raise WrongState(f"A round becomes {state} by its own method, which does all that goes with it.")
    step(tx, number, state, now=now, detail=detail)


def end(
    tx: Connection,
    number: int,
    state: RoundState,
    *,
    now: float,
    verdict: Mapping[str, Any],
    report: Mapping[str, Any],
    detail: str,
) -> Round:
    """Bring a round to its outcome, with the gate's word and the report, and return how it was before."""
    # A step may be repeated, but what an outcome brings with it may not.
    if (earlier := read(tx, number)).state is state:
        raise WrongState(f"Round {number} is {state} already.")
    step(tx, number, state, now=now, detail=detail)
    tx.execute(
        "UPDATE rounds SET verdict = ?, report = ? WHERE number = ?", (json.dumps(verdict), json.dumps(report), number)
    )
    return earlier


def read(tx: Connection, number: int) -> Round:
    """One round.

    Raises:
        UnknownRound: there is none of that number.
    """
    matches = _rounds(tx, "WHERE number = ?", (number,))
    if not matches:
        raise UnknownRound(f"There is no round {number}.")
    return matches[0]


def list_rounds(tx: Connection, limit: int, offset: int) -> list[Round]:
    """Rounds, newest first."""
    return _rounds(tx, "ORDER BY number DESC LIMIT ? OFFSET ?", (limit, offset))


def find_unfinished(tx: Connection) -> list[Round]:
    """Rounds that have no outcome yet, oldest first."""
    return _rounds(tx, "WHERE state IN (?, ?, ?) ORDER BY number", tuple(sorted(UNFINISHED)))


def waiting(tx: Connection) -> list[int]:
    """Numbers of the rounds that wait for a person's word, oldest first."""
    rows = tx.execute("SELECT number FROM rounds WHERE state = ? ORDER BY number", (RoundState.WAITING,))
    return [number for (number,) in rows]


def find_approved(tx: Connection) -> list[ApprovedRound]:
    """See `Store.rounds.approved`. A round that failed or was cut off has judged nothing."""
    rows = tx.execute(
        "SELECT number, (SELECT max(ended_at) FROM rounds WHERE released_from = r.number AND state = ?1) "
        "FROM rounds r WHERE state = ?2 AND NOT EXISTS (SELECT 1 FROM rounds t "
        "WHERE t.number > r.number AND t.released_from = r.number AND t.state NOT IN (?1, ?3)) ORDER BY number",
        (RoundState.FAILED, RoundState.RELEASED, RoundState.ABANDONED),
    )
    return [ApprovedRound(number, failed_at) for number, failed_at in rows]


def count_by_state(tx: Connection) -> dict[str, int]:
    """How many rounds are in each state."""
    counted = dict(tx.execute("SELECT state, count(*) FROM rounds GROUP BY state"))
    return {state.value: counted.get(state, 0) for state in RoundState}


def _rounds(tx: Connection, condition: str, values: tuple[int | str, ...]) -> list[Round]:
    per_token = facts.bytes_per_token(tx)
    rows = tx.execute(f"SELECT {_COLUMNS} FROM rounds {condition}", values).fetchall()
    return [
        Round(
            number=row[0],
            state=RoundState(row[1]),
            trigger=row[2],
            recipe=json.loads(row[3]),
            seed=row[4],
            parent_generation=row[5],
            base_generation=row[6],
            generation=row[7],
            released_from=row[8],
            begun_at=row[9],
            ended_at=row[10],
            detail=row[11],
            verdict=json.loads(row[12]),
            report=json.loads(row[13]),
            fresh_samples=row[14],
            fresh_tokens=facts.tokens(row[15], per_token),
            replay_samples=row[16],
            replay_tokens=facts.tokens(row[17], per_token),
            early_stop_samples=row[18],
            offsets=offsets_of(tx, row[0]),
            left_out=left_out.read(row[19]),
            trained_in=row[20],
            reason=row[21],
        )
        for row in rows
    ]


def offsets_of(tx: Connection, number: int) -> dict[Partition, tuple[int, int]]:
    """The first and last offset of a round's fresh samples in each partition."""
    rows = tx.execute("SELECT stream, first, last FROM round_offsets WHERE round = ?", (number,)).fetchall()
    names = offsets.partitions(tx, (row[0] for row in rows))
    return {names[stream]: (first, last) for stream, first, last in rows}


def round_samples(tx: Connection, number: int, limit: int = -1, after: int = 0) -> list[TrainedSample]:
    """What is known of a round's samples with ids above `after`, by id; a negative limit is none."""
    rows = tx.execute(
        "SELECT sample, part, stream, offset, key_hash, weight FROM round_samples WHERE round = ? AND sample > ? "
        "ORDER BY sample LIMIT ?",
        (number, after, limit),
    ).fetchall()
    names = offsets.partitions(tx, (row[2] for row in rows))
    return [TrainedSample(sample, part, names[stream], *more) for sample, part, stream, *more in rows]


def count_sources(tx: Connection, number: int) -> list[tuple[str, str | None, int]]:
    """What is known of a round's samples by part and source; the source of text that is gone is None."""
    return tx.execute(
        "SELECT r.part, sources.name, count(*) FROM round_samples r LEFT JOIN samples s ON s.id = r.sample "
        "LEFT JOIN sources ON sources.id = s.source WHERE r.round = ? GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2",
        (number,),
    ).fetchall()


def round_text(tx: Connection, number: int) -> dict[str, tuple[FoundSample, ...]]:
    """See `Store.rounds.text`."""
    parts: dict[str, list[int]] = defaultdict(list)
    for sample, part in tx.execute(
        "SELECT sample, part FROM round_samples WHERE round = ? AND part != 'slice' ORDER BY sample", (number,)
    ):
        parts[part].append(sample)
    return {part: read_places(tx, ids) for part, ids in parts.items()}
