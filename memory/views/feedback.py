"""What people said of answers."""

from collections.abc import Mapping

from memory.intake import feedback
from memory.intake.feedback import FeedbackCounts, GroupJudged, StoredOpinion
from memory.views.session import Session


class FeedbackView:
    """What was said of answers, joined to the generations that gave them. Any method, from any thread."""

    def __init__(self, file: Session) -> None:
        self._file = file

    def counts(self) -> Mapping[int, FeedbackCounts]:
        """By the generation's number, the newest first: of the latest 100,000 that were said."""
        return self._file.read(feedback.counts)

    def by_group(self, generation: int, since: float) -> list[GroupJudged]:
        """What was said of a generation's answers that were given from `since` on, unix seconds, by who had asked.

        Of those answers that are compared while one is watched; each once, by the last word on it.
        """
        return self._file.read(feedback.by_group, generation, since)

    def latest(self, limit: int = 50, before: int | None = None, generation: int | None = None) -> list[StoredOpinion]:
        """What was said, the newest first.

        Args:
            limit: most of them.
            before: an id: only what was said earlier.
            generation: of its answers alone.
        """
        return self._file.read(feedback.latest, limit, before, generation)
