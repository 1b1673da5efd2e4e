"""Samples as tokens.

Everything is tokenised once, before the first step; arrays are flat, so that millions of documents cost their tokens
and little more. Torch-free but for the tokenizer it is given.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from checkpoints.document_frame import DocumentFrame, usual_frame
from learner.directory.round_directory import TextSample
from learner.errors import UnrenderableChat
from learner.material import plain_text
from learner.material.chats import Bools, EncodedChat, encode_chat
from streams.chats import split, split_pair
from streams.decoding.several_labels import members

Ints = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.int32]

CHUNK_DOCUMENTS = 1024


@dataclass(frozen=True, slots=True)
class Encoded:
    """Documents as tokens.

    Attributes:
        tokens: all of them, one document after the other; shape (total,).
        bounds: where each begins in `tokens`, and the end; shape (documents + 1,), ascending.
        samples: what they were made from, in order.
        labels: each document's class; shape (documents,). Zeros for a causal LM. Where several labels may fit, which
            do, 1 or 0: shape (documents, classes).
        lead: the token that later pieces of a long document begin with too; None for none.
        learned: which tokens are to be predicted: of documents all, of chats what the assistant says, of pairs the
            target; shape (total,). None where there is neither, so that all are.
        refused: of each chat or pair that is no material, and has no tokens, why.
    """

    tokens: Tokens
    bounds: Ints
    samples: tuple[TextSample, ...]
    labels: Ints
    lead: int | None = None
    learned: Bools | None = None
    refused: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.samples)

    @property
    def lengths(self) -> Ints:
        """Tokens of each document."""
        return np.diff(self.bounds)

    def document(self, index: int) -> Tokens:
        """Return one document's tokens."""
        return self.tokens[self.bounds[index] : self.bounds[index + 1]]

    def learned_of(self, index: int) -> Tokens:
        """Return those of one document's tokens that are to be predicted; of a document all."""
        tokens = self.document(index)
        if self.learned is None:
            return tokens
        return np.extract(self.learned[self.bounds[index] : self.bounds[index + 1]], tokens)

    def passed_over(self, first: int, stop: int) -> int:
        """Return how many of the tokens from `first` to before `stop` are not to be predicted."""
        return 0 if self.learned is None else stop - first - int(np.count_nonzero(self.learned[first:stop]))

    def take(self, indices: Sequence[int]) -> "Encoded":
        """Return some of the documents, in the order asked for."""
        documents = [self.document(index) for index in indices]
        samples = [self.samples[index] for index in indices]
        learned = None
        if self.learned is not None:
            bounds = ((self.bounds[index], self.bounds[index + 1]) for index in indices)
            learned = _concatenate([self.learned[begin:end] for begin, end in bounds], np.bool_)
        return replace(_join(documents, samples, self.labels[list(indices)], self.lead), learned=learned)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes documents into tokens the way this model expects them.

    A causal LM's document stands between the tokens that its pre-training put there, so that its first word is
    predicted too and knows that it is the first. A classifier's is framed by the tokenizer itself and cut to
    `max_tokens`. What a document says is plain text; see `learner.material.plain_text`. A chat is written by the
    model's chat template; see `learner.material.chats`. Of a pair input and target are framed and cut alike; see
    `learner.material.pairs`.

    Attributes:
        tokenizer: a transformers tokenizer.
        max_tokens: a classifier's longest document, a pair's longest input and target; a causal LM's are kept whole.
        labels: a classifier's classes by name; None for a causal LM.
        passed: told how many documents were tokenised, now and then.
        several: whether any number of its labels fits a document.
        frame: what stands around a causal LM's documents; None: what the tokenizer names.
        pairs: whether samples are pairs.
    """

    tokenizer: Any
    max_tokens: int
    labels: Mapping[str, int] | None = None
    passed: Callable[[int], None] = lambda _: None
    several: bool = False
    frame: DocumentFrame | None = None
    pairs: bool = False

    def knows(self, sample: TextSample) -> bool:
        """Tell whether a classifier has the sample's label; True for a causal LM."""
        if self.labels is None:
            return True
        return members(sample.label) <= self.labels.keys() if self.several else sample.label in self.labels

    def __call__(self, samples: Sequence[TextSample]) -> Encoded:
        """Tokenise the samples, leaving out those whose label the model does not have."""
        kept = tuple(sample for sample in samples if self.knows(sample))
        if self.labels is not None:
            documents = [np.asarray(ids, dtype=np.int32) for ids in self._documents(kept)]
            return _join(documents, kept, self._classes(kept))
        return self._paired(kept) if self.pairs else self._with_chats(kept)

    def _paired(self, samples: tuple[TextSample, ...]) -> Encoded:
        ordered, learned, refused = list[Tokens](), list[Bools](), list[str]()
        for first in range(0, len(samples), CHUNK_DOCUMENTS):
            chunk = [split_pair(sample.text, sample.turns) for sample in samples[first : first + CHUNK_DOCUMENTS]]
            parts = list(zip(*(pair or ("", "") for pair in chunk), strict=True))
            asked = plain_text.frame_texts(self.tokenizer, parts[0], self.max_tokens)
            answers = plain_text.frame_texts(self.tokenizer, parts[1], self.max_tokens, are_targets=True)
            for pair, read, written in zip(chunk, asked, answers, strict=True):
                whole = pair is not None and read and written
                ordered.append(np.asarray([*read, *written] if whole else [], dtype=np.int32))
                learned.append(np.arange(len(ordered[-1])) >= len(read))
                refused += [] if whole else ["it has no input and target"]
            self.passed(len(chunk))
        text = _join(ordered, samples, self._classes(samples))
        return replace(text, learned=_concatenate(learned, np.bool_), refused=tuple(refused))

    def _with_chats(self, samples: tuple[TextSample, ...]) -> Encoded:
        chats, refused = self._chats(samples)
        documents = {at: chat.ids for at, chat in chats.items()}
        plain = [at for at in range(len(samples)) if at not in chats]
        for at, ids in zip(plain, self._documents([samples[at] for at in plain]), strict=True):
            documents[at] = np.asarray(ids, dtype=np.int32)
        ordered = [documents[at] for at in range(len(samples))]
        text = _join(ordered, samples, self._classes(samples), self._frame.lead)
        if not chats:
            return text
        learned = [chats[at].learned if at in chats else np.ones(len(own), np.bool_) for at, own in enumerate(ordered)]
        return replace(text, learned=_concatenate(learned, np.bool_), refused=refused)

    def _chats(self, samples: Sequence[TextSample]) -> tuple[dict[int, EncodedChat], tuple[str, ...]]:
        """The chats by where they stand among the samples, and why some are empty: the template writes them not."""
        chats: dict[int, EncodedChat] = {}
        refused: list[str] = []
        control = plain_text.control_ids(self.tokenizer) if any(sample.turns for sample in samples) else frozenset()
        for at, sample in enumerate(samples):
            if sample.turns is None:
                continue
            try:
                chats[at] = encode_chat(self.tokenizer, split(sample.text, sample.turns), control)
            except UnrenderableChat as why:
                chats[at] = EncodedChat(np.empty(0, np.int32), np.empty(0, np.bool_))
                refused.append(str(why))
            self.passed(1)
        return chats, tuple(refused)

    @property
    def _frame(self) -> DocumentFrame:
        return self.frame or usual_frame(self.tokenizer)

    def _classes(self, samples: Sequence[TextSample]) -> Ints:
        if self.labels is None:
            return np.zeros(len(samples), dtype=np.int64)
        if not self.several:
            return np.asarray([self.labels[sample.label or ""] for sample in samples], dtype=np.int64)
        fitting = np.zeros((len(samples), len(self.labels)), dtype=np.int64)
        for row, sample in zip(fitting, samples, strict=True):
            row[[self.labels[name] for name in members(sample.label)]] = 1
        return fitting

    def _documents(self, samples: Sequence[TextSample]) -> Iterator[list[int]]:
        # In chunks: the tokenizer's own results are many times larger than the arrays made of them.
        for first in range(0, len(samples), CHUNK_DOCUMENTS):
            texts = [sample.text for sample in samples[first : first + CHUNK_DOCUMENTS]]
            if self.labels is None:
                yield from self._framed(texts)
            else:
                yield from plain_text.frame_texts(self.tokenizer, texts, self.max_tokens)
            self.passed(len(texts))

    def _framed(self, texts: list[str]) -> Iterator[list[int]]:
        frame = self._frame
        before = [] if frame.opening is None else [frame.opening]
        after = [] if frame.closing is None else [frame.closing]
        for ids in plain_text.bare(self.tokenizer, texts):
            yield [*before, *ids, *after]


def _join(documents: Sequence[Tokens], samples: Sequence[TextSample], labels: Ints, lead: int | None = None) -> Encoded:
    bounds = np.zeros(len(documents) + 1, dtype=np.int64)
    np.cumsum([len(document) for document in documents], out=bounds[1:])
    return Encoded(_concatenate(documents, np.int32), bounds, tuple(samples), labels, lead)


def _concatenate(arrays: Sequence[Any], dtype: Any) -> Any:
    # NumPy joins no empty list, and an empty memory is an ordinary one: that of the first round.
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)


def longest_sequence(config: Any, tokenizer: Any, wanted: int) -> int:
    """Return how many tokens a sequence may have: `wanted`, or less where model or tokenizer allow less."""
    text = config.get_text_config()
    limits = [wanted, getattr(text, "max_position_embeddings", None), tokenizer.model_max_length]
    return min(int(limit) for limit in limits if limit and limit > 0)  # XLNet says -1: as long as you like
