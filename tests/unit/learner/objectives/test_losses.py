"""Losses and their gradients against torch's own."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from learner.objectives.forward_pass import MicroBatch
from learner.objectives.losses import CausalObjective, ClassifierObjective
from learner.objectives.workspace import Workspace

PLACES, ROWS, VOCABULARY, TOTAL = 24, 5, 11, 17
TARGETS = torch.randint(0, VOCABULARY, (PLACES,), generator=torch.Generator().manual_seed(0))


def logits(seed: int, *shape: int) -> Tensor:
    """Logits of some spread."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def reference(z: Tensor, parent: Tensor | None, kl: float, temperature: float) -> Tensor:
    """The loss as torch.nn.functional has it."""
    loss = functional.cross_entropy(z, TARGETS, reduction="sum")
    if parent is not None:
        student = functional.log_softmax(z / temperature, -1)
        teacher = functional.log_softmax(parent / temperature, -1)
        divergence = functional.kl_div(student, teacher, log_target=True, reduction="sum")
        loss = loss + kl * temperature**2 * divergence
    return loss / TOTAL


def minimised(
    objective: CausalObjective, z: Tensor, parent: Tensor | None, at: slice = slice(PLACES)
) -> tuple[Tensor, Tensor]:
    """Terms and gradient of some places, with the parent's logits made where the model's lay, as the learner does."""
    workspace = Workspace(PLACES, VOCABULARY, z.device)

    def in_place(logits: Tensor) -> Tensor:
        return workspace.array(0, len(logits)).copy_(logits)

    parents = None if parent is None else partial(in_place, parent[at])
    return objective(in_place(z[at]), parents, TARGETS[at], TOTAL, workspace)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("kl", [0.0, 1.0, 3.0])
def test_causal_gradient_is_autograds(kl: float, temperature: float) -> None:
    """The closed form equals the gradient of cross-entropy plus KL of torch.nn.functional."""
    z = logits(1, PLACES, VOCABULARY)
    parent = logits(2, PLACES, VOCABULARY) if kl else None
    wanted = z.clone().requires_grad_()
    loss = reference(wanted, parent, kl, temperature)
    (expected,) = torch.autograd.grad(loss, wanted)
    terms, gradient = minimised(CausalObjective(kl, temperature), z, parent)
    torch.testing.assert_close(gradient, expected)
    entropy, divergence = terms.tolist()
    assert (entropy + kl * divergence) / TOTAL == pytest.approx(loss.item(), rel=1e-5)


def test_kl_to_an_equal_parent_is_nothing() -> None:
    """A model that says what its parent says pays nothing for it."""
    z = logits(1, PLACES, VOCABULARY)
    terms, gradient = minimised(CausalObjective(5.0), z, z)
    _, alone = minimised(CausalObjective(0.0), z, None)
    assert terms[1].item() == pytest.approx(0.0, abs=1e-5)
    torch.testing.assert_close(gradient, alone)


def test_loss_is_the_same_however_places_are_split() -> None:
    """Sums over parts, divided once, do not depend on the parts."""
    z, parent, objective = logits(1, PLACES, VOCABULARY), logits(2, PLACES, VOCABULARY), CausalObjective(1.0)
    terms, gradient = minimised(objective, z, parent)
    parts = [minimised(objective, z, parent, at) for at in (slice(0, 7), slice(7, PLACES))]
    torch.testing.assert_close(parts[0][0] + parts[1][0], terms)
    torch.testing.assert_close(torch.cat([parts[0][1], parts[1][1]]), gradient)


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
