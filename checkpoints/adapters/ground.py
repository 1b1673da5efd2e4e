"""What the generation of an adapter lies on: a whole one, its ground, whose weights it changes. Imports no torch.

    ground.json                  which generation that is, and how many rounds' changes the adapter holds
    adapter_config.json          the adapter, in the format of the library peft
    adapter_model.safetensors

Configuration, tokenizer and all weights that the adapter leaves alone are the ground's. In a store the ground lies
under its own number beside the adapter's generation; in a round's directory, which may go to another machine, below
it. A ground is always whole, so that what serves is one whole generation and at most one adapter.
"""

from pathlib import Path
from typing import Final

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from checkpoints.errors import UnusableModel
from checkpoints.files.model_files import ADAPTER_CONFIG, GROUND_FILE, read_object
from checkpoints.json_files import STRICT, read_beside

BELOW: Final = "ground"
"""The folder that has the ground in a round's directory, below the adapter's own."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Ground:
    """What an adapter's generation lies on.

    Attributes:
        generation: its number.
        model: the digest of its model, as `checkpoints.generation_store.GenerationStore.model_digest` gives it. What is
            listed of the adapter's generation includes it, so that the digest of that generation is of all that serves.
        rounds: how many rounds' changes the adapter holds.
    """

    generation: NonNegativeInt
    model: str
    rounds: PositiveInt


def is_adapter(directory: Path) -> bool:
    """Tell whether a generation's directory, or a candidate's, holds an adapter and no whole model."""
    return (directory / GROUND_FILE).is_file()


def read_ground(directory: Path) -> Ground | None:
    """Read what the adapter in a directory lies on; None of a whole model.

    Raises:
        UnusableModel: the file is damaged.
    """
    return read_beside(directory / GROUND_FILE, Ground, "ground")


def rank_of(directory: Path) -> int:
    """Read the rank of the adapter in a directory.

    Raises:
        UnusableModel: the file is missing or damaged.
    """
    rank = read_object(directory / ADAPTER_CONFIG).get("r")
    if not isinstance(rank, int) or rank < 1:
        raise UnusableModel(f"{directory / ADAPTER_CONFIG} names no rank (r); verify the generation")
    return rank


def whole_dir(directory: Path) -> Path:
    """Where a generation's configuration, tokenizer and unchanged weights lie: in its own directory or in its ground's.

    Args:
        directory: of a generation, in a store or in a round's directory; it need not exist.

    Raises:
        UnusableModel: what it says of its ground is damaged.
    """
    ground = read_ground(directory)
    if ground is None:
        return directory
    below = directory / BELOW
    return below if below.is_dir() else directory.parent / f"{ground.generation:06d}"
