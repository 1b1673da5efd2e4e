"""A few records straight from the broker, and how each would be read."""

from typing import NotRequired, TypedDict

from daemon.control.answers.records import RecordPlace


class HeldOffsets(TypedDict):
    """Which offsets a partition holds.

    Attributes:
        first: the first there is.
        next: the one that comes next.
    """

    partition: int
    first: int
    next: int


class PeekedLine(RecordPlace):
    """A record, and what it would become; what it says only where that is asked for.

    Attributes:
        time: the record's own, unix seconds; None where it has none.
        value_bytes: of its value.
        form: what it is written as: see `FormLine`.
        packed: the compression that its producer sent it in.
        becomes: `document`, `dead_letter` or `waits`.
        reason: why it would be a dead letter; None for any other.
        detail: the particulars, or what it waits for; empty for a document.
        source, label, characters: of a document; None for any other.
        key: the key of a document, else the record's own, shortened; None where there is none.
        text: of a document, else the record's bytes as UTF-8, others as backslash escapes; shortened.
        cut: whether the text is longer.
        headers: the record's own, each a name and a value, shortened; at most so many.
    """

    time: float | None
    value_bytes: int
    form: str
    packed: str
    becomes: str
    reason: str | None
    detail: str
    source: str | None
    label: str | None
    characters: int | None
    key: NotRequired[str | None]
    text: NotRequired[str]
    cut: NotRequired[bool]
    headers: NotRequired[list[list[str | None]]]


class PeekAnswer(TypedDict):
    """What was found at a place in a topic. Nothing was committed, and no group joined.

    Attributes:
        is_read: whether `streams.topics` names the topic; one that it does not name is shown as JSON would be read.
        format: what its records are to be: `json` or `text`.
        partitions: how many the topic has.
        ranges: of the partitions that were looked at.
        records: of one partition by their offsets; of several the newest first.
        note: why there may be more; empty where there is not.
    """

    topic: str
    is_read: bool
    format: str
    partitions: int
    ranges: list[HeldOffsets]
    records: list[PeekedLine]
    note: str
