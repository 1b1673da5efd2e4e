"""What is shown of the ledger: known or absent, after restarts, rounds and rollbacks alike."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from daemon.control.facts.rounds import generations
from gate.metrics import KnowledgeMetrics
from gate.scores import ROWS_SHOWN, SLICES_SHOWN
from learner.directory.report import WAY_OF_SCORING
from memory.ledger.records import ScoreRow, SliceScore
from memory.ledger.scorings import Scoring
from memory.views.generations import Generations
from tests.unit.daemon.rooms import World, world

WAY = Scoring("cpu", "float32", 512, WAY_OF_SCORING)
"""Of the rounds here."""
MEASURES = ("forgetting_nats", "backward_transfer_nats", "forward_transfer_nats", "plasticity_nats")
AFTER_ROUNDS = (*MEASURES, "prequential_loss_nats")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world with a base and fresh text."""
    with world(tmp_path) as made:
        yield made


def shown(here: World) -> dict[str, float | None]:
    """The figures that need rounds, as Prometheus gets them."""
    return {name: here.metric(f"riverkeep_{name}") for name in AFTER_ROUNDS}


def move(here: World, generation: int, loss: float) -> None:
    """Let a generation have scored every document at this loss per token."""
    known = here.store.generations.document_scores(generation).values()
    here.store.generations.save_document_scores(
        generation, [replace(row, nll=loss * row.tokens) for row in known], scored=WAY
    )


def test_what_is_not_known_yet_is_absent(here: World) -> None:
    """A zero would say that nothing was forgotten; before the first round nobody can tell."""
    assert set(shown(here).values()) == {None}
    assert here.metric("riverkeep_flip_rate", direction="worse") is None
    assert here.metric("riverkeep_last_round_ended_timestamp_seconds", outcome="accepted") is None


def test_a_service_that_never_accepted_has_a_model_as_old_as_its_base(here: World) -> None:
    """That is what an alarm can look at where no round was accepted, ever."""
    assert here.metric("riverkeep_last_accepted_timestamp_seconds") == here.store.generations.read(0).created_at
    here.run("worse")
    assert here.metric("riverkeep_last_accepted_timestamp_seconds") == here.store.generations.read(0).created_at
    assert here.metric("riverkeep_last_round_ended_timestamp_seconds", outcome="refused") is not None
    assert here.metric("riverkeep_prequential_loss_nats") == pytest.approx(3.0)


def test_after_a_rollback_the_figures_are_those_of_what_serves(here: World) -> None:
    """What was forgotten by the generation gone back from is forgotten no more."""
    here.run("good")
    here.feed(seed=3)
    here.run("good")
    move(here, 2, 9.0)
    before = here.metric("riverkeep_forgetting_nats")
    assert before is not None
    assert before > 1
    here.store.generations.rollback()
    after = here.metric("riverkeep_forgetting_nats")
    assert after is not None
    assert after < 0.1
    assert here.metric("riverkeep_slice_loss_nats", generation="2", slice="anchor") is None
    here.store.generations.rollback()
    assert {shown(here)[name] for name in MEASURES} == {None}
    assert here.metric("riverkeep_slice_loss_nats", generation="1", slice="anchor") is None
    assert here.metric("riverkeep_slice_loss_nats", generation="0", slice="anchor") is not None


def test_another_sequence_length_is_no_forgetting(here: World) -> None:
    """What was scored with more context is no measure for what serves; its row says its length, and is no metric."""
    here.run("good")
    here.feed(seed=3)
    here.run("good")
    here.store.generations.save_scores(1, {"anchor": SliceScore(1.0, 100, 10)}, scored=WAY)
    move(here, 1, 1.0)
    forgot = here.metric("riverkeep_forgetting_nats")
    assert forgot is not None
    assert forgot > 0.5
    lower, upper = (here.metric(f"riverkeep_forgetting_{limit}_nats") for limit in ("lower", "upper"))
    assert lower is not None
    assert upper is not None
    assert lower <= forgot <= upper
    recipe = here.settings.learner.recipe.model_copy(update={"sequence_length": 128})
    learner = here.settings.learner.model_copy(update={"recipe": recipe})
    # Without its files the first one is not scored again, which would make it comparable.
    here.rooms.checkpoints.remove(1)
    gate = here.settings.gate.model_copy(update={"max_rise_best": 10.0, "max_average_forgetting": 10.0})
    here.settings = here.settings.model_copy(update={"learner": learner, "gate": gate})
    here.feed(seed=4)
    here.run("good")
    told = {one["number"]: one["sequence_length"] for one in generations(here.store, {}, {})["generations"]}
    assert told == {0: 128, 1: 512, 2: 128, 3: 128}
    forgot = here.metric("riverkeep_forgetting_nats")
    assert forgot is not None
    assert forgot < 0.1
    shown_of = {
        number: here.metric("riverkeep_slice_loss_nats", generation=str(number), slice="anchor") for number in told
    }
    assert [number for number, loss in shown_of.items() if loss is None] == [1]


def test_plausibility_is_shown_of_every_judged_round(here: World) -> None:
    """Figure and bound over all text, so that one sees how near a wait is before it comes; of no source."""
    assert here.metric("riverkeep_plausibility_figure", measure="mean_nll") is None
    here.run("good")
    for measure in ("mean_nll", "upper_nll", "repetitive_share"):
        figure = here.metric("riverkeep_plausibility_figure", measure=measure)
        bound = here.metric("riverkeep_plausibility_bound", measure=measure)
        assert figure is not None
        assert bound is not None
        assert figure <= bound
    assert here.metric("riverkeep_plausibility_figure", measure="mean_nll") == pytest.approx(3.0)
    names = {
        sample.labels["measure"]
        for family in here.registry.collect()
        if family.name.endswith("plausibility_bound")
        for sample in family.samples
    }
    assert len(names) == 3


def test_a_restart_forgets_no_figure(here: World) -> None:
    """Another registry shows the same of the same ledger."""
    here.run("worse")
    here.run("good")
    registry = CollectorRegistry()
    registry.register(KnowledgeMetrics(here.store))
    for name, value in shown(here).items():
        assert registry.get_sample_value(f"riverkeep_{name}") == value
    for direction in ("worse", "better"):
        value = registry.get_sample_value("riverkeep_flip_rate", {"direction": direction})
        assert value is not None
        assert value == here.metric("riverkeep_flip_rate", direction=direction)
    for outcome in ("accepted", "refused"):
        ended = {"outcome": outcome}
        assert registry.get_sample_value("riverkeep_last_round_ended_timestamp_seconds", ended) is not None


def test_the_ledger_is_read_anew_only_where_it_changed(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """R of many sources is megabytes, and Prometheus asks every few seconds."""
    here.run("good")
    read: list[int] = []
    matrix = Generations.score_matrix

    def counted(store: Generations) -> list[ScoreRow]:
        read.append(1)
        return matrix(store)

    monkeypatch.setattr(Generations, "score_matrix", counted)
    for _ in range(3):
        here.metric("riverkeep_forgetting_nats")
    here.feed(seed=3)
    here.metric("riverkeep_forgetting_nats")
    assert len(read) == 1
    here.run("good")
    read.clear()  # the round itself asks R for the best so far
    for _ in range(3):
        here.metric("riverkeep_forgetting_nats")
    assert len(read) == 1


def test_the_slices_shown_are_bounded(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand sources the anchor and the largest sources are shown, whole, and no more than the bound."""
    here.run("good")
    sizes = {f"site {number}": 1 + number % 500 for number in range(1_000)} | {"news": 900, "blog": 800}
    rows = [
        ScoreRow(generation, f"{source}@{at}-{at}", SliceScore(3.0, 10 * size, size, accuracy=0.5))
        for generation in (0, 1)
        for source, size in sizes.items()
        for at in range(1, 6)
    ]
    rows += [ScoreRow(generation, "anchor", SliceScore(3.0, 10, 1)) for generation in (0, 1)]
    monkeypatch.setattr(Generations, "score_matrix", lambda _: rows)
    (loss,) = [family for family in here.registry.collect() if family.name == "riverkeep_slice_loss_nats"]
    labels = [(sample.labels["generation"], sample.labels["slice"]) for sample in loss.samples]
    assert len(labels) == 2 * SLICES_SHOWN <= (ROWS_SHOWN + 1) * SLICES_SHOWN
    slices = {name for _, name in labels}
    assert {"anchor"} | {f"{source}@{at}-{at}" for source in ("news", "blog") for at in range(1, 6)} <= slices
    sources = {name.partition("@")[0] for name in slices - {"anchor"}}
    assert min(sizes[source] for source in sources) >= 494
