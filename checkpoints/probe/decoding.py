"""Sequences of one generation that advance, together or one by one, in the way that the probe found right."""

import inspect
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from checkpoints.probe.conduct import Way

# Under which names a model gives back what it wants to see again.
# Attention, Mamba, RWKV, and XLNet with its like, each under a name of its own.
RETURNED: Final = ("past_key_values", "cache_params", "state", "mems")


class TokenDecoder:
    """The forward pass of one causal model, with the arguments that its architecture takes.

    Args:
        model: in eval mode.
        way: how it is asked.
    """

    def __init__(self, model: PreTrainedModel, way: Way) -> None:
        self._model = model
        self._way = way
        # Models take what they have a name for, and raise at everything else.
        self._accepts = frozenset(inspect.signature(model.forward).parameters)

    @property
    def can_batch(self) -> bool:
        """Whether sequences can join each other."""
        return self._way.together

    @property
    def reads_in_stretches(self) -> bool:
        """Whether a prompt may be fed in several parts."""
        return self._way.stretches

    def begin(self, source: Sequence[int] = ()) -> "CachedRows | Alone":  # noqa: ARG002 - of an encoder; see `PairDecoder`
        """A sequence that has seen nothing yet."""
        if self._way.cache == "shared":
            # Without a configuration every layer keeps every position; windows are the attention mask's matter.
            return CachedRows(DynamicCache(), torch.zeros(1, dtype=torch.long))
        if self._way.cache == "given":
            name = next(name for name in RETURNED if name in self._accepts)
            return Alone({name: DynamicCache(config=self._model.config)})
        return Alone({})

    def advance(self, batch: "CachedRows | Alone", tokens: Tensor) -> Tensor:
        """Feed each sequence its next tokens; the cache grows by them.

        Args:
            batch: the sequences.
            tokens: shape (sequences, new tokens), the same number for each.

        Returns:
            the logits after the last token, shape (sequences, vocabulary).
        """
        return self._feed(batch, tokens, keep=1)[:, -1]

    def read(self, batch: "CachedRows | Alone", tokens: Tensor) -> Tensor:
        """Feed each sequence its next tokens, as `advance` does.

        Returns:
            the logits after each of them, shape (sequences, new tokens, vocabulary).
        """
        return self._feed(batch, tokens, keep=tokens.shape[1])

    def _feed(self, batch: "CachedRows | Alone", tokens: Tensor, *, keep: int) -> Tensor:
        if isinstance(batch, CachedRows):
            return self._advance_together(batch, tokens, keep)
        if self._way.cache == "none":
            return self._read_anew(batch, tokens, keep)
        return self._advance_alone(batch, tokens, keep)

    def _advance_together(self, batch: "CachedRows", tokens: Tensor, keep: int) -> Tensor:
        count = tokens.shape[1]
        positions = self._positions(batch.lengths[:, None], count)
        mask = batch.attention_mask(count)
        logits, _ = self._pass(
            tokens, keep, past_key_values=batch.cache, use_cache=True, attention_mask=mask, **positions
        )
        batch.lengths += count
        batch.cached += count
        return logits

    def _advance_alone(self, batch: "Alone", tokens: Tensor, keep: int) -> Tensor:
        count = tokens.shape[1]
        positions = self._positions(torch.tensor([[batch.read]]), count)
        logits, output = self._pass(tokens, keep, use_cache=True, **batch.state, **positions)
        returned = {name: getattr(output, name, None) for name in RETURNED if name in self._accepts}
        # What came back, not what was given: some models return a new cache rather than write into the old one.
        batch.state = {name: value for name, value in returned.items() if value is not None}
        if not batch.state:
            raise LookupError("the model gives no cache back")
        batch.read += count
        return logits

    def _read_anew(self, batch: "Alone", tokens: Tensor, keep: int) -> Tensor:
        batch.tokens = torch.cat([batch.tokens, tokens], dim=1)
        return self._pass(batch.tokens, keep, use_cache=False)[0]

    def _positions(self, start: Tensor, count: int) -> dict[str, Tensor]:
        if self._way.first_position is None:
            return {}
        return {"position_ids": self._way.first_position + start + torch.arange(count)}

    def _pass(self, tokens: Tensor, keep: int, **arguments: Any) -> tuple[Tensor, Any]:
        """The logits of the last places, shape (rows, keep, vocabulary), and all that the model gave."""
        device = self._model.device
        # Else a long prompt has logits for each of its tokens: gigabytes, of which one row is used.
        named = {"logits_to_keep": keep, **arguments}
        placed = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in named.items()
            if name in self._accepts and value is not None
        }
        with torch.inference_mode():
            output = self._model(input_ids=tokens.to(device), **placed)
        return output.logits[:, -keep:], output


class CachedRows:
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

    @property
    def held(self) -> int:
        """Places for a token that the cache takes, padding included."""
        return self.cached * len(self.lengths)

    def attention_mask(self, new: int) -> Tensor | None:
        """Ones where a sequence has tokens, shape (sequences, cached + new); None where nothing is padded."""
        # Attention without a mask has faster kernels.
        if bool((self.lengths == self.cached).all()):
            return None
        positions = torch.arange(self.cached + new)
        return (positions >= (self.cached - self.lengths)[:, None]).long()

    def takes(self, other: "CachedRows") -> bool:  # noqa: ARG002 - of a causal model any; see `WrittenRows`
        """Whether the sequences of another batch may join."""
        return True

    def keep(self, rows: Sequence[int]) -> None:
        """Let all sequences but `rows` go."""
        index = torch.tensor(rows, dtype=torch.long)
        self.lengths = self.lengths[index]
        # Columns in which nobody is left but padding: else a batch would stay as long as its longest ever was.
        surplus = self.cached - int(self.lengths.max())
        for layer in self.layers:
            on_device = index.to(layer.keys.device)
            layer.keys = layer.keys[on_device, :, surplus:]
            layer.values = layer.values[on_device, :, surplus:]
        self.cached -= surplus

    def join(self, other: "CachedRows") -> None:
        """Take in the sequences of another batch, after the own."""
        cached = max(self.cached, other.cached)
        for ours, theirs in zip(self.layers, other.layers, strict=True):
            ours.keys = torch.cat([_pad_states(ours.keys, cached), _pad_states(theirs.keys, cached)])
            ours.values = torch.cat([_pad_states(ours.values, cached), _pad_states(theirs.values, cached)])
        self.lengths = torch.cat([self.lengths, other.lengths])
        self.cached = cached


def _pad_states(states: Tensor, cached: int) -> Tensor:
    # On the left, so that every row's last token is in the last column, where the next one is added.
    return torch.nn.functional.pad(states, (0, 0, cached - states.shape[-2], 0))


class Alone:
    """One sequence that shares passes with none.

    Args:
        state: what the next pass is given back, by the argument's name.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.read = 0
        self.tokens = torch.zeros((1, 0), dtype=torch.long)

    @property
    def held(self) -> int:
        """Tokens whose keys and values, or whatever the model gives back, are kept; of an encoder's none."""
        return self.read if self.state else 0
