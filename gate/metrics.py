"""What the ledger knows of the serving generation, as metrics: R, forgetting, and how the latest rounds ended."""

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gate import scores
from gate.checks.check import ALL_TEXT, OF_TEXT
from gate.ledger_reading import read_ledger
from memory.ledger.records import Generation, ScoreRow, Standing
from memory.ledger.skills.skill_scores import SkillRow
from memory.ledger.states import RoundState
from memory.store import Store


class KnowledgeMetrics(Collector):
    """Reads the ledger when Prometheus asks, so that restarts, rollbacks and rounds all show; unknown is absent.

    R is large where there are many sources, so it is read anew only where the ledger stands otherwise than before.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._standing: Standing | None = None
        self._shown: tuple[Metric, ...] = ()

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering reads no ledger."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Every metric of what is known."""
        with self._lock:
            standing = self._store.rounds.standing()
            if standing != self._standing:
                self._shown = tuple(_families(self._store, standing))
                self._standing = standing
            return self._shown


def _families(store: Store, standing: Standing) -> Iterator[Metric]:
    yield from _round_ends(standing)
    yield _prequential(store)
    yield from _plausibility(store)
    yield _flips(store)
    yield _not_held(store)
    yield _unproven(store)
    ledger = read_ledger(store)
    yield from _measures(ledger.knowledge)
    shown = scores.generations_shown(ledger.generations, ledger.serving)
    yield from _matrix(ledger.rows, shown)
    yield _skills(ledger.skills, shown)


def _round_ends(standing: Standing) -> Iterator[Metric]:
    ended = GaugeMetricFamily(
        "riverkeep_last_round_ended_timestamp_seconds",
        "When the latest round of each outcome ended.",
        labels=["outcome"],
    )
    for state, at in standing.ended.items():
        ended.add_metric([state.value], at)
    yield ended
    yield GaugeMetricFamily(
        "riverkeep_last_accepted_timestamp_seconds",
        "When a round was last accepted; before the first, when the base model was registered.",
        value=standing.accepted_at,
    )


def _prequential(store: Store) -> Metric:
    latest = store.rounds.prequential_history(1)
    return GaugeMetricFamily(
        "riverkeep_prequential_loss_nats",
        "Loss of the latest judged round's fresh text under its parent, before training.",
        value=latest[0].mean_nll if latest else None,
    )


def _flips(store: Store) -> Metric:
    family = GaugeMetricFamily(
        "riverkeep_flip_rate",
        "Share of documents that the latest judged candidate has better or worse than its parent.",
        labels=["direction"],
    )
    flips = _latest_flips(store)
    for direction in ("worse", "better"):
        if direction in flips:
            family.add_metric([direction], flips[direction])
    return family


def _not_held(store: Store) -> Metric:
    verdict = next((round_.verdict for round_ in store.rounds.latest() if round_.verdict.get("candidate")), {})
    return GaugeMetricFamily(
        "riverkeep_bounds_not_held",
        "Slices on which the latest judged candidate could not be held to the best generation so far, as too little is "
        "known of that one; 0 where all bounds were looked at.",
        value=len(verdict.get("not_held", ())) if verdict else None,
    )


def _unproven(store: Store) -> Metric:
    # A dry run and what a person asked in vain change nothing.
    ended = (round_.verdict for round_ in store.rounds.latest() if round_.state is not RoundState.ABANDONED)
    judged = (verdict for verdict in ended if verdict.get("decision"))
    return GaugeMetricFamily(
        "riverkeep_unproven_rounds",
        "Latest rounds in a row that were refused for want of evidence alone, of the last 32.",
        value=sum(1 for _ in takewhile(lambda verdict: verdict.get("unproven", False), judged)),
    )


def _plausibility(store: Store) -> Iterator[Metric]:
    """Figure and bound of all fresh text; those of each source are in `riverkeep round show`."""
    figure = GaugeMetricFamily(
        "riverkeep_plausibility_figure",
        "What the latest judged round's fresh text measured before training: its mean loss and the upper decile of its "
        "documents' losses in nats per token (of a classifier per document), where it was judged by them, and its "
        "shares of documents that are repetitive, incoherent, or of another label by a classifier that is sure of it; "
        "and by how much a label is rather answered where it is not given.",
        labels=["measure"],
    )
    bound = GaugeMetricFamily(
        "riverkeep_plausibility_bound",
        "The largest figure with which that round did not wait for a person.",
        labels=["measure"],
    )
    for check in _latest_text_checks(store):
        for family, value in ((figure, check["figure"]), (bound, check["bound"])):
            if value is not None:
                family.add_metric([check["name"].removeprefix(OF_TEXT)], value)
    yield from (figure, bound)


def _latest_text_checks(store: Store) -> Sequence[Mapping[str, Any]]:
    for round_ in store.rounds.latest():
        checks = round_.verdict.get("checks", ())
        of_all_text = [check for check in checks if check["slice"] == ALL_TEXT and check["name"].startswith(OF_TEXT)]
        if of_all_text:
            return of_all_text
    return ()


def _latest_flips(store: Store) -> Mapping[str, float]:
    for round_ in store.rounds.latest():
        flips = round_.report.get("flips", {}).get(round_.verdict.get("candidate"))
        # Rounds of earlier versions, and those that judged no candidate, have none.
        if isinstance(flips, dict):
            return flips
    return {}


def _measures(known: scores.Knowledge) -> Iterator[Metric]:
    forgot, moved = known.forgetting, known.backward_transfer
    measures: Mapping[str, tuple[str, float | None]] = {
        "riverkeep_forgetting_nats": (
            "Average forgetting of what serves over slices trained past, on documents the best before scored too.",
            None if forgot is None else forgot.estimate,
        ),
        "riverkeep_forgetting_lower_nats": (
            "Average forgetting is above this with a confidence of 95 %: above 0, something was forgotten.",
            None if forgot is None else _finite(forgot.lower),
        ),
        "riverkeep_forgetting_upper_nats": (
            "Average forgetting is below this with a confidence of 95 %.",
            None if forgot is None else _finite(forgot.upper),
        ),
        "riverkeep_backward_transfer_nats": (
            "Backward transfer: how much better than those that learned each slice, where still known.",
            None if moved is None else moved.estimate,
        ),
        "riverkeep_forward_transfer_nats": ("Forward transfer; positive is good.", known.forward_transfer),
        "riverkeep_plasticity_nats": (
            "Mean loss on each period's slice right after it was learned; lower is better.",
            known.plasticity,
        ),
    }
    for name, (what, value) in measures.items():
        yield GaugeMetricFamily(name, what, value=value)


# A limit of infinity is drawn as a line off the chart, and makes means of it infinite: absent says the same.
def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _skills(rows: Iterable[SkillRow], generations: Iterable[Generation]) -> Metric:
    family = GaugeMetricFamily(
        "riverkeep_skill_right_ratio",
        "Share of a skill's prompts that a kept generation answers rightly: of the version that the serving one was "
        "asked.",
        labels=["generation", "skill"],
    )
    kept = {generation.number for generation in generations}
    for row in rows:
        if row.generation in kept:
            family.add_metric([str(row.generation), row.skill], row.score.share)
    return family


def _matrix(rows: Iterable[ScoreRow], generations: Iterable[Generation]) -> Iterator[Metric]:
    """R of these generations, bounded in slices; the whole of it is what `riverkeep generations` shows."""
    kept = {generation.number for generation in generations}
    rows = [row for row in rows if row.generation in kept]
    slices = scores.shown_slices(rows)
    labels = ("generation", "slice")
    loss = GaugeMetricFamily(
        "riverkeep_slice_loss_nats",
        "R: mean loss of a kept generation on a slice, nats per token; of a classifier per document. Of many slices "
        "those of the largest sources; of generations, those scored at the serving one's sequence length.",
        labels=labels,
    )
    accuracy = GaugeMetricFamily(
        "riverkeep_slice_accuracy_ratio",
        "Share of a slice's documents that a classifier's generation has right.",
        labels=labels,
    )
    macro_f1 = GaugeMetricFamily(
        "riverkeep_slice_macro_f1_ratio",
        "Macro-F1 of a classifier's generation on a slice: each label weighs the same, however rare.",
        labels=labels,
    )
    for row in rows:
        if row.slice in slices:
            for family, value in (
                (loss, row.score.mean_nll),
                (accuracy, row.score.accuracy),
                (macro_f1, row.score.macro_f1),
            ):
                if value is not None:
                    family.add_metric([str(row.generation), row.slice], value)
    yield from (loss, accuracy, macro_f1)
