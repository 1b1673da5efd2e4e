"""Scores document by document."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from learner.devices.device import choose
from learner.directory.round_directory import RoundSample
from learner.evaluation.document_scores import Evaluator, mean_nll
from learner.material.encoding import Encoder
from memory.ledger.records import DocumentScore
from tests.unit.learner import tiny

CPU = choose("cpu", "float32")


def evaluator(**changes: Any) -> Evaluator:
    """An evaluator of the tiny models."""
    return Evaluator(**{"device": CPU, "longest": 64, "rows": 4, "pad": 0, **changes})


def test_score_is_the_models_own_loss_times_its_tokens() -> None:
    """Whatever else is in a pass, a document's sum is what the model says of it alone."""
    model, text = tiny.llama().eval(), Encoder(tiny.tokenizer(), 64)(tiny.samples(9, seed=1))
    for index, score in enumerate(evaluator()(model, text)):
        ids = torch.from_numpy(text.document(index)).long()[None]
        alone = model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        assert score.tokens == ids.shape[1] - 1
        assert score.nll == pytest.approx(alone, rel=1e-4)


def test_scores_do_not_depend_on_how_many_rows_fit_a_pass() -> None:
    """Micro-batches are for memory alone."""
    model, text = tiny.llama().eval(), Encoder(tiny.tokenizer(), 64)(tiny.samples(9, seed=1))
    one, many = evaluator(rows=1)(model, text), evaluator(rows=100)(model, text)
    assert [score.nll for score in one] == pytest.approx([score.nll for score in many], rel=1e-5)


@pytest.mark.parametrize("begins", [True, False])
def test_long_document_is_scored_in_context_without_losing_a_token(begins: bool) -> None:
    """Every token but the first counts once, each later one with half a sequence before it, and BOS before that."""
    tokenizer = tiny.tokenizer()
    if not begins:
        tokenizer.bos_token = None
    model, text = tiny.llama().eval(), Encoder(tokenizer, 64)([RoundSample(1, "the river " * 20, "s")])
    ids = torch.from_numpy(text.document(0)).long()
    lead = ids[:1] if begins else ids[:0]
    expected, first = 0.0, 1
    while first < len(ids):
        stop = min(8 if first == 1 else first + (3 if begins else 4), len(ids))
        seen = ids[:stop] if first == 1 else torch.cat([lead, ids[stop - (8 - len(lead)) : stop]])
        losses = torch.log_softmax(model(input_ids=seen[None]).logits[0, :-1], -1).gather(-1, seen[1:, None])
        expected -= losses[-(stop - first) :].sum().item()
        first = stop
    told: list[int] = []
    (score,) = evaluator(longest=8, passed=told.append)(model, text)
    assert score.tokens == len(ids) - 1
    assert score.nll == pytest.approx(expected, rel=1e-4)
    assert sum(told) == len(ids)


def test_classifier_is_scored_on_its_label_with_its_answer() -> None:
    """The loss of the true label, and what the model said, padding left out."""
    labels = {label: at for at, label in enumerate(tiny.LABELS)}
    model, text = tiny.bert().eval(), Encoder(tiny.tokenizer(bert=True), 64, labels)(tiny.labelled(7, seed=1))
    for index, score in enumerate(evaluator(labels=dict(enumerate(tiny.LABELS)))(model, text)):
        logits = model(input_ids=torch.from_numpy(text.document(index)).long()[None]).logits[0].log_softmax(-1)
        assert score.tokens == 1
        assert score.nll == pytest.approx(-logits[text.labels[index]].item(), rel=1e-4)
        assert score.predicted == tiny.LABELS[int(logits.argmax())]
        assert score.label == text.samples[index].label


def test_a_classifier_says_how_sure_it_is_of_its_answer() -> None:
    """The probability of the label that it gives; of a set, that every one of them is right."""
    labels = {label: at for at, label in enumerate(tiny.LABELS)}
    model, text = tiny.bert().eval(), Encoder(tiny.tokenizer(bert=True), 64, labels)(tiny.labelled(7, seed=1))
    score = evaluator(labels=dict(enumerate(tiny.LABELS)))
    assert tuple(each for each, _ in score.with_sureness(model, text)) == score(model, text)
    for index, (_, sureness) in enumerate(score.with_sureness(model, text)):
        logits = model(input_ids=torch.from_numpy(text.document(index)).long()[None]).logits[0]
        assert sureness == pytest.approx(logits.softmax(-1).max().item(), rel=1e-4)
    sets = Encoder(tiny.tokenizer(bert=True), 64, labels, several=True)(tiny.labelled(7, seed=1))
    for index, (_, sureness) in enumerate(replace(score, several=True).with_sureness(model, sets)):
        fits = model(input_ids=torch.from_numpy(sets.document(index)).long()[None]).logits[0].sigmoid()
        assert sureness == pytest.approx(torch.maximum(fits, 1 - fits).prod().item(), rel=1e-4)


def test_model_is_scored_in_eval_mode_and_left_in_its_own() -> None:
    """Dropout does not blur a score, and training goes on as it was."""
    labels = {label: at for at, label in enumerate(tiny.LABELS)}
    model, text = tiny.bert().train(), Encoder(tiny.tokenizer(bert=True), 64, labels)(tiny.labelled(7, seed=1))
    score = evaluator(labels=dict(enumerate(tiny.LABELS)))
    assert score(model, text) == score(model, text)
    assert model.training


def test_mean_is_over_tokens_not_documents() -> None:
    """A long document weighs as much as it has tokens; no documents are no reason to stop."""
    assert mean_nll((DocumentScore(1, 2.0, 1), DocumentScore(2, 4.0, 5))) == 1.0
    assert mean_nll(()) == math.inf
