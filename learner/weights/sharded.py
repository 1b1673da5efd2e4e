"""A model whose weights lie divided over several ranks while it is trained: torch's FSDP2.

Each rank holds a share of every weight, of its gradient and of what the optimizer keeps of it. A layer's weights are
gathered when a pass comes to it and let go of behind it, so that all ranks have to pass together. Those outside of the
layers (embeddings, head) stay gathered from a forward pass to the end of its backward pass, or to `at_rest`. Gradients
are added up over the ranks as they are divided again.

Where passes are in bfloat16 autocast makes such a copy of each weight, and the backward pass keeps those of all layers.
"""

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from learner.devices.ranks import Ranks


def layers_of(model: Any) -> list[nn.Module]:
    """Return the layers that a model is divided by: those modules that transformers never splits, where they repeat."""
    unsplit = set(getattr(model, "_no_split_modules", None) or ())
    modules = [module for module in model.modules() if type(module).__name__ in unsplit]
    # What comes once, as embeddings, may share its weight with another module: it stays in the model's own part.
    repeated = Counter(type(module) for module in modules)
    return [module for module in modules if repeated[type(module)] > 1]


def same_modules(model: Any) -> Any:
    """Return a copy of a model that shares its weights, and has buffers of its own."""
    return deepcopy(model, {id(weight): weight for weight in model.parameters()})


def shard(model: Any, ranks: Ranks, device: torch.device) -> None:
    """Divide a model's weights over the ranks, in place; each keeps its share on its device.

    What the weights were is let go of, layer by layer: whoever else holds them has empty ones.

    Args:
        model: the same on all ranks, on any device.
        ranks: that train it together.
        device: this rank's.
    """
    mesh = init_device_mesh(device.type, (ranks.count,))
    for module in (*layers_of(model), model):
        whole = [weight for weight in module.parameters() if not isinstance(weight, DTensor)]
        fully_shard(module, mesh=mesh)
        for weight in whole:
            weight.data = weight.data.new_empty(0)
    for part in _parts(model):
        # A step's loss is divided by what the whole step predicts: gradients are added up, and not averaged.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(enable=True)


def at_rest(model: Any) -> None:
    """Let the parameters of a model be the shares, as a forward pass leaves some of them gathered.

    What is read or written between two passes is to be these: what is written to gathered ones is lost.
    """
    for part in _parts(model):
        part.reshard()


def _parts(model: Any) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def is_divided(weight: Tensor) -> bool:
    """Tell whether this rank holds a share of a weight."""
    return isinstance(weight, DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """Return what this rank holds of a tensor, itself and no copy; all of one that is not divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_of(tensor: Tensor) -> Tensor:
    """Return all of a tensor, on every rank; all of them have to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(whole: Tensor, weight: Tensor) -> Tensor:
    """Return a tensor of a weight's shape where and how that lies: on its device, in its format, divided as it is.

    Args:
        whole: all of it, or the share of another that is divided as the weight is.
        weight: which it is to lie like.
    """
    if not isinstance(weight, DTensor):
        return whole.to(weight.device, weight.dtype)
    if isinstance(whole, DTensor):
        return whole
    mesh, placements = weight.device_mesh, weight.placements
    moved = whole.to(local_part(weight).device, weight.dtype)
    # Every rank has all of it: nothing is sent.
    divided = distribute_tensor(moved, mesh, placements, src_data_rank=None)
    # A copy, as the share is a view that would keep the whole.
    share = local_part(divided).clone()
    return DTensor.from_local(share, mesh, placements, run_check=False, shape=weight.shape, stride=divided.stride())


def share_like(share: Tensor, weight: Tensor) -> Tensor:
    """Return a rank's share of a tensor that is divided as a weight is; itself where that is not divided."""
    if not isinstance(weight, DTensor):
        return share
    moved = share.to(local_part(weight).device)
    mesh, placements = weight.device_mesh, weight.placements
    return DTensor.from_local(moved, mesh, placements, run_check=False, shape=weight.shape, stride=weight.stride())


@torch.no_grad()
def clip_gradients(weights: Sequence[nn.Parameter], most: float, ranks: Ranks) -> Tensor:
    """Bound the norm of weights' gradients, in place; return what it was, a scalar on the device.

    Torch's own gives, for divided weights, a norm that is too small (2.13, on gloo).
    """
    if not any(map(is_divided, weights)):
        return nn.utils.clip_grad_norm_(weights, most, foreach=True)
    gradients = [local_part(weight.grad) for weight in weights if weight.grad is not None]
    squared = nn.utils.get_total_norm(gradients, foreach=True).square()
    ranks.add_up(squared)
    norm = squared.sqrt()
    torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))
    return norm


@torch.no_grad()
def gather_into(model: Any, divided: Any) -> None:
    """Give a model whose weights `shard` has emptied those of its divided copy; all ranks together.

    The copy's are let go of one by one, and it is of no use any more.
    """
    at_rest(divided)
    weights, buffers = dict(divided.named_parameters()), dict(divided.named_buffers())
    for name, weight in model.named_parameters():
        share = weights[name].detach()
        weight.data = whole_of(share)
        local_part(share).untyped_storage().resize_(0)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
