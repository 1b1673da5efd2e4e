"""Why a round cannot be approved or rejected, and what can be done instead."""

from collections.abc import Sequence

from memory.records import Round
from memory.rounds import UNFINISHED, RoundState


def why_not_decided(one: Round, waiting: Sequence[int]) -> str:
    """What to tell a person who decides on a round that does not wait.

    Args:
        waiting: numbers of the rounds that do.
    """
    those = f"Waiting: {', '.join(map(str, waiting))}." if waiting else "No round waits."
    return f"Round {one.number} does not wait for anybody's word: {_what_became(one)}. {those}"


def _what_became(one: Round) -> str:
    if one.state in UNFINISHED:
        return "it is in progress"
    if one.state is RoundState.ACCEPTED:
        return f"it was accepted as generation {one.generation}, which `riverkeep rollback` goes back from"
    if one.state is RoundState.REFUSED:
        return (
            "it was refused; its text is in the next round, or aside where it was refused too often "
            f"(`riverkeep memory aside {one.number}`, then `riverkeep memory release {one.number}` or "
            f"`riverkeep memory drop {one.number}`)"
        )
    if one.state is RoundState.RELEASED:
        return "it was approved, and its text is fresh again"
    if one.state is RoundState.DROPPED:
        return "it was rejected, and its text is erased"
    return f"it {'failed' if one.state is RoundState.FAILED else 'was cut off'}; its text is fresh, for the next round"
