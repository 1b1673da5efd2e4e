"""An adapter's weights: low-rank changes of some of a model's matrices, read, written in peft's format, and merged.

    W = G + B A        G the ground's weight, A (rank × inputs), B (outputs × rank)

What a round learned is added to what its parent's adapter holds by putting both side by side,

    B A + b a = [B b] [A; a]

so that the sum is exact, and with it every point between a parent and a result, (1 - t) b in place of b. The rank
grows by that of a round. Scales (alpha / rank) are multiplied into B and all modules have the same rank, filled up
with zeros, so that readers which know no rank or scale of a module by itself, as vLLM, take it. All is float32: the
ground is what is rounded to be stored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from checkpoints.card import ModelKind
from checkpoints.errors import UnusableModel
from checkpoints.files.model_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_object

_PREFIX: Final = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_TASKS: Final[Mapping[ModelKind, str]] = {
    "causal-lm": "CAUSAL_LM",
    "seq2seq": "SEQ_2_SEQ_LM",
    "classifier": "SEQ_CLS",
}
"""peft's names of what a model is for; it has none for what fills gaps."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """A change of one matrix.

    Attributes:
        a: rank × inputs, float32.
        b: outputs × rank, float32, the scale multiplied in.
    """

    a: Tensor
    b: Tensor

    def beside(self, later: "LowRank") -> "LowRank":
        """Return the sum of both changes, exactly."""
        return LowRank(torch.cat([self.a, later.a]), torch.cat([self.b, later.b], dim=1))

    def of_rank(self, rank: int) -> "LowRank":
        """Return the same change with as many rows and columns, filled up with zeros."""
        more = rank - len(self.a)
        return LowRank(torch.nn.functional.pad(self.a, (0, 0, 0, more)), torch.nn.functional.pad(self.b, (0, more)))

    def added_to(self, weight: Tensor, *, transposed: bool) -> Tensor:
        """Return a weight with the change, in float32, where the weight is.

        Args:
            weight: outputs × inputs, in any format.
            transposed: it is inputs × outputs instead, as in GPT-2's maps.
        """
        change = self.b.to(weight.device) @ self.a.to(weight.device)
        return weight.float() + (change.T if transposed else change)


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """What an adapter holds.

    Attributes:
        changes: by the name of the module whose `weight` it changes.
        whole: parameters that take the place of the ground's, by name: of a classifier's head.
        heads: names of the modules that have those.
    """

    changes: Mapping[str, LowRank] = field(default_factory=dict)
    whole: Mapping[str, Tensor] = field(default_factory=dict)
    heads: tuple[str, ...] = ()

    def beside(self, later: "AdapterWeights") -> "AdapterWeights":
        """Return the sum of both: of what is held whole the later."""
        changes = dict(self.changes)
        for name, change in later.changes.items():
            changes[name] = changes[name].beside(change) if name in changes else change
        heads = dict.fromkeys((*self.heads, *later.heads))
        return AdapterWeights(changes, {**self.whole, **later.whole}, tuple(heads))


class Adapted:
    """The weights of a ground that an adapter changes, as they are with it, in float32; each made when it is asked for.

    Args:
        ground: the model, in any format; its weights are read at each call.
        weights: of the adapter.
        path: of the adapter, for errors.

    Raises:
        UnusableModel: the adapter is none of this model.
    """

    def __init__(self, ground: Any, weights: AdapterWeights, path: Path) -> None:
        self._weights = weights
        self._transposed: set[str] = set()
        self._stands: dict[str, Tensor] = {}
        parameters = dict(ground.named_parameters())
        for name, change in weights.changes.items():
            weight = f"{name}.weight"
            shape = [len(change.b), change.a.shape[1]]
            if weight in parameters and isinstance(ground.get_submodule(name), Conv1D):
                self._transposed.add(weight)
                shape.reverse()
            self._stands[weight] = _fitting(parameters, weight, shape, path)
        for name, value in weights.whole.items():
            self._stands[name] = _fitting(parameters, name, value.shape, path)

    @property
    def names(self) -> list[str]:
        """Of the parameters that are not the ground's."""
        return list(self._stands)

    def __contains__(self, name: str) -> bool:
        """Whether a parameter is not the ground's."""
        return name in self._stands

    @torch.no_grad()
    def __getitem__(self, name: str) -> Tensor:
        """Compute a parameter as it is with the adapter.

        Raises:
            KeyError: it is the ground's.
        """
        if name in self._weights.whole:
            return self._weights.whole[name]
        change = self._weights.changes[name.removesuffix(".weight")]
        return change.added_to(self._stands[name].detach(), transposed=name in self._transposed)

    @property
    def transposed(self) -> bool:
        """Whether all matrices that it changes are inputs × outputs."""
        return len(self._transposed) == len(self._weights.changes)

    @torch.no_grad()
    def merge(self) -> None:
        """Put all of them into the ground, in its format: it is the adapted model from then on."""
        for name, weight in self._stands.items():
            weight.copy_(self[name])


def _fitting(parameters: Mapping[str, Tensor], name: str, shape: Sequence[int], path: Path) -> Tensor:
    if name in parameters and list(parameters[name].shape) == list(shape):
        return parameters[name]
    raise UnusableModel(
        f"{path}: the adapter changes {name}, which its ground lacks or has in another size; verify the generation, "
        "roll back if it is damaged"
    )


def write_adapter(directory: Path, weights: AdapterWeights, kind: ModelKind, *, ground: Path, transposed: bool) -> None:
    """Write an adapter into a directory, as the library peft does.

    Args:
        directory: which is there.
        weights: of the adapter.
        kind: of the model.
        ground: where its ground will lie, as seen from there.
        transposed: the matrices that it changes are inputs × outputs.

    Raises:
        OSError, safetensors.SafetensorError: the disk refused.
    """
    rank = max(len(change.a) for change in weights.changes.values())
    tensors = {_PREFIX + name: value for name, value in weights.whole.items()}
    for name, change in weights.changes.items():
        filled = change.of_rank(rank)
        tensors |= {f"{_PREFIX}{name}{_A}": filled.a, f"{_PREFIX}{name}{_B}": filled.b}
    cpu = {name: value.detach().to("cpu", torch.float32).contiguous() for name, value in tensors.items()}
    save_file(cpu, directory / ADAPTER_WEIGHTS, {"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": _TASKS.get(kind),
        "base_model_name_or_path": ground.as_posix(),
        "r": rank,
        # The scale, which readers take for alpha / r, is in the weights.
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(weights.changes),
        "modules_to_save": list(weights.heads) or None,
        "fan_in_fan_out": transposed,
        "use_dora": False,
        "use_rslora": False,
        "inference_mode": True,
    }
    (directory / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


def read_adapter(directory: Path) -> AdapterWeights:
    """Read an adapter that `write_adapter` wrote.

    Raises:
        UnusableModel: a file is missing or damaged.
    """
    config, path = read_object(directory / ADAPTER_CONFIG), directory / ADAPTER_WEIGHTS
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("r") != config.get("lora_alpha"):
        raise UnusableModel(
            f"{directory / ADAPTER_CONFIG} is of no adapter that Riverkeep wrote; verify the generation"
        )
    try:
        tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(path).items()}
        changes = {
            name.removesuffix(_A): LowRank(tensor, tensors[name.removesuffix(_A) + _B])
            for name, tensor in tensors.items()
            if name.endswith(_A)
        }
    except (OSError, SafetensorError, KeyError) as error:
        raise UnusableModel(
            f"{path} cannot be read: {error}; verify the generation, roll back if it is damaged"
        ) from error
    whole = {name: tensor for name, tensor in tensors.items() if not name.endswith((_A, _B))}
    return AdapterWeights(changes, whole, tuple(config.get("modules_to_save") or ()))
