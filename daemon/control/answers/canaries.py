"""Generations that are watched in traffic before they serve."""

from typing import Any, TypedDict


class CanaryStanding(TypedDict):
    """The generation that is watched now.

    Attributes:
        beside: the one that serves.
        mode: `canary` (it answers), or `shadow` (its answers are thrown away).
        share: of the requests that it gets, 0 to 1.
        since: unix seconds.
        answers, serving_answers: that were compared so far, of it and of the one that serves.
        detail: what is watched and what for, a sentence.
    """

    generation: int
    beside: int
    mode: str
    share: float
    since: float
    answers: int
    serving_answers: int
    detail: str


class CanaryLine(TypedDict):
    """How a generation fared in traffic that a round made.

    Attributes:
        generation, beside, mode, share, since: as in `CanaryStanding`.
        ended_at: unix seconds; None while it is watched.
        outcome: watched, promoted or rolled_back.
        ended_by: whose word that was; empty while it is watched.
        verdict: what was said last: decision, sentence, and each check with figure, bound and limits; may be empty.
    """

    generation: int
    beside: int
    mode: str
    share: float
    since: float
    ended_at: float | None
    outcome: str
    ended_by: str
    verdict: dict[str, Any]
