"""What a causal model is asked, and what follows from its answers."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from checkpoints.probe.compare import Yardstick, errors
from checkpoints.probe.conduct import ANEW, Conduct, UnfitModel, Way
from checkpoints.probe.decoding import CachedRows, TokenDecoder
from checkpoints.probe.lengths import Tables, named_limit, small_windows
from checkpoints.probe.texts import TEXT_TOKENS, plain_tokens

# Of the long text the end is changed; of the short ones each is read up to here before the next joins.
CHANGED: Final = 8
READ: Final = (5, 11, 8)
STEPS: Final = 4
WINDOW: Final = 6
PARTS: Final = 4


class CausalProbe:
    """Asks one model.

    Args:
        model: in eval mode; it is left as it came.

    Raises:
        UnfitModel: a whole pass over plain text fails.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        named = named_limit(model.config)
        # A model of few positions is asked with as many as it has.
        self._count = min(TEXT_TOKENS, named or TEXT_TOKENS)
        self._texts = [plain_tokens(model, self._count, text=text) for text in range(len(READ))]
        tables = Tables(model, self._count)
        # One pass alone is watched: each of its operations goes through Python meanwhile.
        with tables:
            first = self._whole(self._texts[0])
        self._wholes = [first, *(self._whole(text) for text in self._texts[1:])]
        self._first_place = tables.first
        half = self._count // 2
        # The same second half behind another first one: how much what came before matters to this model at all.
        other = self._whole([*reversed(self._texts[0][:half]), *self._texts[0][half:]])
        self._effect = float(errors(other[half:], first[half:]).median())
        self._same = Yardstick.of(model.dtype, self._effect).same
        self.longest = min((limit for limit in (named, tables.limit) if limit), default=None)

    def require_causal(self) -> None:
        """See that the model answers alike each time, and that nothing later reaches back.

        Raises:
            UnfitModel: it does not.
        """
        text, whole = self._texts[0], self._wholes[0]
        # First: of a model that draws lots no other comparison would mean anything.
        if not self._same(self._whole(text), whole):
            raise UnfitModel(
                "this model gives other logits each time that it reads the same text, so that nothing about it can be "
                "measured; take one that does not draw lots"
            )
        kept = max(1, self._count - CHANGED)
        changed = self._whole([*text[:kept], *reversed(text[kept:])])
        if not self._same(changed[:kept], whole[:kept]):
            raise UnfitModel(
                "this model sees later tokens: its logits at a place change with the text behind it, so it cannot "
                "write, and its loss says nothing. It is no causal language model: a masked one, perhaps (set "
                '`model.kind = "masked-lm"`), or its config.json lacks `is_decoder: true`; else take one that is'
            )

    def _noise(self) -> float:
        """How far rounding alone moves logits: of a causal model, those of a text's beginning, read alone."""
        text, whole = self._texts[0], self._wholes[0]
        counts = dict.fromkeys(max(1, self._count * part // PARTS) for part in range(1, PARTS))
        ends = torch.stack([self._whole(text[:count])[-1] for count in counts])
        return float(errors(ends, whole[[count - 1 for count in counts]]).median())

    def reading(self) -> Conduct:
        """How it is read: lengths, rows that share a pass, documents that share a row.

        Raises:
            UnfitModel: see `require_causal`.
        """
        self.require_causal()
        # Not before: of one that sees later tokens this would be no rounding.
        self._same = Yardstick.of(self._model.dtype, self._effect, self._noise()).same
        with small_windows(self._model, WINDOW):
            rows_together = self._reads_rows_together()
        return Conduct(
            longest=self.longest,
            rows_together=rows_together,
            packed=self._packs(),
            answered=tuple(self._texts[0]),
        )

    def way(self) -> Way:
        """The fastest way to write in which its logits are those of whole passes."""
        with small_windows(self._model, WINDOW):
            wholes = [self._whole(text) for text in self._texts]
            # With small windows no cache that is cut to a window can pass by luck, as short texts would let it.
            return next((way for way in self._ways() if self._writes(way, wholes)), ANEW)

    def _ways(self) -> Iterator[Way]:
        # The fastest first. Some models count positions from another number than 0: their tables told which.
        firsts = dict.fromkeys((0, self._first_place))
        yield from (Way("shared", first) for first in firsts)
        counted: tuple[int | None, ...] = (None, *firsts)
        # Reading a prompt in stretches lets others answer meanwhile: any cache that bears it is preferred.
        for stretches in (True, False):
            yield from (Way("given", first, stretches) for first in counted)
            yield from (Way("own", first, stretches) for first in counted)

    def _writes(self, way: Way, wholes: Sequence[Tensor]) -> bool:
        try:
            return self._writes_alone(way, wholes[0]) and (not way.together or self._writes_together(way, wholes))
        # Says nothing about the way: taken for a no, it would make this model slow for good.
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - a way in which the model raises, whatever it is, is not its way
            return False

    def _writes_alone(self, way: Way, whole: Tensor) -> bool:
        """One text in two stretches, or one, and then token by token to its end."""
        decoder, text = TokenDecoder(self._model, way), torch.tensor([self._texts[0]])
        batch = decoder.begin()
        begun = max(1, self._count // 2)
        # Two stretches, as one alone starts from nothing and so cannot lose what came before.
        cuts = [begun // 2, begun] if way.stretches and begun > 1 else [begun]
        cuts += range(begun + 1, self._count + 1)
        pieces, start = [], 0
        for cut in cuts:
            pieces.append(decoder.advance(batch, text[:, start:cut]))
            start = cut
        logits, expected = torch.cat(pieces), whole[[cut - 1 for cut in cuts]]
        # A state that forgets soon forgives soon: what a second stretch has lost shows at its own end.
        read = len(cuts) - (self._count - begun)
        return self._same(logits, expected) and (way.together or self._same(logits[:read], expected[:read]))

    def _writes_together(self, way: Way, wholes: Sequence[Tensor]) -> bool:
        """Texts of several lengths join while others are under way, and one leaves."""
        decoder = TokenDecoder(self._model, way)
        written = _Written(decoder, self._texts)
        for text, count in enumerate(READ):
            written.join(text, max(1, min(count, self._count - STEPS)))
            written.step()
        # The one in the middle, so that the rows behind it move up.
        written.leave(1)
        written.step()
        expected = torch.stack([wholes[text][at] for text, at in written.places])
        return self._same(torch.stack(written.logits), expected)

    def _reads_rows_together(self) -> bool:
        """Rows of several lengths, padded on the right, without a mask."""
        lengths = [max(1, min(length, self._count)) for length in (self._count, *READ[1:])]
        # Any id will do: a causal model cannot see what stands behind its text.
        pad = self._model.config.get_text_config().pad_token_id or 0
        rows = [text[:n] + [pad] * (self._count - n) for text, n in zip(self._texts, lengths, strict=True)]
        try:
            logits = self._logits(torch.tensor(rows))
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - where several rows raise, whatever it is, each is read alone
            return False
        return all(self._same(logits[row, :n], self._wholes[row][:n]) for row, n in enumerate(lengths))

    def _packs(self) -> bool:
        """Whether a second document in a row gets the logits that it would get alone, by positions that restart.

        It holds where the model makes its attention mask from positions, which most of transformers' causal LMs do;
        not for recurrent models, nor where positions are counted by the model itself, or from another number than 0.
        """
        # Two equal halves, neither longer than what the model has positions for.
        size = self._count // 2
        first, second = self._texts[0][:size], self._texts[1][:size]
        positions = torch.arange(size).repeat(2)[None]
        try:
            packed = self._logits(torch.tensor([first + second]), position_ids=positions)[0]
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - a model that takes no positions raises as it likes
            return False
        return self._same(packed[:size], self._wholes[0][:size]) and self._same(packed[size:], self._wholes[1][:size])

    def _whole(self, text: Sequence[int]) -> Tensor:
        """The logits of one text in one pass, shape (tokens, vocabulary)."""
        try:
            return self._logits(torch.tensor([list(text)]))[0]
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise UnfitModel(
                f"this model fails on a plain text of {len(text)} tokens ({type(error).__name__}: {_line(error)}); "
                "take one that reads text alone"
            ) from error

    def _logits(self, ids: Tensor, **more: Tensor) -> Tensor:
        device = self._model.device
        placed = {name: value.to(device) for name, value in more.items()}
        with torch.inference_mode():
            logits: Any = self._model(input_ids=ids.to(device), use_cache=False, **placed).logits
        return torch.as_tensor(logits)


class _Written:
    """Texts that a decoder is fed together, and the logits that it gave."""

    def __init__(self, decoder: TokenDecoder, texts: Sequence[Sequence[int]]) -> None:
        self._decoder = decoder
        self._texts = texts
        self._batch: CachedRows | None = None
        self._rows: list[int] = []
        self._fed: dict[int, int] = {}
        self.logits: list[Tensor] = []
        self.places: list[tuple[int, int]] = []

    def join(self, text: int, count: int) -> None:
        """Read the beginning of another text, and let it join."""
        batch = self._decoder.begin()
        assert isinstance(batch, CachedRows)
        self._take([text], self._decoder.advance(batch, torch.tensor([self._texts[text][:count]])), count)
        self._rows.append(text)
        if self._batch is None:
            self._batch = batch
        else:
            self._batch.join(batch)

    def step(self) -> None:
        """One more token for each."""
        assert self._batch is not None
        tokens = [[self._texts[text][self._fed[text]]] for text in self._rows]
        self._take(self._rows, self._decoder.advance(self._batch, torch.tensor(tokens)), 1)

    def leave(self, text: int) -> None:
        """Let one go."""
        assert self._batch is not None
        self._batch.keep([row for row, kept in enumerate(self._rows) if kept != text])
        self._rows.remove(text)

    def _take(self, texts: Sequence[int], logits: Tensor, count: int) -> None:
        for text, row in zip(texts, logits, strict=True):
            self._fed[text] = self._fed.get(text, 0) + count
            self.logits.append(row)
            self.places.append((text, self._fed[text] - 1))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
