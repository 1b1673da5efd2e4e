"""A model's weights in the dtype that they are stored in, for training that needs no float32 copy of them."""

from typing import Any

import torch


def take_stored_dtype(model: Any, stored: Any) -> None:
    """Give the weights of a float32 model that are stored in bfloat16 that dtype, in place.

    Args:
        model: with the stored weights, and no gradients yet.
        stored: the same as it is stored, in whatever dtype; a head that has grown since may lack rows there.
    """
    dtypes = {name: weight.dtype for name, weight in stored.named_parameters()}
    for name, weight in model.named_parameters():
        if dtypes[name] == torch.bfloat16:
            weight.data = weight.data.to(torch.bfloat16)


def take_float32(model: Any) -> None:
    """Give all weights of a model float32 again, in place."""
    for weight in model.parameters():
        weight.data = weight.data.float()
