"""Where text came from: keys that answers about samples and dead letters have in common."""

from typing import NotRequired, TypedDict


class RecordPlace(TypedDict):
    """The record that something came from."""

    topic: str
    partition: int
    offset: int


class MessageLine(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


class SampleLine(RecordPlace):
    """A sample; with its text only where that is asked for.

    Attributes:
        event_time, arrived_at: unix seconds.
        messages: of a chat; its text is what they say.
        input, target: of a pair, whose text is both.
    """

    id: int
    role: str
    source: str
    label: str | None
    event_time: float | None
    arrived_at: float
    text: NotRequired[str]
    messages: NotRequired[list[MessageLine]]
    input: NotRequired[str]
    target: NotRequired[str]
