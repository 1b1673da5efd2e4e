"""What a forward pass keeps for its backward pass: counted with a few short rows, so that long ones can be foretold.

Autograd is asked what it saves, each array once, whatever the architecture: which kernel of attention is taken, what
dropout, an adapter or experts keep is in it. What is kept grows with the tokens of a row, and with their square where
attention's scores or masks are kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from checkpoints.kinds import ModelKind
from learner.errors import LearnerError
from learner.objectives.halves import UNLIKE_OTHERS, Halves
from learner.settings import RecipeSettings
from learner.weights.adapter import AdapterShape, attach

ROWS: Final = 2
WIDTHS: Final = (16, 32, 64)
"""Tokens of a row in the passes that are counted: as many as a quadratic function of them has terms."""


def count_kept(
    model: Any,
    kind: ModelKind,
    *,
    packed: bool,
    compute: torch.dtype = torch.float32,
    adapted: RecipeSettings | None = None,
) -> Sequence[tuple[int, int]] | None:
    """Count what a training pass of `ROWS` rows keeps.

    Args:
        model: on the CPU; it is left in float32, its adapter merged, in the mode that it came in.
        kind: what it is for.
        packed: whether rows of a causal LM hold several documents.
        compute: of the forward pass.
        adapted: the recipe of the adapter that is trained in place of all weights; None where these are.

    Returns:
        width and bytes of each pass; None where the model cannot be read so, or has nothing for the adapter, and of one
            that reads pairs.
    """
    if kind == "seq2seq":
        return None
    was_training = model.training
    model.float().requires_grad_(requires_grad=True)
    try:
        with _adapter(model, kind, adapted):
            model.train()
            with torch.autocast("cpu", dtype=compute, enabled=compute != torch.float32):
                return [(width, _kept(model, _pass(model, kind, width, packed=packed))) for width in WIDTHS]
    except (LearnerError, *UNLIKE_OTHERS):
        return None
    finally:
        model.train(was_training)


@contextmanager
def _adapter(model: Any, kind: ModelKind, recipe: RecipeSettings | None) -> Iterator[None]:
    if recipe is None or recipe.adapter is None:
        yield
        return
    shape = AdapterShape(recipe.adapter, recipe.adapter_rank, recipe.adapter_alpha, recipe.adapter_modules)
    adapter = attach(model, shape, seed=0, heads=kind == "classifier")
    try:
        yield
    finally:
        adapter.merge()


def _kept(model: Any, run: Callable[[], Any]) -> int:
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Tensor] = {}

    def note(saved: Tensor) -> Tensor:
        # A view keeps all that it is a view of. Held here, so that no other array comes to lie where one was.
        place = saved.untyped_storage().data_ptr()
        if place not in weights:
            kept.setdefault(place, saved)
        return saved

    with saved_tensors_hooks(note, lambda saved: saved):
        run()
    return sum(saved.untyped_storage().nbytes() for saved in kept.values())


def _pass(model: Any, kind: ModelKind, width: int, *, packed: bool) -> Callable[[], Any]:
    """A pass as the learner takes it, with documents of different lengths."""
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(ROWS * width).view(ROWS, width) % rows
    if kind != "causal-lm":
        mask = torch.ones_like(ids)
        mask[-1, width // 2 :] = 0
        pad = model.config.get_text_config().pad_token_id
        padded = {"input_ids": ids.where(mask.bool(), pad), "attention_mask": mask}
        return partial(model, **padded) if kind == "classifier" else partial(Halves(model).read, padded)
    inputs: dict[str, Any] = {"input_ids": ids, "use_cache": False}
    if packed:
        inputs["position_ids"] = (torch.arange(width) % (width // 2)).expand(ROWS, width).contiguous()
    return partial(Halves(model).read, inputs)
