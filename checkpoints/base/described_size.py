"""Whether the weights that there are can be those that a configuration describes, told before memory is taken."""

import copy
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open

from checkpoints.errors import UnusableModel

# What is not stored is at most an output head as large as the embedding, or a new head of some labels.
MOST_SHARE: Final = 2
SLACK: Final = 100_000_000


def require_size(path: Path, made: Any, config: Any) -> None:
    """Refuse a configuration of a far larger model than is stored: what is missing would be made up, at its full size.

    A configuration that has lost its sizes describes the architecture's usual ones: 24 billion, say.

    Args:
        path: of the model, with its weights.
        made: the class that the configuration makes.
        config: its configuration.

    Raises:
        UnusableModel: names both sizes.
    """
    described, stored = _described(made, config), _stored(path)
    if described > MOST_SHARE * stored + SLACK:
        raise UnusableModel(
            f"{path / 'config.json'} describes a model of {described / 1e6:,.0f} million parameters, the weights hold "
            f"{stored / 1e6:,.1f} million: take both from one source, with the sizes of every part in config.json"
        )


def _described(made: Any, config: Any) -> int:
    # Where it makes no model at all, loading it says why.
    # Without memory: on this device weights have sizes and nothing else.
    with suppress(Exception), torch.device("meta"):
        return sum(weight.numel() for weight in made(copy.deepcopy(config)).parameters())
    return 0


def _stored(path: Path) -> int:
    total = 0
    for file in path.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            total += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118 - no dict
    return total
