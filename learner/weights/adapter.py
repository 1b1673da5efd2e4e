"""A low-rank change beside some of a model's weights, which is trained in their place.

    LoRA   W = P + s B A                                      s = alpha / rank
    DoRA   W = m (P + s B A) / |P + s B A|                    |…| the norm of each output's row

P is the parent's weight and stands still; A (rank × inputs), B (outputs × rank) and m (outputs) are trained. B begins
at 0 and m at |P|, so that W begins as P. Hu et al. 2021, "LoRA"; Liu et al. 2024, "DoRA", whose norm counts as a
constant in the gradient (section 4.3). Done through the library peft.

With the change left out the model is its own parent: what it is distilled from needs no memory of its own. A
classifier's head is small and has to learn labels: it is trained whole, beside a copy of what it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from checkpoints.adapters.low_rank import AdapterWeights, LowRank
from learner.adapter_library import HOW_TO_INSTALL, has_adapters
from learner.errors import LearnerError
from learner.settings import AdapterKind
from learner.weights.adapted_modules import choose_modules
from learner.weights.grown_head import find_head, narrow

_NAME: Final = "default"
"""What peft calls an adapter that is alone."""


class NoAdapters(LearnerError):
    """The library that makes adapters is not installed."""


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """How an adapter is made; see `learner.settings.RecipeSettings`.

    Attributes:
        kind: `lora` or `dora`.
        rank: of the change.
        alpha: it is multiplied with this, divided by the rank.
        modules: which linear maps of the layers it changes.
    """

    kind: AdapterKind
    rank: int
    alpha: int
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdaptedWeight:
    """A weight that stands still, with the change that is trained beside it.

    Attributes:
        layer: peft's, around the module that has it.
    """

    layer: Any

    @property
    def weight(self) -> Tensor:
        """P, in the module's own shape; while it is held in 4 bits its codes."""
        weight: Tensor = self.layer.get_base_layer().weight
        return weight

    def change(self) -> Tensor:
        """Return W - P, shaped like P, as a function of what is trained."""
        moved = self.layer.get_delta_weight(_NAME)
        if _NAME not in self.layer.lora_magnitude_vector:
            return moved  # type: ignore[no-any-return]  # peft's layers carry no types
        inputs = 0 if self.layer.fan_in_fan_out else 1
        direction = self.weight + moved
        norms = torch.linalg.vector_norm(direction.detach(), dim=inputs, keepdim=True)
        sizes = self.layer.lora_magnitude_vector[_NAME].weight.unsqueeze(inputs)
        return sizes / norms * direction - self.weight  # type: ignore[no-any-return]  # the same

    @property
    def is_touched(self) -> bool:
        """Whether the step under way came through it."""
        return self.layer.lora_B[_NAME].weight.grad is not None


class Adapter:
    """A model's adapter; made by `attach`.

    Attributes:
        adapted: by the weight's name in the model as it is stored.
        whole: further weights that are trained, each as it is, by name.
    """

    def __init__(self, model: Any, layers: Mapping[str, Any], heads_before: Mapping[str, nn.Module]) -> None:
        self._model, self._layers, self._heads_before = model, dict(layers), dict(heads_before)
        self.adapted = {f"{name}.weight": AdaptedWeight(layer) for name, layer in layers.items()}
        self.whole: dict[str, nn.Parameter] = {
            f"{head}.{name}": weight
            for head in heads_before
            for name, weight in model.get_submodule(head).named_parameters()
        }

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights that are not the parent's any more once the change is merged, by name."""
        return {name: adapted.weight for name, adapted in self.adapted.items()} | dict(self.whole)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Let the model be its parent meanwhile, without dropout; call no backward pass of it within."""
        was_training = self._model.training
        heads = {name: self._model.get_submodule(name) for name in self._heads_before}
        self._enable(adapters=False)
        self._put(self._heads_before)
        self._model.eval()
        try:
            yield
        finally:
            self._put(heads)
            self._enable(adapters=True)
            self._model.train(was_training)

    def _enable(self, *, adapters: bool) -> None:
        for layer in self._layers.values():
            layer.enable_adapters(adapters)

    def _put(self, modules: Mapping[str, nn.Module]) -> None:
        for name, module in modules.items():
            self._model.set_submodule(name, module)

    def learned(self) -> AdapterWeights:
        """Return a copy of what has been trained, of LoRA; before it is merged."""
        changes = {
            name: LowRank(
                layer.lora_A[_NAME].weight.detach().cpu().clone(),
                layer.lora_B[_NAME].weight.detach().cpu() * layer.scaling[_NAME],
            )
            for name, layer in self._layers.items()
        }
        whole = {name: weight.detach().cpu().clone() for name, weight in self.whole.items()}
        return AdapterWeights(changes, whole, tuple(self._heads_before))

    def merge(self) -> None:
        """Write the change into the model's weights, in place: it is a plain one again, all of whose weights train."""
        for layer in self._layers.values():
            layer.merge()
        self._put({name: layer.get_base_layer() for name, layer in self._layers.items()})
        self._model.requires_grad_(requires_grad=True)


def attach(model: Any, shape: AdapterShape, *, seed: int, heads: bool, known_labels: int | None = None) -> Adapter:
    """Hold a model's weights still and put an adapter beside them, in place.

    Args:
        model: with float32 weights.
        shape: of the adapter.
        seed: draws A, whatever was drawn before.
        heads: whether what lies above the body is trained whole: of a classifier.
        known_labels: how many the parent has, where the head grew more in this round.

    Raises:
        NoAdapters: peft is not installed.
        NoSuchModules: the model has nothing of what is to be changed.
    """
    require_adaptable(model, shape)
    names = choose_modules(model, shape.modules)
    heads_before = {name: deepcopy(model.get_submodule(name)) for name in _heads(model)} if heads else {}
    for name, head in heads_before.items():
        head.requires_grad_(requires_grad=False)
        if known_labels is not None:
            narrow(model, name, head, known_labels)
    model.requires_grad_(requires_grad=False)
    layers = _layers(model, names, shape, seed)
    for name, layer in layers.items():
        model.set_submodule(name, layer)
    adapter = Adapter(model, layers, heads_before)
    for weight in adapter.whole.values():
        weight.requires_grad = True
    return adapter


def require_adaptable(model: Any, shape: AdapterShape) -> None:
    """Refuse what `attach` would refuse, without changing anything.

    Raises:
        NoAdapters: peft is not installed.
        NoSuchModules: the model has nothing of what is to be changed.
    """
    if not has_adapters():
        raise NoAdapters(f'learner.recipe.adapter = "{shape.kind}" needs peft: {HOW_TO_INSTALL}, or leave adapter out')
    choose_modules(model, shape.modules)


def _layers(model: Any, names: Sequence[str], shape: AdapterShape, seed: int) -> dict[str, Any]:
    """Wrap each of those modules into peft's layer, by name.

    Made one by one: its way of doing all at once goes by the ends of names, and by what they were called in earlier
    versions of transformers.
    """
    from peft import LoraConfig  # noqa: PLC0415 - an extra
    from peft.tuners.lora import Linear  # noqa: PLC0415 - the same

    layers = {}
    # The CPU's draws alone, whatever the device: peft makes an adapter there.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for name in names:
            module = model.get_submodule(name)
            transposed = isinstance(module, Conv1D)
            config = LoraConfig(
                r=shape.rank, lora_alpha=shape.alpha, use_dora=shape.kind == "dora", fan_in_fan_out=transposed
            )
            layers[name] = Linear(
                module, _NAME, config, r=shape.rank, lora_alpha=shape.alpha, is_target_conv_1d_layer=transposed
            ).train(module.training)
    return layers


def _heads(model: Any) -> list[str]:
    """Names of the modules above a classifier's body."""
    body = model.base_model
    above = [
        name for name, child in model.named_children() if child is not body and any(True for _ in child.parameters())
    ]
    return above if body is not model and above else [find_head(model)[0]]
