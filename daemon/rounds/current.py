"""What the round in progress is doing, as its learner tells; read by status and metrics."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from daemon.span import span
from learner.directory.progress_event import ProgressEvent
from memory.ledger.states import RoundState
from serving.tracing.spans import NO_SPAN, NO_TRACING, Span, Tracing

ROUND_PHASES = (
    "draw",
    "start",
    "verify",
    "load",
    "encode",
    "plausibility",
    "score",
    "skills",
    "importance",
    "train",
    "candidates",
    "judge",
    "write",
)
"""What a round does, one after the other: its draw, its learner's start, the learner's own phases, the gate, and what
the gate accepts is written.
"""


@dataclass(frozen=True, slots=True)
class PhaseWork:
    """How much of a phase is done.

    Attributes:
        unit: what it is counted in, in the plural.
        seconds_left: until it ends, at its speed so far; None while that is not known.
    """

    done: int
    of: int
    unit: str
    seconds_left: float | None

    def sentence(self) -> str:
        """For a person: `1,200 of 4,000 tokens, about 3 min left`."""
        remaining = "" if self.seconds_left is None else f", about {span(self.seconds_left)} left"
        return f"{self.done:,} of {self.of:,} {self.unit}{remaining}"


@dataclass(frozen=True, slots=True)
class RoundProgress:
    """Where the round in progress stands.

    Attributes:
        phase: what it does now, one of `ROUND_PHASES`.
        work: how much of that is done; None where it cannot be counted.
        steps: optimizer steps it will take; 0 while unknown.
        gone_on_from: the step that its learner went on from, as an earlier one was cut off; 0 where none was.
        waits_for: what its learner waits for before it runs; empty where it does not wait.
        started_at: unix seconds.
        reason: why it began, a sentence.
        fresh_samples: fresh text that it trains on.
        early_stop_samples: fresh text that it keeps apart, to tell when to stop.
    """

    number: int
    started_at: float
    reason: str = ""
    fresh_samples: int = 0
    early_stop_samples: int = 0
    phase: str = "draw"
    work: PhaseWork | None = None
    step: int = 0
    steps: int = 0
    gone_on_from: int = 0
    waits_for: str = ""
    tokens_per_second: float | None = None


SPAN_FACTS: Final = frozenset(
    {"state", "outcome", "trigger", "decision", "candidate", "generation", "fresh_samples", "fresh_tokens",
     "replay_samples", "device", "steps", "tokens_new", "tokens_replayed", "tokens_per_second"}
)  # fmt: skip
"""What of a round's end is said of its span: no sentence, for an error's may quote a document."""


class RoundSpans:
    """The round in progress as a span, and each of its phases as one within. Used by the thread that runs rounds."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._round: Span = NO_SPAN
        self._phase: Span = NO_SPAN
        self._concluded = False

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a program that the round starts continues its span."""
        return {name.upper(): value for name, value in self._round.carried.items()}

    def begin(self, number: int, parent: int | None, began: float | None) -> Mapping[str, str]:
        """A round begins, at `began` in unix seconds (None: now); what names its span in lines of the log."""
        facts = {"riverkeep.round": number, "riverkeep.generation.parent": parent}
        self._round = self._tracing.begin("round", facts, began=began)
        self._concluded = False
        self._begin_phase("draw", began)
        return self._round.ids

    def phase(self, name: str) -> None:
        """It does something else now; nothing where none is in progress."""
        if self._round is not NO_SPAN:
            self._begin_phase(name, None)

    def _begin_phase(self, name: str, began: float | None) -> None:
        self._phase.end()
        self._phase = self._tracing.begin(f"round {name}", {}, within=self._round, began=began)

    def conclude(self, facts: Mapping[str, Any]) -> None:
        """Say how it ended."""
        self._concluded = True
        self._round.note({f"riverkeep.round.{name}": facts[name] for name in SPAN_FACTS & facts.keys()})
        if facts.get("state") == RoundState.FAILED:
            self._round.fail("failed")

    def end(self) -> None:
        """It has ended; one of which nobody said how was broken off by an error."""
        if not self._concluded:
            self._round.fail("broken_off")
        self._phase.end()
        self._round.end()
        self._round = self._phase = NO_SPAN


class CurrentRound:
    """Holds the progress of at most one round, and whether it was called off. Safe between threads.

    Args:
        clock: seconds, of any clock that never goes back.
        tracing: what is told of the round.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, tracing: Tracing = NO_TRACING) -> None:
        self._clock = clock
        self.spans = RoundSpans(tracing)
        self._lock = threading.Lock()
        self._progress: RoundProgress | None = None
        self._ended = threading.Condition(self._lock)
        self._called_off: str = ""
        self._cancelled_at: float | None = None

    @property
    def since_cancel(self) -> float | None:
        """Seconds since a person last called rounds off; None where nobody did."""
        return None if self._cancelled_at is None else self._clock() - self._cancelled_at

    @property
    def progress(self) -> RoundProgress | None:
        """Where the round in progress stands; None between rounds."""
        return self._progress

    @property
    def called_off(self) -> str:
        """Why the round in progress must end without effect; empty when it need not."""
        return self._called_off

    def begin(self, number: int, now: float, *, reason: str = "", fresh: int = 0, early_stop: int = 0) -> None:
        """A round begins; see `RoundProgress`."""
        with self._lock:
            self._progress = RoundProgress(number, now, reason, fresh, early_stop)
            self._called_off = ""

    def phase(self, name: str) -> None:
        """The round does something else now."""
        self.spans.phase(name)
        with self._lock:
            if self._progress is not None:
                self._progress = replace(self._progress, phase=name, work=None, waits_for="")

    def hear(self, event: ProgressEvent) -> None:
        """Take in what the learner says; what is of no phase or step that a round has is passed over."""
        # A phase that status and metrics do not know would be shown nowhere.
        if event.event == "phase" and event.name in ROUND_PHASES:
            self.phase(event.name)
        elif event.event in ("step", "goes_on") and event.step is not None:
            self._step(event, event.step)
        elif event.event == "begun_anew":
            with self._lock:
                if self._progress is not None:
                    self._progress = replace(self._progress, step=0, gone_on_from=0)
        elif event.event in ("waits", "runs"):
            with self._lock:
                if self._progress is not None:
                    self._progress = replace(self._progress, waits_for=event.reason)
        if (work := _work(event)) is not None:
            with self._lock:
                if self._progress is not None:
                    self._progress = replace(self._progress, work=work)

    def _step(self, event: ProgressEvent, step: int) -> None:
        with self._lock:
            if self._progress is not None:
                self._progress = replace(
                    self._progress,
                    step=step,
                    steps=self._progress.steps if event.steps is None else event.steps,
                    gone_on_from=step if event.event == "goes_on" else self._progress.gone_on_from,
                    tokens_per_second=event.tokens_per_second,
                )

    def end(self) -> None:
        """The round has ended."""
        self.spans.end()
        with self._lock:
            self._progress = None
            self._called_off = ""
            self._ended.notify_all()

    def call_off(self, why: str, *, number: int | None = None) -> bool:
        """Let the round in progress (or only this one) end without effect; False when there is none.

        The first reason stays: what comes later finds a round that is off already.
        """
        with self._lock:
            if self._progress is None or number not in (None, self._progress.number):
                return False
            self._called_off = self._called_off or why
            return True

    def cancel(self, why: str) -> int | None:
        """Call the round in progress off by a person's word; its number, None where there is none."""
        with self._lock:
            # Also when none is in progress: who takes back what was asked for is promised the same wait.
            self._cancelled_at = self._clock()
            if self._progress is None:
                return None
            self._called_off = self._called_off or why
            return self._progress.number

    def wait_for_end(self, timeout: float) -> bool:
        """Wait until no round is in progress; False when one still is after `timeout` seconds."""
        with self._lock:
            return self._ended.wait_for(lambda: self._progress is None, timeout)


def _work(event: ProgressEvent) -> PhaseWork | None:
    if event.of <= 0 or not event.unit:
        return None
    return PhaseWork(event.done, event.of, event.unit, event.seconds_left)
