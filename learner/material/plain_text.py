"""Documents as plain text: whatever one says, no token in it steers the model.

Text from a stream may hold the words of control tokens (`</s>`, `<|im_end|>`, `[CLS]`). Read as those tokens, they
would end documents where none ends and open turns that nobody took, in training as in evaluation. So they are read
as the letters that they are written with. A vocabulary can have the very words as an ordinary piece (unigram models do,
XLM-RoBERTa's among them); there they are left out.

Added tokens that are not special are words of a vocabulary like others and stay.
"""

from collections.abc import Iterator, Sequence
from itertools import compress
from operator import not_
from typing import Any

STEERING = ("bos", "eos", "sep", "cls", "mask")


def control_ids(tokenizer: Any) -> frozenset[int]:
    """Return the tokens that no text may bring along: all special ones, but for the one for unknown words.

    That one is what a text gets for what the vocabulary lacks. Where it is the end of a text as well (GPT-2's), it
    steers, and such a vocabulary lacks nothing.
    """
    added = tokenizer.added_tokens_decoder.items()
    special = {number for number, token in added if token.special} | set(tokenizer.all_special_ids)
    if tokenizer.unk_token_id not in [getattr(tokenizer, f"{role}_token_id") for role in STEERING]:
        special.discard(tokenizer.unk_token_id)
    return frozenset(special)


def bare(tokenizer: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    """Yield the tokens of each text, without the tokenizer's frame and without any that steers."""
    control = control_ids(tokenizer)
    for ids in _read(tokenizer, texts, add_special_tokens=False)["input_ids"]:
        yield ids if control.isdisjoint(ids) else [number for number in ids if number not in control]


def frame_texts(
    tokenizer: Any, texts: Sequence[str], longest: int, *, are_targets: bool = False
) -> Iterator[list[int]]:
    """Yield the tokens of each text in the tokenizer's own frame, cut to `longest` with it; none but it steers.

    Args:
        tokenizer: whose frame it is.
        texts: any.
        longest: tokens of each at most.
        are_targets: whether a sequence-to-sequence model writes them; some tokenizers frame those in another way.
    """
    control = control_ids(tokenizer)
    how: dict[str, Any] = {"truncation": True, "max_length": longest, "return_special_tokens_mask": True}
    read = _read(tokenizer, texts, are_targets=are_targets, **how)
    for ids, frame in zip(read["input_ids"], read["special_tokens_mask"], strict=True):
        yield drop_steering_tokens(ids, frame, control)


def drop_steering_tokens(ids: list[int], frame: Sequence[int], control: frozenset[int]) -> list[int]:
    """Return the tokens without those of the text that steer.

    Args:
        ids: of a text read with `split_special_tokens`.
        frame: for each, whether the tokenizer put it around the text (1) or it is of the text (0).
        control: see `control_ids`.
    """
    if control.isdisjoint(compress(ids, map(not_, frame))):
        return ids
    return [number for number, is_frame in zip(ids, frame, strict=True) if is_frame or number not in control]


def _read(tokenizer: Any, texts: Sequence[str], *, are_targets: bool = False, **how: Any) -> Any:
    # What is not asked for is not made into lists: that takes longer than the lists that are wanted.
    return tokenizer(
        **{"text_target" if are_targets else "text": list(texts)},
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
        **how,
    )
