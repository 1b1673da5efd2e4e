"""What a sequence-to-sequence model writes, token by token, for a text that its encoder has read once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from checkpoints.probe.conduct import Way
from checkpoints.probe.decoding import Alone


class Written(Alone):
    """What is written for one input.

    Args:
        source: the input's tokens; its encoding is kept once it was read.
    """

    def __init__(self, source: Sequence[int]) -> None:
        super().__init__({})
        self.source = torch.tensor([list(source)])
        self.encoded: dict[str, Any] = {}


class PairDecoder:
    """The forward pass of one model's decoder; see `checkpoints.probe.decoding.TokenDecoder`.

    Args:
        model: in eval mode.
        way: how it is asked: `own`, or anew for each token.
    """

    can_batch = False
    reads_in_stretches = True

    def __init__(self, model: PreTrainedModel, way: Way) -> None:
        self._model: Any = model
        self._caches = way.cache != "none"

    def begin(self, source: Sequence[int]) -> Written:
        """What is to be written for an input, of which nothing is read or written yet."""
        return Written(source)

    def advance(self, batch: Any, tokens: Tensor) -> Tensor:
        """Feed the decoder its next tokens; before the first the encoder reads the input.

        Args:
            batch: what `begin` gave.
            tokens: shape (1, new tokens).

        Returns:
            the logits after the last token, shape (1, vocabulary).
        """
        return self.read(batch, tokens)[:, -1]

    def read(self, batch: Any, tokens: Tensor) -> Tensor:
        """Feed the decoder its next tokens, as `advance` does.

        Returns:
            the logits after each of them, shape (1, new tokens, vocabulary).
        """
        count = tokens.shape[1]
        device = self._model.device
        with torch.inference_mode():
            if not batch.encoded:
                batch.encoded = self._encode(batch.source.to(device))
            if not self._caches:
                batch.tokens = tokens = torch.cat([batch.tokens, tokens], dim=1)
            output = self._model(
                decoder_input_ids=tokens.to(device), use_cache=self._caches, **batch.encoded, **batch.state
            )
        if self._caches:
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
