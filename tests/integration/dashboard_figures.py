"""What each panel of the dashboards must show of a life: figures of the daemon's own answers, by panel and legend."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import pytest

from daemon.metrics import SAVES, UNPROVEN
from memory.metrics import DROPPED
from serving.keys.limits import LIMITS
from serving.metrics import ROLES
from tests.integration.dashboard_life import (
    ANSWERED,
    DOCUMENTS,
    DUPLICATES,
    REFUSED,
    WINDOW_S,
    Life,
    resident_bytes,
    serving_pid,
)

Shown = Mapping[str, Any]
"""By the legend (of a table by the labels' values): a figure, an approximation of one, or a condition on it."""


def about(value: float, share: float = 0.15) -> Any:
    """Nearly that: a rate is extrapolated to the ends of its window, which the samples do not reach."""
    return pytest.approx(value, rel=share)


class Between:
    """A figure within bounds."""

    def __init__(self, low: float, high: float = math.inf) -> None:
        self._low, self._high = low, high

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and self._low <= other <= self._high

    __hash__ = None  # type: ignore[assignment]  # a condition, not a value

    def __repr__(self) -> str:
        return f"between {self._low} and {self._high}"


def figures(life: Life) -> dict[str, list[Shown]]:
    """By panel, one `Shown` for each of its queries."""
    learned = {**_knowledge(life), **_classifier(life), **_rounds(life)}
    return {**learned, **_text(life), **_memory(life), **_serving(life), **_versions()}


def _versions() -> dict[str, list[Shown]]:
    ours = f"{version('riverkeep')}, Python {python_version()}"
    return {"Versions": [{f"daemon {ours}": 1}, {f"serving {ours}": 1}]}


def _knowledge(life: Life) -> dict[str, list[Shown]]:
    daemon, serving = life.instances
    told = life.of_model
    scores = {(one["generation"], one["slice"]): one["mean_nll"] for one in told.generations["scores"]}
    (new,) = {name for _, name in scores} - {"anchor"}
    gained = scores[0, "anchor"] - scores[1, "anchor"]
    last = told.rounds[0]
    flips = last["report"]["flips"][last["verdict"]["candidate"]]
    fresh, forgot = told.status["memory"]["fresh_samples"], told.status["forgetting"]
    loss = last["report"]["prequential"]["mean_nll"]
    return {
        "Forgetting": [{daemon: about(-gained)}],
        "Plasticity": [{daemon: about(scores[1, new])}],
        "Backward transfer": [{daemon: about(gained)}],
        "Forward transfer": [{daemon: about(0)}],
        "Serving generation": [{f"answers at {serving}": 1}, {f"ledger of {daemon}": 1}],
        "Fresh text until a round": [{daemon: about(fresh / 1_000)}],
        "R: loss of each generation on each slice": [{f"{one} {name}": v for (one, name), v in scores.items()}],
        "Forgetting, with its interval": [
            {f"forgetting {daemon}": about(-gained)},
            {f"at least {daemon}": about(forgot["lower"])},
            {f"at most {daemon}": about(forgot["upper"])},
        ],
        "New text, before and after it is learned": [
            {f"plasticity {daemon}": about(scores[1, new])},
            {f"new text before training {daemon}": about(loss)},
        ],
        "Flip rate": [{f"{way} {daemon}": flips[way] for way in ("worse", "better")}],
        "Loss by slice": [
            {name: min(v for (_, each), v in scores.items() if each == name) for name in ("anchor", new)}
        ],
    }


def _classifier(life: Life) -> dict[str, list[Shown]]:
    scores, kept = life.of_classifier.generations["scores"], life.of_classifier.memory["kept"]

    def labelled(*roles: str) -> Shown:
        by_label: Counter[str] = Counter()
        for one in kept:
            by_label[one["label"]] += one["samples"] if one["role"] in roles else 0
        return by_label

    def measured(name: str) -> Shown:
        return {f"{one['generation']} {one['slice']}": one[name] for one in scores}

    return {
        "Accuracy of each generation on each slice": [measured("accuracy")],
        "Macro-F1 of each generation on each slice": [measured("macro_f1")],
        "Labels to train on": [labelled("fresh", "replay")],
        "Labels held out": [labelled("holdout")],
    }


def _rounds(life: Life) -> dict[str, list[Shown]]:
    daemon, told = life.instances[0], life.of_model
    rounds, last = told.rounds, told.rounds[0]
    decided = Counter(one["verdict"]["decision"] for one in rounds)
    ended = Counter(one["state"] for one in rounds)
    took = [one["ended_at"] - one["begun_at"] for one in rounds]
    mean = sum(took) / len(took)
    ended_ways = ("accepted", "refused", "waiting", "failed", "abandoned")
    checks = [one for one in last["verdict"]["checks"] if one["slice"] == "fresh text"]
    losses = last["report"]["training"]["losses"]

    def plausibility(which: str, *, repetitive: bool) -> Shown:
        return {
            f"{name} {'bound ' if which == 'bound' else ''}{daemon}": one[which]
            for one in checks
            if ((name := one["name"].removeprefix("plausible_")) == "repetitive_share") is repetitive
        }

    return {
        "Verdicts of the gate in an hour": [
            {one: decided[one] for one in ("accept", "refuse", "wait")},
            {f"in traffic: {outcome}": 0 for outcome in ("promoted", "rolled_back")},
        ],
        "Rounds that ended in an hour, by outcome": [{one: ended[one] for one in ended_ways}],
        "Duration of rounds": [
            {"total": about(mean), **{phase: Between(0.001, mean) for phase in ("draw", "learner", "judge")}}
        ],
        "Rounds that wait for a person": [{daemon: len(told.status["waiting"])}, {f"{daemon} paused": 0}],
        "Loss terms": [{f"{term} {daemon}": about(loss, 0.5) for term, loss in losses.items()}],
        "Training speed": [{f"tokens/s of {daemon}": Between(1)}],
        "Progress of the round": [{}],
        "Judged again in an hour, by outcome": [dict.fromkeys((*ended_ways, UNPROVEN), 0)],
        "Skills: prompts answered rightly": [
            {f"{one['generation']} {one['skill']}": one["right"] for one in told.generations["skills"]}
        ],
        "What could not be proven": [{f"unproven in a row {daemon}": 0}, {f"bounds not held {daemon}": 0}],
        "Micro-batch that memory leaves": [{daemon: 1}],
        "Rounds that saved themselves and went on, in an hour": [
            dict.fromkeys(SAVES.values(), 0),
            {f"went on {daemon}": 0},
        ],
        "Fresh text: its loss before training": [
            plausibility("figure", repetitive=False),
            plausibility("bound", repetitive=False),
        ],
        "Fresh text: repetitive documents": [
            plausibility("figure", repetitive=True),
            plausibility("bound", repetitive=True),
        ],
    }


def _text(life: Life) -> dict[str, list[Shown]]:
    daemon, told = life.instances[0], life.of_model
    reasons = told.memory["dead_letter_reasons"]
    # How much of the flood was read before it paused the partition is for the batches to say.
    records = 2 * DOCUMENTS + DUPLICATES + sum(reasons.values())
    paused = told.status["ingest"]["paused"]
    return {
        "Records read": [{life.topic: about(records / WINDOW_S)}],
        "Lag": [{life.topic: told.status["ingest"]["lag_records"]}],
        "Dead letters in an hour, by reason": [reasons, {f"all of {daemon}": sum(reasons.values())}],
        "Paused partitions": [{f"{life.topic}: {reason}": 1 for reason in paused.values()}],
        "Offsets that never came, in an hour": [{}, {f"all of {daemon}": told.memory["tallies"].get("gap_offsets", 0)}],
        "Brokers": [{daemon: 1}],
    }


def _memory(life: Life) -> dict[str, list[Shown]]:
    daemon, told = life.instances[0], life.of_model

    def kept(by: str, what: str, entries: Iterable[Mapping[str, Any]]) -> Counter[str]:
        sums: Counter[str] = Counter()
        for one in entries:
            sums[one[by]] += one[what]
        return sums

    everything = told.memory["kept"]
    none = dict.fromkeys(("fresh", "replay", "holdout", "aside"), 0)
    with life.model.home.store() as store:
        fill, shares, open_holdout = store.fill(store.counts()), store.held_out_shares(), store.counts().open_holdout
        most = store.held_out_most()
    tallies, disk = told.memory["tallies"], told.status["disk"]
    return {
        "Samples by role": [none | kept("role", "samples", everything)],
        "Tokens by role": [
            {name: about(n) if n else 0 for name, n in (none | kept("role", "tokens", everything)).items()}
        ],
        "Replay by source": [kept("source", "samples", (one for one in everything if one["role"] == "replay"))],
        "Fresh buffer": [{daemon: about(fill)}],
        "Not kept, by cause": [{cause: about(tallies.get(cause, 0) / WINDOW_S) for cause in DROPPED}],
        "Size on disk": [
            {f"{name} {daemon}": Between(1) for name in ("database", "wal")},
            {f"quarantine {daemon}": told.memory["quarantine"]["bytes"]},
        ],
        "Share held out, by source": [shares, {f"most of {daemon}": most}],
        "Held out since the last accepted round": [{daemon: open_holdout}],
        "Generations on disk": [{daemon: about(_size(life.model.home.settings.checkpoints_dir / "generations"))}],
        "Room on the disks": [{f"state of {daemon}": about(disk["free_bytes"] / disk["total_bytes"])}],
        "Parts": [{f"{part} {daemon}": 0 if one["ok"] else 3 for part, one in told.status["parts"].items()}],
    }


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _serving(life: Life) -> dict[str, list[Shown]]:
    daemon, serving = life.instances
    slowest = max(life.answer_seconds)
    answered = {quantile: Between(0.01, 2.5 * slowest + 0.01) for quantile in ("p50", "p95", "p99")}
    asked = {"/v1/completions 200": ANSWERED, "/v1/classify 404": REFUSED, "/v1/feedback 200": 1}
    peak = life.of_model.rounds[0]["report"]["training"]["peak_memory_bytes"]
    return {
        "Requests": [
            {name: about(number / WINDOW_S) for name, number in asked.items()},
            {"all": about((ANSWERED + REFUSED + 1) / WINDOW_S)},
        ],
        "Latency": [{quantile: within} for quantile, within in answered.items()],
        "First token": [{quantile: Between(0, 2.5 * slowest + 0.01)} for quantile in answered],
        "Swaps in an hour": [{"served": 2, "failed": 0}],
        "Duration of swaps": [{phase: Between(0.0001, 60) for phase in ("verify", "load", "probe", "warm")}],
        "Time per output token": [{quantile: Between(0, slowest)} for quantile in answered],
        "Wait in the queue": [{quantile: Between(0, 2.5 * slowest + 0.01)} for quantile in answered],
        "Tokens read and written": [{"read": Between(0.001), "written": Between(0.001)}],
        "Length of prompts": [{quantile: Between(1, 64)} for quantile in answered],
        "Cache of the builtin engine": [{f"generation 1 at {serving}": 0}],
        "Answers while a generation is watched, in an hour": [
            {f"{role} {outcome}": 0 for role in ROLES for outcome in ("answered", "failed")}
        ],
        "Feedback": [
            {f"{verdict} of generation 0 at {daemon}": said for verdict, said in (("accept", 0), ("reject", 1))}
        ],
        "Requests by key": [
            {
                # What was said of an answer counts as a request too.
                "alice 2xx": about((ANSWERED + 1) / WINDOW_S),
                "alice 4xx": about(REFUSED / WINDOW_S),
                "alice 5xx": 0,
            }
        ],
        "Tokens by key": [{"alice read": Between(0.001), "alice written": Between(0.001)}],
        "Refused by a key's limit, in an hour": [{f"alice {limit}": 0 for limit in LIMITS}],
        "Queue": [{f"waiting at {serving}": 0}, {f"being answered at {serving}": 0}],
        "Memory of the processes": [
            {
                f"riverkeep at {daemon}": about(resident_bytes(life.model.process.pid), 0.3),
                f"riverkeep-serving at {serving}": about(resident_bytes(serving_pid(life.model)), 0.3),
            },
            {f"learner of {daemon}": 0},
            {f"largest of a learner of {daemon}": peak},
        ],
    }
