"""The candidates of a round: points on the line between the parent and what training made of it.

Interpolating weights keeps more of the old for a little of the new (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models"). It is done in float32 whatever the stored dtype: in bf16 the difference that a round makes is often
below one rounding step (see `learner.weights.residual`). Tied weights are one parameter and so stay tied.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints.card import CARD
from checkpoints.files.disk_errors import disk_errors
from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.files.model_files import GENERATION_CONFIG
from checkpoints.manifest import MANIFEST
from learner.weights.residual import Residual, Residuals, add_residual, is_rounded, residual_of, round_into, thresholds

Weights = dict[str, Tensor]


def weights_of(model: Any, only: Collection[str] | None = None) -> Weights:
    """Return a copy of a model's parameters and stored buffers, on the CPU, by name; tied ones once.

    Args:
        model: on any device.
        only: the names of those that are wanted; None for all.
    """
    named = _named(model)
    wanted = named if only is None else {name: named[name] for name in only}
    return {name: value.detach().to("cpu", copy=True) for name, value in wanted.items()}


def masters_of(stored: Any, residuals: Residuals) -> Weights:
    """Return a copy of a stored model's weights and buffers as `weights_of` does, each as it was before rounding."""
    weights = weights_of(stored)
    for name, residual in residuals.items():
        weights[name] = weights[name].float()
        add_residual(weights[name], residual)
    return weights


@torch.no_grad()
def interpolate_into(model: Any, parent: Weights, result: Weights, parent_share: float) -> Residuals:
    """Give a model the weights between parent and result, in its own dtype.

    Args:
        model: of the same architecture, on the CPU; overwritten.
        parent: the parent's weights.
        result: the trained ones, float32.
        parent_share: 0 gives the result, 1 the parent.

    Returns:
        what rounding to the model's dtype cut off its parameters; buffers are not trained and have nothing to keep.
    """
    residuals: dict[str, Residual] = {}
    drawn = thresholds()
    trained = {name for name, _ in model.named_parameters()}
    for name, value in _named(model).items():
        if not value.is_floating_point():
            value.copy_(result[name])
            continue
        master = torch.lerp(result[name].float(), parent[name].float(), parent_share)
        if name not in trained or not is_rounded(value):
            value.copy_(master)
            continue
        round_into(value, master, drawn)
        residuals[name] = residual_of(value, master)
    return residuals


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
