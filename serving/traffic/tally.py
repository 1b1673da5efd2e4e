"""How the answers of a watched generation and of the serving one went meanwhile: sums that an interval is made of.

By group of callers, as the answers to one caller are no independent evidence. Latencies are summed as logarithms: their
mean is a typical latency, which one answer that took a minute does not decide, and whose ratio has an interval.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from serving.errors import EngineLost, Failed, TimedOut, Unanswerable
from serving.traffic.choice import GROUPS

Role = Literal["serving", "canary", "shadow"]
BLAMED: Final = (Failed, EngineLost, TimedOut, Unanswerable)
"""What the model or its engine is to blame for; all else is the client's doing, or the queue's."""
SHORTEST_S: Final = 1e-6
MOST_ASKERS: Final = 1_000
"""API keys that are told apart; the requests of others are counted together."""
OTHERS: Final = "(others)"
"""No key has such a name."""


def blames_generation(error: BaseException) -> bool:
    """Whether an answer failed by the generation's fault."""
    return isinstance(error, BLAMED)


@dataclass(slots=True)
class GroupCounts:
    """The answers to one group of callers by one generation.

    Attributes:
        answers: that ended, those that failed among them.
        errors: that failed by the generation's fault.
        firsts, log_first: how many had a first token, and the sum of the logarithms of the seconds until it came.
        paced, log_pace: how many had more than one, and the sum of the logarithms of the seconds for each further one.
    """

    answers: int = 0
    errors: int = 0
    firsts: int = 0
    log_first: float = 0.0
    paced: int = 0
    log_pace: float = 0.0

    def row(self) -> list[float]:
        """As JSON has it: the attributes in their order."""
        return [self.answers, self.errors, self.firsts, self.log_first, self.paced, self.log_pace]


def _counts() -> list[GroupCounts]:
    return [GroupCounts() for _ in range(GROUPS)]


class Counting(Protocol):
    """Counts an answer in the metrics."""

    def __call__(self, role: Role, *, failed: bool) -> None:
        """Count one."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """By which one request's answers are counted where they belong, whatever is swapped in meanwhile.

    Attributes:
        group: of callers, in which the one who asks is.
    """

    role: Role
    group: int
    _cell: GroupCounts
    _count: Counting

    def answered(self, first_s: float, pace_s: float | None = None) -> None:
        """Count an answer.

        Args:
            first_s: seconds until its first token, or until it was there where it comes whole.
            pace_s: seconds for each further token; None where there was none.
        """
        self._cell.answers += 1
        self._cell.firsts += 1
        self._cell.log_first += math.log(max(first_s, SHORTEST_S))
        if pace_s is not None:
            self._cell.paced += 1
            self._cell.log_pace += math.log(max(pace_s, SHORTEST_S))
        self._count(self.role, failed=False)

    def failed(self, error: BaseException) -> None:
        """Count an answer that failed, where that is the generation's fault."""
        # A copy waits for every request: that it took too long says nothing.
        if blames_generation(error) and not (self.role == "shadow" and isinstance(error, TimedOut)):
            self._cell.answers += 1
            self._cell.errors += 1
            self._count(self.role, failed=True)


@dataclass(slots=True)
class Tally:
    """What was counted of the pair that is compared now. For the event loop alone.

    Attributes:
        count: counts each answer in the metrics too.
        pair: the numbers of the serving generation and of the watched one; None before there is one.
        askers: by the name of an API key, empty where a request bore none: how many requests the watched one answered,
            those that asked for it among them.
    """

    count: Counting
    pair: tuple[int, int] | None = None
    askers: Counter[str] = field(default_factory=Counter)
    _serving: list[GroupCounts] = field(default_factory=_counts)
    _watched: list[GroupCounts] = field(default_factory=_counts)

    def ticket(self, serving: int, watched: int, role: Role, group: int) -> Ticket:
        """By which a request is counted that `role` answers."""
        self._compare(serving, watched)
        return Ticket(role, group, (self._serving if role == "serving" else self._watched)[group], self.count)

    def asker(self, serving: int, watched: int, name: str) -> Callable[[], None]:
        """By which it is counted that the watched one answered a request with this API key."""
        self._compare(serving, watched)
        # Bound now: it counts for this pair, whatever is swapped in meanwhile.
        askers = self.askers

        def answered() -> None:
            askers[name if name in askers or len(askers) < MOST_ASKERS else OTHERS] += 1

        return answered

    def _compare(self, serving: int, watched: int) -> None:
        if self.pair != (serving, watched):
            # Another canary, or another one to compare it with: nothing that was counted is of this pair.
            self.pair, self._serving, self._watched = (serving, watched), _counts(), _counts()
            self.askers = Counter()

    def facts(self) -> dict[str, Any]:
        """What the daemon is told: since this process began, or the pair came together."""
        if self.pair is None:
            return {"serving": None, "watched": None, "counts": {}}
        serving, watched = self.pair
        counts = {"serving": self._serving, "watched": self._watched}
        return {
            "serving": serving,
            "watched": watched,
            "counts": {side: [group.row() for group in groups] for side, groups in counts.items()},
        }
