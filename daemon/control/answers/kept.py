"""What is kept: samples by role, what is set aside, dead letters, and offsets that never came."""

from typing import NotRequired, TypedDict

from daemon.control.answers.records import RecordPlace, SampleLine


class KeptLine(TypedDict):
    """How much is kept of one role, source and label."""

    role: str
    source: str
    label: str | None
    samples: int
    tokens: int


class AgeLine(TypedDict):
    """How much is kept of one role, source and age.

    Attributes:
        role: `replay` or `holdout`.
        source: of held-out text `anchor` where it is of all.
        first_round, last_round: in which it came; 0: from before the stream.
        tokens: None of held-out text.
    """

    role: str
    source: str
    first_round: int
    last_round: int
    samples: int
    tokens: int | None


class AsideLine(TypedDict):
    """What one round set aside.

    Attributes:
        since: unix seconds.
        samples, tokens: of text meant for training.
        held_out: samples of the held-out part, set aside with it.
    """

    round: int
    reason: str
    since: float
    samples: int
    tokens: int
    held_out: int
    sources: list[str]


class QuarantineSize(TypedDict):
    """How much the quarantine holds."""

    dead_letters: int
    bytes: int


class MemoryAnswer(TypedDict):
    """What is kept, and what was left out.

    Attributes:
        ages: replay and held-out text by the rounds that it came in, oldest first.
        fresh_since: when the fresh sample that has waited longest arrived, unix seconds; None where nothing is fresh.
        holdout_shares: by source, the share that is held out of its new keys now.
        dead_letter_reasons: since the beginning, also of those that made room.
        tallies: totals since the beginning, as in `Counts`.
    """

    kept: list[KeptLine]
    ages: list[AgeLine]
    fresh_since: float | None
    aside: list[AsideLine]
    quarantine: QuarantineSize
    dead_letter_reasons: dict[str, int]
    tallies: dict[str, int]
    bytes_per_token: float
    holdout_shares: dict[str, float]


class AsideDocument(SampleLine):
    """A document that a round set aside, with its text unless that was not asked for.

    Attributes:
        characters: of its text.
        held_out: whether it was held-out text.
        key_hash: alike for documents of one person; None without a key.
        loss: nats per token under the generation that served.
        repetition: share of it that repeats; both None for what the round did not measure.
    """

    characters: int
    held_out: bool
    key_hash: str | None
    loss: float | None
    repetition: float | None


class AsideTextAnswer(TypedDict):
    """A page of the documents that a round set aside, bounded in bytes too.

    Attributes:
        next: what `after` brings the next page; None where there is none.
    """

    round: int
    documents: list[AsideDocument]
    next: int | None


class ReleasedAside(TypedDict):
    """How many samples that a round set aside are back, and how many of it are left aside."""

    round: int
    released: int
    left: int


class DroppedAside(TypedDict):
    """How many samples that a round set aside are erased, and how many of it are left aside."""

    round: int
    dropped: int
    left: int


class CountedAside(TypedDict):
    """How much of what a round set aside is of a source, a key, or both.

    Attributes:
        samples: of text meant for training.
        held_out: of held-out text.
        of: all that the round set aside.
        sources: documents by source, of all that it set aside.
    """

    round: int
    samples: int
    held_out: int
    of: int
    sources: dict[str, int]


class DeadLetterLine(RecordPlace):
    """A record that could not be understood; what was kept of it only where its text is asked for.

    Attributes:
        value_bytes: of the record.
        arrived_at: unix seconds.
        published: whether it was sent to the dead letters' topic too.
        key, value: as UTF-8, other bytes as backslash escapes.
        cut: whether the record was longer than what was kept.
        headers: the record's own, each a name and a value.
        headers_dropped: how many were not kept.
    """

    id: int
    reason: str
    detail: str
    value_bytes: int
    arrived_at: float
    published: bool
    key: NotRequired[str | None]
    value: NotRequired[str]
    cut: NotRequired[bool]
    headers: NotRequired[list[list[str | None]]]
    headers_dropped: NotRequired[int]


class GapLine(TypedDict):
    """Offsets that never came.

    Attributes:
        first, last: both of them among those.
        recorded_at: unix seconds.
    """

    id: int
    topic: str
    partition: int
    first: int
    last: int
    reason: str
    recorded_at: float


class ReplayedDeadLetters(TypedDict):
    """What became of dead letters that were decoded again.

    Attributes:
        kept: stored now.
        known: dropped as duplicates.
        reasons: of those that are still dead, how many for which reason.
        need_restart: sections of the settings that say how to decode, changed on disk, and are not in force until a
            restart.
    """

    kept: int
    known: int
    still_dead: int
    reasons: dict[str, int]
    need_restart: list[str]


class DroppedDeadLetters(TypedDict):
    """How many dead letters are erased."""

    dropped: int


class ResumedPartitions(TypedDict):
    """Partitions, as `topic/number`, that are read on where a flood of dead letters paused them."""

    resumed: list[str]
