"""Generations that are watched in traffic before they serve."""

from collections.abc import Mapping
from typing import Any

from memory.ledger.history import canaries
from memory.ledger.history.canaries import CanaryRecord
from memory.views.session import Session


class Canaries:
    """Watched generations as the ledger has them. Every method may be called from any thread.

    A round's acceptance begins the watch (`Store.rounds.accept`). What serves is the generation beside it until it is
    promoted.
    """

    def __init__(self, file: Session) -> None:
        self._file = file

    def watched(self) -> CanaryRecord | None:
        """The generation that is watched now; None mostly."""
        return self._file.read(canaries.watched)

    def of_round(self, number: int) -> CanaryRecord | None:
        """The one that a round made, watched now or once; None where it was not, or that is too long ago."""
        return self._file.read(canaries.of_round, number)

    def since(self, moment: float) -> list[CanaryRecord]:
        """Those that are watched, or were until then (unix seconds) or later, oldest first; the latest of many."""
        return self._file.read(canaries.since, moment)

    def note(self, generation: int, watch: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
        """Keep what was observed so far, and what is said of it; JSON values only. Nothing where it is not watched."""
        self._file.write(canaries.note, generation, watch, verdict)

    def promote(self, generation: int, verdict: Mapping[str, Any] | None = None, *, by: str) -> None:
        """Let the watched generation serve.

        Args:
            generation: that is watched.
            verdict: why; JSON values only. None keeps what was said last.
            by: whose word it is.

        Raises:
            WrongState: it is not watched, or what it was watched beside serves no more.
        """
        self._file.write(canaries.promote, generation, verdict, by=by, now=self._file.clock())

    def roll_back(self, generation: int, verdict: Mapping[str, Any] | None = None, *, by: str) -> None:
        """End the watch of a generation that is not to serve: it is flagged, and never serves by itself.

        Args: as `promote`.

        Raises:
            WrongState: it is not watched.
        """
        self._file.write(canaries.roll_back, generation, verdict, by=by, now=self._file.clock())
