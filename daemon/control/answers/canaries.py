"""Generations that are watched in traffic before they serve."""

from typing import Any, TypedDict


class AskedByKey(TypedDict):
    """Requests with one API key.

    Attributes:
        key: its name; empty for requests without one.
    """

    key: str
    requests: int


class AnsweredTo(TypedDict):
    """To whom a watched generation answered: the requests that it answered itself, of every API key.

    Attributes:
        by_key: of those keys with most of them, the most first.
        other_keys: how many other keys there were, at least.
        other_requests: with those.
    """

    by_key: list[AskedByKey]
    other_keys: int
    other_requests: int


class CanaryStanding(TypedDict):
    """The generation that is watched now.

    Attributes:
        beside: the one that serves.
        mode: `canary` (it answers), or `shadow` (its answers are thrown away).
        share: of the requests that it gets, 0 to 1.
        since: unix seconds.
        answers, serving_answers: that were compared so far, of it and of the one that serves.
        detail: what is watched and what for, a sentence.
        answered_to: to whom it answered so far; None where that is not known yet.
    """

    generation: int
    beside: int
    mode: str
    share: float
    since: float
    answers: int
    serving_answers: int
    detail: str
    answered_to: AnsweredTo | None


class CanaryLine(TypedDict):
    """How a generation fared in traffic that a round made.

    Attributes:
        generation, beside, mode, share, since: as in `CanaryStanding`.
        ended_at: unix seconds; None while it is watched.
        outcome: watched, promoted or rolled_back.
        ended_by: whose word that was; empty while it is watched.
        verdict: what was said last: decision, sentence, and each check with figure, bound and limits; may be empty.
        answered_to: as in `CanaryStanding`.
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
    answered_to: AnsweredTo | None
