"""Generations that are watched in traffic before they serve: begun, noted on, promoted or rolled back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from memory.database import facts
from memory.database.sqlite import Connection
from memory.errors import WrongState
from memory.ledger.history import audit
from memory.ledger.records import GenerationState

CanaryOutcome = Literal["watched", "promoted", "rolled_back"]
"""What became of a watched generation. Values are stored."""
MOST_TOLD: Final = 100
ASKERS: Final = "askers"
"""What was observed of a watch has under this name how many requests with each API key the generation answered."""
OTHERS: Final = "(others)"
"""Stands for keys beyond those that are told apart; the name of none."""
MOST_NAMED: Final = 10
_COLUMNS: Final = "generation, beside, round, mode, share, since, ended_at, outcome, ended_by, watch, verdict"


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """How an accepted generation is to be watched.

    Attributes:
        mode: `canary` (it answers) or `shadow` (its answers are thrown away).
        share: of the requests that it gets, 0 to 1.
    """

    mode: Literal["canary", "shadow"]
    share: float


@dataclass(frozen=True, slots=True)
class CanaryRecord:
    """A generation that is or was watched.

    Attributes:
        generation: its number.
        beside: the one that served meanwhile.
        round: that made it.
        mode, share: as in `CanaryPlan`.
        since, ended_at: unix seconds; None while it is watched.
        outcome: what became of it.
        ended_by: whose word that was; empty while it is watched.
        watch: what was observed; JSON values only.
        verdict: what was said of it last; JSON values only.
    """

    generation: int
    beside: int
    round: int
    mode: Literal["canary", "shadow"]
    share: float
    since: float
    ended_at: float | None
    outcome: CanaryOutcome
    ended_by: str
    watch: Mapping[str, Any]
    verdict: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CanaryAskers:
    """To whom a watched generation answered.

    Attributes:
        by_key: the names of those API keys with which it answered most requests, the most first, and how many; an
            empty name stands for all requests without a key.
        other_keys: how many others there were, at least.
        other_requests: with those.
    """

    by_key: tuple[tuple[str, int], ...] = ()
    other_keys: int = 0
    other_requests: int = 0


def answered_to(watch: Mapping[str, Any]) -> CanaryAskers | None:
    """To whom it answered by what was observed; None where that was not noted."""
    if ASKERS not in watch:
        return None
    askers: dict[str, int] = dict(watch[ASKERS])
    beyond = askers.pop(OTHERS, 0)
    ordered = sorted(askers.items(), key=lambda each: (-each[1], each[0]))
    named, others = ordered[:MOST_NAMED], ordered[MOST_NAMED:]
    requests = sum(count for _, count in others) + beyond
    return CanaryAskers(tuple(named), len(others) + bool(beyond), requests)


def _as_noted(canary: CanaryRecord) -> dict[str, Any]:
    """To whom a watched generation answered, for a line of the audit log."""
    told = answered_to(canary.watch)
    if told is None:
        return {}
    others = {"other_keys": told.other_keys, "other_requests": told.other_requests} if told.other_keys else {}
    return {"answered_to": dict(told.by_key), **others}


def begin(tx: Connection, generation: int, *, round_number: int, plan: CanaryPlan, now: float) -> None:
    """Let an accepted generation be watched beside the serving one."""
    serving = facts.get_int(tx, "serving")
    tx.execute(
        f"INSERT INTO canaries({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL, 'watched', '', '{{}}', '{{}}')",
        (generation, serving, round_number, plan.mode, plan.share, now),
    )
    detail = {
        "generation": generation,
        "beside": serving,
        "mode": plan.mode,
        "share": plan.share,
        "round": round_number,
    }
    audit.note(tx, "watched", detail, who=audit.BY_DAEMON, now=now)


def watched(tx: Connection) -> CanaryRecord | None:
    """See `Store.canaries.watched`."""
    return next(iter(_records(tx, "WHERE ended_at IS NULL ORDER BY generation DESC LIMIT 1", ())), None)


def of_round(tx: Connection, number: int) -> CanaryRecord | None:
    """See `Store.canaries.of_round`."""
    return next(iter(_records(tx, "WHERE round = ?", (number,))), None)


def since(tx: Connection, moment: float) -> list[CanaryRecord]:
    """See `Store.canaries.since`."""
    rows = _records(tx, "WHERE ended_at IS NULL OR ended_at >= ? ORDER BY since DESC LIMIT ?", (moment, MOST_TOLD))
    return list(rows)[::-1]


def note(tx: Connection, generation: int, watch: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
    """See `Store.canaries.note`."""
    tx.execute(
        "UPDATE canaries SET watch = ?, verdict = ? WHERE generation = ? AND ended_at IS NULL",
        (json.dumps(watch), json.dumps(verdict), generation),
    )


def promote(tx: Connection, generation: int, verdict: Mapping[str, Any] | None, *, by: str, now: float) -> None:
    """See `Store.canaries.promote`."""
    canary = _require_watched(tx, generation)
    if facts.get_int(tx, "serving") != canary.beside:
        raise WrongState(f"Generation {generation} was watched beside {canary.beside}, which serves no more.")
    _set_state(tx, generation, GenerationState.ACCEPTED)
    facts.put(tx, "serving", generation)
    detail = {"generation": generation, "before": canary.beside, **_as_noted(canary)}
    audit.note(tx, "serves", detail, who=by, now=now)
    _end(tx, canary, "promoted", verdict, by=by, now=now)


def roll_back(tx: Connection, generation: int, verdict: Mapping[str, Any] | None, *, by: str, now: float) -> None:
    """See `Store.canaries.roll_back`."""
    canary = _require_watched(tx, generation)
    _set_state(tx, generation, GenerationState.ROLLED_BACK)
    detail = {"generation": generation, "beside": canary.beside, **_as_noted(canary)}
    audit.note(tx, "taken_back", detail, who=by, now=now)
    _end(tx, canary, "rolled_back", verdict, by=by, now=now)


def prune(tx: Connection, oldest_round: int) -> None:
    """Forget those of rounds up to `oldest_round` that are watched no more."""
    tx.execute("DELETE FROM canaries WHERE round <= ? AND ended_at IS NOT NULL", (oldest_round,))


def _require_watched(tx: Connection, generation: int) -> CanaryRecord:
    canary = watched(tx)
    if canary is None or canary.generation != generation:
        raise WrongState(f"Generation {generation} is not watched (any more). See `riverkeep status`.")
    return canary


def _set_state(tx: Connection, generation: int, state: GenerationState) -> None:
    tx.execute("UPDATE generations SET state = ? WHERE number = ?", (state, generation))


def _end(
    tx: Connection,
    canary: CanaryRecord,
    outcome: CanaryOutcome,
    verdict: Mapping[str, Any] | None,
    *,
    by: str,
    now: float,
) -> None:
    tx.execute(
        "UPDATE canaries SET outcome = ?, ended_at = ?, ended_by = ?, verdict = ? WHERE generation = ?",
        (outcome, now, by, json.dumps(canary.verdict if verdict is None else verdict), canary.generation),
    )


def _records(tx: Connection, condition: str, values: tuple[float, ...]) -> list[CanaryRecord]:
    rows = tx.execute(f"SELECT {_COLUMNS} FROM canaries {condition}", values)
    return [_record(*row) for row in rows]


def _record(*row: Any) -> CanaryRecord:
    return CanaryRecord(*row[:-2], *map(json.loads, row[-2:]))
