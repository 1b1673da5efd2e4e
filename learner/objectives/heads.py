"""Heads of language models: from hidden states to logits, and from the gradient at these back to the hidden states."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

from learner.objectives.workspace import Workspace

Minimised: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From logits, which have no graph, to loss terms and to the loss's gradient at them."""

_LARGEST: Final = 100.0
"""Of the logits on which a head is tried: beyond every cap, below which a capped head looks like a linear map."""

_SAME: Final = 1e-4
_SAME_IN_SHORT: Final = 1e-2
"""How far logits that are the same may be apart by rounding, in float32 and in shorter floats, over the largest."""


class Head(Protocol):
    """Makes the logits of some places."""

    @property
    def vocabulary(self) -> int:
        """Logits at each place."""

    def logits(self, hidden: Tensor, workspace: Workspace | None = None) -> Tensor:
        """Return the logits of some places, without a graph; shape (places, vocabulary).

        Args:
            hidden: what the body says there, shape (places, size).
            workspace: the logits may be made in its array 0; None makes a new one.
        """

    def learn(self, hidden: Tensor, minimised: Minimised, workspace: Workspace) -> tuple[Tensor, Tensor]:
        """Add the gradient of the head's own weights to theirs; return the loss terms, and the gradient at `hidden`.

        Args:
            hidden: as for `logits`.
            minimised: gives terms and gradient from the logits. When it is done with them it may use their array.
            workspace: as for `logits`.
        """


@dataclass(frozen=True, slots=True)
class NoHead:
    """Of a model that is read whole: what stands for its hidden states are its logits.

    Attributes:
        vocabulary: see `Head`.
    """

    vocabulary: int

    def logits(self, hidden: Tensor, workspace: Workspace | None = None) -> Tensor:  # noqa: ARG002 - nothing is made
        """Return what it is given; see `Head`."""
        return hidden

    def learn(self, hidden: Tensor, minimised: Minimised, workspace: Workspace) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return the gradient at the logits; see `Head`."""
        return minimised(hidden)


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A linear map and nothing else, as most models have: its gradient is known in closed form.

    Attributes:
        linear: the map.
    """

    linear: nn.Linear

    @property
    def vocabulary(self) -> int:
        """See `Head`."""
        return self.linear.out_features

    @torch.no_grad()
    def logits(self, hidden: Tensor, workspace: Workspace | None = None) -> Tensor:
        """Return the logits; see `Head`."""
        weight, bias = self.linear.weight, _bias(self.linear)
        # Under autocast and in short floats torch makes an array of its own, of half the size.
        plain = hidden.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled(hidden.device.type)
        if workspace is None or not plain:
            return functional.linear(hidden, weight, bias)
        logits = workspace.array(0, len(hidden))
        return (
            torch.mm(hidden, weight.T, out=logits) if bias is None else torch.addmm(bias, hidden, weight.T, out=logits)
        )

    @torch.no_grad()
    def learn(self, hidden: Tensor, minimised: Minimised, workspace: Workspace) -> tuple[Tensor, Tensor]:
        """Add the map's gradient, return that at the hidden states; see `Head`."""
        terms, at_logits = minimised(self.logits(hidden, workspace))
        _add_gradients(self.linear, hidden, at_logits)
        return terms, (at_logits @ self.linear.weight.to(at_logits.dtype)).to(hidden.dtype)


@dataclass(frozen=True, slots=True)
class OwnHead:
    """What a model's own forward does with hidden states: scaling, a cap, a projection; autograd finds the gradient.

    Attributes:
        model: the language model.
        body: its part that answers with hidden states.
    """

    model: Any
    body: Any

    @property
    def vocabulary(self) -> int:
        """See `Head`."""
        return vocabulary_of(self.model)

    @torch.no_grad()
    def logits(self, hidden: Tensor, workspace: Workspace | None = None) -> Tensor:  # noqa: ARG002 - autograd's arrays
        """Return the logits; see `Head`."""
        return self._logits(hidden)

    def learn(self, hidden: Tensor, minimised: Minimised, workspace: Workspace) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Let autograd go back through the head; see `Head`."""
        hidden = hidden.detach().requires_grad_()
        with _adding_in_place(self.model.get_output_embeddings()):
            logits = self._logits(hidden)
        terms, at_logits = minimised(logits.detach())
        logits.backward(at_logits)
        assert hidden.grad is not None
        return terms, hidden.grad

    def _logits(self, hidden: Tensor) -> Tensor:
        # The body's own forward stays uncalled: its answer is given here.
        answer = _Answer(last_hidden_state=hidden[None])
        one_token = torch.zeros((1, 1), dtype=torch.long, device=hidden.device)
        named = plain_inputs(self.model, one_token)
        if _is_paired(self.model):
            # Nothing that an encoder says reaches the head: none need read that token.
            named["encoder_outputs"] = BaseModelOutput(last_hidden_state=hidden[None, :1].detach())
        with _answering(self.body, lambda *_, **__: answer):
            # Past the model's hooks: those that gather divided weights did so for the body, and gradients are not
            # divided before the body has its own.
            logits: Tensor = self.model.forward(**named).logits
        # A view, also in the backward pass, where indexing would make another array of this size.
        return logits.squeeze(0)


@torch.no_grad()
def is_linear(model: Any, body: Any, hidden: Tensor) -> bool:
    """Whether a model's head is a linear map and nothing else.

    Args:
        model: in eval mode.
        body: its part that answers with hidden states.
        hidden: some of these, shape (places, size).
    """
    linear = model.get_output_embeddings()
    # Not one of a class derived from it: what that does is its own business.
    if type(linear) is not nn.Linear or hidden.shape[-1] != linear.in_features:
        return False
    bare = LinearHead(linear)
    hidden = hidden.to(linear.weight.dtype)
    hidden = hidden * (_LARGEST / bare.logits(hidden).abs().max())
    mapped, logits = bare.logits(hidden).float(), OwnHead(model, body).logits(hidden).float()
    tolerance = _SAME if linear.weight.dtype == torch.float32 else _SAME_IN_SHORT
    # Not so either where all are zero, and nothing is shown.
    return bool((logits - mapped).abs().max() <= tolerance * _LARGEST)


def plain_inputs(model: Any, ids: Tensor) -> dict[str, Any]:
    """Return the arguments with which a model reads tokens and nothing else, and keeps no cache where it has one."""
    takes = inspect.signature(model.forward).parameters
    named = {"input_ids": ids} | ({"use_cache": False} if "use_cache" in takes else {})
    # What an encoder reads its decoder may write.
    return named | ({"decoder_input_ids": ids} if _is_paired(model) else {})


def _is_paired(model: Any) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def vocabulary_of(model: Any) -> int:
    """Return how many logits a language model has at each place."""
    weight = getattr(model.get_output_embeddings(), "weight", None)
    return int(model.config.get_text_config().vocab_size if weight is None else weight.shape[0])


class _Answer(dict[str, Any]):
    """What a body says, with nothing but its hidden states; each model asks for other fields."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)

    def __getitem__(self, key: Any) -> Any:
        return self["last_hidden_state"] if key == 0 else super().__getitem__(key)


@contextmanager
def _answering(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        # What hid the class's own.
        del module.forward


@contextmanager
def _adding_in_place(head: Any) -> Iterator[None]:
    if type(head) is not nn.Linear or not head.weight.requires_grad:
        yield
        return

    def forward(hidden: Tensor) -> Any:
        return _AddingLinear.apply(hidden, head)  # type: ignore[no-untyped-call]  # torch's

    with _answering(head, forward):
        yield


class _AddingLinear(torch.autograd.Function):
    """A linear map whose weight's gradient is added where it belongs, not made anew for each part and then added."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: nn.Linear) -> Tensor:
        ctx.save_for_backward(hidden)
        ctx.head = head
        return functional.linear(hidden, head.weight, head.bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (hidden,) = ctx.saved_tensors
        _add_gradients(ctx.head, hidden.flatten(0, -2), gradient.flatten(0, -2))
        return (gradient @ ctx.head.weight.to(gradient.dtype)).to(hidden.dtype), None


def _add_gradients(linear: nn.Linear, hidden: Tensor, at_logits: Tensor) -> None:
    """Add to a linear map's gradients, in place, without a copy of their size.

    Args:
        linear: the map.
        hidden: what it took, shape (places, size).
        at_logits: the gradient at what it gave, shape (places, vocabulary).
    """
    for weight in linear.parameters():
        if weight.requires_grad and weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    if linear.weight.requires_grad:
        _add_product(linear.weight.grad, at_logits.T, hidden.to(at_logits.dtype))
    bias = _bias(linear)
    if bias is not None and bias.grad is not None:
        bias.grad.add_(at_logits.sum(0))


def _bias(linear: nn.Linear) -> Tensor | None:
    # Torch's own annotation leaves out that there may be none.
    return linear.bias


def _add_product(total: Any, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
