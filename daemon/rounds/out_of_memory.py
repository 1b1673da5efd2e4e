"""What is done about a round whose learner ran out of memory: the micro-batch is halved, now or in the next round."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from daemon.processes.learner_process import LearnerEnding, LearnerExit
from learner.directory.round_directory import PROGRESS, halve_micro_batch, limit_micro_batch
from learner.errors import BadRoundDirectory

log = structlog.get_logger(__name__)


class SmallerMicroBatches:
    """How large a micro-batch may be after what earlier rounds ran into; the recipe's own where nothing happened."""

    def __init__(self) -> None:
        self._largest: int | None = None

    def learn(self, directory: Path, run: Callable[[], LearnerExit]) -> LearnerExit:
        """Run a round's learner, and once more with half the micro-batch where it ran out of memory."""
        ended = run()
        if ended.ending is LearnerEnding.OUT_OF_MEMORY:
            ended = self._learn_again(directory, run, ended)
        if ended.ending is LearnerEnding.FINISHED:
            self._largest = None
        return ended

    def _learn_again(self, directory: Path, run: Callable[[], LearnerExit], first: LearnerExit) -> LearnerExit:
        half = halve_micro_batch(directory)
        if half is None:
            return replace(first, detail=f"{first.detail}; the micro-batch is 1 already")
        log.warning("round_tried_again", reason=first.detail, micro_batch=half)
        again = run()
        detail = f"{first.detail}; tried again with half the micro-batch ({half}): {again.detail}"
        return replace(again, detail=detail)

    def note_cut_off(self, directory: Path) -> str:
        """Let the next round begin with half the micro-batch of one whose learner was at work; what to say of it.

        A container that is killed whole for memory takes the daemon with its learner. Nothing tells that from other
        sudden ends, and the same round anew would end the same way for ever.
        """
        # A learner that had not said a word yet had loaded nothing that could fill the memory.
        if not (directory / PROGRESS).exists():
            return ""
        try:
            self._largest = halve_micro_batch(directory) or 1
        except (OSError, BadRoundDirectory):
            return ""
        return (
            f", together with the service: the next round begins with a micro-batch of {self._largest}, in case they "
            "were killed for memory"
        )

    def begin(self, directory: Path) -> None:
        """Let a round begin with as small a micro-batch as the last one that was cut off left."""
        if self._largest is not None and limit_micro_batch(directory, self._largest):
            log.warning(
                "round_begins_smaller", micro_batch=self._largest, reason="the last one was cut off with the service"
            )
