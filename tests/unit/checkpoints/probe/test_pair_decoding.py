"""What is written for several inputs in shared passes: the logits are those of each by itself."""

from collections.abc import Callable
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from checkpoints.probe.conduct import ANEW, Cache, Way
from checkpoints.probe.pair_decoding import PairDecoder, WrittenRows
from tests.unit.learner import tiny

READ: Final = ([2, 8, 9, 3], [2, 10, 3], [2, 11, 12, 13, 14, 15, 3])
WRITTEN: Final = ([0, 8, 9, 10, 11, 12], [0, 13, 14, 15, 16, 17], [0, 18, 19, 20, 21, 22])
WAYS: Final[list[tuple[Callable[..., Any], Cache, tuple[int, ...]]]] = [
    (tiny.t5, "shared", (0, 0, 0)),
    (tiny.t5, "shared", (2, 0, 1)),
    (tiny.bart, "abreast", (0, 0, 0)),
]


def alone(model: Any, text: int) -> Tensor:
    """The logits at each place of what is written for one input, read anew for each."""
    decoder = PairDecoder(model, ANEW)
    batch = decoder.begin(READ[text])
    return torch.cat([decoder.advance(batch, torch.tensor([[token]])) for token in WRITTEN[text]])


def joined(decoder: PairDecoder, before: tuple[int, ...]) -> WrittenRows:
    """All three in one batch, of which so many tokens were written before they joined."""
    batches = []
    for text, count in enumerate(before):
        batch = decoder.begin(READ[text])
        assert isinstance(batch, WrittenRows)
        decoder.advance(batch, torch.tensor([WRITTEN[text][: count + 1]]))
        batches.append(batch)
    first, *others = batches
    for other in others:
        assert first.takes(other)
        first.join(other)
    return first


@pytest.mark.parametrize(("make", "cache", "before"), WAYS)
def test_rows_join_and_leave(make: Callable[..., Any], cache: Cache, before: tuple[int, ...]) -> None:
    """However far each has come; the longest input leaves, then what was written most for."""
    model = make(seed=2).eval()
    expected = [alone(model, text) for text in range(len(READ))]
    decoder, rows, fed = PairDecoder(model, Way(cache)), [0, 1, 2], [count + 1 for count in before]
    batch = joined(decoder, before)
    for leaving in (None, 2, 0):
        if leaving is not None:
            batch.keep([row for row, text in enumerate(rows) if text != leaving])
            rows.remove(leaving)
        logits = decoder.advance(batch, torch.tensor([[WRITTEN[text][fed[text]]] for text in rows]))
        torch.testing.assert_close(
            logits, torch.stack([expected[text][fed[text]] for text in rows]), rtol=1e-4, atol=1e-5
        )
        fed = [count + 1 for count in fed]
    assert (batch.cached, batch.seen.shape[1]) == (fed[1], len(READ[1]))


def test_abreast_nobody_joins_who_is_behind() -> None:
    """Its places would be counted from those of the others."""
    decoder = PairDecoder(tiny.bart().eval(), Way("abreast"))
    first, second = (decoder.begin(READ[text]) for text in (0, 1))
    assert isinstance(first, WrittenRows)
    assert isinstance(second, WrittenRows)
    decoder.advance(first, torch.tensor([WRITTEN[0][:2]]))
    decoder.advance(second, torch.tensor([WRITTEN[1][:1]]))
    assert not first.takes(second)
    decoder.advance(second, torch.tensor([WRITTEN[1][1:2]]))
    assert first.takes(second)
