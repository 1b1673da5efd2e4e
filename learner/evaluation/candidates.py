"""The candidates of a round: points on the line between the parent and what training made of it.

Interpolating weights keeps more of the old for a little of the new (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models"). It is done in float32 whatever the stored dtype: in bf16 the difference that a round makes is often
below one rounding step. Tied weights are one parameter and so stay tied.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints.files.disk_errors import disk_errors
from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.files.model_files import GENERATION_CONFIG
from checkpoints.generation_store import CARD, MANIFEST

Weights = dict[str, Tensor]


def weights_of(model: Any) -> Weights:
    """Return a copy of a model's parameters and stored buffers, on the CPU, by name; tied ones once."""
    return {name: value.detach().to("cpu", copy=True) for name, value in _named(model).items()}


@torch.no_grad()
def interpolate_into(model: Any, parent: Weights, result: Weights, parent_share: float) -> None:
    """Give a model the weights between parent and result, in its own dtype.

    Args:
        model: of the same architecture; overwritten.
        parent: the parent's weights.
        result: the trained ones, float32.
        parent_share: 0 gives the result, 1 the parent.
    """
    for name, value in _named(model).items():
        if value.is_floating_point():
            value.copy_(torch.lerp(result[name].float(), parent[name].float(), parent_share))
        else:
            value.copy_(result[name])


@torch.no_grad()
def copy_into(model: Any, other: Any) -> None:
    """Give a model the weights of another of the same architecture, in its own dtype and on its own device."""
    weights = _named(other)
    for name, value in _named(model).items():
        value.copy_(weights[name])


def write_candidate(path: Path, model: Any, parent_dir: Path) -> None:
    """Write a whole model directory: safetensors in the model's dtype, configuration, the parent's tokenizer and ways.

    Raises:
        OSError: the disk refused.
    """
    if hasattr(model.config, NEW_WEIGHTS):
        delattr(model.config, NEW_WEIGHTS)
    with disk_errors(path):
        model.save_pretrained(path)
    # How the model answers where nothing is asked is its owner's to say, in words that transformers may not know.
    (path / GENERATION_CONFIG).unlink(missing_ok=True)
    for file in sorted(parent_dir.iterdir()):
        if file.is_file() and _is_companion(file.name) and not (path / file.name).exists():
            shutil.copyfile(file, path / file.name)


def _is_companion(name: str) -> bool:
    """Tell whether a file beside the weights goes with every generation: tokenizer, template, defaults of answers."""
    return name not in (CARD, MANIFEST) and not name.endswith((".safetensors", ".safetensors.index.json"))


def _named(model: Any) -> Weights:
    stored = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in stored}
    return dict(model.named_parameters()) | buffers
