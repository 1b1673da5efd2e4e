"""Samples as tokens."""

from types import SimpleNamespace

import numpy as np
import pytest

from checkpoints.document_frame import DocumentFrame
from learner.directory.round_directory import RoundSample
from learner.material import encoding
from learner.material.encoding import Encoder, longest_sequence
from tests.unit.learner import tiny


def test_document_begins_and_ends_with_its_marks() -> None:
    """A causal LM's document has begin and end of sequence around it."""
    text = Encoder(tiny.tokenizer(), 64)([RoundSample(1, "the river", "s"), RoundSample(2, "", "s")])
    assert text.document(0)[[0, -1]].tolist() == [4, 5]
    assert len(text.document(0)) == 4
    assert text.document(1).tolist() == [4, 5]


def test_end_mark_stands_for_a_missing_begin_mark() -> None:
    """GPT-2's family has one mark for both."""
    tokenizer = tiny.tokenizer()
    tokenizer.bos_token = None
    assert Encoder(tokenizer, 64)([RoundSample(1, "the river", "s")]).document(0)[[0, -1]].tolist() == [5, 5]


def test_documents_stand_between_what_pre_training_put_there() -> None:
    """Where that was found out; later pieces begin with the first of them where the model begins with it."""
    encode = Encoder(tiny.tokenizer(), 64, frame=DocumentFrame(0, 3, leads=False))
    text = encode([RoundSample(1, "the river", "s")])
    assert text.document(0)[[0, -1]].tolist() == [0, 3]
    assert text.lead is None
    named = Encoder(tiny.tokenizer(), 64)([RoundSample(1, "the river", "s")])
    assert (named.lead, named.take([0]).lead) == (4, 4)


def test_documents_do_not_depend_on_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenised in chunks of any size, they are the same."""
    samples = tiny.samples(7, seed=1)
    whole = Encoder(tiny.tokenizer(), 64)(samples)
    monkeypatch.setattr(encoding, "CHUNK_DOCUMENTS", 2)
    chunked = Encoder(tiny.tokenizer(), 64)(samples)
    assert np.array_equal(whole.tokens, chunked.tokens)
    assert np.array_equal(whole.bounds, chunked.bounds)


def test_classifier_document_is_framed_and_cut() -> None:
    """The tokenizer's own frame stays whole within the limit."""
    labels = {label: at for at, label in enumerate(tiny.LABELS)}
    text = Encoder(tiny.tokenizer(bert=True), 5, labels)([RoundSample(1, "the river and the boat", "s", "stormy")])
    assert text.document(0)[[0, -1]].tolist() == [2, 3]
    assert len(text.document(0)) == 5
    assert text.labels.tolist() == [1]


def test_documents_without_a_label_of_the_model_are_left_out() -> None:
    """A classifier cannot train on what it has no class for; the others go on."""
    labels = {label: at for at, label in enumerate(tiny.LABELS)}
    samples = [RoundSample(1, "a", "s", "calm"), RoundSample(2, "b", "s", None), RoundSample(3, "c", "s", "windy")]
    text = Encoder(tiny.tokenizer(bert=True), 8, labels)(samples)
    assert [sample.id for sample in text.samples] == [1]


def test_taking_documents_keeps_their_tokens_samples_and_labels() -> None:
    """A selection is in the order asked for."""
    text = Encoder(tiny.tokenizer(), 64)(tiny.samples(5, seed=1))
    taken = text.take([3, 0])
    assert [sample.id for sample in taken.samples] == [4, 1]
    assert np.array_equal(taken.document(0), text.document(3))
    assert np.array_equal(taken.document(1), text.document(0))


def test_nothing_encodes_to_nothing() -> None:
    """An empty memory is no special case."""
    text = Encoder(tiny.tokenizer(), 64)([])
    assert len(text) == len(text.tokens) == 0
    assert len(text.take([])) == 0


@pytest.mark.parametrize(
    ("positions", "tokenizers", "wanted"), [(64, 512, 64), (None, 48, 48), (4096, 10**30, 100), (-1, 512, 100)]
)
def test_sequences_are_no_longer_than_model_or_tokenizer_allow(
    positions: int | None, tokenizers: int, wanted: int
) -> None:
    """The recipe's length is an upper bound."""
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=positions))
    assert longest_sequence(config, SimpleNamespace(model_max_length=tokenizers), 100) == wanted
