"""Sequences of one generation that advance together, one token a step, on a shared key-value cache."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class Decoder:
    """The forward pass of one causal model, with the arguments that its architecture takes."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._accepts = frozenset(inspect.signature(model.forward).parameters)
        layers = DynamicCache(config=model.config).layers
        # Recurrent and hybrid caches hold no positions to pad: their sequences advance one by one.
        self.can_batch = all(isinstance(layer, DynamicLayer) for layer in layers)

    def begin(self) -> "Batch":
        """A sequence that has seen nothing yet."""
        # Without a configuration every layer keeps every position; windows are the attention mask's matter.
        cache = DynamicCache() if self.can_batch else DynamicCache(config=self._model.config)
        return Batch(cache, torch.zeros(1, dtype=torch.long))

    def advance(self, batch: "Batch", tokens: Tensor) -> Tensor:
        """Feed each sequence its next tokens; the cache grows by them.

        Args:
            batch: the sequences.
            tokens: shape (sequences, new tokens), the same number for each.

        Returns:
            the logits after the last token, shape (sequences, vocabulary).
        """
        device = self._model.device
        count = tokens.shape[1]
        arguments = {
            "attention_mask": batch.attention_mask(count),
            "position_ids": batch.lengths[:, None] + torch.arange(count),
            "logits_to_keep": 1,
        }
        placed = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in arguments.items()
            if name in self._accepts
        }
        with torch.inference_mode():
            output = self._model(input_ids=tokens.to(device), past_key_values=batch.cache, use_cache=True, **placed)
        batch.lengths += count
        batch.cached += count
        logits: Tensor = output.logits[:, -1]
        return logits


class Batch:
    """Sequences and their cache, padded on the left to the longest.

    Args:
        cache: keys and values of shape (sequences, heads, cached, width) in each layer.
        lengths: true length of each sequence, at most `cached`; on the CPU.
        cached: positions in the cache.
    """

    def __init__(self, cache: DynamicCache, lengths: Tensor, cached: int = 0) -> None:
        self.cache = cache
        # Typed as any layer; those that can be padded have keys and values.
        self.layers: list[Any] = cache.layers
        self.lengths = lengths
        self.cached = cached

    def attention_mask(self, new: int) -> Tensor | None:
        """Ones where a sequence has tokens, shape (sequences, cached + new); None where nothing is padded."""
        if bool((self.lengths == self.cached).all()):
            return None
        positions = torch.arange(self.cached + new)
        return (positions >= (self.cached - self.lengths)[:, None]).long()

    def keep(self, rows: Sequence[int]) -> None:
        """Let all sequences but `rows` go."""
        index = torch.tensor(rows, dtype=torch.long)
        self.lengths = self.lengths[index]
        surplus = self.cached - int(self.lengths.max())
        for layer in self.layers:
            on_device = index.to(layer.keys.device)
            layer.keys = layer.keys[on_device, :, surplus:]
            layer.values = layer.values[on_device, :, surplus:]
        self.cached -= surplus

    def join(self, other: "Batch") -> None:
        """Take in the sequences of another batch, after the own."""
        cached = max(self.cached, other.cached)
        for ours, theirs in zip(self.layers, other.layers, strict=True):
            ours.keys = torch.cat([_padded(ours.keys, cached), _padded(theirs.keys, cached)])
            ours.values = torch.cat([_padded(ours.values, cached), _padded(theirs.values, cached)])
        self.lengths = torch.cat([self.lengths, other.lengths])
        self.cached = cached


def _padded(states: Tensor, cached: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, cached - states.shape[-2], 0))
