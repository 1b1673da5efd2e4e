"""What a step minimises.

Losses are sums; the step divides them once by what the whole batch has to predict, so that micro-batches, padding and
accumulation change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Tensor

from learner.batches import IGNORED

Terms = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass sees.

    Attributes:
        inputs: the model's arguments; tensors of shape (rows, width).
        targets: for a causal LM the token to predict at each place, `IGNORED` where there is none, (rows, width);
            for a classifier the class of each document, (rows,).
        replayed: which rows come from the memory, (rows,), on the device.
        replay_rows: their indices, likewise; a subset is taken without asking the device how large it is.
        absent: for a classifier whose new text brings a new label, which classes the batch's new documents lack,
            (classes,); None for no masking.
    """

    inputs: Mapping[str, Any]
    targets: Tensor
    replayed: Tensor
    replay_rows: Tensor
    absent: Tensor | None = None


class Objective(Protocol):
    """A loss and its parts."""

    @property
    def names(self) -> tuple[str, ...]:
        """The terms that it gives, in order: of the new text first, then those of the replayed."""

    @property
    def needs_parent(self) -> bool:
        """Whether the parent's forward pass is needed on replayed rows."""

    def __call__(self, logits: Tensor, parent_logits: Tensor | None, batch: MicroBatch) -> tuple[Tensor, Terms]:
        """Return the loss to minimise and its terms, each a scalar summed over the micro-batch.

        Args:
            logits: of the model, in the compute dtype.
            parent_logits: of the parent on the replayed rows alone; None where it is not needed or there are none.
            batch: what both saw.
        """


@dataclass(frozen=True, slots=True)
class CausalObjective:
    """Cross-entropy on every token, and on replayed ones the KL divergence from the parent.

    Attributes:
        kl: weight of the divergence.
        temperature: of both distributions; the term is multiplied by its square, so that gradients keep their size
            (Hinton et al. 2015).
    """

    kl: float
    temperature: float = 1.0
    names: tuple[str, ...] = ("new", "replay", "kl")

    @property
    def needs_parent(self) -> bool:
        """Whether the parent's forward pass is needed on replayed rows."""
        return self.kl > 0

    def __call__(self, logits: Tensor, parent_logits: Tensor | None, batch: MicroBatch) -> tuple[Tensor, Terms]:
        """Return loss and terms; see `Objective`."""
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(), batch.targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        by_row = losses.view(batch.targets.shape).sum(1)
        replay = (by_row * batch.replayed).sum()
        loss = by_row.sum()
        terms = {"new": (loss - replay).detach(), "replay": replay.detach(), "kl": torch.zeros_like(replay.detach())}
        if parent_logits is not None:
            divergence = kl_from_parent(
                logits.index_select(0, batch.replay_rows),
                parent_logits,
                batch.targets.index_select(0, batch.replay_rows) != IGNORED,
                self.temperature,
            )
            terms["kl"] = divergence.detach()
            loss = loss + self.kl * divergence
        return loss, terms


def kl_from_parent(logits: Tensor, parent_logits: Tensor, counted: Tensor, temperature: float) -> Tensor:
    """Return KL(parent ‖ model) × T², summed over the vocabulary and over the tokens that count.

    Summed, not averaged, over the vocabulary: a mean would all but turn it off.

    Args:
        logits: (rows, width, vocabulary).
        parent_logits: likewise, without gradient.
        counted: which tokens count, (rows, width).
        temperature: both distributions are softened by it.
    """
    return _SoftenedKl.apply(logits, parent_logits, counted, temperature)  # type: ignore[no-any-return,no-untyped-call]


class _SoftenedKl(torch.autograd.Function):
    """The divergence with its gradient, T (softmax(z/T) - softmax(z_parent/T)), made in the forward pass.

    torch.nn.functional's kl_div on two log-softmaxes gives the same and keeps four arrays of the logits' size for
    the backward pass; this keeps one.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, parent_logits: Tensor, counted: Tensor, temperature: float) -> Tensor:
        log_model = torch.log_softmax(logits.float() / temperature, -1)
        log_parent = torch.log_softmax(parent_logits.float() / temperature, -1)
        parent = log_parent.exp()
        by_token = (log_parent.sub_(log_model)).mul_(parent).sum(-1)
        gradient = log_model.exp_().sub_(parent).mul_(counted.unsqueeze(-1)).mul_(temperature)
        ctx.save_for_backward(gradient.to(logits.dtype))
        return (by_token * counted).sum() * temperature**2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (saved,) = ctx.saved_tensors
        return saved * gradient, None, None, None


@dataclass(frozen=True, slots=True)
class ClassifierObjective:
    """Cross-entropy on new documents; on replayed ones the parent's logits and their labels (DER++).

    Buzzega et al. 2020, with logits recomputed from the parent in the round: stored ones age. Where the new text
    brings a label never seen before, its softmax runs over the labels that it has alone (ER-ACE, Caccia et al.
    2022), so that learning the new class does not push the others away; replayed documents use all.

    Attributes:
        alpha: weight of the squared distance to the parent's logits, averaged over classes.
        beta: weight of the cross-entropy on replayed documents.
    """

    alpha: float
    beta: float
    names: tuple[str, ...] = ("new", "replay", "logits")

    @property
    def needs_parent(self) -> bool:
        """Whether the parent's forward pass is needed on replayed rows."""
        return self.alpha > 0

    def __call__(self, logits: Tensor, parent_logits: Tensor | None, batch: MicroBatch) -> tuple[Tensor, Terms]:
        """Return loss and terms; see `Objective`."""
        logits = logits.float()
        masked = logits if batch.absent is None else _without(logits, batch.absent, batch.replayed)
        losses = F.cross_entropy(masked, batch.targets, reduction="none")
        replay = (losses * batch.replayed).sum()
        new = losses.sum() - replay
        loss = new + self.beta * replay
        terms = {"new": new.detach(), "replay": replay.detach(), "logits": torch.zeros_like(new.detach())}
        if parent_logits is not None:
            apart = logits.index_select(0, batch.replay_rows) - parent_logits.float()
            distance = apart.square().mean(-1).sum()
            terms["logits"] = distance.detach()
            loss = loss + self.alpha * distance
        return loss, terms


def _without(logits: Tensor, absent: Tensor, replayed: Tensor) -> Tensor:
    return logits.masked_fill(absent & ~replayed.unsqueeze(-1), torch.finfo(logits.dtype).min)
