"""Gaps: which tokens a masked language model guesses, in training and when it is scored."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.document_frame import BARE
from learner.devices.share import WHOLE, Share
from learner.directory.round_directory import RoundSample
from learner.material.batches import Step
from learner.material.encoding import Encoded, Encoder
from learner.material.feeds import MaskedFeed
from learner.material.masks import (
    Masking,
    gaps_in,
    masked_pieces,
    masked_rows,
    masking_of,
    scoring_readings,
    write_rows,
)
from learner.objectives.forward_pass import IGNORED
from learner.settings import MASKED_READINGS
from tests.unit.learner import tiny

MASKING = Masking(99, (1,), (2,))
PAD = 0


def text_of(*lengths: int) -> Encoded:
    """Documents of tokens from 100 on, of which each is another."""
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    samples = tuple(RoundSample(at, "", "s") for at in range(len(lengths)))
    tokens = np.arange(100, 100 + bounds[-1], dtype=np.int32)
    return Encoded(tokens, bounds, samples, np.zeros(len(lengths), np.int64))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.integers(8, 64))
def test_pieces_are_equal_and_hold_each_token_once(lengths: list[int], longest: int) -> None:
    """Each fits with its frame; where there is but one token there is nothing to guess it from."""
    text = text_of(*lengths)
    for index, length in enumerate(lengths):
        pieces = masked_pieces(text, index, longest, MASKING)
        held = [piece.width for piece in pieces]
        assert all(width + MASKING.framing <= longest for width in held)
        assert sum(held) == (length if length > 1 else 0)
        assert not held or max(held) - min(held) <= 1
        assert all(piece.targets == gaps_in(piece.width) > 0 for piece in pieces)


def test_the_tokenizers_frame_stands_around_each_piece() -> None:
    """And the mask is the tokenizer's; a document is encoded bare, whatever control words it holds."""
    tokenizer = tiny.masking_tokenizer()
    assert masking_of(tokenizer) == Masking(tokenizer.mask_token_id, (2,), (3,))
    text = Encoder(tokenizer, 16, frame=BARE)([RoundSample(1, "the river [MASK] holds", "s")])
    assert tokenizer.mask_token_id not in text.tokens
    assert tokenizer.decode(text.document(0))[:9] == "the river"


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_row_is_its_piece_with_gaps(side: str) -> None:
    """Frame, tokens, the mask where a token is to be guessed, padding on its side, and targets at the gaps alone."""
    held = np.asarray([101, 102, 103], dtype=np.int32)
    ids, seen, targets = write_rows([(held, np.asarray([2, 0]))], MASKING, pad=PAD, width=7, side=side)  # type: ignore[arg-type]
    written, wanted = [1, 99, 102, 99, 2], [IGNORED, 101, IGNORED, 103, IGNORED]
    fill = 2
    before, behind = ([], [0] * fill) if side == "right" else ([0] * fill, [])
    assert ids[0].tolist() == [*before, *written, *behind]
    assert seen[0].tolist() == [*before, *[1] * 5, *behind]
    assert targets[0].tolist() == [*[IGNORED] * len(before), *wanted, *[IGNORED] * len(behind)]


def readings_of(text: Encoded) -> dict[int, list[list[int]]]:
    """By document the tokens that are guessed in each reading."""
    readings: dict[int, list[list[int]]] = {}
    for each in scoring_readings(text, 40, MASKING):
        guessed = text.tokens[each.piece.start + each.gaps].tolist()
        readings.setdefault(text.samples[each.owner].id, []).append(guessed)
    return readings


def test_a_documents_own_tokens_decide_what_is_guessed_of_it() -> None:
    """Not its number, nor what it is scored among; no token is guessed twice, and another document has other gaps."""
    text = text_of(30, 90, 30, 1)
    first = readings_of(text)
    assert readings_of(text.take([1])) == {1: first[1]}
    others = tuple(RoundSample(sample.id + 50, "", "s") for sample in text.samples)
    renumbered = replace(text, samples=others)
    assert readings_of(renumbered) == {number + 50: guessed for number, guessed in first.items()}
    assert 3 not in first
    for guessed in first.values():
        assert max(Counter(token for reading in guessed for token in reading).values()) == 1
    assert len(first[0]) == MASKED_READINGS
    # The third document has as many tokens as the first, but others.
    places = [
        [token - first_token for reading in first[at] for token in reading] for at, first_token in ((0, 100), (2, 220))
    ]
    assert places[0] != places[1]


def feed_of(size: int) -> MaskedFeed:
    """A feed of some rows of new and of replayed text."""
    rows = masked_rows(text_of(30, 9, 17, 45), 32, MASKING)
    return MaskedFeed(
        new=rows,
        replay=rows,
        masking=MASKING,
        random=lambda number: np.random.default_rng([7, number]),
        pad=PAD,
        size=size,
        device=torch.device("cpu"),
        longest=32,
    )


def guessed(feed: MaskedFeed, step: Step, share: Share = WHOLE) -> list[list[int]]:
    """What each row of a step, or of a share of it, is to guess."""
    rows = [row for batch in feed.micro_batches(step, share) for row in batch.targets.tolist()]
    return [[token for token in row if token != IGNORED] for row in rows]


def test_gaps_follow_the_step_and_not_the_pass() -> None:
    """Rows cut into other passes have the same gaps, as has a step that is taken again; the next step has others."""
    step = Step(np.asarray([0, 1, 2, 3]), np.asarray([4, 0]), 3)
    once = guessed(feed_of(2), step)
    assert once == guessed(feed_of(2), step) == guessed(feed_of(5), step)
    assert once != guessed(feed_of(2), replace(step, number=4))
    assert sum(map(len, once)) == sum(feed_of(2).targets(step))


def test_each_row_has_its_gaps_whichever_rank_passes_it() -> None:
    """Two shares of a step hold, between them, what one rank has to guess."""
    step = Step(np.asarray([0, 1, 2, 3]), np.asarray([4, 0]), 3)
    once = guessed(feed_of(2), step)
    assert guessed(feed_of(2), step, Share(0, 2)) == once[0::2]
    assert guessed(feed_of(2), step, Share(1, 2)) == once[1::2]


def test_a_batch_is_told_where_it_predicts() -> None:
    """New text before replayed, in the rows laid end to end; widths are rounded up to no more than the model takes."""
    batch = next(feed_of(8).micro_batches(Step(np.asarray([0, 1]), np.asarray([2]), 0)))
    new, replayed = batch.places
    places = (batch.targets.flatten() != IGNORED).nonzero()[:, 0]
    assert torch.cat([new, replayed]).tolist() == places.tolist()
    assert (new < batch.first_replayed * batch.targets.shape[1]).all()
    assert batch.targets.shape == (3, 32)
    assert (batch.inputs["input_ids"].flatten()[places] == MASKING.mask).all()
    assert batch.inputs["attention_mask"].sum(1).tolist() == list(batch.widths)
