"""What the serving generation knows, and what the gate found of the rounds that led there."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from daemon.control.answers.rounds import JudgedRound, KnowledgeStanding, LearnedLine, MeasureStanding
from gate.ledger_reading import LedgerReading
from gate.scores import Knowledge, learned_by_generation
from gate.statistics.bootstrap import Interval
from memory.ledger.records import Round

ROUNDS_JUDGED: Final = 48
"""Latest rounds whose verdicts are looked at, and generations whose learning is."""


def knowledge_standing(knowledge: Knowledge) -> KnowledgeStanding:
    """The measures of what serves."""
    return {
        "forgetting": measure_standing(knowledge.forgetting),
        "backward_transfer": measure_standing(knowledge.backward_transfer),
        "forward_transfer": knowledge.forward_transfer,
        "plasticity": knowledge.plasticity,
    }


def measure_standing(measured: Interval | None) -> MeasureStanding | None:
    """A measure with its limits."""
    if measured is None:
        return None
    # JSON has no word for infinity, which a limit is where too few documents tell.
    lower, upper = (limit if math.isfinite(limit) else None for limit in (measured.lower, measured.upper))
    return {"figure": measured.estimate, "lower": lower, "upper": upper}


def judged_rounds(rounds: Iterable[Round]) -> list[JudgedRound]:
    """Those of these rounds, newest first, whose candidates were judged; oldest first."""
    return [_judged(round_) for round_ in rounds if round_.verdict.get("checks") and round_.verdict.get("candidate")][
        ::-1
    ]


def _judged(round_: Round) -> JudgedRound:
    checks: Mapping[str, Mapping[str, Any]] = {check["name"]: check for check in round_.verdict["checks"]}
    forgotten, learned = checks.get("average", {}), checks.get("learned", {})
    return {
        "round": round_.number,
        "generation": round_.generation,
        "ended_at": round_.ended_at,
        "forgotten": forgotten.get("figure"),
        "lower": forgotten.get("lower"),
        "upper": forgotten.get("upper"),
        "bound": forgotten.get("bound"),
        # A gain is stored as a rise below 0, so that more is worse in every check; its limits change places.
        "learned": _gain(learned.get("figure")),
        "learned_lower": _gain(learned.get("upper")),
        "learned_upper": _gain(learned.get("lower")),
        "learned_bound": _gain(learned.get("bound")),
    }


def _gain(rise: float | None) -> float | None:
    # Never minus nothing, which a bound of 0 would be.
    return None if rise is None else 0.0 - rise


def learned_lines(reading: LedgerReading) -> list[LearnedLine]:
    """What the latest generations learned that led to the serving one."""
    found = learned_by_generation(reading.rows, reading.generations, reading.serving, ROUNDS_JUDGED)
    return [
        {
            "generation": each.generation,
            "round": each.round,
            "before": each.before,
            "after": each.after,
            "plasticity": each.plasticity,
        }
        for each in found
    ]
