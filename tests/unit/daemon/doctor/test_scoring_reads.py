"""What scoring reads, against the windows themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.doctor.scoring_reads import times_read, tokens_read
from learner.directory.round_directory import RoundSample
from learner.material.encoding import Encoded
from learner.material.pieces import scoring_windows


def text_of(lengths: np.ndarray) -> Encoded:
    """Documents of these lengths."""
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    samples = tuple(RoundSample(at, "", "") for at in range(len(lengths)))
    return Encoded(np.zeros(bounds[-1], np.int32), bounds, samples, np.zeros(len(lengths), np.int64))


def widths(lengths: np.ndarray, longest: int) -> int:
    """Tokens in all windows."""
    text = text_of(lengths)
    return sum(window.width for at in range(len(lengths)) for window in scoring_windows(text, at, longest))


@given(tokens=st.integers(2, 5_000), width=st.integers(2, 700))
def test_a_document_is_read_as_its_windows_hold_it(tokens: int, width: int) -> None:
    """To the token."""
    assert tokens_read(tokens, width) == widths(np.asarray([tokens]), width)


@pytest.mark.parametrize("mean", [20.0, 200.0, 460.0, 2_000.0, 20_000.0])
def test_how_often_text_is_read_is_what_its_windows_hold(mean: float) -> None:
    """Within a twentieth, for lengths that are exponential."""
    random = np.random.Generator(np.random.PCG64(3))
    lengths = np.maximum(2, random.exponential(mean, 2_000)).astype(int)
    assert times_read("causal-lm", mean, 256) == pytest.approx(widths(lengths, 256) / lengths.sum(), rel=0.05)
