"""Whose weights can be divided over devices while a round trains, by a model's configuration. Torch-free."""

from collections.abc import Iterator, Mapping
from typing import Any

from checkpoints.kinds import ModelKind


def why_not_divisible(kind: ModelKind, config: Mapping[str, Any]) -> str:
    """Return what keeps a model's weights whole, a clause without a full stop; empty where nothing is known to.

    All ranks have to pass together, and to have a gradient of the same weights: of a mixture's experts each rank's
    tokens may go to others. A classifier's steps are not made so that they could.

    Args:
        kind: of the model.
        config: as its config.json has it.
    """
    if kind == "classifier":
        return "a classifier's weights are not divided over devices"
    if any(number > 1 for number in _numbers_of_experts(config)):
        return "the weights of a mixture of experts are not divided over devices"
    return ""


def _numbers_of_experts(config: Mapping[str, Any]) -> Iterator[int]:
    """Whatever an architecture calls them, and in whichever part of its configuration."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers_of_experts(value)
        elif "expert" in str(name) and isinstance(value, int) and not isinstance(value, bool):
            yield value
