"""The candidates of a round: points on the line between the parent and what training made of it.

Interpolating weights keeps more of the old for a little of the new (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models"). It is done in float32 whatever the stored dtype: in bf16 the difference that a round makes is often
below one rounding step (see `learner.weights.residual`). Tied weights are one parameter and so stay tied.

It is done weight by weight, each as it would be stored: so candidates are scored without being written, and memory
holds one weight of each beside the parent.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from checkpoints.card import CARD
from checkpoints.files.disk_errors import disk_errors
from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.files.model_files import GENERATION_CONFIG
from checkpoints.manifest import MANIFEST
from learner.weights.grown_head import GrownRows, grow
from learner.weights.residual import Residual, Residuals, add_residual, is_rounded, residual_of, round_into, thresholds

Weights = dict[str, Tensor]


class TensorsByName(Protocol):
    """Weights that need not all lie in memory: a dictionary of them, or a file."""

    def __contains__(self, name: str) -> bool:
        """Whether there is one of that name."""

    def __getitem__(self, name: str) -> Tensor:
        """The weight, on any device."""


def named_weights(model: Any) -> Weights:
    """A model's parameters and stored buffers by name, themselves; tied ones once."""
    stored = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in stored}
    return dict(model.named_parameters()) | buffers


@dataclass(frozen=True, slots=True)
class WeightOfCandidate:
    """One weight of a candidate.

    Attributes:
        name: of the weight.
        stored: as it is stored, on the CPU, in memory of its own.
        master: the same before it was rounded, float32; None where rounding has nothing to keep.
    """

    name: str
    stored: Tensor
    master: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What lies between a parent and what training made of it.

    Attributes:
        parent: the model as it is stored, on the CPU; where the head has grown in this round, with its new rows.
        residuals: what rounding cut off the parent's weights.
        result: the trained weights; what it has not is the parent's.
        rows: what the head has grown; None where it has not.
        adapted: the parent's weights in which it differs from the model, where it is an adapter on that.
    """

    parent: Any
    residuals: Residuals
    result: TensorsByName
    rows: GrownRows | None = None
    adapted: TensorsByName = field(default_factory=dict[str, Tensor])

    @classmethod
    def between(
        cls,
        parent: Any,
        residuals: Residuals,
        result: TensorsByName,
        rows: GrownRows | None,
        adapted: TensorsByName | None = None,
    ) -> "Line":
        """Make a line; the parent's head is given the rows here, in place."""
        if rows is not None:
            grow(parent, rows)
        return cls(parent, residuals, result, rows, {} if adapted is None else adapted)

    @torch.no_grad()
    def point(self, parent_share: float) -> Iterator[WeightOfCandidate]:
        """Compute a candidate, weight by weight; the parent's own may be overwritten by each as it comes.

        Args:
            parent_share: 0 gives the result, 1 the parent.
        """
        drawn = thresholds()
        trained = {name for name, _ in self.parent.named_parameters()}
        for name, value in named_weights(self.parent).items():
            if not value.is_floating_point():
                yield WeightOfCandidate(name, self._result(name, value).clone())
                continue
            parent = self._master(name, value)
            master = torch.lerp(self._result(name, parent).float(), parent.float(), parent_share)
            if name not in trained or not is_rounded(value):
                yield WeightOfCandidate(name, master.to(value.dtype))
                continue
            stored = torch.empty_like(value)
            round_into(stored, master, drawn)
            yield WeightOfCandidate(name, stored, master)

    def _result(self, name: str, parent: Tensor) -> Tensor:
        return self.result[name].detach().cpu() if name in self.result else parent

    def _master(self, name: str, value: Tensor) -> Tensor:
        """The parent's weight as it was before it was rounded, with the rows that the head has grown."""
        new = None if self.rows is None else self.rows.weights.get(name)
        if name in self.adapted:
            master = self.adapted[name]
            return master if new is None else torch.cat([master, new.to(master)])
        master = value.detach() if new is None else value.detach()[: len(value) - len(new)]
        if name in self.residuals:
            master = master.float()
            add_residual(master, self.residuals[name])
        return master if new is None else torch.cat([master, new.to(master)])


@torch.no_grad()
def put_into(model: Any, candidate: Iterable[WeightOfCandidate]) -> str:
    """Give a model a candidate's weights, in its own dtype and on its own device; return their digest."""
    named, digest = named_weights(model), DigestOfWeights()
    for weight in candidate:
        digest.add(weight)
        named[weight.name].copy_(weight.stored)
    return digest.hex()


@torch.no_grad()
def store_into(model: Any, candidate: Iterable[WeightOfCandidate]) -> tuple[str, Residuals]:
    """Give a model of the stored dtype a candidate's weights; return their digest, and what rounding cut off them."""
    named, digest, cut_off = named_weights(model), DigestOfWeights(), dict[str, Residual]()
    for weight in candidate:
        digest.add(weight)
        named[weight.name].copy_(weight.stored)
        if weight.master is not None:
            cut_off[weight.name] = residual_of(weight.stored, weight.master)
    return digest.hex(), cut_off


@torch.no_grad()
def copy_into(model: Any, other: Any) -> None:
    """Give a model the weights of another of the same architecture, in its own dtype and on its own device."""
    weights = named_weights(other)
    for name, value in named_weights(model).items():
        value.copy_(weights[name])


@dataclass(frozen=True, slots=True)
class DigestOfWeights:
    """SHA-256 over a candidate's weights in their order: their names, formats, shapes, and bytes as they are stored."""

    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, weight: WeightOfCandidate) -> None:
        """Take in the next weight."""
        stored = weight.stored
        self._sha256.update(f"{weight.name} {stored.dtype} {tuple(stored.shape)}\n".encode())
        self._sha256.update(stored.contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def hex(self) -> str:
        """The digest, in hexadecimal."""
        return str(self._sha256.hexdigest())


def write_model(path: Path, model: Any, parent_dir: Path) -> None:
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
