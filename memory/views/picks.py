"""Which of two generations' answers people found the better."""

from memory.ledger.history import picks
from memory.ledger.history.picks import PickCounts
from memory.views.session import Session


class Picks:
    """Blind picks between generations, as they are counted. Any method may be called from any thread."""

    def __init__(self, file: Session) -> None:
        self._file = file

    def note(self, pair: tuple[int, int], won: int | None, *, who: str) -> None:
        """Count a pick, and tell of it in the audit log, in one transaction.

        Args:
            pair: two generations, in any order.
            won: the one whose answer is the better; None: they are equal.
            who: whose word it is.
        """
        most = self._file.settings.audit_rows
        self._file.write(picks.note, pair, won, who=who, now=self._file.clock(), most_lines=most)

    def counts(self, pair: tuple[int, int] | None = None) -> list[PickCounts]:
        """What each person picked of a pair, or of every pair; those picked from last come first."""
        return self._file.read(picks.counts, pair)
