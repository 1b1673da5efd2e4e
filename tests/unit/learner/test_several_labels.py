"""A classifier of which any number of labels fits a document: each is learned, scored and counted by itself."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from checkpoints.generation_store import Published
from gate.measures import accuracy, macro_f1
from gate.statistics.bootstrap import Resampling, resample
from gate.statistics.comparisons import accuracy_difference, balanced_difference, f1_difference
from learner.directory.report import Outcome
from learner.directory.round_directory import RoundSample, RoundSlice, write_round
from learner.job import run_round
from learner.material.encoding import Encoder
from learner.objectives.forward_pass import MicroBatch
from learner.objectives.importance import fisher
from learner.objectives.losses import ClassifierObjective
from memory.ledger.records import DocumentScore
from streams.decoding.several_labels import write_set
from tests.unit.learner import tiny

NUMBERS = {label: at for at, label in enumerate(tiny.LABELS)}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A BERT whose labels do not exclude one another."""
    model = tiny.bert()
    model.config.problem_type = "multi_label_classification"
    return tiny.generation(tmp_path_factory.mktemp("several"), model, tiny.tokenizer(bert=True), "classifier")


def labelled(count: int, *, seed: int, first: int, labels: Sequence[str] = tiny.LABELS) -> list[RoundSample]:
    """Samples that say each of their labels, none to all of them."""
    rng = random.Random(seed)
    samples = []
    for at in range(count):
        fitting = [label for label in labels if rng.random() < 0.5]
        text = f"{tiny.sentence(rng)} and is {' and '.join(fitting)}"
        samples.append(RoundSample(first + at, text, "river", write_set(fitting)))
    return samples


def test_documents_are_encoded_with_all_their_labels() -> None:
    """One column for each label; a document without any is one too, one with a label that is not known is none."""
    a, b, *_ = tiny.LABELS
    encode = Encoder(tiny.tokenizer(bert=True), 16, NUMBERS, several=True)
    given = [write_set([b, a]), write_set([]), a, write_set([a, "windy"]), None]
    text = encode([RoundSample(at, "the river", "s", label) for at, label in enumerate(given)])
    assert [sample.id for sample in text.samples] == [0, 1, 2, 4]
    assert text.labels[:, :2].tolist() == [[1, 1], [0, 0], [1, 0], [0, 0]]
    assert text.take([2, 0]).labels[:, :2].tolist() == [[1, 0], [1, 1]]
    assert encode([]).labels.shape == (0, len(tiny.LABELS))


def test_the_loss_is_a_mean_over_labels_with_the_parents_logits() -> None:
    """By hand; and its gradient is that of finite differences."""
    torch.manual_seed(0)
    logits, parent = torch.randn(3, 4), torch.randn(1, 4)
    targets = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    batch = MicroBatch({}, targets, first_replayed=2)
    terms, gradient = ClassifierObjective(0.5, 0.25, several=True)(logits.clone(), parent, batch, total=3)

    def loss(z: torch.Tensor) -> torch.Tensor:
        each = -(targets * functional.logsigmoid(z) + (1 - targets) * functional.logsigmoid(-z)).mean(-1)
        return (each[:2].sum() + 0.25 * each[2] + 0.5 * (z[2] - parent[0]).square().mean()) / 3

    z = logits.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(z), z)
    assert torch.allclose(gradient, expected, atol=1e-6)
    assert float(terms[0] + 0.25 * terms[1] + 0.5 * terms[2]) / 3 == pytest.approx(float(loss(logits)), rel=1e-5)


def score(number: int, predicted: Sequence[str], label: Sequence[str]) -> DocumentScore:
    """A document's score by the sets of labels."""
    return DocumentScore(number, 0.1, 1, write_set(predicted), write_set(label))


def test_an_answer_is_right_when_all_labels_are() -> None:
    """Accuracy is that of whole sets, macro-F1 counts each label by itself."""
    scores = [score(1, "ab", "ab"), score(2, "a", "ab"), score(3, "", ""), score(4, "b", "")]
    assert accuracy(scores) == 0.5
    # a: 2 right of 2 and 2; b: 1 right of 2 true and 2 given.
    assert macro_f1(scores) == pytest.approx((1 + 0.5) / 2)
    assert macro_f1([score(1, "a", "")]) is None
    better = [replace(each, predicted=each.label) for each in scores]
    assert accuracy_difference(better, scores).estimate == 0.5
    assert f1_difference(better, scores).estimate == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["a", "a", "b", ""], 0.5),
        (["a"] * 4, 0.0),
        ([""] * 4, 0.0),
        (["a", "", "", ""], 0.125),
        (["a", "a", "", ""], 0.25),
    ],
)
def test_each_label_is_balanced_by_itself(answers: Sequence[str], expected: float) -> None:
    """By hand, against answering nothing, which comes to a half. The label that all have asks nothing."""
    truth = ["ac", "ac", "bc", "c"]
    given = [score(at, both + "c", fitting) for at, (both, fitting) in enumerate(zip(answers, truth, strict=True))]
    nothing = [score(at, "", fitting) for at, fitting in enumerate(truth)]
    difference = balanced_difference(given, nothing)
    replicates = resample(difference, Resampling(resamples=100, minimum_keys=2))
    assert difference.estimate == pytest.approx(expected)
    assert (abs(replicates.above) <= 0.5).all()
    assert (abs(replicates.below) <= 0.5).all()


def test_importance_draws_each_label_by_itself(several: Published) -> None:
    """Finite, and not that of a softmax."""
    model = tiny.bert().eval()
    inputs = [{"input_ids": torch.tensor([[2, 7, 8, 3]])}]
    one = fisher(model, inputs, generator=torch.Generator().manual_seed(1))
    each = fisher(model, inputs, generator=torch.Generator().manual_seed(1), several=True)
    assert all(torch.isfinite(value).all() for value in each.values())
    assert any(not torch.allclose(one[name], each[name]) for name in one)


def test_a_round_learns_which_labels_fit(several: Published, tmp_path: Path) -> None:
    """With new and replayed documents and every penalty there is: better on held-out text, on whole sets of labels."""
    recipe = tiny.SMALL.model_copy(
        update={"epochs": 30, "interpolation": (0.0,), "batch_sequences": 16, "ewc": 0.001, "l2_sp": 0.001}
    )
    held_out = RoundSlice("anchor", "anchor", "river", tuple(labelled(40, seed=9, first=9000)))
    write_round(
        tmp_path / "round",
        tiny.spec_for(several, kind="classifier", recipe=recipe),
        parent_dir=several.path,
        base_dir=several.path,
        fresh=labelled(80, seed=1, first=1),
        replay=labelled(80, seed=2, first=1000),
        early_stop=[],
        slices=[held_out],
    )
    report = run_round(tmp_path / "round")
    assert report.outcome is Outcome.TRAINED
    scores = report.slices["anchor"]
    candidate = scores.candidates["0.00"]
    assert len(candidate) == 40
    assert sum(each.nll for each in candidate) < 0.5 * sum(each.nll for each in scores.parent)
    better, before = accuracy(candidate), accuracy(scores.parent)
    assert better is not None
    assert before is not None
    assert better > max(0.5, before)
