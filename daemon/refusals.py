"""Records that were not understood or not kept, told of in the log: now and then, whatever their number."""

from collections import Counter
from collections.abc import Iterable

import structlog

from streams.document import DeadLetter

log = structlog.get_logger(__name__)

TOLD_SECONDS = 600.0
"""How often the log tells, at most, of one topic's dead letters."""


class Refusals:
    """Counts each topic's dead letters by reason from one line in the log to the next."""

    def __init__(self) -> None:
        self._since: dict[str, Counter[str]] = {}
        self._told_at: dict[str, float] = {}

    def tell(self, letters: Iterable[DeadLetter], now: float) -> None:
        """Count these, and tell of each topic that has some untold and was not told of lately.

        Args:
            letters: of one batch. What is in them stays out of the log, their details too.
            now: seconds, of a clock that never goes back.
        """
        for letter in letters:
            self._since.setdefault(letter.partition.topic, Counter())[letter.reason.value] += 1
        for topic in [one for one in self._since if now - self._told_at.get(one, float("-inf")) >= TOLD_SECONDS]:
            reasons = self._since.pop(topic)
            self._told_at[topic] = now
            log.warning(
                "records_refused",
                topic=topic,
                records=reasons.total(),
                reasons=dict(reasons.most_common()),
                look="riverkeep memory dead-letters",
            )
