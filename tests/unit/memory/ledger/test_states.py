"""The steps of a round."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.ledger.states import UNFINISHED, RoundState, may_follow, next_states

STATES = st.sampled_from(list(RoundState))


@given(STATES)
def test_every_round_can_come_to_an_end(state: RoundState) -> None:
    """From each state some final state is reached."""
    reached, new = {state}, {state}
    while new:
        new = {after for one in new for after in next_states(one)} - reached
        reached |= new
    assert any(not next_states(one) for one in reached)


@given(STATES, STATES)
def test_no_step_leads_back(before: RoundState, after: RoundState) -> None:
    """The steps have no circle, so a round is never judged twice."""
    reached, new = set(), set(next_states(after))
    while new:
        reached |= new
        new = {one for state in new for one in next_states(state)} - reached
    if before != after and may_follow(before, after):
        assert before not in reached


@given(STATES)
def test_recovery_can_abandon_whatever_is_unfinished(state: RoundState) -> None:
    """And nothing else."""
    assert may_follow(state, RoundState.ABANDONED) == (state in UNFINISHED or state is RoundState.ABANDONED)


@pytest.mark.parametrize("state", [RoundState.DRAWN, RoundState.TRAINING])
def test_nothing_is_accepted_unjudged(state: RoundState) -> None:
    """The gate cannot be walked around."""
    assert not may_follow(state, RoundState.ACCEPTED)
