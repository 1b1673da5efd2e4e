"""How work is divided over ranks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.devices.share import Share, is_rank


@given(st.integers(0, 50), st.integers(1, 9))
def test_each_piece_is_exactly_one_ranks_and_all_have_as_many(pieces: int, count: int) -> None:
    """Where there are fewer pieces than ranks, some have none."""
    shares = [Share(rank, count).of(pieces).tolist() for rank in range(count)]
    assert sorted(piece for share in shares for piece in share) == list(range(pieces))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"WORLD_SIZE": "1", "RANK": "0"}, False),
        # Of a cluster's scheduler, for something else.
        ({"WORLD_SIZE": "4"}, False),
        ({"WORLD_SIZE": "2", "RANK": "0"}, True),
    ],
)
def test_one_of_several_is_known_by_its_environment(environ: dict[str, str], expected: bool) -> None:
    """As `torchrun` sets it."""
    assert is_rank(environ) is expected
