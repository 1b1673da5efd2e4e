"""What the model that learns from records needs of each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordNeeds:
    """What a model needs of a record.

    Attributes:
        labels: the labels there are, one of which each document must have, or of a `LabelSet` any number; None where
            documents need none and any is taken.
        no_chats: why it can learn from no chat; empty where it can.
        pairs: whether it learns from an input and its target, and from nothing else.
    """

    labels: frozenset[str] | None = None
    no_chats: str = ""
    pairs: bool = False


TEXT_ALONE = RecordNeeds()
"""Of a language model that learns from texts, and from chats where they come."""
