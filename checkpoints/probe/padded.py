"""What a model is asked that reads whole texts, with a mask where they are padded: classifiers, masked language models.

On which side must texts be padded, so that none depends on what shares its pass? And does a masked language model see
what comes later?
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from checkpoints.kinds import Kind
from checkpoints.probe.compare import Yardstick, errors
from checkpoints.probe.conduct import Conduct, Side, UnfitModel
from checkpoints.probe.lengths import Tables, named_limit
from checkpoints.probe.texts import plain_tokens

# The longest neither first nor last, and one of a single token, which padding outweighs most.
LENGTHS: Final = (7, 3, 12, 1)
SIDES: Final[tuple[Side, ...]] = ("right", "left")
NOTHING: Final = 1e-6
"""An error, as `errors` gives it, of the same pass made twice."""


def pad_texts(texts: Sequence[Sequence[int]], pad: int, side: Side) -> tuple[Tensor, Tensor]:
    """Ids and mask of texts, each padded to the longest; shape (texts, longest) both."""
    longest = max(map(len, texts))
    ids = torch.full((len(texts), longest), pad)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        place = slice(0, len(text)) if side == "right" else slice(longest - len(text), longest)
        ids[row, place] = torch.tensor(list(text))
        mask[row, place] = 1
    return ids, mask


class PaddedProbe:
    """Asks one model.

    Args:
        model: in eval mode.
        kind: what it predicts.
        begin: special tokens before each text, as its tokenizer sets them.
        end: special tokens behind each text.
    """

    def __init__(self, model: PreTrainedModel, kind: Kind, begin: Sequence[int] = (), end: Sequence[int] = ()) -> None:
        self._model, self._kind = model, kind
        self._named = named_limit(model.config)
        self._framing = len(begin) + len(end)
        room = max(1, min(max(LENGTHS), (self._named or max(LENGTHS)) - self._framing))
        self._texts = [
            [*begin, *plain_tokens(model, min(length, room), text=text), *end] for text, length in enumerate(LENGTHS)
        ]

    def conduct(self) -> Conduct:
        """How it is asked.

        Raises:
            UnfitModel: it fails on plain text, answers otherwise each time, or is to guess and sees nothing later.
        """
        tables = Tables(self._model, len(self._texts[0]))
        with tables:
            first = self._alone(self._texts[0])
        alone = [first, *(self._alone(text) for text in self._texts[1:])]
        answers = torch.cat(alone)
        # How far texts differ: of a model that answers all of them nearly alike, faults are as small.
        effect = float(errors(answers.mean(0, keepdim=True).expand_as(answers), answers).median())
        same = Yardstick.of(self._model.dtype, effect).same
        if not same(torch.cat([self._alone(text) for text in self._texts]), answers):
            raise UnfitModel(
                "this model gives another answer each time that it reads the same text, so that nothing about it can "
                "be measured; take one that does not draw lots"
            )
        if self._kind.by_token:
            self._require_sight()
        side = next((side for side in SIDES if self._together(side, alone, same)), None)
        longest = min((limit for limit in (self._named, tables.limit) if limit), default=None)
        answered = tuple(self._texts[0])
        return Conduct(longest=longest, rows_together=side is not None, padding=side, answered=answered)

    def _require_sight(self) -> None:
        """See that what comes later reaches back: a gap is filled by what stands on both of its sides."""
        text = max(self._texts, key=len)
        kept = len(text) - max(2, (len(text) - self._framing) // 2)
        changed = [*text[:kept], *reversed(text[kept:])]
        # Not by the yardstick: what stands far behind changes less than many a rounding, but never nothing.
        if kept > 0 and float(errors(self._alone(changed)[:kept], self._alone(text)[:kept]).max()) <= NOTHING:
            raise UnfitModel(
                "this model sees no later tokens: its logits at a place stay the same whatever stands behind it. It is "
                'no masked language model; set `model.kind = "causal-lm"`, or take one whose config.json lacks '
                "`is_decoder: true`"
            )

    def _together(self, side: Side, alone: Sequence[Tensor], same: Callable[[Tensor, Tensor], bool]) -> bool:
        """Whether texts of several lengths get what they get alone, in two companies."""
        for chosen in (range(len(self._texts)), (1, 3)):
            ids, mask = pad_texts([self._texts[text] for text in chosen], self._model.config.pad_token_id, side)
            try:
                logits = self._logits(ids, mask)
            # Says nothing about the side: taken for a no, it would have texts take turns for good.
            except torch.OutOfMemoryError:
                raise
            except Exception:  # noqa: BLE001 - where several texts raise, whatever it is, each is read alone
                return False
            if not same(logits, torch.cat([alone[text] for text in chosen])):
                return False
        return True

    def _alone(self, text: Sequence[int]) -> Tensor:
        ids = torch.tensor([list(text)])
        try:
            return self._logits(ids, torch.ones_like(ids))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            problem = " ".join(str(error).split())[:200]
            raise UnfitModel(
                f"this model fails on a plain text of {len(text)} tokens ({type(error).__name__}: {problem}); "
                "take one that reads text alone"
            ) from error

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits of each text, or of each of its tokens, one text after the other; shape (texts or tokens, outputs)."""
        device = self._model.device
        with torch.inference_mode():
            logits: Tensor = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        return logits[mask.bool().to(device)] if self._kind.by_token else logits
