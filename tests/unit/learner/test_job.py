"""A round from its directory to its report."""

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import orjson
import pytest
import torch
from safetensors.torch import load_file

from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.generation_store import Published
from checkpoints.load import load_model, load_tokenizer
from gate.measures import accuracy, mean_nll
from gate.scores import summary
from learner import progress
from learner.directory.plausibility_bounds import PlausibilityBounds, TextBounds
from learner.directory.report import Outcome, read_report
from learner.directory.round_directory import (
    GenerationRef,
    RoundSample,
    RoundSlice,
    read_round,
    write_round,
)
from learner.evaluation import base_and_parent
from learner.job import run_round
from learner.round_training import has_new_head
from learner.settings import FEWEST_IMPORTANCE_SEQUENCES, RecipeSettings
from learner.workbench import Workbench
from memory.ledger.records import DocumentScore
from memory.ledger.scorings import Scoring
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama in bf16 as generation 0."""
    return tiny.generation(
        tmp_path_factory.mktemp("base"), tiny.llama(dtype=torch.bfloat16), tiny.tokenizer(), "causal-lm"
    )


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny BERT as generation 0."""
    return tiny.generation(tmp_path_factory.mktemp("bert"), tiny.bert(), tiny.tokenizer(bert=True), "classifier")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, base: Published) -> Path:
    """A round of the default kind that has been run."""
    path = tiny.causal_round(tmp_path_factory.mktemp("finished") / "round", base)
    run_round(path)
    return path


def another(path: Path) -> Published:
    """A tiny Llama that is not the base, below `path`."""
    return tiny.generation(path / "another", tiny.llama(seed=5), tiny.tokenizer(), "causal-lm")


def small_round(
    path: Path,
    base: Published,
    *,
    parent: Published | None = None,
    fresh: Sequence[RoundSample] | None = None,
    early_stop: Sequence[RoundSample] = (),
    held_out: Sequence[RoundSample] = (),
    recipe: RecipeSettings = tiny.SMALL,
    known_parent: Mapping[int, DocumentScore] | None = None,
    known_base: Mapping[int, DocumentScore] | None = None,
    scored: Scoring | None = tiny.SCORED,
) -> Path:
    """Write a round below `path` that replays nothing.

    Args:
        parent: published as generation 1; None: the base is the parent.
        fresh: None: ten documents.
        held_out: the anchor slice; empty: there are no slices.
        scored: how the known scores were taken.
    """
    spec = tiny.spec_for(base, recipe=recipe)
    write_round(
        path / "round",
        spec if parent is None else replace(spec, parent=GenerationRef(1, parent.digest)),
        parent_dir=(parent or base).path,
        base_dir=base.path,
        fresh=tiny.samples(10, seed=1) if fresh is None else fresh,
        replay=[],
        early_stop=early_stop,
        slices=[RoundSlice("anchor", "anchor", "river", tuple(held_out))] if held_out else [],
        known_parent=known_parent,
        known_base=known_base,
        scored=scored,
    )
    return path / "round"


def weights(path: Path) -> bytes:
    """A candidate's weights, byte for byte."""
    return (path / "model.safetensors").read_bytes()


def mean(scores: Sequence[DocumentScore]) -> float:
    """Nats per token."""
    return mean_nll(scores)


def test_round_learns_the_new_text(finished: Path) -> None:
    """The result is better than the parent on held-out text of the new kind, and the report says so."""
    report = read_report(finished)
    newest = report.slices["1"]
    assert report.outcome is Outcome.TRAINED
    assert mean(newest.candidates["0.00"]) < mean(newest.parent) - 0.1
    assert newest.base == newest.parent
    assert {len(scores.base) for scores in report.slices.values()} == {12}


def test_report_says_what_training_took(finished: Path) -> None:
    """Steps, tokens, losses, memory and the time of each phase."""
    training = read_report(finished).training
    assert training is not None
    assert training.steps > 0
    assert training.tokens_replayed > training.tokens_new > 0
    assert set(training.losses) == {"new", "replay", "kl"}
    assert training.peak_memory_bytes > 0
    assert 2 < training.bytes_per_token < 10
    assert {"load", "score", "train", "candidates"} <= set(training.phase_seconds)
    assert set(training.phase_peak_bytes) == set(training.phase_seconds)
    assert training.peak_memory_bytes == max(training.phase_peak_bytes.values())


def test_candidates_are_models_that_load(finished: Path) -> None:
    """In the parent's dtype, with its tokenizer, and each with other weights."""
    paths = [finished / "candidates" / name for name in ("0.00", "0.50")]
    assert {load_model(path, "causal-lm").dtype for path in paths} == {torch.bfloat16}
    assert {len(load_tokenizer(path)) for path in paths} == {len(tiny.tokenizer())}
    assert weights(paths[0]) != weights(paths[1])


def test_scores_are_of_the_weights_that_would_serve(finished: Path) -> None:
    """Scoring a written candidate again gives what the report says."""
    model = load_model(finished / "candidates" / "0.50", "causal-lm", dtype=torch.float32)
    tokenizer = load_tokenizer(finished / "candidates" / "0.50")
    score, sample = read_report(finished).slices["anchor"].candidates["0.50"][0], tiny.samples(12, seed=3)[0]
    ids = torch.tensor([[4, *tokenizer(sample.text)["input_ids"], 5]])[:, -score.tokens - 1 :]
    assert model(input_ids=ids, labels=ids).loss.item() * score.tokens == pytest.approx(score.nll, rel=1e-3)


def test_same_directory_gives_the_same_weights_wherever_it_lies(finished: Path, tmp_path: Path) -> None:
    """Run again from a moved copy, bit for bit, though what the first run wrote was moved along."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(finished, moved)
    (moved / "candidates" / "0.00" / "stray.txt").write_text("left by a run that was killed")
    report = run_round(moved)
    for name in ("0.00", "0.50"):
        assert weights(moved / "candidates" / name) == weights(finished / "candidates" / name)
    assert report.slices == read_report(finished).slices
    assert not (moved / "candidates" / "0.00" / "stray.txt").exists()


def test_another_seed_gives_other_weights(finished: Path, base: Published, tmp_path: Path) -> None:
    """Order and replay depend on it."""
    path = tiny.causal_round(tmp_path / "round", base, seed=8)
    run_round(path)
    assert weights(path / "candidates" / "0.00") != weights(finished / "candidates" / "0.00")


def test_new_text_is_scored_under_the_parent_first(finished: Path) -> None:
    """Prequential: by document, with its source and repetition."""
    report = read_report(finished)
    assert len(report.prequential) == 60
    assert {document.source for document in report.prequential} == {"river"}
    assert all(document.nll > 0 and 0 <= document.repetition <= 1 for document in report.prequential)


BOUNDS = PlausibilityBounds(TextBounds(mean_nll=0.5))


def test_implausible_text_is_not_trained_on(base: Published, tmp_path: Path) -> None:
    """The round ends before training and says which figure is beyond which bound."""
    path = tiny.causal_round(tmp_path / "round", base, plausibility=BOUNDS, plausibility_documents=10)
    _shuffle_words(path / "fresh.jsonl")
    report = run_round(path)
    assert report.outcome is Outcome.IMPLAUSIBLE
    assert "mean_nll of all new text" in report.detail
    assert len(report.prequential) == 10
    assert not (path / "candidates").exists()


def _shuffle_words(file: Path) -> None:
    """Put the words of a round's documents into random order."""
    rows, chance = [json.loads(line) for line in file.read_text().splitlines()], random.Random(0)
    for row in rows:
        row["text"] = " ".join(chance.sample(words := row["text"].split(), len(words)))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_new_domain_is_trained_on_however_badly_it_is_read(base: Published, tmp_path: Path) -> None:
    """The same text in its own order: beyond the bound on a loss, and coherent."""
    path = tiny.causal_round(tmp_path / "round", base, plausibility=BOUNDS, plausibility_documents=10)
    report = run_round(path)
    assert report.outcome is Outcome.TRAINED
    assert sum(document.coherent is True for document in report.prequential) >= 9


def test_approved_text_is_trained_on_however_implausible(base: Published, tmp_path: Path) -> None:
    """A person's word is enough."""
    path = tiny.causal_round(tmp_path / "round", base, plausibility=BOUNDS, approved=True)
    assert run_round(path).outcome is Outcome.TRAINED


def test_round_that_diverges_says_so(tmp_path: Path) -> None:
    """A loss that is not finite ends the round with a report and without a candidate."""
    broken = tiny.generation(tmp_path / "g", tiny.broken_llama(), tiny.tokenizer(), "causal-lm")
    path = tiny.causal_round(tmp_path / "round", broken)
    report = run_round(path)
    assert report.outcome is Outcome.DIVERGED
    assert "not finite" in report.detail
    assert report.training is None
    assert not (path / "candidates").exists()


def test_nothing_to_train_on_is_an_outcome(base: Published, tmp_path: Path) -> None:
    """A round without new text ends well, without candidates."""
    assert run_round(small_round(tmp_path, base, fresh=[])).outcome is Outcome.EMPTY


def test_first_round_has_nothing_to_replay(base: Published, tmp_path: Path) -> None:
    """It trains on the new text alone."""
    training = run_round(small_round(tmp_path, base)).training
    assert training is not None
    assert training.tokens_replayed == 0


@pytest.mark.parametrize("kind", ["causal-lm", "classifier"])
def test_a_round_says_when_there_is_little_to_replay(
    kind: str, base: Published, classifier: Published, tmp_path: Path
) -> None:
    """In its report, in its progress, and for the ledger: how much was replayed, of how many documents."""
    path = tmp_path / "round"
    if kind == "causal-lm":
        recipe = tiny.SMALL.model_copy(update={"most_replays": 1, "replay_ratio": 0.9})
        tiny.causal_round(path, base, recipe=recipe)
    else:
        recipe = tiny.SMALL.model_copy(update={"early_stop_checks": 0})
        fresh, replay = tiny.labelled(60, seed=1), tiny.labelled(5, seed=2, first=100)
        tiny.classifier_round(path, classifier, fresh=fresh, replay=replay, recipe=recipe)
    report = run_round(path)
    assert report.training is not None
    note = report.training.replay_note
    documents, times = (40, 1) if kind == "causal-lm" else (5, 4)
    assert f"there are {documents} documents to replay, each at most {times} times" in note
    said = [orjson.loads(line) for line in (path / "progress.jsonl").read_bytes().splitlines()]
    assert [event["reason"] for event in said if event["event"] == "replay_capped"] == [note]
    assert summary(report, {})["training"]["replay_note"] == note


def test_a_round_with_enough_to_replay_says_nothing(finished: Path) -> None:
    """No note, no event."""
    training = read_report(finished).training
    assert training is not None
    assert training.replay_note == ""
    assert "replay_capped" not in (finished / "progress.jsonl").read_text()


def test_known_scores_are_not_computed_again(base: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What earlier rounds know of the parent and of the base comes back as it was; the base is not even loaded."""
    known = {30: DocumentScore(30, 1.25, 3), 31: DocumentScore(31, 2.5, 4)}
    path = small_round(tmp_path, base, held_out=tiny.samples(3, seed=3, first=30), known_parent=known)
    scores = run_round(path).slices["anchor"].parent
    assert scores[:2] == (DocumentScore(30, 1.25, 3), DocumentScore(31, 2.5, 4))
    assert scores[2].nll > 4


@pytest.mark.parametrize(
    "scored",
    [
        replace(tiny.SCORED, device="cuda"),
        replace(tiny.SCORED, precision="bfloat16"),
        replace(tiny.SCORED, sequence_length=64),
        replace(tiny.SCORED, way=1),
        None,
    ],
    ids=["device", "precision", "length", "way", "unknown"],
)
def test_what_was_scored_in_another_way_is_scored_anew(base: Published, tmp_path: Path, scored: Scoring | None) -> None:
    """A difference between the two ways would look like something learned, or forgotten."""
    known = {30: DocumentScore(30, 1.25, 3), 31: DocumentScore(31, 2.5, 4)}
    held_out = tiny.samples(2, seed=3, first=30)
    parent = another(tmp_path)
    path = small_round(
        tmp_path, base, parent=parent, held_out=held_out, known_parent=known, known_base=known, scored=scored
    )
    report = run_round(path)
    scores = report.slices["anchor"]
    assert {score.nll for score in (*scores.parent, *scores.base)}.isdisjoint({1.25, 2.5})
    assert report.scored == tiny.SCORED


def test_base_is_scored_where_it_is_not_the_parent(base: Published, tmp_path: Path) -> None:
    """Each of the three has its own scores."""
    path = small_round(tmp_path, base, parent=another(tmp_path), held_out=tiny.samples(3, seed=3))
    scores = run_round(path).slices["anchor"]
    assert len({mean(scores.base), mean(scores.parent), mean(scores.candidates["0.00"])}) == 3


def test_importance_is_measured_and_carried_to_the_next_round(base: Published, tmp_path: Path) -> None:
    """With EWC each candidate takes its importance along; the next round starts from it and carries it on."""
    recipe = tiny.SMALL.model_copy(update={"ewc": 1.0, "interpolation": (0.0,)})
    first = tiny.causal_round(tmp_path / "first", base, recipe=recipe)
    run_round(first)
    candidate = first / "candidates" / "0.00"
    parent = tiny.generation(tmp_path / "g", load_model(candidate, "causal-lm"), tiny.tokenizer(), "causal-lm")
    (parent.path / "importance").mkdir()
    shutil.copyfile(
        candidate / "importance" / "importance.safetensors", parent.path / "importance" / "importance.safetensors"
    )
    second = tiny.causal_round(tmp_path / "second", parent, recipe=recipe)
    run_round(second)
    carried = [
        load_file(path / "candidates" / "0.00" / "importance" / "importance.safetensors") for path in (first, second)
    ]
    # The replayed text's before the first round, then a round's each: every one of mean 1, the earlier ones decayed.
    for importance, mean_of_sum in zip(carried, (0.9 + 1, 0.9 * (0.9 + 1) + 1), strict=True):
        values = torch.cat([value.flatten() for value in importance.values()])
        assert values.mean().item() == pytest.approx(mean_of_sum, rel=1e-3)
    assert any(not torch.equal(carried[0][name], carried[1][name]) for name in carried[0])


def test_importance_is_estimated_on_a_share_of_what_is_trained(base: Published, tmp_path: Path) -> None:
    """Before and after a fortieth of the tokens; the report tells on how many sequences."""
    changes = {"ewc": 1.0, "importance_sequences": 1000, "epochs": 8, "early_stop_checks": 0, "interpolation": (0.0,)}
    recipe = tiny.SMALL.model_copy(update=changes)
    training = run_round(tiny.causal_round(tmp_path / "round", base, recipe=recipe)).training
    assert training is not None
    assert training.tokens_drawn is not None
    trained = training.tokens_new + training.tokens_replayed
    assert training.importance_sequences > 2 * FEWEST_IMPORTANCE_SEQUENCES
    # New and replayed documents have as many tokens each, to within a quarter.
    assert training.importance_sequences * training.tokens_drawn / 60 == pytest.approx(2 * trained / 40, rel=0.25)


def test_what_the_first_round_held_fast_is_carried_on(base: Published, tmp_path: Path) -> None:
    """Importance measured on the replayed text is not forgotten with the round: it decays as any other."""
    carried = []
    for decay in (0.0, 1.0):
        recipe = tiny.SMALL.model_copy(update={"ewc": 1.0, "ewc_decay": decay, "interpolation": (0.0,)})
        path = tiny.causal_round(tmp_path / str(decay), base, recipe=recipe)
        run_round(path)
        carried.append(load_file(path / "candidates" / "0.00" / "importance" / "importance.safetensors"))
    only_this, with_earlier = carried
    assert any(not torch.equal(only_this[name], with_earlier[name]) for name in only_this)


def test_strong_ewc_changes_less(base: Published, tmp_path: Path) -> None:
    """Pulled by importance measured on the replayed text, the result stays nearer to the parent in the first round."""
    parent = load_file(base.path / "model.safetensors")
    moved = []
    for ewc in (0.0, 1e4):
        changed = {"ewc": ewc, "interpolation": (0.0,), "epochs": 4, "early_stop_checks": 0}
        path = tiny.causal_round(tmp_path / str(ewc), base, recipe=tiny.SMALL.model_copy(update=changed))
        run_round(path)
        result = load_file(path / "candidates" / "0.00" / "model.safetensors")
        moved.append(
            sum((value.float() - parent[name].float()).square().sum().item() for name, value in result.items())
        )
    assert moved[1] < moved[0] / 10


def test_classifier_learns_a_label_that_it_never_saw(classifier: Published, tmp_path: Path) -> None:
    """A label that the model's configuration has but the memory lacks is learnt, and the old ones are not lost."""
    recipe = tiny.SMALL.model_copy(update={"epochs": 12, "interpolation": (0.0,), "batch_sequences": 16})
    first = tiny.classifier_round(
        tmp_path / "first",
        classifier,
        fresh=tiny.labelled(60, seed=1, labels=tiny.LABELS[:2]),
        replay=[],
        recipe=recipe,
    )
    run_round(first)
    model = load_model(first / "candidates" / "0.00", "classifier")
    second = tiny.generation(tmp_path / "g", model, tiny.tokenizer(bert=True), "classifier")
    path = tiny.classifier_round(
        tmp_path / "second",
        second,
        fresh=tiny.labelled(40, seed=2, labels=tiny.LABELS[2:]),
        replay=tiny.labelled(40, seed=3, labels=tiny.LABELS[:2]),
        recipe=recipe,
    )
    scores = run_round(path).slices["anchor"]
    by_label = {
        label: accuracy([score for score in scores.candidates["0.00"] if score.label == label]) for label in tiny.LABELS
    }
    assert by_label == dict.fromkeys(tiny.LABELS, 1.0)
    assert accuracy(scores.parent) != 1.0


def test_documents_without_a_known_label_are_left_out_and_told(classifier: Published, tmp_path: Path) -> None:
    """One of them does not end the round; progress says how many there were."""
    unknown = [replace(sample, id=500 + at, label="windy") for at, sample in enumerate(tiny.labelled(3, seed=4))]
    path = tiny.classifier_round(
        tmp_path / "round",
        classifier,
        fresh=[*tiny.labelled(10, seed=1), *unknown],
        replay=[],
        recipe=tiny.SMALL,
    )
    report = run_round(path)
    assert report.outcome is Outcome.TRAINED
    assert report.untrainable == {500, 501, 502}
    assert [document.label for document in report.prequential] == [each.label for each in tiny.labelled(10, seed=1)]
    assert {document.answer for document in report.prequential} <= set(tiny.LABELS)
    assert report.new_labels == {"windy": 3}
    assert '"event":"left_out","documents":3' in (path / "progress.jsonl").read_text()


def test_a_label_that_a_new_head_never_saw_is_not_judged_by_its_loss(tmp_path: Path) -> None:
    """The head has a row for it; memory has no text of it, or a single record: not what one sender once said."""
    model = tiny.bert()
    setattr(model.config, NEW_WEIGHTS, ["classifier.weight"])
    base = tiny.generation(tmp_path / "g", model, tiny.tokenizer(bert=True), "classifier")
    once = replace(tiny.labelled(1, seed=5, first=800, labels=tiny.LABELS[2:])[0], source="once")
    path = tiny.classifier_round(
        tmp_path / "round",
        base,
        fresh=tiny.labelled(30, seed=1),
        replay=[*tiny.labelled(60, seed=3, first=700, labels=tiny.LABELS[:2]), once],
        recipe=tiny.SMALL,
    )
    report = run_round(path)
    new = {sample.id for sample in tiny.labelled(30, seed=1) if sample.label == tiny.LABELS[2]}
    assert {document.id for document in report.prequential if document.new_label} == new
    assert report.new_labels == {tiny.LABELS[2]: len(new)}


@pytest.mark.parametrize(("new", "parent", "expected"), [(True, 0, True), (True, 1, False), (False, 0, False)])
def test_a_new_head_has_a_rate_of_its_own_in_its_first_round_alone(
    base: Published, tmp_path: Path, *, new: bool, parent: int, expected: bool
) -> None:
    """Once something trained serves, and where the head came with the model, the rate is that of any classifier."""
    given = read_round(small_round(tmp_path, base))
    spec = replace(given.spec, parent=GenerationRef(parent, f"digest {parent}"), base=GenerationRef(0, "digest 0"))
    config = SimpleNamespace(**({NEW_WEIGHTS: ["classifier.weight"]} if new else {}))
    bench = SimpleNamespace(given=replace(given, spec=spec), model=SimpleNamespace(config=config))
    assert has_new_head(cast("Workbench", bench)) is expected


def test_round_stops_early_on_samples_of_its_own(base: Published, tmp_path: Path) -> None:
    """Trained long past what helps, it goes back to the best weights that it saw and says at which step."""
    recipe = tiny.SMALL.model_copy(update={"epochs": 60, "early_stop_checks": 30, "kl": 0.0, "replay_ratio": 0.0})
    fresh = tiny.samples(4, seed=1, nouns=tiny.NEW_NOUNS)
    path = small_round(tmp_path, base, fresh=fresh, early_stop=tiny.samples(8, seed=2), recipe=recipe)
    report = run_round(path)
    assert report.training is not None
    assert report.training.early_stopped_at is not None
    assert report.training.early_stopped_at < report.training.steps < 60
    assert report.touched == frozenset(sample.id for sample in fresh)


def test_what_only_later_steps_touched_than_those_kept_was_not_trained_on(base: Published, tmp_path: Path) -> None:
    """One document a step: the best weights have seen as many documents as steps led to them, and no more."""
    recipe = tiny.SMALL.model_copy(
        update={"early_stop_checks": 40, "kl": 0.0, "replay_ratio": 0.0, "batch_sequences": 1, "learning_rate": 0.05}
        | {"early_stop_patience": 40, "sequence_length": 16}
    )
    fresh = tiny.samples(40, seed=1, nouns=tiny.NEW_NOUNS)
    path = small_round(tmp_path, base, fresh=fresh, early_stop=tiny.samples(8, seed=2), recipe=recipe)
    report = run_round(path)
    assert report.training is not None
    assert report.training.early_stopped_at is not None
    assert report.touched is not None
    assert len(report.touched) < len(fresh)
    assert report.training.tokens_touched is not None
    assert report.training.tokens_drawn is not None
    assert report.training.tokens_touched < report.training.tokens_drawn


def test_a_round_that_its_budget_ends_tells_what_it_was_trained_on(base: Published, tmp_path: Path) -> None:
    """The oldest of its documents; what it was not trained on is named nowhere."""
    recipe = tiny.SMALL.model_copy(update={"max_steps": 1, "batch_sequences": 2, "sequence_length": 16})
    fresh = tiny.samples(40, seed=1, nouns=tiny.NEW_NOUNS)
    report = run_round(small_round(tmp_path, base, fresh=fresh, recipe=recipe))
    assert report.touched is not None
    seen = [sample.id in report.touched for sample in fresh]
    assert 0 < sum(seen) < 40
    assert seen[0]
    assert read_report(tmp_path / "round").touched == report.touched


def test_no_document_text_is_in_progress_or_report(finished: Path) -> None:
    """Only numbers, names and sources are."""
    written = (finished / "progress.jsonl").read_text() + (finished / "report.json").read_text()
    assert not any(word in written for word in (*tiny.NOUNS[1:], *tiny.NEW_NOUNS, *tiny.VERBS))


def test_base_model_is_loaded_only_when_something_is_missing(
    base: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all of its scores known, its weights are never read."""
    known = {1: DocumentScore(1, 1.0, 2), 2: DocumentScore(2, 3.0, 4)}
    held_out = tiny.samples(2, seed=3)
    path = small_round(tmp_path, base, parent=another(tmp_path), held_out=held_out, known_base=known)
    monkeypatch.setattr(base_and_parent, "BASE", "no such directory")
    assert run_round(path).slices["anchor"].base == (DocumentScore(1, 1.0, 2), DocumentScore(2, 3.0, 4))


@pytest.mark.parametrize("kind", ["causal-lm", "classifier"])
def test_each_long_phase_tells_its_work_to_the_end(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What was announced is what is done, to the last unit: the end that is foretold is the end."""
    monkeypatch.setattr(progress, "WORK_INTERVAL_S", 0.0)
    base: Published = request.getfixturevalue("base" if kind == "causal-lm" else "classifier")
    recipe, path = tiny.SMALL.model_copy(update={"ewc": 1.0}), tmp_path / "round"
    if kind == "causal-lm":
        tiny.causal_round(path, base, recipe=recipe)
    else:
        new, old = tiny.labelled(12, seed=1), tiny.labelled(12, seed=2, first=1000)
        tiny.classifier_round(path, base, fresh=new, replay=old, recipe=recipe)
    run_round(path)
    told: dict[str, tuple[int, int]] = {}
    for event in map(orjson.loads, (path / "progress.jsonl").read_bytes().splitlines()):
        if "of" in event:
            told[event.get("phase") or event.get("name") or "train"] = event["done"], event["of"]
    assert told.keys() >= {"encode", "plausibility", "score", "importance", "train", "candidates"}
    assert {phase: done for phase, (done, _) in told.items()} == {phase: of for phase, (_, of) in told.items()}
