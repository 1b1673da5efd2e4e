"""What a step minimises, and its gradient at the model's logits.

An objective is a plain function from logits to loss terms and to the gradient of their weighted sum with respect to
the logits, which the step hands to the model's backward pass. For a language model the gradient is known in closed
form (softmax minus target, softmax minus the parent's softmax) and needs one array of the logits' size where autograd
keeps four; on a small model with a large vocabulary that is a tenth of a step.

Terms are sums; the gradient is divided once by what the whole batch has to predict, so that micro-batches, padding and
accumulation change nothing. Where samples have weights both count each place by its sample's: one of weight w as if it
came w times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from learner.objectives.forward_pass import MicroBatch
from learner.objectives.workspace import Workspace

Objective: TypeAlias = "CausalObjective | ClassifierObjective"
"""What a round minimises."""


@dataclass(frozen=True, slots=True)
class CausalObjective:
    """Cross-entropy on every token, and on replayed ones the KL divergence from the parent.

        loss = (Σ -log q(target) + kl T² Σ_replayed KL(p_T ‖ q_T)) / total

    where q is the model, p the parent, and the subscript softens by the temperature T. The divergence is summed over
    the vocabulary (a mean would all but turn it off) and multiplied by T² so that gradients keep their size (Hinton et
    al. 2015). Only replayed tokens have it: on new ones it buys nothing more and costs the parent's pass.

    Attributes:
        kl: weight of the divergence.
        temperature: T.
    """

    kl: float
    temperature: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """The terms: cross-entropy on new and on replayed text, and the divergence."""
        return ("new", "replay", "kl")

    @property
    def needs_parent(self) -> bool:
        """Whether the parent's forward pass is needed on what is replayed."""
        return self.kl > 0

    @torch.no_grad()
    def __call__(
        self,
        logits: Tensor,
        parents: Callable[[], Tensor] | None,
        targets: Tensor,
        total: float,
        workspace: Workspace,
        *,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and divergence of some places, summed, and the loss's gradient at their logits.

        Args:
            logits: of shape (places, vocabulary), without a graph, in the compute dtype.
            parents: makes the parent's, of the same shape, when `logits` are done with: both may lie in array 0 of the
                workspace. None for places of new text, and where there is no parent.
            targets: the token to predict at each; shape (places,).
            total: tokens that the whole step predicts, counted by weight, the loss's divisor: how a step is cut into
                passes and parts changes nothing.
            workspace: where all else is computed; the gradient lies in it until the next call.
            weights: what each place counts, in float32, shape (places,); None: all alike.
        """
        wanted, dtype = targets[:, None], logits.dtype
        # In float32 whatever the logits are: in bfloat16 a vocabulary of 50,000 loses the small probabilities.
        log_q = log_softmax(logits, workspace.array(1, len(logits)))
        loss, divergence = -_weighed(log_q.gather(-1, wanted), weights).sum(), log_q.new_zeros(())
        if parents is None:
            gradient = log_q.exp_()
        else:
            apart, gradient = self._distilled(log_q, logits, parents, workspace)
            divergence = _weighed(apart, weights).sum()
        # softmax minus target: one is taken off at what was to be predicted.
        gradient.scatter_add_(-1, wanted, torch.full_like(wanted, -1, dtype=gradient.dtype))
        if weights is not None:
            gradient.mul_(weights[:, None])
        return torch.stack([loss, divergence]), gradient.div_(total).to(dtype)

    def _distilled(
        self, log_q: Tensor, logits: Tensor, parents: Callable[[], Tensor], workspace: Workspace
    ) -> tuple[Tensor, Tensor]:
        """Return the divergence at each place, and q + kl T (q_T - p_T) made in `log_q`."""
        temperature, places = self.temperature, len(logits)
        # Before the parent's logits are made where these lie.
        soft = log_q if temperature == 1 else log_softmax(_soften(logits, temperature), workspace.array(3, places))
        parent_logits = parents()
        log_p = log_softmax(_soften(parent_logits, temperature), workspace.array(2, places))
        # KL(p || q), the parent first: the mass that the parent has must not go, wherever the model puts its own.
        p = torch.exp(log_p, out=workspace.array(0, places))
        divergence = log_p.sub_(soft).mul_(p).sum(-1, keepdim=True)
        if temperature == 1:
            gradient = log_q.exp_().lerp_(p, -self.kl)  # q - kl (p - q)
        else:
            gradient = log_q.exp_().add_(soft.exp_().sub_(p), alpha=self.kl * temperature)
        # T squared keeps the term's gradient as large as without a temperature (Hinton et al. 2015).
        return divergence * temperature**2, gradient


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log q of the token at each place in float32; shape (places,).

    Args:
        logits: of shape (places, vocabulary), in any dtype.
        targets: of shape (places,).
    """
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def _weighed(terms: Tensor, weights: Tensor | None) -> Tensor:
    """Terms of places, shape (places, 1) or (places,), by what each place counts."""
    return terms if weights is None else terms * weights.view(terms.shape)


def log_softmax(logits: Tensor, out: Tensor) -> Tensor:
    """Return log q of logits of any dtype in float32, made in an array of their shape."""
    return torch.log_softmax(logits, -1, dtype=torch.float32, out=out)


def _soften(logits: Tensor, temperature: float) -> Tensor:
    return logits if temperature == 1 else logits.float() / temperature


@dataclass(frozen=True, slots=True)
class ClassifierObjective:
    """Cross-entropy on new documents; on replayed ones the parent's logits and their labels (DER++).

        loss = (Σ_new -log q(label) + β Σ_replayed -log q(label) + α Σ_replayed mean_c (z_c - z_parent,c)²) / total

    Where several labels may fit, -log q is the mean over all labels of each one's own: of σ(z_c) where it fits, of
    1 - σ(z_c) where it does not.

    Buzzega et al. 2020, with logits recomputed from the parent in the round: stored ones age. Where the new text
    brings a label never seen before, its softmax runs over the labels that it has alone (ER-ACE, Caccia et al.
    2022), so that learning the new class does not push the others away; replayed documents use all.

    Attributes:
        alpha: weight of the squared distance to the parent's logits.
        beta: weight of the cross-entropy on replayed documents.
        several: whether any number of labels fits a document.
    """

    alpha: float
    beta: float
    several: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The terms: cross-entropy on new and on replayed documents, and the distance of logits."""
        return ("new", "replay", "logits")

    @property
    def needs_parent(self) -> bool:
        """Whether the parent's forward pass is needed on what is replayed."""
        return self.alpha > 0

    def __call__(
        self, logits: Tensor, parent_logits: Tensor | None, batch: MicroBatch, total: float
    ) -> tuple[Tensor, Tensor]:
        """Return the terms, summed over the micro-batch, and the loss's gradient at the logits.

        Args:
            logits: of the model, detached, in the compute dtype; shape (rows, classes).
            parent_logits: of the parent on the replayed rows alone; None where it is not needed or there are none.
            batch: what both saw.
            total: documents in the whole step, counted by weight, the loss's divisor.
        """
        cut = batch.first_replayed
        z = logits.float().requires_grad_()
        # The least finite number, not -inf: where a row has nothing else, -inf makes NaN of its softmax.
        new_z = z[:cut] if batch.absent is None else z[:cut].masked_fill(batch.absent, torch.finfo(z.dtype).min)
        of_new, of_replay = (None, None) if batch.weights is None else (batch.weights[:cut], batch.weights[cut:])
        new = self._entropy(new_z, batch.targets[:cut], of_new)
        replay = self._entropy(z[cut:], batch.targets[cut:], of_replay)
        distance = new.new_zeros(())
        if parent_logits is not None:
            # The parent has no logit of a label that the model learns in this round.
            told = z[cut:, : parent_logits.shape[-1]]
            distance = _weighed((told - parent_logits.float()).square().mean(-1), of_replay).sum()
        loss = (new + self.beta * replay + self.alpha * distance) / total
        (gradient,) = torch.autograd.grad(loss, z)
        return torch.stack([new, replay, distance]).detach(), gradient.to(logits.dtype)

    def _entropy(self, z: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        if self.several:
            each = functional.binary_cross_entropy_with_logits(z, targets.float(), reduction="none").mean(-1)
            return _weighed(each, weights).sum()
        if weights is None:
            return functional.cross_entropy(z, targets, reduction="sum")
        return _weighed(functional.cross_entropy(z, targets, reduction="none"), weights).sum()
