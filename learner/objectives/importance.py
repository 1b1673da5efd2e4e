"""How much each weight matters to what the model says: the diagonal of the Fisher information.

    Fᵢ = E over sequences x, and over answers y drawn from the model itself, of (∂ log p(y | x) / ∂θᵢ)²

One sequence at a time: squaring the gradient of a batch's mean is too small by up to the batch size. Answers are drawn
from the model, not taken from the data: that is the Fisher, the data's answers give the "empirical" one, which is
large where the model is wrong instead of where it is sure (Kunstner et al. 2019). In eval mode, so that dropout adds
no noise.

A sequence counts once, however long it is. Given its text, the answers at its T places are drawn independently, and the
score of each has mean zero; so the variance of their sum, which the square of a sequence's gradient estimates, is the
sum of T variances and grows with T. Divided by T it is the Fisher of a place of that sequence, in the mean.

A round's own estimate is brought to mean 1, so that a strength means the same for every model. The running sum over
rounds, F* = decay F* + F, is not: brought to mean 1 in each round, history keeps decay / (1 + decay) of itself instead
of decay, and is forgotten in two rounds. It tends to a mean of 1 / (1 - decay): what many rounds say weighs more than
what one says.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from learner.objectives.halves import Halves
from learner.objectives.losses import log_softmax
from learner.objectives.part_sizes import parts
from learner.objectives.workspace import Workspace
from learner.weights.sharded import at_rest, local_part, placed_like, whole_of
from learner.weights.tensor_files import load_tensors, of_another_model, save_tensors

Importance = dict[str, Tensor]


def fisher(
    model: Any,
    sequences: Iterable[Mapping[str, Any]],
    *,
    generator: torch.Generator,
    halves: Halves | None = None,
    several: bool = False,
    answered: Callable[[Mapping[str, Any]], Tensor] | None = None,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    passed: Callable[[int], None] = lambda _: None,
) -> Importance:
    """Estimate the Fisher diagonal of every trained weight, per place of a sequence, brought to mean 1.

    Args:
        model: a model with float32 weights; its gradients are cleared, its mode is left as it came. Where its weights
            are divided over ranks, all of these pass the same sequences, and each gets what its own share matters.
        sequences: the model's inputs, each of one sequence without padding, so with logits of shape
            (1, tokens, vocabulary) or (1, classes).
        generator: draws the answers; on the CPU.
        halves: a language model's two, so that its logits are made a part at a time; None for a classifier.
        several: of a classifier, whether any number of labels fits a document: each is drawn by itself.
        answered: given a sequence's inputs, at which of its places a language model answers at all; shape (tokens,),
            bool. None: at each.
        autocast: makes the context of a forward pass, in the dtype that passes are computed in.
        passed: told of each sequence.
    """
    at_rest(model)
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    sums = {name: torch.zeros_like(weight) for name, weight in named.items()}
    # Dropout would measure the noise that it adds.
    was_training = model.training
    model.eval()
    try:
        for inputs in sequences:
            # One sequence at a time: the square of a batch's mean gradient is too small by up to the batch's size.
            if halves is not None:
                _pass_in_parts(halves, inputs, None if answered is None else answered(inputs), generator, autocast)
            else:
                likelihood = _sampled_set_log_likelihood if several else _sampled_log_likelihood
                with autocast():
                    logits = model(**inputs).logits
                likelihood(logits, generator).backward()
            _add_squares(sums, named)
            passed(1)
    finally:
        at_rest(model)
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    return normalise(sums)


def _pass_in_parts(
    halves: Halves,
    inputs: Mapping[str, Any],
    answered: Tensor | None,
    generator: torch.Generator,
    autocast: Callable[[], AbstractContextManager[object]],
) -> None:
    """Give the weights the gradient of a sequence's sampled log-likelihood, as autograd would give it to all logits.

    Args:
        halves: of the model.
        inputs: one sequence.
        answered: the places that are answered; None for all.
        generator: draws the answers.
        autocast: see `fisher`.
    """
    with autocast():
        read = halves.read(inputs)
    hidden = read.hidden.detach()
    gradient = torch.zeros_like(hidden)
    places = torch.arange(len(hidden), device=hidden.device) if answered is None else answered.nonzero()[:, 0]
    # All at once: the same numbers whatever the parts.
    uniform = torch.rand(len(places), 1, generator=generator).to(hidden.device)
    most = min(halves.places_of_part(hidden), max(len(places), 1))
    workspace = Workspace(most, halves.head.vocabulary, hidden.device)
    # One context for all parts, as the head's weight is converted once in each.
    with autocast():
        for part in parts(len(places), most):
            minimised = partial(_at_sampled, uniform[part], math.sqrt(len(places)), workspace)
            _, gradient[places[part]] = halves.head.learn(hidden[places[part]], minimised, workspace)
    read.hidden.backward(gradient)


@torch.no_grad()
def _at_sampled(uniform: Tensor, root: float, workspace: Workspace, logits: Tensor) -> tuple[Tensor, Tensor]:
    """No loss terms, and the gradient at some places' logits of the log-likelihood of answers that are drawn there.

    It is known in closed form: one at the answer, less the probabilities, over the root of all places.
    """
    q = log_softmax(logits, workspace.array(1, len(logits))).exp_()
    # Where the logits of a linear head lie, which are done with.
    drawn = look_up(torch.cumsum(q, -1, out=workspace.array(0, len(logits))), uniform)
    gradient = q.neg_().scatter_add_(-1, drawn, torch.ones_like(drawn, dtype=q.dtype)).div_(root)
    return q.new_zeros(0), gradient.to(logits.dtype)


def _sampled_log_likelihood(logits: Tensor, generator: torch.Generator) -> Tensor:
    log_probabilities = torch.log_softmax(logits.float().flatten(0, -2), -1)
    # From the model, not from the text: by the text's own labels it is the empirical Fisher, which vanishes where the
    # model is right.
    drawn = sample_classes(log_probabilities.detach().exp(), generator)
    # By the root, as it will be squared: long sequences count no more than short ones.
    return log_probabilities.gather(-1, drawn).sum() / math.sqrt(len(drawn))


def _sampled_set_log_likelihood(logits: Tensor, generator: torch.Generator) -> Tensor:
    z = logits.float()
    drawn = torch.rand(z.shape, generator=generator).to(z.device) < torch.sigmoid(z.detach())
    return -functional.binary_cross_entropy_with_logits(z, drawn.float(), reduction="sum")


def sample_classes(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one class for each row of probabilities, shape (rows, classes); return shape (rows, 1).

    One uniform number for each row, looked up in the cumulated probabilities: a fifth of the time of drawing one for
    each class of a large vocabulary. Uniforms come from the CPU, so that every device draws the same from the same
    probabilities, and only they travel.
    """
    uniform = torch.rand(len(probabilities), 1, generator=generator).to(probabilities.device)
    return look_up(probabilities.cumsum(-1), uniform)


def look_up(cumulated: Tensor, uniform: Tensor) -> Tensor:
    """The class of each row in whose stretch of the cumulated probabilities a uniform number falls; shape (rows, 1)."""
    return torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)


@torch.no_grad()
def _add_squares(sums: Importance, named: Mapping[str, nn.Parameter]) -> None:
    for name, weight in named.items():
        if weight.grad is not None:
            gradient = local_part(weight.grad)
            local_part(sums[name]).addcmul_(gradient, gradient)
            weight.grad = None


def normalise(importance: Importance) -> Importance:
    """Scale to mean 1 over all weights; all zeros become all ones, as nothing then says what matters."""
    total = sum(float(whole_of(value.sum())) for value in importance.values())
    count = sum(value.numel() for value in importance.values())
    if total == 0.0:
        return {name: torch.ones_like(value) for name, value in importance.items()}
    return {name: value.mul(count / total) for name, value in importance.items()}


def carry_over(earlier: Importance | None, this: Importance, *, decay: float) -> Importance:
    """Add a round's importance to that of the rounds before it, decayed (online EWC, Schwarz et al. 2018).

    Args:
        earlier: the sum over the rounds before; None in the first. A file of an older version, whose sum was brought
            to mean 1, counts as one round's.
        this: of this round, mean 1.
        decay: how much of the earlier is kept, 0 to 1.
    """
    if earlier is None:
        return this
    return {name: value + decay * placed_like(earlier[name], value) for name, value in this.items()}


def save_importance(path: Path, importance: Importance) -> None:
    """Write importance beside a model, in float32.

    Raises:
        OSError: the disk refused.
    """
    save_tensors(path, {name: value.float() for name, value in importance.items()})


def load_importance(path: Path, shapes: Mapping[str, torch.Size]) -> Importance | None:
    """Read importance; None where there is none.

    Raises:
        BadRoundDirectory: it is damaged or belongs to another model.
    """
    stored = load_tensors(path)
    if stored is None:
        return None
    importance, _ = stored
    if {name: value.shape for name, value in importance.items()} != dict(shapes):
        raise of_another_model(path)
    return importance
