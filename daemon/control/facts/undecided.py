"""Why a person cannot decide on a round, for the person. Pure."""

from collections.abc import Sequence

from memory.ledger.records import Round
from memory.ledger.states import UNFINISHED, RoundState


def why_not_decided(round_: Round, waiting: Sequence[int]) -> str:
    """What to tell a person who decides on a round that does not wait.

    Args:
        waiting: numbers of the rounds that do.
    """
    those = f"Waiting: {', '.join(map(str, waiting))}." if waiting else "No round waits."
    return f"Round {round_.number} does not wait for anybody's word: {_what_became(round_)}. {those}"


def _what_became(round_: Round) -> str:
    if round_.state in UNFINISHED:
        return "it is in progress"
    if round_.state is RoundState.ACCEPTED:
        return f"it was accepted as generation {round_.generation}, which `riverkeep rollback` goes back from"
    if round_.state is RoundState.REFUSED:
        return (
            "it was refused; its text is in the next round, or aside where it was refused too often "
            f"(`riverkeep memory aside {round_.number}`, then `riverkeep memory release {round_.number}` or "
            f"`riverkeep memory drop {round_.number}`)"
        )
    if round_.state is RoundState.RELEASED:
        return "it was approved, and its text is fresh again"
    if round_.state is RoundState.DROPPED:
        return "it was rejected, and its text is erased"
    how = "failed" if round_.state is RoundState.FAILED else "was cut off"
    return f"it {how}; its text is fresh, for the next round"
