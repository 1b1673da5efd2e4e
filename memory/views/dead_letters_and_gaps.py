"""Dead letters and gaps: what could not be understood, and what never came."""

from collections.abc import Iterable, Mapping

from memory.intake import dead_letters_and_gaps
from memory.intake.records import StoredDeadLetter, StoredGap
from memory.views.session import Session
from streams.document import Reason


class Quarantine:
    """What could not be understood, and what never came. Every method may be called from any thread."""

    def __init__(self, file: Session) -> None:
        self._file = file

    def is_full(self) -> bool:
        """Whether letters that wait for their topic fill the quarantine: consumption should pause, to lose none."""
        return self._file.read(dead_letters_and_gaps.is_full, self._file.settings)

    def dead_letters(self, limit: int = 100, after: int = 0) -> list[StoredDeadLetter]:
        """Dead letters in the quarantine with ids above `after`, oldest first."""
        return self._file.read(dead_letters_and_gaps.list_letters, limit, after)

    def latest(self, limit: int = 100, before: int | None = None) -> list[StoredDeadLetter]:
        """Dead letters in the quarantine with ids below `before`, newest first."""
        return self._file.read(dead_letters_and_gaps.latest, limit, before)

    def by_detail(self, reason: Reason) -> dict[str, int]:
        """How many dead letters of one reason the quarantine has, by the particulars; it is read over as a whole."""
        return self._file.read(dead_letters_and_gaps.by_detail, reason)

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """The dead letter of that id; None where the quarantine has it not, or no longer."""
        return self._file.read(dead_letters_and_gaps.find_letter, number)

    def unpublished(self, limit: int = 100) -> list[StoredDeadLetter]:
        """Dead letters that the dead-letter topic has not acknowledged, oldest first."""
        return self._file.read(dead_letters_and_gaps.list_letters, limit, 0, unpublished=True)

    def mark_published(self, ids: Iterable[int]) -> None:
        """Note that the dead-letter topic has acknowledged these."""
        self._file.write(dead_letters_and_gaps.mark_published, ids)

    def note_reasons(self, reasons: Mapping[int, tuple[Reason, str]]) -> None:
        """Note why these dead letters (by id) are dead today, and the particulars; what was counted stays."""
        self._file.write(dead_letters_and_gaps.note_reasons, reasons)

    def drop(self, ids: Iterable[int] | None = None) -> int:
        """Remove dead letters from the quarantine: these ids, or all. Returns how many."""
        return self._file.write(dead_letters_and_gaps.drop, ids)

    def gaps(self, limit: int = 100, before: int | None = None) -> list[StoredGap]:
        """The latest gaps in offsets, those with smaller ids than `before`; newest first."""
        return self._file.read(dead_letters_and_gaps.latest_gaps, limit, before)
