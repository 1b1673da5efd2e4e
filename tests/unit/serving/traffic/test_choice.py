"""A caller keeps to one side while a generation is watched, and the sides have their shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.traffic.choice import GROUPS, Caller, read_forced

NAMES = st.binary(min_size=1, max_size=40)
SHARES = st.floats(0, 1)


def callers(count: int = 4000) -> list[Caller]:
    """So many different ones."""
    return [Caller(f"user:{number}".encode()) for number in range(count)]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_canary_gets_its_share(share: float) -> None:
    """Within four standard errors of it."""
    chosen = sum(caller.falls_to(7, share) for caller in callers())
    assert abs(chosen / 4000 - share) < 4 * (share * (1 - share) / 4000) ** 0.5


@given(NAMES, st.integers(0, 10**6), SHARES, SHARES)
def test_a_larger_share_takes_nobody_away(name: bytes, number: int, one: float, other: float) -> None:
    """Who falls to a canary falls to it at every larger share, and always."""
    caller = Caller(name)
    lower, higher = sorted((one, other))
    assert caller.falls_to(number, higher) or not caller.falls_to(number, lower)
    assert not caller.falls_to(number, 0.0)
    assert caller.falls_to(number, 1.0)
    assert Caller(name).falls_to(number, one) == caller.falls_to(number, one)


def test_each_generation_is_tried_on_others() -> None:
    """Of those who had the last canary no more have the next one than of all."""
    before = [caller for caller in callers() if caller.falls_to(7, 0.2)]
    again = sum(caller.falls_to(8, 0.2) for caller in before)
    assert 0.1 < again / len(before) < 0.3


def test_groups_are_even_and_tell_nothing_of_the_side() -> None:
    """Both sides have callers in all groups."""
    for wanted in (True, False):
        groups = [caller.group(7) for caller in callers() if caller.falls_to(7, 0.5) is wanted]
        assert set(groups) == set(range(GROUPS))
        assert max(map(groups.count, range(GROUPS))) < 4 * len(groups) / GROUPS


def test_the_header_is_for_those_with_a_key() -> None:
    """What it may say is said where it says something else."""
    assert read_forced(None, has_key=False) is None
    assert read_forced(" Always ", has_key=True) is True
    assert read_forced("never", has_key=True) is False
    with pytest.raises(RequestError, match="only a request with an API key") as caught:
        read_forced("always", has_key=False)
    assert caught.value.status == 403
    with pytest.raises(RequestError, match="say always or never, not 'perhaps'"):
        read_forced("perhaps", has_key=True)
