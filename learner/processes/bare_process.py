"""How much main memory a learner takes without a model: libraries, and what they make ready at a first step."""

from importlib import import_module

import psutil
import torch
from torch import nn

from learner import job
from learner.adapter_library import has_adapters
from learner.devices.peaks import give_back_free_memory
from learner.settings import RecipeSettings
from learner.training.optimizers import adamw

__all__ = ["bytes_of_adapters", "bytes_of_bare_process", "job"]


def bytes_of_bare_process() -> int:
    """Return the resident memory of this process, in bytes, once it has loaded what a learner loads."""
    # The first step of an optimizer loads the compiler, whatever is trained; the first products of matrices, threads.
    layer = nn.Linear(256, 256)
    optimizer = adamw(layer.parameters(), RecipeSettings())
    layer(torch.ones(256, 256)).sum().backward()
    optimizer.step()
    give_back_free_memory()
    return psutil.Process().memory_info().rss


def bytes_of_adapters() -> int:
    """Return what the library for adapters adds to this process's resident memory, in bytes; 0 where there is none.

    To be asked where it has not been loaded yet.
    """
    if not has_adapters():
        return 0
    before = psutil.Process().memory_info().rss
    import_module("peft")
    give_back_free_memory()
    return max(0, psutil.Process().memory_info().rss - before)
