"""The states of a round and the steps between them. Pure."""

from enum import StrEnum


class RoundState(StrEnum):
    """Where a round stands. Values are stored and are metric labels: never rename one."""

    DRAWN = "drawn"
    """Numbered, its samples recorded; the round directory may or may not be written."""
    TRAINING = "training"
    """The learner has been started."""
    JUDGED = "judged"
    """A report is there and the gate has spoken; what it said has not taken effect yet."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    WAITING = "waiting"
    """Its text was implausible: it waits, aside, for a person's word."""
    RELEASED = "released"
    """It waited, and a person let its text back into the river."""
    DROPPED = "dropped"
    """It waited, and a person had its text erased."""
    FAILED = "failed"
    """It ended without a verdict; its fresh samples wait for the next round."""
    ABANDONED = "abandoned"
    """It was cut off (stop, crash) and left behind; its fresh samples wait for the next round."""


_NEXT: dict[RoundState, frozenset[RoundState]] = {
    RoundState.DRAWN: frozenset({RoundState.TRAINING, RoundState.FAILED, RoundState.ABANDONED}),
    RoundState.TRAINING: frozenset({RoundState.JUDGED, RoundState.WAITING, RoundState.FAILED, RoundState.ABANDONED}),
    RoundState.JUDGED: frozenset(
        {
            RoundState.ACCEPTED,
            RoundState.REFUSED,
            RoundState.WAITING,
            RoundState.FAILED,
            RoundState.ABANDONED,
        }
    ),
    RoundState.WAITING: frozenset({RoundState.RELEASED, RoundState.DROPPED}),
}

UNFINISHED = frozenset({RoundState.DRAWN, RoundState.TRAINING, RoundState.JUDGED})
"""States that recovery at start has to finish or discard."""


def next_states(state: RoundState) -> frozenset[RoundState]:
    """The states that may follow `state`; empty for a final one."""
    return _NEXT.get(state, frozenset())


def may_follow(before: RoundState, after: RoundState) -> bool:
    """Whether a round may step from `before` to `after`. Staying where one is is no step, but allowed to repeat."""
    return before == after or after in next_states(before)
