"""What a serving process counts of itself, read off its metrics; and what served when, off the audit log."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from daemon.control.answers.canaries import CanaryLine
from daemon.control.answers.serving import (
    AnswersOfGeneration,
    AnswersOfRoute,
    CountedByServing,
    LatencyAnswer,
    LatencySlot,
    ServingAnswer,
    SwapLine,
    TimesCounted,
    WatchedStretch,
)
from daemon.control.answers.status import ServingStanding
from daemon.processes.serving_times import ServingTimes, TimesSlot, merged, quantile
from memory.ledger.history.audit import AuditRecord
from memory.ledger.history.canaries import CanaryRecord
from memory.store import Store

PREFIX: Final = "riverkeep_serving_"
TIMES: Final = ("first_token", "output_token", "queue", "request")
MOST_SLOTS: Final = 100
"""Of one answer: as many as a drawing shows side by side."""
SLOT_MINUTES: Final = (1, 2, 5, 10, 15, 20, 30, 60)
HALF, NINETY_NINE = 0.5, 0.99
Labelled = dict[str, dict[str, dict[float, float]]]


def serving_answer(
    standing: ServingStanding,
    facts: Mapping[str, Any],
    exposition: str,
    swaps: Iterable[AuditRecord],
    canary: CanaryLine | None,
) -> ServingAnswer:
    """What serves, and how it answers.

    Args:
        standing: of the status.
        facts: the serving process's own account; empty where it gives none.
        exposition: its metrics, in Prometheus's text; empty where it gives none.
        swaps: what served when, newest first.
        canary: the generation that is watched now.
    """
    lines = [_swap(record) for record in swaps]
    serves = (line for line in lines if line["what"] == "serves")
    latest = next(serves, None)
    return {
        "standing": standing,
        "since": latest["at"] if latest is not None and latest["generation"] == standing["generation"] else None,
        "swap_seconds": facts.get("swap_seconds"),
        "failed": {str(number): str(why) for number, why in (facts.get("failed") or {}).items()},
        "problem": facts.get("problem") or "",
        "counted": counted(exposition),
        "swaps": lines,
        "canary": canary,
    }


def counted(exposition: str) -> CountedByServing | None:
    """What the process counts; None of what is no exposition of ours."""
    try:
        histograms, values = _read(exposition)
    except ValueError:
        # Something else answers there, or it was cut off.
        return None
    if f"{PREFIX}waiting" not in values:
        return None
    numbers = sorted(map(int, histograms[f"{PREFIX}queue_seconds"]), reverse=True)
    times = {
        name: histograms[f"{PREFIX}{name}_seconds"] for name in ("first_token", "output_token", "queue", "request")
    }
    generations: list[AnswersOfGeneration] = [
        {
            "generation": number,
            "first_token": _times(times["first_token"].get(str(number), {})),
            "output_token": _times(times["output_token"].get(str(number), {})),
            "queue": _times(times["queue"].get(str(number), {})),
        }
        for number in numbers
    ]
    routes: list[AnswersOfRoute] = [
        {"route": route, "seconds": _times(series)} for route, series in sorted(times["request"].items())
    ]
    swaps = values.get(f"{PREFIX}swaps_total", {})
    return {
        "waiting": _whole(values[f"{PREFIX}waiting"]),
        "active": _whole(values.get(f"{PREFIX}active", {})),
        "loaded": _whole(values.get(f"{PREFIX}loaded_generations", {})),
        "swaps": int(swaps.get("served", 0)),
        "swaps_failed": int(swaps.get("failed", 0)),
        "generations": generations,
        "routes": [each for each in routes if each["seconds"]["count"]],
    }


def _read(exposition: str) -> tuple[Labelled, dict[str, dict[str, float]]]:
    """Histograms by name and label: counts by their buckets' bounds, the sum at -1; and all else by name and label."""
    histograms: Labelled = defaultdict(lambda: defaultdict(dict))
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(exposition):
        if not family.name.startswith(PREFIX):
            continue
        for sample in family.samples:
            of = next((value for name, value in sample.labels.items() if name != "le"), "")
            if "le" in sample.labels:
                histograms[family.name][of][float(sample.labels["le"])] = sample.value
            elif family.type == "histogram" and sample.name.endswith("_sum"):
                histograms[family.name][of][-1.0] = sample.value
            else:
                values[sample.name][of] = sample.value
    return histograms, values


def _times(series: Mapping[float, float]) -> TimesCounted:
    count = int(series.get(math.inf, 0))
    return {
        "count": count,
        "mean_seconds": series.get(-1.0, 0.0) / count if count else None,
        "half_within_seconds": _within(series, count, 0.5),
        "nine_tenths_within_seconds": _within(series, count, 0.9),
    }


def _within(series: Mapping[float, float], count: int, share: float) -> float | None:
    bounds = sorted(bound for bound in series if 0 <= bound < math.inf)
    return next((bound for bound in bounds if count and series[bound] >= share * count), None)


def _whole(values: Mapping[str, float]) -> int:
    return int(sum(values.values()))


def _swap(record: AuditRecord) -> SwapLine:
    detail = record.detail
    return {
        "at": record.at,
        "what": record.what,
        "generation": detail.get("generation"),
        "before": detail.get("before"),
        "who": record.who,
    }


def latency_answer(store: Store, times: ServingTimes | None, *, hours: int, now: float) -> LatencyAnswer:
    """How long answers took over the latest hours, in slots as fine as they can be told side by side.

    Args:
        times: what the daemon has read off its serving process; None where there is none.
        now: unix seconds.
    """
    seconds = next(60 * each for each in SLOT_MINUTES if hours * 60 / each <= MOST_SLOTS)
    # Whole slots: the first is not cut.
    begins = (now - hours * 3600) // seconds * seconds
    slots = [] if times is None else merged(times.told(begins), seconds)
    return {
        "since": None if times is None else times.since,
        "begins": begins,
        "until": now,
        "slot_seconds": seconds,
        "slots": [_slot(slot) for slot in slots],
        "swaps": [_swap(record) for record in store.audit.swaps_since(begins)],
        "watched": [_stretch(record) for record in store.canaries.since(begins)],
    }


def _slot(slot: TimesSlot) -> LatencySlot:
    half, most = quantile(slot.within, HALF), quantile(slot.within, NINETY_NINE)
    return {
        "at": slot.at,
        "measured": slot.measured,
        "failed": slot.failed,
        "refused": slot.refused,
        "half_seconds": None if half is None else half.seconds,
        "half_between": [] if half is None else [half.low, _finite(half.high)],
        "ninety_nine_seconds": None if most is None else most.seconds,
        "ninety_nine_between": [] if most is None else [most.low, _finite(most.high)],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _stretch(record: CanaryRecord) -> WatchedStretch:
    return {
        "generation": record.generation,
        "beside": record.beside,
        "mode": record.mode,
        "since": record.since,
        "ended_at": record.ended_at,
        "outcome": record.outcome,
    }
