"""Comparisons, one at a time: begun, called off, looked at, picked from. In this process's memory alone."""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from daemon.comparisons.answer_comparison import AnswerComparison, ComparisonState, ComparisonWish
from daemon.comparisons.choice import Choice
from daemon.errors import Busy, Refused, UnknownThing
from daemon.processes.comparison_process import ComparisonEnding, ComparisonExit
from serving.comparison.exchange import AnswerEvent, ComparisonPrompt, PromptAnswer
from streams.closing import Closing

log = structlog.get_logger(__name__)

MOST_KEPT: Final = 16
KEPT_S: Final = 3_600.0
"""So long what was answered can be looked at, and picked from."""
ENDS_WITHIN_S: Final = 10.0
RETRY_LEAST_S, RETRY_MOST_S = 5, 60
GONE: Final = (
    "There is no comparison {number} any more: the last {most} are kept for an hour, in the daemon's memory alone."
)


class Answering(Protocol):
    """What has a prompt answered; see `ComparisonProcess`."""

    def run(
        self, asked: ComparisonPrompt, *, on_event: Callable[[AnswerEvent], None], must_stop: Callable[[], bool]
    ) -> ComparisonExit:
        """Have it answered; blocks until that has ended."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """The comparison that is under way, and what ends it."""

    number: int
    thread: threading.Thread
    off: threading.Event

    def end(self) -> None:
        """Call it off, and wait until its process is gone."""
        self.off.set()
        self.thread.join(ENDS_WITHIN_S)


class ComparisonDesk(Closing):
    """All comparisons of a running daemon. A context manager; any method may be called from any thread.

    Args:
        process: has a prompt answered.
        is_stopping: whether the service ends: then none begins, and one under way is given up.
        ended: told how each ended.
        clock: unix seconds.
        new_number: makes numbers by which comparisons are asked for. Not counted up: after a restart an old address
            must not lead to somebody else's.
        swaps: decides at random whether the second generation stands on the left.
    """

    def __init__(
        self,
        process: Answering,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        ended: Callable[[ComparisonEnding], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        new_number: Callable[[], int] = lambda: 1 + secrets.randbits(40),
        swaps: Callable[[], bool] = lambda: bool(secrets.randbits(1)),
    ) -> None:
        self._process = process
        self._is_stopping = is_stopping
        self._ended = ended
        self._clock = clock
        self._new_number = new_number
        self._swaps = swaps
        self._lock = threading.Lock()
        # Held while a pick is written down: of two at once one is refused, and nobody who only looks waits.
        self._picking = threading.Lock()
        self._kept: dict[int, AnswerComparison] = {}
        self._running: _UnderWay | None = None

    def begin(self, wish: ComparisonWish, asked: ComparisonPrompt) -> AnswerComparison:
        """Begin; returns at once.

        Args:
            wish: what was asked for.
            asked: the same for the process.

        Raises:
            Busy: another one is under way.
            Refused: the service is stopping.
        """
        with self._lock:
            if self._is_stopping():
                raise Refused("The service is stopping: no comparison begins.")
            if self._running is not None:
                raise self._busy(self._kept[self._running.number])
            self._forget_old(most=MOST_KEPT - 1)
            begun, off = self._new(wish), threading.Event()
            thread = threading.Thread(target=self._run, args=(begun, asked, off), name="comparison", daemon=True)
            # Before it is entered: one that cannot be started must not be under way for ever. It waits for the lock.
            thread.start()
            self._kept[begun.number] = begun
            self._running = _UnderWay(begun.number, thread, off)
        return begun

    def find(self, number: int) -> AnswerComparison:
        """One of them, as it is now. Raises UnknownThing."""
        with self._lock:
            self._forget_old()
            if number not in self._kept:
                raise UnknownThing(GONE.format(number=number, most=MOST_KEPT))
            return self._kept[number]

    def call_off(self, number: int) -> AnswerComparison:
        """End one that is under way; returns when its process is gone. Raises UnknownThing, Refused."""
        with self._lock:
            running = self._running
        if self.find(number).state is not ComparisonState.RUNNING or running is None or running.number != number:
            raise Refused(f"Comparison {number} is not under way: there is nothing to call off.")
        running.end()
        return self.find(number)

    def pick(self, number: int, choice: Choice, who: str, keep: Callable[[AnswerComparison], None]) -> AnswerComparison:
        """Say which answer is the better; from then on it is told which is whose.

        Args:
            number: the comparison.
            choice: the better one's side, or that they are equal.
            who: whose word it is.
            keep: writes it down; where it raises, nothing was picked.

        Raises:
            UnknownThing: there is no such comparison.
            Refused: nothing was hidden in it, somebody has picked, or it has not answered.
        """
        with self._picking:
            picked = replace(self._pickable(number), choice=choice, picked_by=who)
            keep(picked)
            with self._lock:
                self._kept[number] = picked
        return picked

    def _pickable(self, number: int) -> AnswerComparison:
        found = self.find(number)
        if not found.wish.blind:
            raise Refused(f"Comparison {number} is not blind: who knows whose an answer is does not judge it alone.")
        if found.state is not ComparisonState.ANSWERED:
            raise Refused(f"Comparison {number} has no answers to pick from.")
        if found.choice is not None:
            raise Refused(f"Comparison {number} has been picked from already, by {found.picked_by}.")
        return found

    def close(self) -> None:
        """End the one under way, and wait for it."""
        with self._lock:
            running = self._running
        if running is not None:
            running.end()

    def _new(self, wish: ComparisonWish) -> AnswerComparison:
        number = next(number for number in iter(self._new_number, None) if number not in self._kept)
        # In the open they stand as they were asked for.
        is_swapped = wish.blind and self._swaps()
        left, right = (wish.second, wish.first) if is_swapped else (wish.first, wish.second)
        return AnswerComparison(number, wish, left, right, self._clock())

    def _busy(self, running: AnswerComparison) -> Busy:
        took = round(self._clock() - running.begun_at)
        wait = max(RETRY_LEAST_S, min(RETRY_MOST_S, took))
        why = f"Another comparison is under way since {took} s: ask again in {wait} s, or call it off."
        return Busy(why, retry_after_s=wait)

    def _forget_old(self, most: int = MOST_KEPT) -> None:
        """Let go of what is too old, and of the oldest of too many; what is under way stays."""
        now = self._clock()
        ended = [(number, kept.ended_at) for number, kept in self._kept.items() if kept.ended_at is not None]
        too_many = max(0, len(self._kept) - most)
        for place, (number, ended_at) in enumerate(ended):
            if place < too_many or now - ended_at > KEPT_S:
                del self._kept[number]

    def _run(self, begun: AnswerComparison, asked: ComparisonPrompt, off: threading.Event) -> None:
        answers: dict[int, PromptAnswer] = {}

        def hear(event: AnswerEvent) -> None:
            if event.answer is not None:
                answers[event.generation] = event.answer
            self._change(begun.number, lambda now: replace(now, doing=event))

        exited = ComparisonExit(ComparisonEnding.FAILED, "It failed for a reason of this daemon's: its log says more.")
        try:
            exited = self._process.run(asked, on_event=hear, must_stop=lambda: off.is_set() or self._is_stopping())
        except OSError as error:
            exited = ComparisonExit(ComparisonEnding.FAILED, f"Its process cannot be started: {error.strerror}.")
        finally:
            self._end(begun, exited, answers)

    def _end(self, begun: AnswerComparison, exited: ComparisonExit, answers: Mapping[int, PromptAnswer]) -> None:
        # Neither the prompt nor an answer, nor which generation took how long.
        log.info("comparison_ended", comparison=begun.number, ending=exited.ending, blind=begun.wish.blind)
        has_answered = exited.ending is ComparisonEnding.ANSWERED
        with self._lock:
            self._kept[begun.number] = replace(
                self._kept[begun.number],
                state=ComparisonState.ANSWERED if has_answered else ComparisonState.FAILED,
                detail=exited.detail,
                ended_at=self._clock(),
                doing=None,
                answers=answers if has_answered else {},
            )
            self._running = None
        self._ended(exited.ending)

    def _change(self, number: int, change: Callable[[AnswerComparison], AnswerComparison]) -> None:
        with self._lock:
            self._kept[number] = change(self._kept[number])
