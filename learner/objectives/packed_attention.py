"""Attention over rows of documents on a GPU: nothing is computed of what is not attended to, and nothing waited for.

Left to itself transformers looks at the positions of each pass on the device, which has to be waited for, and makes a
mask of rows × width × width, with which the fastest kernels cannot be used. Here the ends of the pieces, which are
known before anything is moved to the device, take the place of both. Torch's attention for sequences of varying length
is given these; where it cannot be used (in float32, with dropout) masks are made of them.

The way in is transformers' own register of attention functions. A model that bears flash attention says all about its
attention where it calls such a function, a sliding window for one, as flash attention sees no mask. Whether it is so is
asked of the model itself: of a few short documents in one row both ways have to give the same logits.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from learner.devices.device import Device
from learner.objectives.forward_pass import Pieces
from learner.objectives.halves import UNLIKE_OTHERS
from learner.objectives.heads import vocabulary_of

VARLEN: Final = "torch.nn.attention.varlen"
_varlen: Any = import_module(VARLEN) if find_spec(VARLEN) else None
"""Torch's attention for sequences of varying length; None before torch 2.10."""
NAME: Final = "riverkeep_packed"
"""Of the function in transformers' register. None for masks has this name, so that none is made."""
ARGUMENT: Final = "riverkeep_pieces"
"""Under this name the pieces pass through the model to its attention."""
TRIAL: Final = ((5, 3, 4), (7, 5))
"""Tokens of the pieces in the rows that a model is tried on."""
_CHOSEN: Final = "_attn_implementation_internal"
"""Where a configuration names the function; transformers' own way of setting it goes through the whole model."""
_SAME: Final = 1e-4
_SAME_IN_SHORT: Final = 3e-2
"""How far apart logits that are the same may be by rounding, over the largest: in float32, and in shorter floats."""

_States: TypeAlias = tuple[Tensor, Tensor, Tensor]


@dataclass(slots=True)
class PassedPieces:
    """The pieces of a pass, as its attention layers get them.

    Attributes:
        pieces: of the rows.
        masks: those that were made for a layer, by window; the next layers take them.
        calls: how often a layer asked.
    """

    pieces: Pieces
    masks: dict[int | None, Tensor] = field(default_factory=dict)
    calls: int = 0

    def mask(self, window: int | None) -> Tensor:
        """Return what each token attends to, shape (rows, 1, width, width), bool.

        Args:
            window: how many tokens each one sees, itself the last of them; None: its piece from its beginning.
        """
        if window not in self.masks:
            self.masks[window] = _mask(self.pieces, window)
        return self.masks[window]


def _mask(pieces: Pieces, window: int | None) -> Tensor:
    places = torch.arange(pieces.width, device=pieces.ends.device)
    back = places[:, None] - places
    seen = back >= 0 if window is None else (back >= 0) & (back < window)
    flat = torch.arange(pieces.rows * pieces.width, device=pieces.ends.device)
    owners = torch.searchsorted(pieces.ends, flat, right=True, out_int32=True).view(pieces.rows, pieces.width)
    return ((owners[:, :, None] == owners[:, None, :]) & seen)[:, None]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend within pieces; see `transformers.AttentionInterface`.

    Args:
        module: the model's attention layer.
        query: shape (rows, heads, width, size); `key` and `value` may have fewer heads.
        key: see `query`.
        value: see `query`.
        attention_mask: always None: none is made.
        dropout: of the weights.
        scaling: of the scores.
        sliding_window: how many tokens each one sees at most, itself among them.
        is_causal: whether no token sees a later one; None: as the layer says.
        more: what else the model says of its attention; the pieces among it.

    Raises:
        NotImplementedError: it is another attention.
    """
    passed = more.get(ARGUMENT)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    unlike = [name for name in ("softcap", "s_aux", "position_bias", "cache") if more.get(name) is not None]
    if not isinstance(passed, PassedPieces) or attention_mask is not None or not causal or unlike:
        raise NotImplementedError(f"attention that is not told of pieces alone: {', '.join(unlike) or 'its mask'}")
    passed.calls += 1
    window = sliding_window if sliding_window is not None and sliding_window < passed.pieces.longest else None
    short = _in_short_floats((query, key, value))
    if short is not None and not dropout:
        return _varying_lengths(short, passed.pieces, window, scaling), None
    mask = passed.mask(window)
    attended, _ = sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling)
    return attended, None


def _in_short_floats(states: _States) -> _States | None:
    """Queries, keys and values as torch's attention for varying lengths takes them; None where it cannot be used."""
    query, _, value = states
    if _varlen is None or query.device.type != "cuda" or query.shape[-1] != value.shape[-1] or query.shape[-1] > 256:
        return None
    # Rotated in float32, as autocast leaves them.
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    if dtype not in (torch.bfloat16, torch.float16):
        return None
    query, key, value = (state.to(dtype) for state in states)
    return query, key, value


def _varying_lengths(states: _States, pieces: Pieces, window: int | None, scale: float | None) -> Tensor:
    rows, heads, width, _ = states[0].shape
    query, key, value = (state.transpose(1, 2).flatten(0, 1) for state in states)
    attended: Tensor = _varlen.varlen_attn(
        query,
        key,
        value,
        pieces.ends,
        pieces.ends,
        pieces.longest,
        pieces.longest,
        scale=scale,
        # To the left of each token, without itself.
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=heads != key.shape[1],
    )
    return attended.view(rows, width, heads, -1)


AttentionInterface.register(NAME, attend)


class PackedAttention:
    """Lets a model attend so.

    Args:
        model: one that was found fit; see `packed_attention_of`.
    """

    def __init__(self, model: Any) -> None:
        modules = (module for module in model.modules() if isinstance(module, PreTrainedModel))
        self._configs = list({id(module.config): module.config for module in modules}.values())

    @contextmanager
    def taking(self, pieces: Pieces) -> Iterator[dict[str, Any]]:
        """Return what the model is to be called with beside its inputs; a backward pass belongs into the context too.

        Args:
            pieces: of the rows.
        """
        before = [getattr(config, _CHOSEN) for config in self._configs]
        try:
            for config in self._configs:
                setattr(config, _CHOSEN, NAME)
            yield {ARGUMENT: PassedPieces(pieces)}
        finally:
            for config, name in zip(self._configs, before, strict=True):
                setattr(config, _CHOSEN, name)


def packed_attention_of(model: Any, device: Device) -> PackedAttention | None:
    """Return how a causal LM attends to pieces without waiting; None where it cannot, or where nothing is gained.

    Args:
        model: on its device.
        device: that it is on: only a GPU computes while the next passes are prepared.
    """
    return tried(model, device) if device.where.type == "cuda" else None


@torch.no_grad()
def tried(model: Any, device: Device) -> PackedAttention | None:
    """Try it on a model, wherever it is; None where the logits are not those that it gives by itself."""
    if not getattr(model, "_supports_flash_attn", False) or getattr(model.config, _CHOSEN, None) != "sdpa":
        return None
    attention, was_training = PackedAttention(model), model.training
    inputs, pieces = _trial(model, device)
    try:
        with device.autocast():
            # Dropout would make two passes differ; that of attention shows in training alone.
            own = model.eval()(**inputs).logits
            with attention.taking(pieces) as more:
                logits = model(**inputs, **more).logits
                model.train()(**inputs, **more)
    except UNLIKE_OTHERS:
        return None
    finally:
        model.train(was_training)
    asked = more[ARGUMENT].calls > 0
    tolerance = _SAME if device.compute is torch.float32 else _SAME_IN_SHORT
    return attention if asked and (logits - own).abs().max() <= tolerance * own.abs().max() else None


def _trial(model: Any, device: Device) -> tuple[Mapping[str, Any], Pieces]:
    width = max(map(sum, TRIAL))
    positions = np.concatenate([np.arange(tokens) for row in TRIAL for tokens in row]).reshape(len(TRIAL), width)
    ids = torch.arange(positions.size, device=device.where).view(positions.shape) % vocabulary_of(model)
    inputs = {"input_ids": ids, "position_ids": torch.from_numpy(positions).to(device.where), "use_cache": False}
    return inputs, Pieces.of(TRIAL, width, device.where)
