"""The next token is drawn as the request asked."""

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from serving.sampling import Sampling, choose

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
