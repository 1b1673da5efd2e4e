"""A model's layers compiled by `torch.compile`, so that what is small in them is done in few passes over memory.

Compiled is what transformers takes for a layer that may be checkpointed. All layers of a model are alike and become one
piece of code, which takes seconds, not minutes as the whole model would. Embeddings, masks and heads stay as they are,
and so does all that is scored: only within `running` are the layers compiled ones.

Each shape is compiled by itself, as it is. Code for any shape would be made by the first one that comes, and a round
that goes on from a save begins with another: on a CPU it would not reach the same bits.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

MOST_VARIANTS: Final = 64
"""Of a layer's code: shapes, of training and of the parent, with and without an adapter. Beyond that torch would go on
without compiling, silently."""
_OPTIONS: Final[dict[str, Any]] = {
    # Dropout draws what it draws without compiling.
    "fallback_random": True,
}


class CompiledLayers:
    """The layers of some models, each with its compiled way.

    Args:
        models: whose layers. They are compiled by the first pass of each shape.
    """

    def __init__(self, *models: nn.Module) -> None:
        _configure()
        modules = (module for model in models for module in model.modules())
        layers = dict.fromkeys(module for module in modules if isinstance(module, GradientCheckpointingLayer))
        self._forwards = {
            # A layer that is not one piece of code is refused, not compiled in parts.
            layer: torch.compile(layer.forward, fullgraph=True, dynamic=False, options=_OPTIONS)
            for layer in layers
        }

    def __len__(self) -> int:
        """Return how many layers there are."""
        return len(self._forwards)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the layers be the compiled ones; a backward pass belongs into the context too."""
        for layer, forward in self._forwards.items():
            layer.forward = forward
        try:
            with warnings.catch_warnings():
                # Torch warns of what it does itself while it compiles.
                warnings.simplefilter("ignore")
                yield
        finally:
            for layer in self._forwards:
                # What hid the class's own.
                del layer.forward


def _configure() -> None:
    # They take a second to import, and nobody else needs them.
    from torch import _dynamo, _inductor  # noqa: PLC0415

    _dynamo.config.recompile_limit = max(_dynamo.config.recompile_limit, MOST_VARIANTS)
    # By itself a process for each core, each with a torch of its own.
    _inductor.config.compile_threads = min(_inductor.config.compile_threads or 1, torch.get_num_threads())
