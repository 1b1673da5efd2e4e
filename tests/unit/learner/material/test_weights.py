"""Samples that count more than others: a sample of weight 2 is the sample twice."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from learner.devices.device import choose
from learner.directory.round_directory import RoundSample
from learner.material.batches import LonePieces, Step, rows_of
from learner.material.encoding import Encoder
from learner.material.feeds import CausalFeed, ClassifierFeed, Feed, MaskedFeed, PairFeed
from learner.material.masks import Masking, masked_rows
from learner.material.pairs import pair_rows
from learner.material.rows_of_passes import PiecesApart
from learner.material.weights import document_weights, row_weights
from learner.objectives.forward_pass import IGNORED
from learner.objectives.losses import CausalObjective, ClassifierObjective, Objective
from learner.objectives.passes import pass_of
from tests.unit.learner import tiny

CPU = choose("cpu", "float32")
LABELS = {label: at for at, label in enumerate(tiny.LABELS)}
Samples = Sequence[RoundSample]
MakeFeed = Callable[[Samples, Samples, int], Feed]


def causal(new: Samples, replay: Samples, size: int, *, packed: bool = True) -> Feed:
    """Rows of packed documents, some of them in several pieces."""
    texts = [Encoder(tiny.tokenizer(), 48)(text) for text in (new, replay)]
    fresh, old = (rows_of(text, 24) for text in texts)
    apart = PiecesApart(LonePieces.of(fresh, texts[0]), LonePieces.of(old, texts[1]), 24 * size)
    return CausalFeed(fresh, old, pad=0, size=size, device=CPU.where, longest=24, apart=None if packed else apart)


def paired(new: Samples, replay: Samples, size: int) -> Feed:
    """Pairs."""
    fresh, old = (pair_rows(Encoder(tiny.tokenizer(bert=True), 24, pairs=True)(text)) for text in (new, replay))
    return PairFeed(new=fresh, replay=old, start=0, pad=0, size=size, device=CPU.where)


def classified(new: Samples, replay: Samples, size: int) -> Feed:
    """Labelled documents."""
    fresh, old = (Encoder(tiny.tokenizer(bert=True), 32, LABELS)(text) for text in (new, replay))
    return ClassifierFeed(
        new=fresh,
        replay=old,
        classes=3,
        masks_absent=True,
        pad=0,
        size=size,
        device=CPU.where,
        weights=(document_weights(fresh), document_weights(old)),
    )


def step_of(feed: Any) -> Step:
    """All that a feed has, in one step."""
    return Step(np.arange(len(feed.new)), np.arange(len(feed.replay)))


def gradient(model: Any, parent: Any, objective: Objective, feed: Feed) -> tuple[Tensor, Tensor]:
    """A step's gradient in one row, and its loss terms over what they count."""
    step, model = step_of(feed), model.eval()
    passed, targets = pass_of(model, parent.eval(), objective, CPU), feed.targets(step)
    terms = torch.stack([passed(batch, sum(targets), sum(feed.tokens(step))) for batch in feed.micro_batches(step)])
    found = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    model.zero_grad()
    return found, terms.sum(0) / torch.tensor([targets[0], *[max(targets[1], 1)] * (len(terms[0]) - 1)])


def weighed(samples: Samples, weights: Sequence[float]) -> list[RoundSample]:
    """The same samples with weights."""
    return [replace(sample, weight=weight) for sample, weight in zip(samples, weights, strict=True)]


def repeated(samples: Samples, times: Sequence[int]) -> list[RoundSample]:
    """Each sample so often, of weight 1."""
    return [sample for sample, count in zip(samples, times, strict=True) for _ in range(count)]


KINDS: dict[str, tuple[MakeFeed, Callable[..., Any], Objective, Callable[..., list[RoundSample]]]] = {
    "causal-lm": (causal, tiny.llama, CausalObjective(1.5), tiny.samples),
    "tempered": (causal, tiny.llama, CausalObjective(0.7, 2.0), tiny.samples),
    "seq2seq": (paired, tiny.t5, CausalObjective(1.0), tiny.pairs),
    "classifier": (classified, tiny.bert, ClassifierObjective(0.3, 0.8), tiny.labelled),
}
times = st.lists(st.integers(1, 3), min_size=4, max_size=4)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(new=times, old=times, size=st.integers(1, 5))
def test_a_sample_of_weight_n_is_the_sample_n_times(kind: str, new: list[int], old: list[int], size: int) -> None:
    """In the gradient and in each loss term, however rows are packed and cut into passes; also what is replayed."""
    feed, model, objective, samples = KINDS[kind]
    fresh, replay = samples(4, seed=1), samples(4, seed=2)
    trained, parent = model(seed=1), model(seed=2)
    found, terms = gradient(trained, parent, objective, feed(weighed(fresh, new), weighed(replay, old), size))
    wanted, told = gradient(trained, parent, objective, feed(repeated(fresh, new), repeated(replay, old), size))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms, told, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_losss_size_stays_where_all_weigh_alike(kind: str) -> None:
    """It is divided by the sum of weights: a heavier step is no larger one."""
    feed, model, objective, samples = KINDS[kind]
    fresh, replay = samples(4, seed=1), samples(4, seed=2)
    trained, parent = model(seed=1), model(seed=2)
    found, terms = gradient(trained, parent, objective, feed(weighed(fresh, [2.5] * 4), weighed(replay, [2.5] * 4), 3))
    wanted, told = gradient(trained, parent, objective, feed(fresh, replay, 3))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms, told, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_without_weights_nothing_is_multiplied(kind: str) -> None:
    """A round in which all count alike is computed as before there were weights, to the last bit."""
    feed, _, _, samples = KINDS[kind]
    plain = feed(samples(4, seed=1), samples(4, seed=2), 3)
    step = step_of(plain)
    assert all(batch.weights is None for batch in plain.micro_batches(step))
    assert [type(count) for count in plain.targets(step)] == [int, int]


@given(st.lists(st.floats(0.5, 3, width=16), min_size=1, max_size=6), st.integers(1, 4))
def test_a_gap_counts_by_its_document(weights: list[float], size: int) -> None:
    """In every pass each place of a row has its weight, on whichever side it is padded."""
    samples = weighed(tiny.samples(len(weights), seed=1), weights)
    text = Encoder(tiny.masking_tokenizer(), 16)(samples)
    rows = masked_rows(text, 16, Masking(5, (2,), (3,)))
    feed = MaskedFeed(
        new=rows,
        replay=masked_rows(text.take([]), 16, Masking(5, (2,), (3,))),
        masking=Masking(5, (2,), (3,)),
        random=np.random.default_rng,
        pad=0,
        size=size,
        device=CPU.where,
        longest=16,
        side="left",
    )
    step = step_of(feed)
    counted = 0.0
    for batch in feed.micro_batches(step):
        gaps = batch.targets != IGNORED
        places = torch.ones_like(gaps, dtype=torch.float32) if batch.weights is None else batch.weights
        counted += float((places * gaps).sum())
        assert {float(weight) for weight in places.unique()} <= set(weights)
    assert counted == pytest.approx(feed.targets(step)[0], rel=1e-5)


def test_a_piece_has_the_weight_of_its_document() -> None:
    """Also where several documents share a row, and one is cut into several."""
    samples = weighed(tiny.samples(3, seed=1, longest=8), [1, 2, 3])
    text = Encoder(tiny.tokenizer(), 200)(samples)
    rows = rows_of(text, 24)
    found = row_weights(text, rows.rows)
    assert found is not None
    for pieces, weights in zip(rows.rows, found.pieces, strict=True):
        owners = [int(np.searchsorted(text.bounds, piece.start, side="right")) - 1 for piece in pieces]
        assert list(weights) == [samples[owner].weight for owner in owners]
