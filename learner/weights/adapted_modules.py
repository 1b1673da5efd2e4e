"""Which linear maps of a model an adapter changes: the model is asked for what it has, there is no list of models.

Layers are what a model has many of, numbered. Of their linear maps those are attention's whose path says so; the others
are the feed-forward part ("mlp"). Left alone are:

- a mixture's router, which decides which expert learns, and experts that are no linear maps of their own;
- what mixes tokens otherwise than by attention (state spaces, recurrences): such code reads weights past their modules,
  where the change beside them is not seen;
- what sees or hears, through which no text goes;
- a weight that several modules share, which only one of their changes could be merged into;
- the head and the embeddings, which are no part of a layer.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from learner.errors import LearnerError
from learner.settings import ADAPTER_PARTS as PARTS

_ATTENTION: Final = re.compile(r"att(n|ention)", re.IGNORECASE)
_LEFT_ALONE: Final = re.compile(
    r"^(gate|shared_expert_gate)$|router|mamba|mixer|ssm|lstm|recurrent|rglru|linear_attn|vision|visual|image|audio|img",
    re.IGNORECASE,
)


class NoSuchModules(LearnerError):
    """A model has nothing of what an adapter is to change; the message says what it has."""


def choose_modules(model: Any, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of the linear maps that are meant, in the model's order.

    Args:
        model: whose layers are looked through.
        wanted: words of `PARTS`, or names, each the end of a full one (`q_proj`, `mlp.up_proj`).

    Raises:
        NoSuchModules: a word or name fits none.
    """
    maps = dict(_maps_of_layers(model))
    for word in wanted:
        if not any(_fits(word, name, part) for name, part in maps.items()):
            raise NoSuchModules(
                f"learner.recipe.adapter_modules names {word}, and no linear map in the layers of this "
                f"{type(model).__name__} is meant by it; {_describe(maps)}"
            )
    return tuple(name for name, part in maps.items() if any(_fits(word, name, part) for word in wanted))


def _fits(word: str, name: str, part: str) -> bool:
    return part == word if word in PARTS else f".{name}".endswith(f".{word}")


def _maps_of_layers(model: Any) -> Iterator[tuple[str, str]]:
    """Yield each linear map's full name with the part that it belongs to."""
    named = dict(model.named_modules())
    holders = Counter(id(weight) for module in named.values() for weight in module.parameters(recurse=False))
    for name, module in named.items():
        path = name.split(".")
        if not _is_map(module) or holders[id(module.weight)] > 1 or not any(word.isdigit() for word in path):
            continue
        if not any(_LEFT_ALONE.search(word) for word in path):
            yield name, PARTS[1] if any(_ATTENTION.search(word) for word in path) else PARTS[0]


def _is_map(module: nn.Module) -> bool:
    """Whether a module maps what it is given, and that alone, with its weight."""
    if type(module) in (nn.Linear, Conv1D):
        return True
    # Torch's own of a kind is read past its forward.
    return isinstance(module, nn.Linear) and not type(module).__module__.startswith("torch.") and _is_plain(module)


@torch.no_grad()
def _is_plain(module: nn.Linear) -> bool:
    """Whether an architecture's own kind of linear map is one: it is tried."""
    given = torch.linspace(-1, 1, module.in_features).to(module.weight)[None]
    expected = functional.linear(given, module.weight, module.bias)
    try:
        mapped = module(given)
    except (IndexError, RuntimeError, TypeError, ValueError):
        return False
    return isinstance(mapped, torch.Tensor) and mapped.shape == expected.shape and torch.allclose(mapped, expected)


def _describe(maps: dict[str, str]) -> str:
    if not maps:
        return "there is none that an adapter could change: train all weights (adapter left out)"
    names: dict[str, list[str]] = defaultdict(list)
    for name, part in maps.items():
        below = _below_layer(name)
        if below not in names[part]:
            names[part].append(below)
    there = "; ".join(f"{part}: {', '.join(names[part])}" for part in PARTS if names[part])
    return f"it has {there}"


def _below_layer(name: str) -> str:
    """A module's name as it is in every layer."""
    path = name.split(".")
    last_number = max(at for at, word in enumerate(path) if word.isdigit())
    return ".".join(path[last_number + 1 :]) or path[last_number - 1]
