"""Whether the ids that a tokenizer gives are those that a model has: its rows, its padding, the frame of a text."""

from typing import Any, Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from checkpoints.card import ModelKind

# A tokenizer that fills less of the embedding than this was made for another model: padding takes less.
LEAST_VOCABULARY_SHARE: Final = 0.5


def rows_of(model: PreTrainedModel) -> int | None:
    """How many ids a model has an embedding for; None where it has no table of them (CANINE hashes letters)."""
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError):
        return None
    return weight.shape[0] if isinstance(weight, torch.Tensor) and weight.ndim == 2 else None


def mismatch(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: ModelKind) -> str | None:
    """What of a tokenizer does not fit a model; None where they belong together.

    Special tokens above the last row are no fault where no text brings them: Gemma 3's has one for images, which stands
    for what another part of the model gives.
    """
    if kind == "masked-lm" and tokenizer.mask_token_id is None:
        return "has no mask token, which stands for what such a model is to guess"
    rows = rows_of(model)
    if rows is None:
        return None
    vocabulary = tokenizer.get_vocab()
    beyond = {number: token for token, number in vocabulary.items() if number >= rows}
    special = _special_ids(tokenizer)
    # Any text may bring an ordinary token, and with it an index out of range.
    ordinary = max((number for number in beyond if number not in special), default=None)
    if ordinary is not None:
        return f"has token ids up to {ordinary}, the model only {rows} embeddings"
    framing = sorted(_frame(tokenizer, kind) & set(beyond))
    if framing:
        return f"puts {beyond[framing[0]]!r} ({framing[0]}) into each text, the model has only {rows} embeddings"
    tokens = len(set(vocabulary.values()) - set(beyond))
    highest = max(set(vocabulary.values()) - set(beyond), default=-1)
    # By the highest id, not by how many there are: some vocabularies have gaps.
    if highest + 1 < LEAST_VOCABULARY_SHARE * rows:
        return f"knows {tokens} tokens, the model has {rows} embeddings"
    return None


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = tokenizer.added_tokens_decoder.items()
    return {number for number, token in added if token.special} | set(tokenizer.all_special_ids)


def _frame(tokenizer: PreTrainedTokenizerBase, kind: ModelKind) -> set[int]:
    """The ids that come with every text: the tokenizer's own, a causal LM's that part documents, a masked one's gap."""
    framing = set(tokenizer("")["input_ids"])
    if kind == "causal-lm":
        framing |= {tokenizer.bos_token_id, tokenizer.eos_token_id}
    elif kind == "masked-lm":
        framing.add(tokenizer.mask_token_id)
    elif kind == "seq2seq":
        framing.add(tokenizer.eos_token_id)
    return framing - {None}


def decoder_start(model: Any) -> int | None:
    """The token that a sequence-to-sequence model's answers begin with, in training as in writing; None: none named."""
    named = (of_text(model.config, "decoder_start_token_id"), _of_generation(model, "decoder_start_token_id"))
    return next((token for token in named if isinstance(token, int)), None)


def answer_opening(model: Any) -> tuple[int, ...]:
    """The tokens that a decoder is given before it writes: what answers begin with, and one that is forced, if any."""
    forced = _of_generation(model, "forced_bos_token_id")
    return tuple(token for token in (decoder_start(model), forced) if isinstance(token, int))


def _of_generation(model: Any, name: str) -> Any:
    return getattr(getattr(model, "generation_config", None), name, None)


def right_pad(model: PreTrainedModel, preferred: int | None) -> int:
    """The id to fill rows of a batch with: the one that is wanted, else the end of a text, else 0.

    Only one that the model has a row for: -1 and ids above the last row stand in many configurations.
    """
    rows = rows_of(model)
    ends = of_text(model.config, "eos_token_id")
    candidates: list[Any] = [preferred, *(ends if isinstance(ends, list) else [ends])]
    return next((pad for pad in candidates if isinstance(pad, int) and 0 <= pad < (rows or pad + 1)), 0)


def of_text(config: Any, name: str) -> Any:
    """A value of a configuration, or of its text part where it has several."""
    own = getattr(config, name, None)
    return own if own is not None else getattr(config.get_text_config(), name, None)


def set_pad(model: PreTrainedModel, pad: int) -> None:
    """Have a model pad with an id, wherever its classes look for it."""
    # Classes look in either; where a model has no text part both are the same object.
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = pad
