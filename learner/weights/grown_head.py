"""A classifier's head that grows a row for each new label, beside the rows that it has.

A row that begins as noise, or as the mean of the others, takes longer than a round to answer at the rate at which a
trained classifier learns. So it begins where its label's documents lie (imprinted weights, Qi et al. 2018): with m the
mean of the other rows, f the mean of what the head is given for the label's documents and g for remembered ones,

    row = m + a (f - g)        a and the bias such that at f the row's logit is that of the best other row,
                               and at g it is `BELOW` beneath it

Where f and g lie so near each other that the row would stand further from m than the furthest other one, a is as large
as that allows, and the bias such that the second holds. The other rows stay as they are: at first no old document loses
more of its label's probability than e^-BELOW, in the mean, and training decides the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from learner.errors import LearnerError

BELOW: Final = 4.0
"""Nats."""


class HeadCannotGrow(LearnerError):
    """A classifier's head is none that rows can be added to; the message says what it is."""


@dataclass(frozen=True, slots=True)
class GrownRows:
    """What a head was given in addition.

    Attributes:
        labels: of the new rows, in their order, after those that the head had.
        first: how many rows it had.
        weights: the new rows by the parameter's name, each of shape (rows, …).
    """

    labels: tuple[str, ...]
    first: int
    weights: Mapping[str, Tensor]


def find_head(model: Any) -> tuple[str, Any]:
    """The last layer of a classifier, an `nn.Linear` which gives its logits, with its name.

    Raises:
        HeadCannotGrow: there is no such layer.
    """
    heads = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not heads:
        raise HeadCannotGrow(
            f"the head of a {type(model).__name__} has no row for each label: no label can be added to it"
        )
    return heads[-1]


@torch.no_grad()
def head_inputs(model: Any, documents: Iterable[Mapping[str, Tensor]]) -> Tensor:
    """What the head is given for each document, shape (documents, width).

    Args:
        documents: the model's inputs, each of one document without padding.
    """
    _, head = find_head(model)
    given: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach()))
    was_training = model.training
    model.eval()
    try:
        for inputs in documents:
            model(**inputs)
    finally:
        handle.remove()
        model.train(was_training)
    if not given:
        return torch.zeros((0, head.in_features), device=head.weight.device)
    # Where the head reads every place, the model answers by its last one.
    answered: Tensor = torch.stack([each.reshape(-1, each.shape[-1])[-1] for each in given]).float()
    return answered


@torch.no_grad()
def imprint(model: Any, labels: Sequence[str], documents: Sequence[Tensor], remembered: Tensor) -> GrownRows:
    """Rows for new labels, each where its label's documents lie.

    Args:
        model: as it is before it grows.
        labels: the new ones.
        documents: for each, what the head is given for its documents, shape (documents, width).
        remembered: the same for documents of other labels; may be empty.
    """
    name, head = find_head(model)
    rows, biases = [], []
    for own in documents:
        row, bias = _row(head, *(each.mean(0) if len(each) else None for each in (own, remembered)))
        rows.append(row)
        biases.append(bias)
    weights = {f"{name}.weight": torch.stack(rows).to(head.weight)}
    if head.bias is not None:
        weights[f"{name}.bias"] = torch.stack(biases).to(head.bias)
    return GrownRows(tuple(labels), head.out_features, weights)


def _row(head: Any, own: Tensor | None, others: Tensor | None) -> tuple[Tensor, Tensor]:
    weight = head.weight.float()
    bias = weight.new_zeros(len(weight)) if head.bias is None else head.bias.float()
    mean, offset = weight.mean(0), bias.mean()
    if own is None or others is None:
        return mean, offset
    apart = own - others
    high = (weight @ own + bias).max() - mean @ own
    low = (weight @ others + bias).max() - BELOW - mean @ others
    length = apart.norm().clamp_min(torch.finfo(apart.dtype).eps)
    scale = ((high - low) / length.square()).clamp_max((weight - mean).norm(dim=1).max() / length)
    # A head without a bias leaves it at that.
    return mean + scale * apart, low - scale * (apart @ others)


@torch.no_grad()
def grow(model: Any, rows: GrownRows) -> None:
    """Give a model's head those rows, and its configuration their labels, in place."""
    name, head = find_head(model)
    if head.out_features != rows.first:
        raise HeadCannotGrow(f"the head has {head.out_features} rows where {rows.first} were expected")
    head.weight = nn.Parameter(torch.cat([head.weight, rows.weights[f"{name}.weight"].to(head.weight)]))
    if head.bias is not None:
        head.bias = nn.Parameter(torch.cat([head.bias, rows.weights[f"{name}.bias"].to(head.bias)]))
    head.out_features = len(head.weight)
    names = [str(label) for _, label in sorted(model.config.id2label.items())] + list(rows.labels)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {label: number for number, label in enumerate(names)}
    model.num_labels = len(names)


@torch.no_grad()
def narrow(model: Any, name: str, part: nn.Module, rows: int) -> None:
    """Take from a copy of a part of a model the head's rows beyond a number, in place.

    Args:
        model: whose head has grown.
        name: of the part in the model.
        part: the copy of it; left alone where the head is elsewhere.
        rows: how many the head keeps.
    """
    full_name, _ = find_head(model)
    if not f"{full_name}.".startswith(f"{name}."):
        return
    head: Any = part.get_submodule(full_name.removeprefix(name).removeprefix("."))
    head.weight = nn.Parameter(head.weight[:rows].clone(), requires_grad=head.weight.requires_grad)
    if head.bias is not None:
        head.bias = nn.Parameter(head.bias[:rows].clone(), requires_grad=head.bias.requires_grad)
    head.out_features = rows


def with_rows_of(narrow: Mapping[str, Tensor], wide: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of the weights of a model with fewer labels, with the further rows of another.

    Args:
        narrow: by name.
        wide: of the other one, which may have more rows.
    """
    return {
        name: torch.cat([value, wide[name][len(value) :].to(value)]) if value.shape != wide[name].shape else value
        for name, value in narrow.items()
    }
