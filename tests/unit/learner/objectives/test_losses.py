"""Losses and their gradients against torch's own."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from learner.objectives.forward_pass import IGNORED, MicroBatch
from learner.objectives.losses import CausalObjective, ClassifierObjective

ROWS, WIDTH, VOCABULARY, TOTAL = 5, 6, 11, 17


def causal_batch(first_replayed: int = 2) -> MicroBatch:
    """Targets with some places that predict nothing."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, VOCABULARY, (ROWS, WIDTH), generator=generator)
    targets[:, -1] = IGNORED
    targets[3, 2:] = IGNORED
    return MicroBatch({}, targets, first_replayed)


def logits(seed: int, *shape: int) -> Tensor:
    """Logits of some spread."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def reference(z: Tensor, parent: Tensor | None, batch: MicroBatch, kl: float, temperature: float) -> Tensor:
    """The loss as torch.nn.functional has it."""
    loss = functional.cross_entropy(z.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum")
    if parent is not None:
        cut = batch.first_replayed
        counted = batch.targets[cut:] != IGNORED
        student = functional.log_softmax(z[cut:][counted] / temperature, -1)
        teacher = functional.log_softmax(parent[counted] / temperature, -1)
        divergence = functional.kl_div(student, teacher, log_target=True, reduction="sum")
        loss = loss + kl * temperature**2 * divergence
    return loss / TOTAL


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("kl", [0.0, 1.0, 3.0])
def test_causal_gradient_is_autograds(kl: float, temperature: float) -> None:
    """The closed form equals the gradient of cross-entropy plus KL of torch.nn.functional."""
    batch, z = causal_batch(), logits(1, ROWS, WIDTH, VOCABULARY)
    parent = logits(2, ROWS - 2, WIDTH, VOCABULARY) if kl else None
    wanted = z.clone().requires_grad_()
    loss = reference(wanted, parent, batch, kl, temperature)
    (expected,) = torch.autograd.grad(loss, wanted)
    objective = CausalObjective(kl, temperature)
    terms, gradient = objective(z.clone(), parent, batch, TOTAL)
    torch.testing.assert_close(gradient, expected)
    new, replay, divergence = terms.tolist()
    assert (new + replay + kl * divergence) / TOTAL == pytest.approx(loss.item(), rel=1e-5)


def test_kl_to_an_equal_parent_is_nothing() -> None:
    """A model that says what its parent says pays nothing for it."""
    batch, z = causal_batch(), logits(1, ROWS, WIDTH, VOCABULARY)
    terms, gradient = CausalObjective(5.0)(z.clone(), z[2:].clone(), batch, TOTAL)
    _, alone = CausalObjective(0.0)(z.clone(), None, batch, TOTAL)
    assert terms[2].item() == pytest.approx(0.0, abs=1e-5)
    torch.testing.assert_close(gradient, alone)


def test_loss_is_the_same_however_a_batch_is_split() -> None:
    """Sums over passes, divided once, do not depend on the passes."""
    batch, z = causal_batch(), logits(1, ROWS, WIDTH, VOCABULARY)
    parent = logits(2, ROWS - 2, WIDTH, VOCABULARY)
    objective = CausalObjective(1.0)
    terms, gradient = objective(z.clone(), parent, batch, TOTAL)
    parts = [
        objective(z[:2].clone(), None, MicroBatch({}, batch.targets[:2], 2), TOTAL),
        objective(z[2:].clone(), parent, MicroBatch({}, batch.targets[2:], 0), TOTAL),
    ]
    torch.testing.assert_close(parts[0][0] + parts[1][0], terms)
    torch.testing.assert_close(torch.cat([parts[0][1], parts[1][1]]), gradient)


def test_places_that_predict_nothing_have_no_gradient() -> None:
    """Padding and last tokens pull at no logit."""
    batch = causal_batch()
    parent = logits(2, ROWS - 2, WIDTH, VOCABULARY)
    _, gradient = CausalObjective(1.0)(logits(1, ROWS, WIDTH, VOCABULARY), parent, batch, TOTAL)
    assert not gradient[batch.targets == IGNORED].any()


CLASSES = 4


def classifier_batch(absent: Any = None) -> MicroBatch:
    """Two new documents of classes 1 and 3, three replayed."""
    return MicroBatch({}, torch.tensor([1, 3, 0, 1, 2]), 2, absent)


def test_classifier_loss_is_der_plus_plus() -> None:
    """Cross-entropy on new, its beta-fold on replayed, alpha times the squared distance to the parent's logits."""
    z, parent, batch = logits(3, ROWS, CLASSES), logits(4, 3, CLASSES), classifier_batch()
    wanted = z.clone().requires_grad_()
    loss = (
        functional.cross_entropy(wanted[:2], batch.targets[:2], reduction="sum")
        + 0.7 * functional.cross_entropy(wanted[2:], batch.targets[2:], reduction="sum")
        + 0.3 * functional.mse_loss(wanted[2:], parent, reduction="sum") / CLASSES
    ) / ROWS
    (expected,) = torch.autograd.grad(loss, wanted)
    terms, gradient = ClassifierObjective(0.3, 0.7)(z.clone(), parent, batch, ROWS)
    torch.testing.assert_close(gradient, expected)
    assert torch.dot(terms, torch.tensor([1, 0.7, 0.3])).item() / ROWS == pytest.approx(loss.item(), rel=1e-5)


def test_new_documents_leave_absent_classes_alone_when_a_label_is_new() -> None:
    """ER-ACE: classes that the new documents lack get no push from them; replayed documents use all."""
    absent = torch.tensor([True, False, True, False])
    _, gradient = ClassifierObjective(0.0, 1.0)(logits(3, ROWS, CLASSES), None, classifier_batch(absent), ROWS)
    assert not gradient[:2, absent].any()
    assert gradient[:2, ~absent].abs().min() > 0
    assert gradient[2:].abs().min() > 0


def test_a_batch_without_replay_has_a_loss() -> None:
    """A first round, with an empty memory, trains on its new documents alone."""
    batch = MicroBatch({}, torch.tensor([1, 3]), 2)
    terms, gradient = ClassifierObjective(0.3, 1.0)(logits(3, 2, CLASSES), None, batch, 2)
    assert terms[0] > 0
    assert terms[1:].tolist() == [0, 0]
    assert torch.isfinite(gradient).all()
