"""What a sequence-to-sequence model is asked: an encoder reads one text, a decoder writes another for it."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from checkpoints.matching import decoder_start
from checkpoints.probe.compare import Yardstick, errors
from checkpoints.probe.conduct import ANEW, Conduct, UnfitModel, Way
from checkpoints.probe.lengths import Tables, named_limit
from checkpoints.probe.padded import pad_texts
from checkpoints.probe.pair_decoding import PairDecoder
from checkpoints.probe.texts import plain_tokens

# Of the inputs and, in another order, of what is written for them: neither the longest of both first.
READ: Final = (7, 3, 12)
WRITTEN: Final = (5, 10, 6)
CHANGED: Final = 2
# After how many passes each answer joins the others, and which one leaves before the last.
STAGGERED: Final = (0, 1, 3)
ABREAST: Final = (0, 0, 0)
LEAVING: Final = 1
WAYS: Final = (Way("shared"), Way("abreast"), Way("own"))
"""The fastest first. A prompt is read by the encoder, in one pass."""


class PairProbe:
    """Asks one model.

    Args:
        model: in eval mode; it is left as it came.
        begin: special tokens before each input, as its tokenizer sets them.
        end: special tokens behind each input.

    Raises:
        UnfitModel: it names no token that answers begin with, or a pass over plain text fails.
    """

    def __init__(self, model: PreTrainedModel, begin: Sequence[int] = (), end: Sequence[int] = ()) -> None:
        self._model = model
        start = decoder_start(model)
        if start is None:
            raise UnfitModel(
                "this model names no token that its answers begin with (decoder_start_token_id in config.json or "
                "generation_config.json); take it from its source, whole"
            )
        self._named = named_limit(model.config)
        room = (self._named or max(READ)) - len(begin) - len(end)
        counts = [max(1, min(count, room)) for count in READ]
        self._read = [[*begin, *plain_tokens(model, count, text=text), *end] for text, count in enumerate(counts)]
        self._written = [
            [start, *plain_tokens(model, min(count, room), text=len(READ) + text)] for text, count in enumerate(WRITTEN)
        ]
        tables = Tables(model, len(self._read[0])), Tables(model, len(self._written[0]))
        with tables[0], tables[1]:
            first = self._alone(0)
        self._whole = [first, *(self._alone(text) for text in range(1, len(READ)))]
        self._table_limits = [table.limit for table in tables]
        # What is written for another input: how much the input matters to this model at all.
        other = self._logits([self._read[1]], [self._written[0]])
        self._effect = float(errors(other, first).median())
        self._same = Yardstick.of(model.dtype, self._effect).same

    def reading(self) -> Conduct:
        """How it is trained and scored: lengths, and whether rows share a pass.

        Raises:
            UnfitModel: it answers otherwise each time, or its decoder sees what comes later.
        """
        if not self._same(self._alone(0), self._whole[0]):
            raise UnfitModel(
                "this model gives other logits each time that it reads the same text, so that nothing about it can be "
                "measured; take one that does not draw lots"
            )
        written = self._written[1]
        kept = len(written) - CHANGED
        changed = self._logits([self._read[1]], [[*written[:kept], *reversed(written[kept:])]])
        if not self._same(changed[:kept], self._whole[1][:kept]):
            raise UnfitModel(
                "this model's decoder sees later tokens: its logits at a place change with what is written behind it, "
                "so it cannot write, and its loss says nothing; take one that does not"
            )
        # How far rounding alone moves logits: those of the beginning of what is written, by itself.
        noise = float(errors(self._logits([self._read[1]], [written[:kept]]), self._whole[1][:kept]).median())
        self._same = Yardstick.of(self._model.dtype, self._effect, noise).same
        limits = (self._named, *self._table_limits)
        return Conduct(
            longest=min((limit for limit in limits if limit), default=None),
            rows_together=self._together(),
            answered=tuple(self._read[0]),
        )

    def way(self) -> Way:
        """The fastest way to write in which its logits are those of whole passes."""
        return next((way for way in WAYS if self._writes(way)), ANEW)

    def _writes(self, way: Way) -> bool:
        try:
            if not way.together:
                return self._same(self._written_alone(way), self._whole[0])
            order = ABREAST if way.cache == "abreast" else STAGGERED
            found, places = self._written_together(way, order)
            return self._same(found, torch.stack([self._whole[text][at] for text, at in places]))
        # Says nothing about the way: taken for a no, it would make this model slow for good.
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - a way in which the model raises, whatever it is, is not its way
            return False

    def _written_alone(self, way: Way) -> Tensor:
        decoder = PairDecoder(self._model, way)
        batch = decoder.begin(self._read[0])
        return torch.cat([decoder.advance(batch, torch.tensor([[token]])) for token in self._written[0]])

    def _written_together(self, way: Way, order: Sequence[int]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Several answers in shared passes: each joins once the first has so many tokens, and one leaves.

        Args:
            way: that is tried.
            order: of each text, after how many passes it joins; the first is the first.

        Returns:
            the logits of all passes, shape (places, vocabulary), and the text and the place that each is of.
        """
        decoder, passes = PairDecoder(self._model, way), min(map(len, self._written))
        shared: Any = None
        rows, logits, places = list[int](), list[Tensor](), list[tuple[int, int]]()
        fed = dict.fromkeys(range(len(READ)), 0)

        def feed(batch: Any, texts: Sequence[int]) -> None:
            given = decoder.advance(batch, torch.tensor([[self._written[text][fed[text]]] for text in texts]))
            for text, row in zip(texts, given, strict=True):
                logits.append(row)
                places.append((text, fed[text]))
                fed[text] += 1

        for number in range(passes):
            if number == passes - 1:
                # The one in the middle, so that the rows behind it move up.
                shared.keep([row for row, text in enumerate(rows) if text != LEAVING])
                rows.remove(LEAVING)
            if rows:
                feed(shared, rows)
            for text in (text for text, after in enumerate(order) if after == number):
                own: Any = decoder.begin(self._read[text])
                feed(own, [text])
                shared = own if shared is None else shared
                if own is not shared:
                    shared.join(own)
                rows.append(text)
        return torch.stack(logits), places

    def _together(self) -> bool:
        """Whether pairs of several lengths, padded on the right, get what they get alone."""
        try:
            logits = self._logits(self._read, self._written)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - where several rows raise, whatever it is, each is read alone
            return False
        return self._same(logits, torch.cat(self._whole))

    def _alone(self, text: int) -> Tensor:
        try:
            return self._logits([self._read[text]], [self._written[text]])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            problem = " ".join(str(error).split())[:200]
            raise UnfitModel(
                f"this model fails on a plain text of {len(self._read[text])} tokens ({type(error).__name__}: "
                f"{problem}); take one that reads and writes text alone"
            ) from error

    def _logits(self, read: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        """The logits at each token that is written, one pair after the other; shape (tokens, vocabulary)."""
        device, pad = self._model.device, self._model.config.pad_token_id or 0
        ids, mask = pad_texts(read, pad, "right")
        answers, held = pad_texts(written, pad, "right")
        with torch.inference_mode():
            logits: Any = self._model(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                decoder_input_ids=answers.to(device),
                use_cache=False,
            ).logits
        return torch.as_tensor(logits)[held.bool().to(device)]
