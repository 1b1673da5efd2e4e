"""What is understood but not worth keeping: text that is too short, or that only repeats itself."""

from streams.document import Reason
from streams.settings import FilterSettings

SHINGLE = 8
"""Characters in a shingle: long enough to be rare in prose, short enough to see a repeated word."""
WINDOW = 2000
SHORTEST_JUDGED = 64
"""Repetition in fewer characters than this is normal ("ha ha ha")."""
PROBE = 20


def find_rejection(text: str, settings: FilterSettings) -> tuple[Reason, str] | None:
    """Why a text is not worth keeping, and the particulars; None when it is."""
    size = len(text)
    least = settings.min_characters
    # A least of 1 spares the copy that `strip` makes: blank text has been refused as empty.
    if size < least or (least > 1 and len(text.strip()) < least):
        return Reason.TOO_SHORT, f"fewer than {least} characters"
    if size < SHORTEST_JUDGED or settings.max_repetition >= 1 or not _suspicious(text):
        return None
    share = repetition(text)
    if share > settings.max_repetition:
        return Reason.REPETITIVE, f"{share:.2f} of it repeats itself"
    return None


def repetition(text: str) -> float:
    """Share of a text that repeats itself: 0 when no 8 characters come twice, near 1 for one token repeated.

    Shingles, not words, so that it holds for scripts without spaces. The least of three windows of 2,000
    characters counts, because distinct shingles are bound to become rarer the longer a text is, and because
    one table in a long document makes it no spam.
    """
    middle = max(0, (len(text) - WINDOW) // 2)
    # A set: of a short text the three are one.
    windows = {text[:WINDOW], text[middle : middle + WINDOW], text[-WINDOW:]}
    return min(_window_repetition(window) for window in windows)


def _window_repetition(window: str) -> float:
    total = len(window) - SHINGLE + 1
    if total <= 1:
        return 0.0
    distinct = len({window[start : start + SHINGLE] for start in range(total)})
    # One less of both: so a single shingle over and over comes to 1, and none twice to 0.
    return 1 - (distinct - 1) / (total - 1)


def _suspicious(text: str) -> bool:
    # Nearly every text is cleared by three searches in C; counting shingles costs a hundred times as much.
    size = len(text)
    middle, third = size // 2 - PROBE, size // 3
    return (
        text.find(text[:PROBE], 1, WINDOW) != -1
        or text.find(text[middle : middle + PROBE], middle + 1, middle + WINDOW) != -1
        or text.find(text[third : third + PROBE], third + 1, third + WINDOW) != -1
    )
