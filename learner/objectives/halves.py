"""A language model in two halves, so that its logits are made a part at a time and never lie in memory all at once.

At a vocabulary of 152,000 the logits of 16 × 512 places are 4.6 GiB in float32, and their gradient as much again: more
than all else of a small model. So the body (the decoder, to its last hidden states) runs once, and the head (from there
to logits) as often as there are parts.

Transformers has no name for all that lies between the two: it is a linear map, which some models scale or cap. So the
model itself is asked: its own forward is called with a body that answers with given hidden states. Whether that gives
the logits of the whole is tried on a few tokens; a model of which it does not hold is read whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from learner.objectives.heads import Head, LinearHead, NoHead, OwnHead, is_linear, plain_inputs, vocabulary_of
from learner.objectives.part_sizes import places_of_part

_TRIAL_TOKENS: Final = 4
_TOLERANCE: Final = 1e-2
"""Of the largest logit: a head that does something else is off by its whole size, one in bfloat16 by less."""

UNLIKE_OTHERS: Final = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What a model raises that cannot be read in halves, or not so few tokens."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where a model is cut.

    Attributes:
        body: the name of its body; None for a model that is read whole.
        linear: whether its head is a linear map and nothing else.
    """

    body: str | None = None
    linear: bool = False


_CUTS: "WeakKeyDictionary[nn.Module, _Cut]" = WeakKeyDictionary()
"""Of models that were seen before."""


@dataclass(frozen=True, slots=True)
class Read:
    """What the body made of a batch.

    Attributes:
        hidden: what the head takes, place by place, rows laid end to end; shape (rows × width, size).
        auxiliary: the router's loss, where it was asked for.
    """

    hidden: Tensor
    auxiliary: Tensor | None


class Halves:
    """Reads a batch with a model's body; `head` makes logits of what it says.

    Args:
        model: a language model in eval mode or in training, on its device. The first time that one is seen it is asked
            a few times, with a few tokens.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        if model not in _CUTS:
            _CUTS[model] = _cut_of(model)
        cut = _CUTS[model]
        self._body = None if cut.body is None else model.get_submodule(cut.body)
        self.head = _head(model, self._body, linear=cut.linear)

    def read(self, inputs: Mapping[str, Any], run: Callable[..., Any] | None = None) -> Read:
        """Run the body.

        Args:
            inputs: the model's arguments, tensors of shape (rows, width).
            run: calls the model with them; None where there is nothing else to ask of it.
        """
        run = run or self.model
        if self._body is None:
            output = run(**inputs)
            return Read(output.logits.flatten(0, 1), getattr(output, "aux_loss", None))
        kept: list[Tensor] = []

        def cut(_: Any, __: Any, output: Any) -> Any:
            kept.append(output.last_hidden_state)
            # The head is called in any case: on one place it costs nothing.
            output.last_hidden_state = kept[-1][:1, :1].detach()
            return output

        hook = self._body.register_forward_hook(cut)
        try:
            output = run(**inputs)
        finally:
            hook.remove()
        return Read(kept[0].flatten(0, 1), getattr(output, "aux_loss", None))

    def places_of_part(self, hidden: Tensor) -> int:
        """Return of how many places logits are made at a time.

        Args:
            hidden: what `read` gave.
        """
        # Those of a model that is read whole are there already.
        width = 0 if self._body is None else hidden.shape[-1]
        return places_of_part(hidden.device.type, vocabulary=self.head.vocabulary, width=width)


def _head(model: Any, body: Any, *, linear: bool) -> Head:
    if body is None:
        return NoHead(vocabulary_of(model))
    last = model.get_output_embeddings()
    # Looked at anew: an adapter may have been put around it.
    return LinearHead(last) if linear and type(last) is nn.Linear else OwnHead(model, body)


@torch.no_grad()
def _cut_of(model: Any) -> _Cut:
    ids = torch.arange(_TRIAL_TOKENS, device=model.device)[None] % vocabulary_of(model)
    was_training = model.training
    # Dropout would make two readings differ.
    model.eval()
    try:
        whole = model(**plain_inputs(model, ids)).logits[0]
        cuts = (_tried(model, name, ids, whole) for name in _candidates(model))
        return next((cut for cut in cuts if cut is not None), _Cut())
    except UNLIKE_OTHERS:
        return _Cut()
    finally:
        model.train(was_training)


def _candidates(model: Any) -> list[str]:
    """Names of what may be the body: the decoder as the model names it, and the model without its head."""
    modules = {id(module): name for name, module in model.named_modules() if name}
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    names = (modules.get(id(module)) for module in (decoder, model.base_model) if module is not None)
    return [name for name in dict.fromkeys(names) if name is not None]


def _tried(model: Any, name: str, ids: Tensor, whole: Tensor) -> _Cut | None:
    """The cut below a module; None where head and body by themselves do not give what the whole model says."""
    body, kept = model.get_submodule(name), list[Tensor]()

    def keep(_: Any, __: Any, output: Any) -> None:
        kept.append(output.last_hidden_state)

    hook = body.register_forward_hook(keep)
    try:
        model(**plain_inputs(model, ids))
    finally:
        hook.remove()
    if len(kept) != 1:
        return None
    # Not the first: what depends on where a place stands would not be seen there.
    hidden, expected = kept[0][0, 1:], whole[1:]
    try:
        logits = OwnHead(model, body).logits(hidden)
    except UNLIKE_OTHERS:
        return None
    if logits.shape != expected.shape or not (logits - expected).abs().max() <= _TOLERANCE * expected.abs().max():
        return None
    return _Cut(name, linear=is_linear(model, body, hidden))
