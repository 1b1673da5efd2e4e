"""The next token is drawn as the request asked."""

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from serving.engine.sampling import Drawing, Sampling, choose

LOGITS = torch.log(torch.tensor([0.1, 0.6, 0.3]))


def draws(sampling: Sampling, count: int = 2000) -> Counter[int]:
    """How often each token comes."""
    generator = sampling.generator()
    return Counter(choose(LOGITS, sampling, generator) for _ in range(count))


def test_temperature_zero_takes_the_most_probable() -> None:
    """Greedy answers have no chance in them."""
    assert draws(Sampling(temperature=0), 5) == {1: 5}


def test_temperature_one_follows_the_probabilities() -> None:
    """Frequencies are near the model's probabilities."""
    counts = draws(Sampling(seed=1))
    assert abs(counts[1] / 2000 - 0.6) < 0.05
    assert abs(counts[0] / 2000 - 0.1) < 0.03


def test_a_low_temperature_sharpens() -> None:
    """Half the temperature squares the odds."""
    counts = draws(Sampling(temperature=0.5, seed=1))
    assert abs(counts[1] / 2000 - 0.36 / 0.46) < 0.05


def test_top_p_cuts_the_tail() -> None:
    """Tokens beyond the nucleus never come; the one that completes it does."""
    assert set(draws(Sampling(top_p=0.85, seed=1))) == {1, 2}
    assert set(draws(Sampling(top_p=0.6, seed=1))) == {1}


def test_top_p_of_nothing_leaves_the_best() -> None:
    """The most probable token always stays."""
    assert set(draws(Sampling(top_p=0.0, seed=1), 20)) == {1}


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_seed_repeats_the_draw(seed: int) -> None:
    """The same seed gives the same tokens."""
    sampling = Sampling(seed=seed)
    one, other = sampling.generator(), sampling.generator()
    assert [choose(LOGITS, sampling, one) for _ in range(5)] == [choose(LOGITS, sampling, other) for _ in range(5)]


def test_without_a_seed_draws_differ() -> None:
    """Two unseeded answers are independent."""
    sampling = Sampling()
    one, other = sampling.generator(), sampling.generator()
    first, second = ([choose(LOGITS, sampling, generator) for _ in range(64)] for generator in (one, other))
    assert first != second


def test_a_tiny_temperature_is_greedy() -> None:
    """Dividing by next to nothing does not overflow."""
    assert set(draws(Sampling(temperature=1e-40, seed=1), 20)) == {1}


def test_top_k_leaves_the_most_probable() -> None:
    """So many; below 1 and above the vocabulary's size all."""
    assert set(draws(Sampling(top_k=1, seed=1))) == {1}
    assert set(draws(Sampling(top_k=2, seed=1))) == {1, 2}
    for everyone in (0, -1, 3, 100, 2**62):
        assert draws(Sampling(top_k=everyone, seed=1)) == draws(Sampling(seed=1))


def test_min_p_leaves_what_is_not_much_rarer_than_the_best() -> None:
    """0.3 is half of 0.6, 0.1 a sixth."""
    assert set(draws(Sampling(min_p=0.49, seed=1))) == {1, 2}
    assert set(draws(Sampling(min_p=0.16, seed=1))) == {0, 1, 2}
    assert set(draws(Sampling(min_p=1.0, seed=1))) == {1}


@given(
    logits=st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=40, unique=True),
    temperature=st.floats(0.1, 2),
    top_k=st.integers(0, 50),
    top_p=st.floats(0.05, 1),
    min_p=st.floats(0, 1),
    penalty=st.floats(0.5, 2),
    seed=st.integers(0, 100),
)
def test_filters_and_penalty_are_transformers_own(
    *, logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float, penalty: float, seed: int
) -> None:
    """The token that comes is one that its processors leave over, with the probability that they give it."""
    prompt = [0, 2, 2]
    processors: list[Any] = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
    processors += [TopKLogitsWarper(top_k)] if top_k else []
    processors += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    processors += [MinPLogitsWarper(min_p)]
    scores = torch.tensor([logits])
    for processor in processors:
        scores = processor(torch.tensor([prompt]), scores)
    sampling = Sampling(temperature, top_p, seed, top_k, min_p, penalty)
    token = Drawing(sampling, prompt).next(torch.tensor(logits))
    # Sums in another order: a token at the very edge of the nucleus may fall either way.
    assert scores[0, token] > -torch.inf or _at_the_edge(scores, token, logits)


def _at_the_edge(scores: torch.Tensor, token: int, logits: list[float]) -> bool:
    """Whether a token is the first that was left out."""
    left_out = [number for number in range(len(logits)) if scores[0, number] == -torch.inf]
    return token in sorted(left_out, key=lambda number: -logits[number])[:2]


def test_a_repetition_penalty_is_on_prompt_and_answer() -> None:
    """Positive logits are divided, negative ones multiplied."""
    drawing = Drawing(Sampling(temperature=0, repetition_penalty=2.0), [0])
    logits = torch.tensor([3.0, 2.0, 1.7])
    assert [drawing.next(logits) for _ in range(4)] == [1, 2, 0, 0]
    assert Drawing(Sampling(temperature=0, repetition_penalty=2.0), [1]).next(torch.tensor([-3.0, -2.0])) == 0
    assert logits.tolist() == torch.tensor([3.0, 2.0, 1.7]).tolist()


def test_presence_and_frequency_are_those_of_the_answer() -> None:
    """Once for having come at all, and once for each time; the prompt does not count."""
    logits = torch.tensor([3.0, 2.5, 0.0])
    present = Drawing(Sampling(temperature=0, presence_penalty=1.0), [0, 0, 0])
    assert [present.next(logits) for _ in range(4)] == [0, 1, 0, 0]
    frequent = Drawing(Sampling(temperature=0, frequency_penalty=0.4), [0, 0, 0])
    assert [frequent.next(logits) for _ in range(6)] == [0, 0, 1, 0, 1, 0]
    rewarded = Drawing(Sampling(temperature=0, presence_penalty=-2.0), [])
    assert [rewarded.next(torch.tensor([1.0, 0.9]))] == [0]


def test_a_bias_bans_and_forces() -> None:
    """It is added to the logit before anything is drawn."""
    assert Drawing(Sampling(temperature=0, bias=((0, -100.0),)), []).next(torch.tensor([3.0, 2.0])) == 1
    assert Drawing(Sampling(seed=1, bias=((2, 100.0),)), []).next(LOGITS) == 2


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e-8, 2.0])
def test_no_value_that_may_be_asked_for_breaks_the_draw(temperature: float) -> None:
    """Not even on logits of any size."""
    for scale in (1e-30, 1.0, 1e30):
        sampling = Sampling(temperature, 0.0, 1, 1, 1.0, 100.0, 2.0, 2.0, ((0, -100.0),))
        drawing = Drawing(sampling, [0, 1])
        assert {drawing.next(LOGITS * scale) for _ in range(5)} <= {0, 1, 2}
