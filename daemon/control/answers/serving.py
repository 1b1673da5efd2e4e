"""What serves since when, and how it answers: the ledger's word, and what the serving process counts of itself."""

from typing import TypedDict

from daemon.control.answers.canaries import CanaryLine
from daemon.control.answers.status import ServingStanding


class TimesCounted(TypedDict):
    """Times of one kind, as a histogram of the serving process has them, since it began.

    Attributes:
        count: how many were measured.
        mean_seconds: None where none was.
        half_within_seconds, nine_tenths_within_seconds: the least bound of the histogram within which so many lie; None
            where none was measured, or they lie beyond its last bound.
    """

    count: int
    mean_seconds: float | None
    half_within_seconds: float | None
    nine_tenths_within_seconds: float | None


class AnswersOfGeneration(TypedDict):
    """How one generation answers that the serving process holds.

    Attributes:
        first_token: from a request's admission to its first token.
        output_token: for each further token of an answer.
        queue: from admission until it is begun.
    """

    generation: int
    first_token: TimesCounted
    output_token: TimesCounted
    queue: TimesCounted


class AnswersOfRoute(TypedDict):
    """How long requests of one route took, from arrival to the end of their answer."""

    route: str
    seconds: TimesCounted


class SwapLine(TypedDict):
    """That a generation began to serve, was watched or was taken back.

    Attributes:
        at: unix seconds.
        what: `serves`, `watched` or `taken_back`.
        generation: None where the audit log names none.
        before: what served before; None where nothing did, or it is not known.
        who: whose word it was.
    """

    at: float
    what: str
    generation: int | None
    before: int | None
    who: str


class CountedByServing(TypedDict):
    """What the serving process counts, since it began.

    Attributes:
        waiting: requests in the queue now.
        active: requests that are being answered now.
        loaded: generations in memory now.
        swaps, swaps_failed: attempts to serve another generation, by how they went.
        generations: those in memory, the latest first.
        routes: those that were asked.
    """

    waiting: int
    active: int
    loaded: int
    swaps: int
    swaps_failed: int
    generations: list[AnswersOfGeneration]
    routes: list[AnswersOfRoute]


class ServingAnswer(TypedDict):
    """What serves, and how it answers.

    Attributes:
        standing: as in `StatusAnswer`.
        since: when the serving generation began to serve, unix seconds; None where the audit log does not know.
        swap_seconds: how long the serving process's last swap took; None before one, or where none runs here.
        failed: generations that could not serve, each with the reason, as the serving process has it.
        problem: why it cannot follow the serving pointer; empty where it can.
        counted: None where no serving process runs beside this daemon, or it does not answer.
        swaps: the latest, newest first.
        canary: the generation that is watched now, with its criteria; None mostly.
    """

    standing: ServingStanding
    since: float | None
    swap_seconds: float | None
    failed: dict[str, str]
    problem: str
    counted: CountedByServing | None
    swaps: list[SwapLine]
    canary: CanaryLine | None


class LatencySlot(TypedDict):
    """How long answers took within one slot of time, of the routes that ask the model.

    Attributes:
        at: its beginning, unix seconds.
        measured: requests that came to an end; of them `failed` with 5xx and `refused` with 429.
        half_seconds: within so long half of them ended, by a straight line between the bounds of the serving process's
            histogram, as Prometheus reads it; None where nothing was measured.
        half_between: the two bounds between which that lies for certain; the second None beyond the last.
        ninety_nine_seconds, ninety_nine_between: the same of 99 in 100.
    """

    at: float
    measured: int
    failed: int
    refused: int
    half_seconds: float | None
    half_between: list[float | None]
    ninety_nine_seconds: float | None
    ninety_nine_between: list[float | None]


class WatchedStretch(TypedDict):
    """A time in which a generation was watched in traffic.

    Attributes:
        beside, mode, since, ended_at, outcome: as in `CanaryLine`.
    """

    generation: int
    beside: int
    mode: str
    since: float
    ended_at: float | None
    outcome: str


class LatencyAnswer(TypedDict):
    """How long answers took over the latest hours, and what served meanwhile.

    The daemon reads it off the serving process beside it and keeps a day of it in RAM: it begins anew with the daemon.

    Attributes:
        since: when counting began, unix seconds; None where no serving process runs beside a daemon.
        begins, until: what is told of, unix seconds.
        slot_seconds: how long a slot is.
        slots: oldest first; of those in which the serving process told nothing there are none.
        swaps: what served, was watched or taken back in that time, oldest first.
        watched: generations that were watched in that time, oldest first.
    """

    since: float | None
    begins: float
    until: float
    slot_seconds: int
    slots: list[LatencySlot]
    swaps: list[SwapLine]
    watched: list[WatchedStretch]
