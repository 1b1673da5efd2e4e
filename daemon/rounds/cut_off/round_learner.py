"""A round's learner: run, let go on where somebody ended it, and what it says handed on."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from daemon.metrics import DaemonMetrics
from daemon.processes.learner import Learner, LearnerEnding, LearnerExit, LearnerLimits
from daemon.rounds.current import CurrentRound
from daemon.rounds.cut_off.going_on import note_going_on
from daemon.settings.tree import Settings
from learner.directory.progress_event import ProgressEvent

log = structlog.get_logger(__name__)

TOLD_SECONDS: Final = 60.0
"""How often the log tells, at most, how a round gets on."""
MOST_ANEW: Final = 3
"""How often a round begins anew whose learner lost what it ran on before it had saved anything."""


class RoundLearner:
    """Runs the learner for one round after the other, in the thread that runs rounds.

    Args:
        learner: what runs it.
        current: hears how the round gets on, and says when it is called off.
    """

    def __init__(self, learner: Learner, current: CurrentRound, metrics: DaemonMetrics) -> None:
        self._learner, self._current, self._metrics = learner, current, metrics
        self._told_at, self._told_not_saved, self._told_wait = 0.0, False, ""

    def begin(self) -> None:
        """Another round begins: what was told of the last one may be told again."""
        self._told_at, self._told_not_saved, self._told_wait = time.monotonic(), False, ""

    def run(self, directory: Path, settings: Settings, must_stop: Callable[[], bool]) -> LearnerExit:
        """Run the round; where somebody ended it, and not certainly for memory, let it go on from what it saved.

        Raises:
            OSError: as `Learner.run`.
        """
        ended, anew = self._run(directory, settings, must_stop), 0
        while ended.may_go_on:
            step = note_going_on(directory)
            if step is not None:
                self.tell_going_on(step, ended.detail)
            elif ended.ending is LearnerEnding.LOST and anew < MOST_ANEW:
                anew += 1
                log.warning("round_begins_anew", reason=ended.detail)
            else:
                break
            ended = self._run(directory, settings, must_stop)
        return ended

    def write(self, directory: Path, settings: Settings, must_stop: Callable[[], bool], name: str) -> LearnerExit:
        """Have a candidate of the round written.

        Raises:
            OSError: as `Learner.run`.
        """
        return self._start(directory, settings, must_stop, name)

    def tell_going_on(self, step: int, reason: str) -> None:
        """Count and log that a round goes on from this step."""
        self._metrics.gone_on.inc()
        log.warning("round_goes_on", step=step, reason=reason)

    def _run(self, directory: Path, settings: Settings, must_stop: Callable[[], bool]) -> LearnerExit:
        self._current.phase("start")
        ended = self._start(directory, settings, must_stop, None)
        self._metrics.learner_ends.labels(ended.ending.value).inc()
        return ended

    def _start(
        self, directory: Path, settings: Settings, must_stop: Callable[[], bool], write: str | None
    ) -> LearnerExit:
        return self._learner.run(
            directory,
            limits=LearnerLimits(settings.learner.silence_seconds, settings.lifecycle.round_seconds),
            on_progress=self._hear,
            must_stop=lambda: must_stop() or bool(self._current.called_off),
            write=write,
        )

    def _hear(self, event: ProgressEvent) -> None:
        self._current.hear(event)
        self._metrics.hear(event)
        if event.event == "begun_anew":
            log.warning("round_begun_anew", reason=event.reason)
        if event.event == "not_compiled":
            log.warning("round_not_compiled", reason=event.reason)
        if event.event == "not_saved" and not self._told_not_saved:
            self._told_not_saved = True
            log.warning("round_not_saved", step=event.step, reason=event.reason)
        if event.event == "waits" and event.reason != self._told_wait:
            self._told_wait = event.reason
            log.info("round_waits", reason=event.reason)
        progress, now = self._current.progress, time.monotonic()
        if progress is not None and now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.info(
                "round_progress",
                phase=progress.phase,
                step=progress.step,
                steps=progress.steps,
                work=None if progress.work is None else progress.work.sentence(),
                tokens_per_second=progress.tokens_per_second,
                losses=event.losses,
            )
