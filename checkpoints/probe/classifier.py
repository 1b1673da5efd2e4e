"""What a classifier is asked: on which side must texts be padded, so that none depends on what shares its pass?"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from checkpoints.probe.compare import Yardstick, errors
from checkpoints.probe.conduct import Conduct, Side, UnfitModel
from checkpoints.probe.lengths import Tables, named_limit
from checkpoints.probe.texts import plain_tokens

# The longest neither first nor last, and one of a single token, which padding outweighs most.
LENGTHS: Final = (7, 3, 12, 1)
SIDES: Final[tuple[Side, ...]] = ("right", "left")


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


class ClassifierProbe:
    """Asks one model.

    Args:
        model: in eval mode.
        begin: special tokens before each text, as its tokenizer sets them.
        end: special tokens behind each text.
    """

    def __init__(self, model: PreTrainedModel, begin: Sequence[int] = (), end: Sequence[int] = ()) -> None:
        self._model = model
        self._named = named_limit(model.config)
        room = max(1, min(max(LENGTHS), (self._named or max(LENGTHS)) - len(begin) - len(end)))
        self._texts = [
            [*begin, *plain_tokens(model, min(length, room), text=text), *end] for text, length in enumerate(LENGTHS)
        ]

    def conduct(self) -> Conduct:
        """How it is asked.

        Raises:
            UnfitModel: it fails on plain text, or answers otherwise each time.
        """
        tables = Tables(self._model, len(self._texts[0]))
        with tables:
            first = self._alone(self._texts[0])
        alone = torch.cat([first, *(self._alone(text) for text in self._texts[1:])])
        # How far texts differ: of a model that answers all of them nearly alike, faults are as small.
        effect = float(errors(alone.mean(0, keepdim=True).expand_as(alone), alone).median())
        same = Yardstick.of(self._model.dtype, effect).same
        if not same(torch.cat([self._alone(text) for text in self._texts]), alone):
            raise UnfitModel(
                "this model gives another answer each time that it reads the same text, so that nothing about it can "
                "be measured; take one that does not draw lots"
            )
        side = next((side for side in SIDES if self._together(side, alone, same)), None)
        longest = min((limit for limit in (self._named, tables.limit) if limit), default=None)
        answered = tuple(self._texts[0])
        return Conduct(longest=longest, rows_together=side is not None, padding=side, answered=answered)

    def _together(self, side: Side, alone: Tensor, same: Callable[[Tensor, Tensor], bool]) -> bool:
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
            if not same(logits, alone[list(chosen)]):
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
                "take one that classifies text alone"
            ) from error

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        device = self._model.device
        with torch.inference_mode():
            logits: Tensor = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        return logits
