"""The candidate that the gate chose, written whole before it is published: by a learner's process, which has torch."""

from collections.abc import Callable
from typing import Final

import structlog

from daemon.processes.learner import LearnerEnding, LearnerExit

log = structlog.get_logger(__name__)

MOST_TRIES: Final = 3
"""What is killed so often without a word will not come to its end."""


class CandidateNotWritten(Exception):
    """The candidate that the gate chose cannot be written; the message says why."""


def write_whole(name: str, run: Callable[[], LearnerExit]) -> bool:
    """Have a candidate written, again where somebody killed who writes it; False where it was stopped first.

    Args:
        name: of the candidate.
        run: starts who writes it, and waits for the end.

    Raises:
        CandidateNotWritten: it cannot be written.
    """
    for _ in range(MOST_TRIES):
        ended = run()
        if ended.ending is LearnerEnding.FINISHED:
            return True
        if ended.ending is LearnerEnding.STOPPED:
            return False
        if not ended.may_go_on:
            break
        log.warning("candidate_not_written", candidate=name, reason=ended.detail)
    raise CandidateNotWritten(
        f"candidate {name}, which the gate accepts, cannot be written: {ended.detail}. The next round trains its text"
    )
