"""What a causal language model writes to a fixed prompt, and with which log-probabilities. Imports no torch.

It is written beside the weights by who has them in memory, and goes with every generation, so that an engine that is
a program of its own can be held to it before it answers anybody: another program may read the same files otherwise.
"""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, NonNegativeInt
from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT, Figure, read_beside, write_json

REFERENCE_FILE: Final = "reference_answer.json"
ANSWER_TOKENS: Final = 8
"""How many of the tokens are the answer: each takes a pass without a cache, of a large model on a CPU a second."""


@dataclass(frozen=True, slots=True, config=STRICT)
class ReferenceAnswer:
    """Tokens, and how probable the model finds each behind those before it.

    Attributes:
        tokens: of the prompt, and `ANSWER_TOKENS` of the greedy answer to it.
        log_probabilities: in nats, of every token but the first; NaN where the model gives no number.
    """

    tokens: Annotated[tuple[NonNegativeInt, ...], Field(min_length=2)]
    log_probabilities: tuple[Figure, ...]


def read_reference(directory: Path) -> ReferenceAnswer | None:
    """Read what a generation answers; None where it was made before that was written down.

    Raises:
        UnusableModel: the file is damaged.
    """
    return read_beside(directory / REFERENCE_FILE, ReferenceAnswer, "reference_answer")


def write_reference(directory: Path, reference: ReferenceAnswer) -> None:
    """Keep with a model what it answers, in place of what another one did.

    Raises:
        OSError: the disk refused.
    """
    file = directory / REFERENCE_FILE
    # Linked from where another model's may still be needed: never written through.
    file.unlink(missing_ok=True)
    file.write_bytes(write_json(reference, indent=None))
