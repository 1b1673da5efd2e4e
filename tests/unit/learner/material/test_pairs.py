"""Pairs as tokens, and as what encoder and decoder are given."""

import numpy as np
import pytest
import torch

from learner.directory.round_directory import RoundSample
from learner.material.batches import Step
from learner.material.encoding import Encoder
from learner.material.feeds import PairFeed
from learner.material.pairs import pair_rows, pairs_of, parts_of, write_pairs
from learner.objectives.forward_pass import IGNORED
from streams.chats import INPUT, TARGET, Message, join
from tests.unit.learner import tiny


def sample(number: int, asked: str, answer: str) -> RoundSample:
    """A pair."""
    pair = join([Message(INPUT, asked), Message(TARGET, answer)])
    return RoundSample(number, pair.text, "s", turns=pair.turns)


@pytest.fixture
def encode() -> Encoder:
    """To sequences of eight tokens."""
    return Encoder(tiny.tokenizer(bert=True), 8, pairs=True)


def test_input_and_target_are_framed_and_cut_each_by_itself(encode: Encoder) -> None:
    """And the target alone is learned; the words of control tokens are no such tokens."""
    text = encode(
        [sample(1, "the river [SEP] holds", "the boat"), sample(2, " ".join(["boat"] * 30), "the river " * 9)]
    )
    assert text.learned is not None
    ((_, short), (_, long)) = pairs_of(text)
    read, written = parts_of(short, text.tokens)
    decode = encode.tokenizer.decode
    assert decode(read).startswith("[CLS] the river")
    assert [list(read).count(3), read[-1]] == [1, 3]
    assert decode(written) == "[CLS] the boat [SEP]"
    assert [len(part) for part in parts_of(long, text.tokens)] == [8, 8]
    assert text.learned_of(0).tolist() == written.tolist()
    assert (short.targets, long.targets, text.refused) == (len(written), 8, ())


def test_what_is_no_pair_is_no_material(encode: Encoder) -> None:
    """Of a directory that was written for another model, say."""
    text = encode([RoundSample(1, "the river", "s"), sample(2, "the boat", "the mill")])
    assert [text.samples[owner].id for owner, _ in pairs_of(text)] == [2]
    assert text.refused == ("it has no input and target",)
    assert len(pair_rows(text)) == 1
    assert len(pair_rows(encode([]))) == 0


def test_a_decoder_is_fed_what_it_is_to_write_one_place_later() -> None:
    """Behind the token that answers begin with; padding is masked in the encoder, and ignored behind the decoder."""
    one, other = (np.asarray([5, 6, 7]), np.asarray([8, 9])), (np.asarray([4]), np.asarray([1, 2, 3]))
    arrays = write_pairs([one, other], start=20, pad=0)
    assert arrays.ids.tolist() == [[5, 6, 7], [4, 0, 0]]
    assert arrays.seen.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert arrays.written.tolist() == [[20, 8, 0], [20, 1, 2]]
    assert arrays.targets.tolist() == [[8, 9, IGNORED], [1, 2, 3]]


def test_a_step_is_fed_new_pairs_before_replayed_ones(encode: Encoder) -> None:
    """In passes of so many rows, which name where there is something to predict."""
    rows = pair_rows(encode(tiny.pairs(6, seed=1)))
    feed = PairFeed(new=rows, replay=rows, start=0, pad=0, size=4, device=torch.device("cpu"))
    step = Step(np.asarray([0, 1, 2]), np.asarray([3, 4]))
    batches = list(feed.micro_batches(step))
    assert [len(batch.targets) for batch in batches] == [4, 1]
    assert [batch.first_replayed for batch in batches] == [3, 0]
    assert sum(len(part) for batch in batches for part in batch.places) == sum(feed.targets(step))
    assert sum(sum(batch.widths) for batch in batches) == sum(feed.tokens(step))
    for batch in batches:
        where = torch.cat(batch.places)
        assert (batch.targets.flatten()[where] != IGNORED).all()
        assert set(batch.replayed_inputs()) == {"input_ids", "attention_mask", "decoder_input_ids", "use_cache"}
