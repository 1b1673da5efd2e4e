"""What is said of a partition that a flood of dead letters paused, wherever it is said."""

from collections.abc import Sequence
from typing import Final

FLOOD: Final = "dead_letter_flood"
"""Why it is paused, as status and metrics name it (`streams.kafka.Pause`, which needs a Kafka client)."""


def flood_sentence(names: Sequence[str]) -> str:
    """What happened to these partitions, and what a person does about it."""
    return f"a flood of dead letters paused {', '.join(names)}: when it is mended, run `riverkeep resume`"
