"""What a step minimises, and its gradient at the model's logits.

An objective is a plain function from logits to loss terms and to the gradient of their weighted sum with respect to
the logits, which the step hands to the model's backward pass. For a language model the gradient is known in closed
form (softmax minus target, softmax minus the parent's softmax) and needs one array of the logits' size where autograd
keeps four; on a small model with a large vocabulary that is a tenth of a step.

Terms are sums; the gradient is divided once by what the whole batch has to predict, so that micro-batches, padding and
accumulation change nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from learner.objectives.forward_pass import IGNORED, MicroBatch

# Of a part of the logits, by kind of device. On the CPU below what glibc maps anew at each allocation (32 MiB), and
# within reach of its caches; on a GPU large enough that the launch of a kernel costs nothing beside it.
MOST_ELEMENTS: Final[Mapping[str, int]] = {"cpu": 1 << 22, "cuda": 1 << 26}


class Objective(Protocol):
    """A loss and its parts."""

    @property
    def names(self) -> tuple[str, ...]:
        """The terms that it gives, in order: of the new text first, then those of the replayed."""

    @property
    def needs_parent(self) -> bool:
        """Whether the parent's forward pass is needed on replayed rows."""

    def __call__(
        self, logits: Tensor, parent_logits: Tensor | None, batch: MicroBatch, total: int
    ) -> tuple[Tensor, Tensor]:
        """Return the terms, (names,), summed over the micro-batch, and the loss's gradient, shaped like the logits.

        Args:
            logits: of the model, detached, in the compute dtype; it may be overwritten.
            parent_logits: of the parent on the replayed rows alone; None where it is not needed or there are none.
            batch: what both saw.
            total: what the whole step predicts (tokens, or documents for a classifier): the loss's divisor.
        """


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
        """The terms; see `Objective`."""
        return ("new", "replay", "kl")

    @property
    def needs_parent(self) -> bool:
        """Whether the parent is needed; see `Objective`."""
        return self.kl > 0

    @torch.no_grad()
    def __call__(
        self, logits: Tensor, parent_logits: Tensor | None, batch: MicroBatch, total: int
    ) -> tuple[Tensor, Tensor]:
        """Return terms and gradient; see `Objective`. Logits have shape (rows, width, vocabulary).

        They are overwritten with the gradient, part by part: beside them and the parent's nothing is as large.
        """
        cut = batch.first_replayed
        losses = logits.new_zeros(len(logits), dtype=torch.float32)
        divergence = torch.zeros_like(losses)
        for rows, places in parts_of(logits, cut):
            targets, z = batch.targets[rows, places], logits[rows, places]
            # Padding, and what no token precedes, is predicted by nobody: it adds neither loss nor gradient.
            counted = (targets != IGNORED).unsqueeze(-1)
            targets = targets.clamp_min(0).unsqueeze(-1)
            # In float32 whatever the logits are: in bfloat16 a vocabulary of 50,000 loses the small probabilities.
            log_q = torch.log_softmax(z, -1, dtype=torch.float32)
            losses[rows] -= (log_q.gather(-1, targets) * counted).sum((1, 2))
            if parent_logits is None or rows.start < cut:
                gradient = log_q.exp_()
            else:
                parents = parent_logits[rows.start - cut : rows.stop - cut, places]
                apart, gradient = self._distilled(log_q, z, parents)
                divergence[rows] += (apart * counted).sum((1, 2))
            # softmax minus target: one is taken off at each place that was to be predicted.
            gradient.scatter_add_(-1, targets, torch.full_like(targets, -1, dtype=gradient.dtype))
            # Divided once, by the targets of the whole batch: how it is cut into passes changes nothing.
            z.copy_(gradient.mul_(counted / total))
        terms = torch.stack([losses[:cut].sum(), losses[cut:].sum(), divergence.sum()])
        return terms, logits

    def _distilled(self, log_q: Tensor, logits: Tensor, parent_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the divergence at each place, and q + kl T (q_T - p_T) made in `log_q`."""
        temperature = self.temperature
        log_p = torch.log_softmax(_soften(parent_logits, temperature), -1, dtype=torch.float32)
        # KL(p || q), the parent first: the mass that the parent has must not go, wherever the model puts its own.
        p = log_p.exp()
        if temperature == 1:
            divergence = log_p.sub_(log_q).mul_(p).sum(-1, keepdim=True)
            gradient = log_q.exp_().lerp_(p, -self.kl)  # q - kl (p - q)
        else:
            soft = torch.log_softmax(_soften(logits, temperature), -1, dtype=torch.float32)
            divergence = log_p.sub_(soft).mul_(p).sum(-1, keepdim=True)
            gradient = log_q.exp_().add_(soft.exp_().sub_(p), alpha=self.kl * temperature)
        # T squared keeps the term's gradient as large as without a temperature (Hinton et al. 2015).
        return divergence * temperature**2, gradient


def parts_of(logits: Tensor, cut: int | None = None) -> Iterator[tuple[slice, slice]]:
    """Cut logits into parts that are small enough to make a few float32 copies of, as (rows, places).

    A large vocabulary makes the logits of a pass the largest thing in memory, gigabytes at usual sizes; each operation
    on all of them at once needs as much again, and on the CPU the kernel hands every such block out page by page.

    Args:
        logits: of shape (rows, width, vocabulary).
        cut: a row at which a part ends in any case.
    """
    rows, width, vocabulary = logits.shape
    most = MOST_ELEMENTS.get(logits.device.type, MOST_ELEMENTS["cuda"])
    places = max(1, min(width, most // vocabulary))
    height = max(1, most // (width * vocabulary))
    for begin, end in ((0, cut), (cut, rows)) if cut is not None else ((0, rows),):
        for row in range(begin, end, height):
            for place in range(0, width, places):
                yield slice(row, min(row + height, end)), slice(place, min(place + places, width))


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log q of the token at each place in float32, 0 where it is `IGNORED`; shape (rows, width).

    Args:
        logits: of shape (rows, width, vocabulary), in any dtype.
        targets: of shape (rows, width).
    """
    losses = torch.empty(targets.shape, dtype=torch.float32, device=logits.device)
    for rows, places in parts_of(logits):
        z, wanted = logits[rows, places].flatten(0, 1).float(), targets[rows, places]
        entropy = functional.cross_entropy(z, wanted.flatten(), ignore_index=IGNORED, reduction="none")
        losses[rows, places] = entropy.view(wanted.shape)
    return losses


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
        """The terms; see `Objective`."""
        return ("new", "replay", "logits")

    @property
    def needs_parent(self) -> bool:
        """Whether the parent is needed; see `Objective`."""
        return self.alpha > 0

    def __call__(
        self, logits: Tensor, parent_logits: Tensor | None, batch: MicroBatch, total: int
    ) -> tuple[Tensor, Tensor]:
        """Return terms and gradient; see `Objective`. Logits have shape (rows, classes)."""
        cut = batch.first_replayed
        z = logits.float().requires_grad_()
        # The least finite number, not -inf: where a row has nothing else, -inf makes NaN of its softmax.
        new_z = z[:cut] if batch.absent is None else z[:cut].masked_fill(batch.absent, torch.finfo(z.dtype).min)
        new = self._entropy(new_z, batch.targets[:cut])
        replay = self._entropy(z[cut:], batch.targets[cut:])
        distance = new.new_zeros(())
        if parent_logits is not None:
            # The parent has no logit of a label that the model learns in this round.
            told = z[cut:, : parent_logits.shape[-1]]
            distance = (told - parent_logits.float()).square().mean(-1).sum()
        loss = (new + self.beta * replay + self.alpha * distance) / total
        (gradient,) = torch.autograd.grad(loss, z)
        return torch.stack([new, replay, distance]).detach(), gradient.to(logits.dtype)

    def _entropy(self, z: Tensor, targets: Tensor) -> Tensor:
        if self.several:
            return functional.binary_cross_entropy_with_logits(z, targets.float(), reduction="none").mean(-1).sum()
        return functional.cross_entropy(z, targets, reduction="sum")
