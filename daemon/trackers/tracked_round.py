"""A round as experiment trackers see it: what went in, what came out, and which round it is. Pure."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from daemon.control.answers.rounds import RoundAnswer, RoundLine
from memory.ledger.states import RoundState
from memory.samples.slice_names import last_round

CONCLUDED: Final = frozenset(
    {RoundState.ACCEPTED, RoundState.REFUSED, RoundState.RELEASED, RoundState.DROPPED, RoundState.FAILED}
    | {RoundState.ABANDONED}
)
"""States that a round keeps."""
LONGEST_VALUE: Final = 500
"""Characters of a parameter's value; trackers of some years ago take no more."""


@dataclass(frozen=True, slots=True)
class TrackedRound:
    """One round.

    Attributes:
        id: tells it from every other round, also of another memory.
        begun_at, ended_at: unix seconds.
        ending: whether it came to a verdict, failed, or was called off.
        params: the recipe, flat, and the seed.
        metrics: figures, by names of which the part before a slash groups them; finite.
        tags: what it is and what became of it.
    """

    id: str
    number: int
    begun_at: float
    ended_at: float
    ending: Literal["judged", "failed", "called_off"]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def id_of(round_: RoundLine | RoundAnswer) -> str:
    """What tells a round from every other: a memory that was begun anew counts from 1 again."""
    return f"{round_['number']}@{round_['begun_at']:.6f}"


def is_concluded(round_: RoundLine | RoundAnswer) -> bool:
    """Whether nothing more becomes of it; one that waits for a person is not."""
    return round_["state"] in CONCLUDED and round_["ended_at"] is not None


def tracked(round_: RoundAnswer, digest: str | None) -> TrackedRound:
    """A concluded round.

    Args:
        round_: as the ledger has it.
        digest: of the generation that it made; None where it made none, or that is gone.
    """
    assert round_["ended_at"] is not None
    return TrackedRound(
        id=id_of(round_),
        number=round_["number"],
        begun_at=round_["begun_at"],
        ended_at=round_["ended_at"],
        ending=_ending(round_),
        params=_params(round_),
        metrics=_metrics(_figures(round_)),
        tags=dict(_tags(round_, digest)),
    )


def _ending(round_: RoundAnswer) -> Literal["judged", "failed", "called_off"]:
    if round_["state"] == RoundState.FAILED:
        return "failed"
    return "judged" if round_["verdict"] else "called_off"


def _params(round_: RoundAnswer) -> dict[str, str]:
    values = {f"recipe.{name}": value for name, value in round_["recipe"].items()} | {"seed": round_["seed"]}
    return {name: str(value)[:LONGEST_VALUE] for name, value in values.items()}


def _tags(round_: RoundAnswer, digest: str | None) -> Iterator[tuple[str, str]]:
    verdict = round_["verdict"]
    said = {
        "id": id_of(round_),
        "round": round_["number"],
        "state": round_["state"],
        "outcome": round_["outcome"],
        "trigger": round_["trigger"],
        "parent": round_["parent"],
        "trained_in": round_["trained_in"],
        "generation": round_["generation"],
        "digest": digest,
        "verdict": verdict.get("decision"),
        "candidate": verdict.get("candidate"),
        # By name: the verdict's sentence may quote a prompt.
        "not_passed": ", ".join(sorted({check["name"] for check in _checks(verdict) if not check.get("passed")}))
        or None,
        "device": round_["report"].get("device"),
    }
    return ((f"riverkeep.{name}", str(value)) for name, value in said.items() if value is not None)


def _checks(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(verdict.get("checks") or ())


Figure = tuple[tuple[str, ...], float | None]


def _figures(round_: RoundAnswer) -> Iterator[Figure]:
    """Every figure of a round, with the parts of its name."""
    yield ("samples", "fresh"), round_["fresh_samples"]
    yield ("samples", "replay"), round_["replay_samples"]
    yield from _of_training(round_["report"].get("training") or {})
    yield ("prequential", "nll"), (round_["report"].get("prequential") or {}).get("mean_nll")
    yield from _of_gate(_checks(round_["verdict"]))
    if (candidate := round_["verdict"].get("candidate")) is not None:
        yield from _of_candidate(round_["report"], candidate, round_["number"])


def _of_training(training: Mapping[str, Any]) -> Iterator[Figure]:
    for name in ("steps", "tokens_new", "tokens_replayed", "tokens_per_second", "seconds", "peak_memory_bytes"):
        yield ("train", name), training.get(name)
    for name, figure in (training.get("losses") or {}).items():
        yield ("loss", name), figure


def _of_gate(checks: Iterable[Mapping[str, Any]]) -> Iterator[Figure]:
    """What was forgotten on average over the older slices, and what was learned of the newest text."""
    for check in checks:
        if check["name"] == "average":
            yield ("gate", "forgetting"), check.get("figure")
            yield ("gate", "forgetting_lower"), check.get("lower")
            yield ("gate", "forgetting_upper"), check.get("upper")
            yield ("gate", "forgetting_bound"), check.get("bound")
        elif check["name"] == "learned" and check.get("figure") is not None:
            # A gain is stored as a rise below 0, so that more is worse in every check.
            yield ("gate", "learned"), -check["figure"]


def _of_candidate(report: Mapping[str, Any], candidate: str, number: int) -> Iterator[Figure]:
    """Its loss on each slice, its parent's there, and on the newest ones: R[j,j], of which plasticity is the mean."""
    newest = []
    for name, models in (report.get("slices") or {}).items():
        figure = models.get(candidate)
        yield ("nll", name), figure
        yield ("nll of parent", name), models.get("parent")
        if last_round(name) == number and figure is not None:
            newest.append(figure)
    yield ("plasticity",), sum(newest) / len(newest) if newest else None
    flips = (report.get("flips") or {}).get(candidate) or {}
    yield ("flips", "worse"), flips.get("worse")
    yield ("flips", "better"), flips.get("better")


def _metrics(figures: Iterable[Figure]) -> dict[str, float]:
    """Those that are known, by names that differ."""
    metrics: dict[str, float] = {}
    for parts, figure in figures:
        if figure is None or not math.isfinite(figure):
            continue
        name, again = _name(*parts), 2
        while name in metrics:
            name, again = f"{_name(*parts)} {again}", again + 1
        metrics[name] = figure
    return metrics


def _name(*parts: str) -> str:
    """A metric's name: what trackers do not take in one is replaced, and a slash within a part is no group."""
    return "/".join(re.sub(r"[^\w .-]", "_", part, flags=re.ASCII)[:200].strip(". ") or "_" for part in parts)
