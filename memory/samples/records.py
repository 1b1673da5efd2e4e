"""Samples, their roles and how many there are: plain, frozen data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

_BITS_64: Final = 2**64 - 1

_HASH: Final = re.compile(r"[0-9a-fA-F]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyHash:
    """A key by its keyed 64-bit hash (signed), for whom the key itself is not at hand, or too long to type."""

    value: int

    def __str__(self) -> str:
        """16 hexadecimal digits."""
        return f"{self.value & _BITS_64:016x}"

    @classmethod
    def from_hex(cls, digits: str) -> Self:
        """The hash that is shown so. Raises ValueError for what is none."""
        if not _HASH.fullmatch(digits):
            raise ValueError("a key's hash is 16 hexadecimal digits")
        unsigned = int(digits, 16)
        return cls(unsigned - 2**64 if unsigned >= 2**63 else unsigned)


class Role(IntEnum):
    """What a sample is kept for.

    Values are stored. They lie between 2 and 127 so that SQLite gives each the same width: a change of role then
    overwrites the row in place and leaves no copy of its text behind in the page.
    """

    FRESH = 2
    REPLAY = 3
    HOLDOUT = 4
    ASIDE = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """A document as kept in memory.

    Attributes:
        key_hash: keyed 64-bit hash of the document's key; the key itself is not kept.
        tokens: estimated from the text's bytes by the store's bytes per token.
        event_time, arrived_at: unix seconds.
        turns: of a chat, who said how much of its text, as in `streams.chats`; None for a document.
        weight: how much it counts in what a round minimises that drew it; 1: as every other.
    """

    id: int
    text: str
    source: str
    label: str | None
    role: Role
    tokens: int
    key_hash: int | None
    event_time: float | None
    arrived_at: float
    turns: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RoleCount:
    """Samples of one role, source and label."""

    role: Role
    source: str
    label: str | None
    samples: int
    tokens: int


@dataclass(frozen=True, slots=True)
class AgeCount:
    """Samples of one role, source and age.

    Attributes:
        source: of held-out text `anchor` where it is of all.
        first_round, last_round: in which it came; 0: from before the stream.
        tokens: None of held-out text.
    """

    role: Role
    source: str
    first_round: int
    last_round: int
    samples: int
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How full the memory is, read from counters that every transaction keeps.

    Attributes:
        by_role_and_source: one entry for each role, source and label that has samples.
        tallies: totals since the store was made: `duplicates`, `near_duplicates`, `forgotten`, `redelivered`,
            `surplus`, `dead_letters`, `gaps`, `gap_offsets`, and `dead_letters:REASON` for each reason.
        open_holdout: held-out documents that arrived since the last accepted round.
    """

    by_role_and_source: tuple[RoleCount, ...]
    fresh_samples: int
    fresh_tokens: int
    replay_samples: int
    replay_tokens: int
    holdout_samples: int
    open_holdout: int
    aside_samples: int
    aside_is_full: bool
    quarantine_rows: int
    quarantine_bytes: int
    tallies: Mapping[str, int]
    bytes_per_token: float
