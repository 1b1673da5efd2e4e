"""A label that arrives: a round grows the head, learns it, and the old labels hold."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.card import Card
from checkpoints.files.label_names import labels_in
from checkpoints.generation_store import GenerationStore, Published
from checkpoints.load import load_model, load_tokenizer
from gate.held_out import HeldOut
from gate.judge import judge
from gate.measures import accuracy, mean_nll
from gate.settings import GateSettings
from learner.directory.report import Outcome, Report
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, write_round
from learner.evaluation.document_scores import UNANSWERED
from learner.job import run_round
from learner.settings import RecipeSettings
from serving.engine.classify import probabilities
from serving.engine.loaded import LoadedGeneration
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

OLD, NEW = tiny.LABELS[:2], tiny.LABELS[2]
NEWEST = "river@1-1"
RECIPE = tiny.SMALL.model_copy(
    update={
        "epochs": 12,
        "batch_sequences": 16,
        "learning_rate": 5e-3,
        "early_stop_checks": 0,
        "interpolation": (0.0, 0.5),
    }
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Generation 1 of a classifier that knows two of three labels; generation 0, its base, does too."""
    root = tmp_path_factory.mktemp("two")
    model = tiny.bert()
    model.config.id2label, model.config.label2id = dict(enumerate(OLD)), {label: at for at, label in enumerate(OLD)}
    model.classifier = torch.nn.Linear(32, len(OLD))
    base = tiny.generation(root, model, tiny.tokenizer(bert=True), "classifier")
    path = round_of(root / "first", base, base, tiny.labelled(60, seed=1, labels=OLD), [], judged=OLD)
    assert run_round(path).outcome is Outcome.TRAINED
    return publish(base, path, 1)


def publish(base: Published, path: Path, number: int, share: str = "0.00") -> Published:
    """A candidate as a generation beside the base."""
    store = GenerationStore(base.path.parent.parent)
    return store.publish(path / "candidates" / share, number, Card(number, "classifier", number - 1, number))


def round_of(
    path: Path,
    base: Published,
    parent: Published,
    fresh: Sequence[RoundSample],
    replay: Sequence[RoundSample],
    *,
    judged: Sequence[str],
    recipe: RecipeSettings = RECIPE,
    newest: Sequence[RoundSample] = (),
    **more: Any,
) -> Path:
    """A round's directory, with held-out documents of the labels that it is judged on."""
    anchor = RoundSlice("anchor", "anchor", "river", tuple(tiny.labelled(20, seed=9, first=9000, labels=judged)))
    spec = tiny.spec_for(base, kind="classifier", recipe=recipe, **more)
    write_round(
        path,
        replace(spec, parent=GenerationRef(parent.generation, parent.digest)),
        parent_dir=parent.path,
        base_dir=base.path,
        fresh=fresh,
        replay=replay,
        early_stop=[],
        slices=[anchor, *([RoundSlice(NEWEST, "newest", "river", tuple(newest))] if newest else [])],
    )
    return path


def base_of(trained: Published) -> Published:
    """Its base."""
    store = GenerationStore(trained.path.parent.parent)
    return Published(0, store.digest(0), store.path(0))


@pytest.fixture(scope="module")
def grown(trained: Published, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A round that brings the third label."""
    path = round_of(
        tmp_path_factory.mktemp("grown") / "round",
        base_of(trained),
        trained,
        tiny.labelled(60, seed=2),
        tiny.labelled(60, seed=3, first=700, labels=OLD),
        judged=OLD,
        recipe=RECIPE.model_copy(update={"ewc": 0.1, "l2_sp": 1e-4, "l2_sp_anchor": "base"}),
        newest=tiny.labelled(40, seed=12, first=8000, labels=(NEW,)),
        new_labels=(NEW,),
    )
    return path, run_round(path)


def answers(path: Path, *texts: str) -> list[str]:
    """What a generation serves to texts."""
    model, tokenizer = load_model(path, "classifier", dtype=torch.float32), load_tokenizer(path)
    loaded = LoadedGeneration.of(1, "0" * 64, "classifier", model, tokenizer, loaded_at=0.0)
    rows = probabilities(loaded, [tokenizer(text)["input_ids"] for text in texts])
    return [loaded.labels[max(range(len(row)), key=row.__getitem__)] for row in rows]


def test_a_label_that_arrives_is_learned_and_served(trained: Published, grown: tuple[Path, Report]) -> None:
    """The candidate answers it, and the old ones as before; the parent, to which a rollback goes, the old alone."""
    path, report = grown
    assert report.outcome is Outcome.TRAINED
    asked = tiny.labelled(30, seed=77)
    result, halfway = path / "candidates" / "0.00", path / "candidates" / "0.50"
    assert answers(result, *(each.text for each in asked)) == [each.label for each in asked]
    old = [each for each in asked if each.label in OLD]
    for generation in (halfway, trained.path):
        assert answers(generation, *(each.text for each in old)) == [each.label for each in old]
    assert (labels_in(result), labels_in(halfway), labels_in(trained.path)) == (tiny.LABELS, tiny.LABELS, OLD)
    assert "grown" in (path / "progress.jsonl").read_text()


def test_the_old_labels_are_compared_with_what_the_parent_is(trained: Published, grown: tuple[Path, Report]) -> None:
    """Its scores are those of its own head; what it cannot answer is told as new, and judged by nobody."""
    _, report = grown
    again = run_round(
        round_of(
            grown[0].parent / "again",
            base_of(trained),
            trained,
            tiny.labelled(8, seed=2, labels=OLD),
            [],
            judged=OLD,
            recipe=tiny.SMALL,
        )
    )
    assert report.slices["anchor"].parent == again.slices["anchor"].parent
    assert accuracy(report.slices["anchor"].candidates["0.00"]) == 1.0
    new = [document for document in report.prequential if document.new_label]
    assert report.new_labels == {NEW: len(new)}
    assert all(document.nll == pytest.approx(-torch.tensor(UNANSWERED).log().item(), abs=0.01) for document in new)


def test_where_all_that_is_new_is_the_label_it_has_to_be_learned_better_than_chance(grown: tuple[Path, Report]) -> None:
    """The parent, which cannot answer it, is taken to guess among all labels: no row that was not trained passes so."""
    _, report = grown
    scores = report.slices[NEWEST]
    assert [score.nll for score in (*scores.parent, *scores.base)] == pytest.approx([math.log(3)] * 80)
    slices = [
        HeldOut(name, "newest" if name == NEWEST else "anchor", "", frozenset(row.id for row in piece.parent))
        for name, piece in report.slices.items()
    ]
    gate = GateSettings(minimum_documents=5, resamples=400)
    verdict = judge(report, slices, known={}, history=[], settings=gate, approved=True)
    (learned,) = [check for check in verdict.checks if check.name == "learned"]
    assert learned.passed
    assert learned.figure == pytest.approx(mean_nll(scores.candidates[verdict.candidate or ""]) - math.log(3))


def test_the_next_round_scores_a_base_that_lacks_the_label(
    trained: Published, grown: tuple[Path, Report], tmp_path: Path
) -> None:
    """It is sure of being wrong there, by a bounded loss, and its other losses are what they were."""
    wide = publish(trained, grown[0], 2)
    path = round_of(
        tmp_path / "next",
        base_of(trained),
        wide,
        tiny.labelled(20, seed=5),
        tiny.labelled(40, seed=6, first=700),
        judged=tiny.LABELS,
        recipe=RECIPE.model_copy(
            update={"ewc": 0.1, "l2_sp": 1e-4, "l2_sp_anchor": "base", "interpolation": (0.0,), "epochs": 2}
        ),
    )
    scores = run_round(path).slices["anchor"]
    assert accuracy(scores.parent) == accuracy(scores.candidates["0.00"]) == 1.0
    lacking = [score for score in scores.base if score.label == NEW]
    assert lacking
    assert not any(score.correct for score in lacking)
    assert all(6 < score.nll < 7 for score in lacking)


def test_several_labels_may_come_at_once_and_sets_of_them(tmp_path: Path) -> None:
    """Where any number of labels fits a document, each grows a row of its own."""
    model = tiny.bert()
    model.config.id2label, model.config.label2id = dict(enumerate(OLD)), {label: at for at, label in enumerate(OLD)}
    model.config.problem_type = "multi_label_classification"
    model.classifier = torch.nn.Linear(32, len(OLD))
    base = tiny.generation(tmp_path / "g", model, tiny.tokenizer(bert=True), "classifier")
    everything = (*tiny.LABELS, "engine")
    path = round_of(
        tmp_path / "round",
        base,
        base,
        tiny.labelled(20, seed=2, labels=everything),
        tiny.labelled(20, seed=3, first=700, labels=OLD),
        judged=OLD,
        recipe=tiny.SMALL,
        new_labels=everything[2:],
    )
    report = run_round(path)
    assert report.outcome is Outcome.TRAINED
    assert labels_in(path / "candidates" / "0.00") == everything
