"""What came by the streams and is kept, by source; and what could not be understood."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.kept import DeadLetterLine, MemoryAnswer
from daemon.page.addresses import record_address

SOURCES_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """One record that could not be understood.

    Attributes:
        trace: the address where the record is followed.
        value, key: what was kept of it; None until somebody asks for it, or where there is none.
        cut: whether the record was longer than what was kept.
        is_shown: whether what was kept was asked for.
    """

    id: int
    place: str
    trace: str
    reason: str
    detail: str
    size: int
    arrived_at: float
    value: str | None
    key: str | None
    cut: bool
    headers: tuple[tuple[str, str], ...]
    is_shown: bool


@dataclass(frozen=True, slots=True)
class DeadLettersView:
    """A page of them, newest first.

    Attributes:
        kept: how many there are in all; `size` in bytes.
        reasons: since the beginning, also of those that made room, the most frequent first.
        older: what `before` brings the next page; None where there is none.
        is_shown: whether the records are.
    """

    rows: tuple[DeadLetterRow, ...]
    kept: int
    size: int
    reasons: tuple[tuple[str, int], ...]
    older: int | None
    is_shown: bool


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What is kept of one source: samples by role."""

    name: str
    fresh: int
    replay: int
    holdout: int
    aside: int
    tokens: int


def dead_letters_view(
    letters: Sequence[DeadLetterLine], memory: MemoryAnswer, *, limit: int, text: bool
) -> DeadLettersView:
    """A page of dead letters, of at most `limit`."""
    rows = tuple(dead_letter_row(letter) for letter in letters)
    reasons = sorted(memory["dead_letter_reasons"].items(), key=lambda entry: -entry[1])
    return DeadLettersView(
        rows,
        memory["quarantine"]["dead_letters"],
        memory["quarantine"]["bytes"],
        tuple(reasons),
        rows[-1].id if len(rows) == limit and rows[-1].id > 1 else None,
        text,
    )


def dead_letter_row(letter: DeadLetterLine) -> DeadLetterRow:
    """One of them, with its record where the answer has it."""
    headers = tuple((name or "", "null" if value is None else value) for name, value in letter.get("headers", ()))
    return DeadLetterRow(
        id=letter["id"],
        place=f"{letter['topic']}/{letter['partition']} at {letter['offset']}",
        trace=record_address(letter["topic"], letter["partition"], letter["offset"]),
        reason=letter["reason"].replace("_", " "),
        detail=letter["detail"],
        size=letter["value_bytes"],
        arrived_at=letter["arrived_at"],
        value=letter.get("value"),
        key=letter.get("key"),
        cut=letter.get("cut", False),
        headers=headers,
        is_shown="value" in letter,
    )


def source_rows(memory: MemoryAnswer) -> tuple[SourceRow, ...]:
    """By source, the one of most tokens first."""
    samples: dict[str, dict[str, int]] = {}
    tokens: dict[str, int] = {}
    for line in memory["kept"]:
        by_role = samples.setdefault(line["source"], {})
        by_role[line["role"]] = by_role.get(line["role"], 0) + line["samples"]
        tokens[line["source"]] = tokens.get(line["source"], 0) + line["tokens"]
    rows = [
        SourceRow(
            name,
            by_role.get("fresh", 0),
            by_role.get("replay", 0),
            by_role.get("holdout", 0),
            by_role.get("aside", 0),
            tokens[name],
        )
        for name, by_role in samples.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.tokens, row.name)))
