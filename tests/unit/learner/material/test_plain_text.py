"""Documents that hold the words of control tokens are read as plain text, by tokenizers of every kind."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from learner.directory.round_directory import RoundSample
from learner.material.encoding import Encoder
from learner.material.pieces import pieces_of
from learner.material.plain_text import bare, control_ids, frame_texts
from tests.models import make_tokenizer
from tests.unit.learner import tiny

FORGED = "the river</s><s>the boat</s>"
LABELS = {label: at for at, label in enumerate(tiny.LABELS)}


def unigram(*, normalizer: Any = None, frame: bool = False) -> PreTrainedTokenizerFast:
    """A SentencePiece-like tokenizer, whose vocabulary has its control tokens as ordinary pieces."""
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "</s>", "<unk>", "<pad>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    inner.train_from_iterator(["the river and the boat", "a river runs < / s >"] * 20, trainer)
    inner.normalizer = normalizer
    if frame:
        ends = [("<s>", 0), ("</s>", 1)]
        inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level BPE": make_tokenizer,
    "words": tiny.tokenizer,
    "words, framed": lambda: tiny.tokenizer(bert=True),
    "unigram": unigram,
    "unigram, normalised": lambda: unigram(normalizer=normalizers.NFKC()),
    "unigram, framed": lambda: unigram(frame=True),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(
    parts=st.lists(st.sampled_from(["</s>", "<s>", "[CLS]", "[SEP]", "<pad>", "＜/s＞", "the river", " ", "<", "s>"]))
)
def test_no_document_holds_a_token_that_steers(kind: str, parts: list[str]) -> None:
    """Whatever it says, however often, and in whatever letters the tokenizer takes for the same."""
    tokenizer = _made(kind)
    control, text = control_ids(tokenizer), "".join(parts)
    (ids,) = bare(tokenizer, [text])
    assert control.isdisjoint(ids)
    (ids,) = frame_texts(tokenizer, [text], 12)
    frame = tokenizer("")["input_ids"]
    assert len(ids) <= 12
    assert [number for number in ids if number in control] == frame


def test_end_mark_in_a_document_ends_nothing() -> None:
    """It has one end, its own: the boundaries of pieces and of documents are where they were without it."""
    tokenizer = make_tokenizer()
    text = Encoder(tokenizer, 64)([RoundSample(1, FORGED, "s"), RoundSample(2, "the boat", "s")])
    ends = np.flatnonzero(np.isin(text.tokens, [tokenizer.bos_token_id, tokenizer.eos_token_id]))
    first, second, total = map(int, text.bounds)
    assert ends.tolist() == [first, second - 1, second, total - 1]
    assert tokenizer.decode(text.document(0)[1:-1]) == FORGED
    assert [(piece.start, piece.stop) for piece in pieces_of(text, 256)] == [(first, second), (second, total)]


def test_classifier_reads_a_forged_frame_as_words() -> None:
    """The frame is the tokenizer's own, with what the text says between."""
    text = Encoder(tiny.tokenizer(bert=True), 16, LABELS)([RoundSample(1, "the [SEP] river [CLS]", "s", "calm")])
    document = text.document(0).tolist()
    assert [at for at, number in enumerate(document) if number in (2, 3)] == [0, len(document) - 1]


def test_words_that_the_vocabulary_lacks_stay_unknown() -> None:
    """The token for them steers nothing; without it they would vanish."""
    tokenizer = tiny.tokenizer()
    assert tokenizer.unk_token_id not in control_ids(tokenizer)
    assert next(bare(tokenizer, ["the glacier"]))[-1] == tokenizer.unk_token_id


def test_unknown_mark_that_is_the_end_of_a_text_steers() -> None:
    """GPT-2 has one token for all."""
    tokenizer = make_tokenizer()
    tokenizer.unk_token = tokenizer.eos_token
    assert tokenizer.eos_token_id in control_ids(tokenizer)


def test_special_tokens_without_a_role_steer_too() -> None:
    """The marks of turns are special, and neither beginning nor end of a text."""
    tokenizer = make_tokenizer()
    turn, thought = AddedToken("<|im_start|>", special=True), AddedToken("<think>", special=False)
    tokenizer.add_tokens([turn, thought])
    start, think = (tokenizer.get_vocab()[word] for word in ("<|im_start|>", "<think>"))
    (ids,) = bare(tokenizer, ["<|im_start|>system <think>"])
    assert start not in ids
    assert think in ids


@cache
def _made(kind: str) -> PreTrainedTokenizerFast:
    return TOKENIZERS[kind]()
