"""What stood around documents in pre-training: the model is asked, as the tokenizer of a chat model does not say.

There the end of a sequence is the end of a turn, and often the beginning one of a turn as well. Put around documents,
such a token would teach the model that articles are turns, and each first sentence would be scored as an answer.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from checkpoints.document_frame import DocumentFrame, usual_frame
from checkpoints.probe.texts import known_tokens

# Ordinary prose of several kinds and languages: what is asked is how documents begin, not what they are about.
TEXTS: Final = (
    "The first snow of the year fell on the village during the night, and by morning every road was closed.",
    "In this paper we study how small changes in temperature affect the growth of plants over many years.",
    "Local officials said on Tuesday that the bridge will be closed for repairs until the end of the month.",
    "She had never been to the city before, and nothing that she had read about it had prepared her for the noise.",
    "This guide explains how to install the program, how to change its settings, and what to do when it fails.",
    "Water is a simple compound of hydrogen and oxygen that covers about seventy percent of the planet.",
    "Le conseil municipal a voté hier soir le budget de la ville pour l'année prochaine, malgré les critiques.",
    "Der Zug nach Hamburg fährt heute wegen einer Störung an der Strecke erst eine halbe Stunde später ab.",
)
BEGINNING: Final = 3
"""Tokens of a beginning: most of what tells one document's end from a turn's is in the first of them."""
MIDDLE: Final = slice(5, 14)
MOST_MARKS: Final = 32
"""Special tokens that are asked: a vocabulary may hold hundreds that stand for nothing, in reserve after its own."""
CLEARLY: Final = 0.5
"""Nats per token by which another token has to do better than what the tokenizer names: by chance none does."""


def frame_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, together: bool = True) -> DocumentFrame:
    """Ask a causal model which of its special tokens stood around documents; what it leaves open the tokenizer decides.

    Args:
        model: in eval mode.
        tokenizer: its own.
        together: whether texts of equal length may share a pass.
    """
    usual = usual_frame(tokenizer)
    marks = _marks(model, tokenizer)
    texts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    texts = [ids for ids in texts if len(ids) >= MIDDLE.stop and not set(ids).intersection(marks)]
    if not texts or usual.opening is None:
        return usual
    asked = _Asked(model, together=together)
    costs = {mark: asked.cost([[mark, *ids[:BEGINNING]] for ids in texts], BEGINNING) for mark in marks}
    opening = _clearly_best(costs, usual.opening)
    if opening != usual.opening:
        # What documents begin behind, and no beginning of a sequence by the tokenizer's word, is what parts them.
        frame = replace(usual, opening=opening, closing=opening)
    else:
        frame = replace(usual, closing=_closing(asked, usual, marks, texts, tokenizer))
    return replace(frame, leads=usual.leads and asked.bears_lead(opening, [ids[MIDDLE] for ids in texts]))


def _closing(
    asked: "_Asked",
    usual: DocumentFrame,
    marks: Sequence[int],
    texts: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
) -> int | None:
    """Return what ends a document where another token begins one: the tokenizer's, unless that ends turns.

    Of others it is the one behind which a document's beginning follows most likely.
    """
    opening, closing = usual.opening, usual.closing
    if opening is None or closing is None or closing == opening or not ends_turns(tokenizer):
        return closing
    return _clearly_best(
        {
            mark: asked.cost([[opening, *ids[: MIDDLE.stop], mark, opening] for ids in texts], 1)
            for mark in marks
            if mark != opening
        },
        closing,
    )


def ends_turns(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the end of a sequence is what a chat template ends turns with."""
    templates = getattr(tokenizer, "chat_template", None) or ""
    written = " ".join(map(str, templates.values())) if isinstance(templates, Mapping) else str(templates)
    return bool(written) and ("eos_token" in written or str(tokenizer.eos_token) in written)


def _marks(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens that are asked: those with a role first, then in the order of the vocabulary."""
    roles = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    added = sorted(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    rows = known_tokens(model)
    listed = dict.fromkeys(mark for mark in (*roles, *added) if isinstance(mark, int) and mark < rows)
    return list(listed)[:MOST_MARKS]


def _clearly_best(costs: Mapping[int, float], usual: int) -> int:
    """Return the mark of the least cost, or the usual one where that costs hardly more, or was not asked."""
    best = min(costs, key=costs.__getitem__, default=usual)
    return best if usual in costs and costs[usual] - costs[best] > CLEARLY else usual


class _Asked:
    """A model that is asked what the ends of rows cost it."""

    def __init__(self, model: PreTrainedModel, *, together: bool) -> None:
        self._model = model
        self._together = together
        # Else there are logits of every place, of which the last few are used.
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def cost(self, rows: Sequence[Sequence[int]], last: int) -> float:
        """Return the mean loss of the last so many tokens of each row, in nats; the rows are equally long."""
        parts = [rows] if self._together else [[row] for row in rows]
        return sum(self._summed(part, last) for part in parts) / (last * len(rows))

    def bears_lead(self, opening: int, parts: Sequence[list[int]]) -> bool:
        """Whether what comes from the middle of a text costs no more behind the token that begins documents."""
        predicted = len(parts[0]) - 1
        led = self.cost([[opening, *ids] for ids in parts], predicted)
        return led <= self.cost(parts, predicted) + CLEARLY

    def _summed(self, rows: Sequence[Sequence[int]], last: int) -> float:
        ids = torch.tensor([list(row) for row in rows], device=self._model.device)
        kept = {"logits_to_keep": last + 1} if self._keeps else {}
        with torch.inference_mode():
            logits: Any = self._model(input_ids=ids, use_cache=False, **kept).logits
        predicting = logits[:, -last - 1 : -1].float().flatten(0, 1)
        return float(functional.cross_entropy(predicting, ids[:, -last:].flatten(), reduction="sum"))
