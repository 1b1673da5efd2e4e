"""What a sequence-to-sequence model writes, token by token, for texts that its encoder has read once."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from checkpoints.probe.conduct import Way
from checkpoints.probe.decoding import Alone, CachedRows, TokenDecoder


class Written(Alone):
    """What is written for one input, by itself.

    Args:
        source: the input's tokens; its encoding is kept once it was read.
    """

    def __init__(self, source: Sequence[int]) -> None:
        super().__init__({})
        self.source = torch.tensor([list(source)])
        self.encoded: dict[str, Any] = {}


class WrittenRows(CachedRows):
    """What is written for several inputs in passes that they share; at first for one.

    Beside what is written, padded on the left as with a causal model, stands what the encoder made of the inputs,
    padded on the right.

    Args:
        source: the first input's tokens.
        abreast: whether only rows that have written as much may join, so that nothing is ever padded on the left.
    """

    def __init__(self, source: Sequence[int], *, abreast: bool) -> None:
        self.both = EncoderDecoderCache(DynamicCache(), DynamicCache())
        super().__init__(self.both.self_attention_cache, torch.zeros(1, dtype=torch.long))
        self.abreast = abreast
        self.source = torch.tensor([list(source)])
        self.seen = torch.ones_like(self.source)
        self.states: Tensor | None = None
        """Of the encoder, shape (rows, longest input, width); None before the first pass."""

    @property
    def crossing(self) -> list[Any]:
        """The layers' keys and values of what the encoder read. Typed as any layer; all of these have both."""
        return list(self.both.cross_attention_cache.layers)

    def takes(self, other: CachedRows) -> bool:
        """Whether the sequences of another batch may join."""
        return not self.abreast or self.cached == other.cached

    def keep(self, rows: Sequence[int]) -> None:
        """Let all but `rows` go."""
        super().keep(rows)
        assert self.states is not None
        index = torch.tensor(rows, dtype=torch.long)
        self.seen = self.seen[index]
        longest = int(self.seen.sum(1).max())
        self.seen = self.seen[:, :longest]
        on_device = index.to(self.states.device)
        self.states = self.states[on_device, :longest]
        for layer in self.crossing:
            layer.keys = layer.keys[on_device, :, :longest]
            layer.values = layer.values[on_device, :, :longest]

    def join(self, other: CachedRows) -> None:
        """Take in the sequences of another batch, after the own."""
        assert isinstance(other, WrittenRows)
        assert self.states is not None
        assert other.states is not None
        longest = max(self.seen.shape[1], other.seen.shape[1])
        super().join(other)
        self.seen = torch.cat([_pad(part, longest, 1) for part in (self.seen, other.seen)])
        self.states = torch.cat([_pad(part, longest, 1) for part in (self.states, other.states)])
        for ours, theirs in zip(self.crossing, other.crossing, strict=True):
            ours.keys = torch.cat([_pad(layer.keys, longest, 2) for layer in (ours, theirs)])
            ours.values = torch.cat([_pad(layer.values, longest, 2) for layer in (ours, theirs)])


def _pad(states: Tensor, length: int, dimension: int) -> Tensor:
    """States with zeros on the right of one dimension, up to a length."""
    behind = [0, 0] * (states.ndim - 1 - dimension)
    return functional.pad(states, (*behind, 0, length - states.shape[dimension]))


class PairDecoder:
    """The forward pass of one model's decoder; see `checkpoints.probe.decoding.TokenDecoder`.

    Args:
        model: in eval mode.
        way: how it is asked: `shared`, `abreast`, `own`, or anew for each token.
    """

    reads_in_stretches = True

    def __init__(self, model: PreTrainedModel, way: Way) -> None:
        self._model: Any = model
        self._way = way

    @property
    def can_batch(self) -> bool:
        """Whether what is written for several inputs can share passes."""
        return self._way.together

    def begin(self, source: Sequence[int]) -> WrittenRows | Written:
        """What is to be written for an input, of which nothing is read or written yet."""
        if self._way.together:
            return WrittenRows(source, abreast=self._way.cache == "abreast")
        return Written(source)

    def advance(self, batch: Any, tokens: Tensor) -> Tensor:
        """Feed the decoder its next tokens; before the first the encoder reads the input.

        Args:
            batch: what `begin` gave.
            tokens: shape (rows, new tokens).

        Returns:
            the logits after the last token, shape (rows, vocabulary).
        """
        return self.read(batch, tokens)[:, -1]

    def read(self, batch: Any, tokens: Tensor) -> Tensor:
        """Feed the decoder its next tokens, as `advance` does.

        Returns:
            the logits after each of them, shape (rows, new tokens, vocabulary).
        """
        with torch.inference_mode():
            if isinstance(batch, WrittenRows):
                return self._read_rows(batch, tokens)
            return self._read_alone(batch, tokens)

    def _read_rows(self, batch: WrittenRows, tokens: Tensor) -> Tensor:
        count, device = tokens.shape[1], self._model.device
        if batch.states is None:
            batch.states = self._encode(batch.source.to(device))["encoder_outputs"].last_hidden_state
        mask = batch.attention_mask(count)
        output = self._model(
            decoder_input_ids=tokens.to(device),
            decoder_attention_mask=None if mask is None else mask.to(device),
            encoder_outputs=BaseModelOutput(last_hidden_state=batch.states),
            attention_mask=batch.seen.to(device),
            past_key_values=batch.both,
            use_cache=True,
        )
        batch.lengths += count
        batch.cached += count
        logits: Tensor = output.logits[:, -count:]
        return logits

    def _read_alone(self, batch: Written, tokens: Tensor) -> Tensor:
        count, device = tokens.shape[1], self._model.device
        if not batch.encoded:
            batch.encoded = self._encode(batch.source.to(device))
        caches = self._way.cache != "none"
        if not caches:
            batch.tokens = tokens = torch.cat([batch.tokens, tokens], dim=1)
        output = self._model(decoder_input_ids=tokens.to(device), use_cache=caches, **batch.encoded, **batch.state)
        if caches:
            # What came back, not what was given: some models return a new cache rather than write into the old one.
            batch.state = {"past_key_values": output.past_key_values}
            batch.read += tokens.shape[1]
        logits: Tensor = output.logits[:, -count:]
        return logits

    def _encode(self, source: Tensor) -> dict[str, Any]:
        mask = torch.ones_like(source)
        return {
            "encoder_outputs": self._model.get_encoder()(input_ids=source, attention_mask=mask),
            "attention_mask": mask,
        }


Decoder: TypeAlias = TokenDecoder | PairDecoder
"""What is fed the tokens of an answer: a causal model, or a sequence-to-sequence model's decoder."""
