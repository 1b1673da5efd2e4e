"""One forward and backward pass of a micro-batch: its gradient is added to the weights', its loss terms returned."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from learner.devices.device import Device
from learner.objectives.compiled_layers import CompiledLayers
from learner.objectives.forward_pass import MicroBatch, Pieces
from learner.objectives.halves import Halves, Read
from learner.objectives.heads import OwnHead
from learner.objectives.losses import CausalObjective, ClassifierObjective, Objective
from learner.objectives.packed_attention import PackedAttention, packed_attention_of
from learner.objectives.part_sizes import parts
from learner.objectives.router_loss import ROUTER, RouterLoss
from learner.objectives.workspace import Workspace

Standing: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Makes the context in which a model that is parent and model in one answers as the parent."""


class Pass(Protocol):
    """Passes micro-batches through a model, and where it is needed through its parent."""

    @property
    def names(self) -> tuple[str, ...]:
        """The terms that it returns, in order: of the new text first, then those of the replayed."""

    def __call__(self, batch: MicroBatch, targets: float, tokens: int) -> Tensor:
        """Add a micro-batch's gradient to the weights'; return its loss terms, by `names`.

        Args:
            batch: a part of the step.
            targets: what the whole step predicts, counted by weight.
            tokens: in the whole step.
        """

    def read_parent(self, batch: MicroBatch) -> None:
        """Let the parent, if there is one, read a micro-batch, and forget what it says.

        Where its weights are divided over ranks, all of them have to pass when one does.
        """


@dataclass(frozen=True, slots=True)
class CausalPass:
    """Of a causal LM; logits and their gradient are made a part at a time, and never lie in memory all at once.

    Attributes:
        model: trained.
        parent: what it is distilled from; None where the objective needs none.
        objective: what is minimised.
        device: where it runs.
        standing: the context in which `parent` answers as the parent, where it is the model itself.
        router: the auxiliary loss of a mixture's router; None for a model without.
        attention: how the model attends to pieces; None: as transformers lets it.
        parents_attention: the same of the parent.
        layers: those of both, compiled; None: they run as they are.
    """

    model: Halves
    parent: Halves | None
    objective: CausalObjective
    device: Device
    standing: Standing = nullcontext
    router: RouterLoss | None = None
    attention: PackedAttention | None = None
    parents_attention: PackedAttention | None = None
    layers: CompiledLayers | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The terms; see `Pass`."""
        return self.objective.names if self.router is None else (*self.objective.names, ROUTER)

    def __call__(self, batch: MicroBatch, targets: float, tokens: int) -> Tensor:
        """Pass a micro-batch; see `Pass`."""
        with nullcontext() if self.layers is None else self.layers.running():
            return self._pass(batch, targets, tokens)

    def _pass(self, batch: MicroBatch, targets: float, tokens: int) -> Tensor:
        # The parent first, while the model has kept nothing for its backward pass; in a context of its own, as weights
        # that autocast converted without a graph would be taken for the model's too, where both are one.
        with self.device.autocast():
            parents = self._parents(batch)
        # Around the backward pass too, which may read the layers again.
        with _attending(self.attention, batch.pieces) as more:
            return self._learn(replace(batch, inputs={**batch.inputs, **more}), parents, targets, tokens)

    def _learn(self, batch: MicroBatch, parents: Tensor | None, targets: float, tokens: int) -> Tensor:
        with self.device.autocast():
            read = self._read(batch)
        # One context for all parts, as the head's weight is converted once in each.
        with self.device.autocast():
            terms, gradient = self._through_the_head(batch, read.hidden.detach(), parents, targets)
        if self.router is None or read.auxiliary is None:
            read.hidden.backward(gradient)
            return terms
        # A mean over the pass's tokens: by their share in the step, however it is cut into passes.
        auxiliary = read.auxiliary * (sum(batch.widths) / tokens)
        torch.autograd.backward([read.hidden, auxiliary * self.router.coefficient], [gradient, None])
        return torch.cat([terms, auxiliary.detach()[None]])

    @torch.no_grad()
    def read_parent(self, batch: MicroBatch) -> None:
        """Let the parent pass with those of other ranks; see `Pass`."""
        if self.parent is not None:
            with self.device.autocast(), self.standing():
                self.parent.read(batch.inputs)

    def _read(self, batch: MicroBatch) -> Read:
        if self.router is None:
            return self.model.read(batch.inputs)
        return self.router.read(self.model, batch)

    @torch.no_grad()
    def _parents(self, batch: MicroBatch) -> Tensor | None:
        # On new rows there is nothing to distil: no pass of the parent is spent on them.
        if self.parent is None or batch.first_replayed == len(batch.targets):
            return None
        with self.standing(), _attending(self.parents_attention, batch.replayed_pieces) as more:
            return self.parent.read({**batch.replayed_inputs(), **more}).hidden

    def _through_the_head(
        self, batch: MicroBatch, hidden: Tensor, parents: Tensor | None, total: float
    ) -> tuple[Tensor, Tensor]:
        """Return the loss terms, and the gradient at the hidden states; the head's own weights get theirs here.

        Args:
            batch: the micro-batch.
            hidden: of the model, detached; shape (rows × width, size).
            parents: of the parent on the replayed rows alone; None where it is not needed.
            total: what the whole step predicts, counted by weight.
        """
        gradient, wanted = torch.zeros_like(hidden), ToPredict.of(batch)
        before_replayed = batch.first_replayed * batch.targets.shape[1]
        new, replayed = batch.places
        most = min(self.model.places_of_part(hidden), max(len(new), len(replayed), 1))
        workspace = Workspace(most, self.model.head.vocabulary, hidden.device)
        terms = torch.zeros(len(self.objective.names), device=hidden.device)
        # Also where there is nothing to predict: the head's weights then have a gradient, as on the other ranks.
        for part in parts(len(new), most) if len(new) or len(replayed) else [slice(0)]:
            places = new[part]
            at_places, gradient[places] = self._part(hidden[places], None, wanted.at(places), total, workspace)
            terms[0] += at_places[0]
        for part in parts(len(replayed), most):
            places = replayed[part]
            told = None if parents is None else parents[places - before_replayed]
            at_places, gradient[places] = self._part(hidden[places], told, wanted.at(places), total, workspace)
            terms[1:] += at_places
        return terms, gradient

    def _part(
        self, hidden: Tensor, told: Tensor | None, wanted: "ToPredict", total: float, workspace: Workspace
    ) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and divergence of some places, and the gradient at their hidden states."""
        parents = None if told is None else partial(self._parent_logits, told, workspace)

        def minimised(logits: Tensor) -> tuple[Tensor, Tensor]:
            return self.objective(logits, parents, wanted.targets, total, workspace, weights=wanted.weights)

        return self.model.head.learn(hidden, minimised, workspace)

    def _parent_logits(self, told: Tensor, workspace: Workspace) -> Tensor:
        assert self.parent is not None
        # A plain linear map has no adapter that would have to be off.
        with self.standing() if isinstance(self.parent.head, OwnHead) else nullcontext():
            return self.parent.head.logits(told, workspace)


@dataclass(frozen=True, slots=True)
class ToPredict:
    """What is to be predicted at places, rows laid end to end.

    Attributes:
        targets: the tokens; shape (places,).
        weights: what each counts; likewise. None: all alike.
    """

    targets: Tensor
    weights: Tensor | None

    @classmethod
    def of(cls, batch: MicroBatch) -> "ToPredict":
        """Return that of a whole micro-batch."""
        return cls(batch.targets.flatten(), None if batch.weights is None else batch.weights.flatten())

    def at(self, places: Tensor) -> "ToPredict":
        """Return that at some places."""
        return ToPredict(self.targets[places], None if self.weights is None else self.weights[places])


def _attending(attention: PackedAttention | None, pieces: Pieces | None) -> AbstractContextManager[dict[str, Any]]:
    """The context in which a model attends to pieces; it says what that is to be called with beside its inputs."""
    return nullcontext({}) if attention is None or pieces is None else attention.taking(pieces)


@dataclass(frozen=True, slots=True)
class ClassifierPass:
    """Of a classifier, whose logits are few.

    Attributes:
        model: trained.
        parent: what it is distilled from; None where the objective needs none.
        objective: what is minimised.
        device: where it runs.
        standing: the context in which `parent` answers as the parent, where it is the model itself.
    """

    model: Any
    parent: Any
    objective: ClassifierObjective
    device: Device
    standing: Standing = nullcontext

    @property
    def names(self) -> tuple[str, ...]:
        """The terms; see `Pass`."""
        return self.objective.names

    def __call__(self, batch: MicroBatch, targets: float, tokens: int) -> Tensor:  # noqa: ARG002 - of a router's loss
        """Pass a micro-batch; see `Pass`."""
        with self.device.autocast():
            logits = self.model(**batch.inputs).logits
            parent_logits = self._parent_logits(batch)
        terms, gradient = self.objective(logits.detach(), parent_logits, batch, targets)
        logits.backward(gradient)
        return terms

    @torch.no_grad()
    def read_parent(self, batch: MicroBatch) -> None:
        """Let the parent pass with those of other ranks; see `Pass`."""
        if self.parent is not None:
            with self.device.autocast(), self.standing():
                self.parent(**batch.inputs)

    @torch.no_grad()
    def _parent_logits(self, batch: MicroBatch) -> Tensor | None:
        if self.parent is None or batch.first_replayed == len(batch.targets):
            return None
        with self.standing():
            logits: Tensor = self.parent(**batch.replayed_inputs()).logits
        return logits


def pass_of(
    model: Any,
    parent: Any,
    objective: Objective,
    device: Device,
    *,
    router: RouterLoss | None = None,
    standing: Standing = nullcontext,
) -> Pass:
    """Return how a model's micro-batches are passed.

    Args:
        model: trained in place.
        parent: what it is distilled from; None where the objective needs none.
        objective: what is minimised.
        device: where it runs.
        router: the auxiliary loss of a mixture's router; None for a model without, and for a classifier.
        standing: the context in which `parent` answers as the parent, where it is the model itself.
    """
    if isinstance(objective, ClassifierObjective):
        return ClassifierPass(model, parent, objective, device, standing)
    return CausalPass(
        Halves(model),
        None if parent is None else Halves(parent),
        objective,
        device,
        standing,
        router,
        packed_attention_of(model, device),
        None if parent is None else packed_attention_of(parent, device),
    )
