"""From planned rows to micro-batches."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.devices.share import Share
from learner.material.batches import LonePieces, Step, rows_of
from learner.material.encoding import Encoder
from learner.material.feeds import CausalFeed, ClassifierFeed
from learner.material.rows_of_passes import PiecesApart
from learner.objectives.forward_pass import IGNORED
from tests.unit.learner import tiny

CPU = torch.device("cpu")
NEW_TEXT, REPLAY_TEXT = (
    Encoder(tiny.tokenizer(), 48)(tiny.samples(count, seed=seed)) for count, seed in ((20, 1), (30, 2))
)
NEW, REPLAY = (rows_of(text, 24) for text in (NEW_TEXT, REPLAY_TEXT))
NONE = np.empty(0, dtype=np.int64)
some_rows = st.lists(st.integers(0, min(len(NEW), len(REPLAY)) - 1), max_size=12).map(
    lambda rows: np.asarray(rows, dtype=np.int64)
)


@given(new=some_rows, replayed=some_rows, size=st.integers(1, 9))
def test_passes_hold_a_step_whole(new: np.ndarray, replayed: np.ndarray, size: int) -> None:
    """Every target of every row is there once, new rows before replayed ones, no pass larger than allowed."""
    feed, step = CausalFeed(NEW, REPLAY, pad=0, size=size, device=CPU), Step(new, replayed)
    predicted = [0, 0]
    for batch in feed.micro_batches(step):
        assert 0 < len(batch.targets) <= size
        counts = (batch.targets != IGNORED).sum(1)
        predicted[0] += int(counts[: batch.first_replayed].sum())
        predicted[1] += int(counts[batch.first_replayed :].sum())
        for places, rows in zip(batch.places, torch.tensor_split(batch.targets, [batch.first_replayed]), strict=True):
            assert torch.equal(batch.targets.flatten()[places], rows[rows != IGNORED])
        assert not (predicted[1] and batch.first_replayed and predicted[0] < feed.targets(step)[0])
    assert tuple(predicted) == feed.targets(step)


@given(new=some_rows, replayed=some_rows, size=st.integers(1, 9), count=st.integers(1, 4))
def test_shares_hold_a_step_whole_between_them(new: np.ndarray, replayed: np.ndarray, size: int, count: int) -> None:
    """Each row is passed by one rank, new and replayed ones as what they are; one that has none passes nothing."""
    feed, step = CausalFeed(NEW, REPLAY, pad=0, size=size, device=CPU), Step(new, replayed)
    rows, predicted = [0] * count, [0, 0]
    for rank in range(count):
        for batch in feed.micro_batches(step, Share(rank, count)):
            assert 0 < len(batch.targets) <= size
            rows[rank] += len(batch.targets)
            counts = (batch.targets != IGNORED).sum(1)
            predicted[0] += int(counts[: batch.first_replayed].sum())
            predicted[1] += int(counts[batch.first_replayed :].sum())
    assert tuple(predicted) == feed.targets(step)
    assert sum(rows) == len(new) + len(replayed)
    assert max(rows) - min(rows) <= 1


def apart(size: int, longest: int = 24) -> CausalFeed:
    """The same rows, of which each piece is read by itself."""
    new, replay = (LonePieces.of(rows, text) for rows, text in ((NEW, NEW_TEXT), (REPLAY, REPLAY_TEXT)))
    pieces = PiecesApart(new, replay, size * longest)
    return CausalFeed(NEW, REPLAY, pad=0, size=size, device=CPU, longest=longest, apart=pieces)


@given(new=some_rows, replayed=some_rows, size=st.integers(1, 9), count=st.integers(1, 3))
def test_pieces_read_apart_hold_a_step_whole_within_the_tokens_of_a_pass(
    new: np.ndarray, replayed: np.ndarray, size: int, count: int
) -> None:
    """Each predicts what it did in its row, and is alone in its own; padding counts, and no pass has room for more."""
    feed, step = apart(size), Step(new, replayed)
    predicted, tokens, sequences = [0, 0], 0, 0
    for rank in range(count):
        passes = [*feed.micro_batches(step, Share(rank, count))]
        for one, following in pairwise(passes):
            widest = max(each.inputs["input_ids"].shape[1] for each in (one, following))
            assert (len(one.targets) + 1) * widest > size * 24
        for batch in passes:
            rows, width = batch.inputs["input_ids"].shape
            assert rows * width <= size * 24
            assert "position_ids" not in batch.inputs
            counts = (batch.targets != IGNORED).sum(1)
            predicted[0] += int(counts[: batch.first_replayed].sum())
            predicted[1] += int(counts[batch.first_replayed :].sum())
            tokens += sum(batch.widths)
            sequences += rows
    assert tuple(predicted) == feed.targets(step) == CausalFeed(NEW, REPLAY, pad=0, size=9, device=CPU).targets(step)
    assert tokens == sum(feed.tokens(step))
    assert sequences == feed.sequences(step)


@given(new=some_rows, replayed=some_rows, size=st.integers(1, 9), count=st.integers(1, 3))
def test_passes_alike_hold_a_step_whole_in_few_shapes(
    new: np.ndarray, replayed: np.ndarray, size: int, count: int
) -> None:
    """New and replayed rows pass apart, each in passes of one shape; what fills one up predicts nothing."""
    feed, step = (
        CausalFeed(NEW, REPLAY, pad=0, size=size, device=CPU, longest=24, alike=True),
        Step(new, replayed),
    )
    predicted, sequences = [0, 0], 0
    for rank in range(count):
        shapes: dict[bool, set[torch.Size]] = {}
        for batch in feed.micro_batches(step, Share(rank, count)):
            rows = len(batch.targets)
            assert rows <= size
            assert batch.first_replayed in (0, rows)
            is_new = batch.first_replayed == rows
            shapes.setdefault(is_new, set()).add(batch.targets.shape)
            predicted[0 if is_new else 1] += int((batch.targets != IGNORED).sum())
            sequences += batch.sequences
            empty = batch.inputs["input_ids"][batch.sequences :]
            assert not empty.any()
            assert torch.equal(batch.inputs["position_ids"][batch.sequences :], torch.arange(24).expand_as(empty))
            assert batch.pieces is not None
            assert batch.pieces.rows == rows
            assert batch.pieces.ends[-1] == rows * 24
        assert all(len(of_part) == 1 for of_part in shapes.values())
    assert tuple(predicted) == feed.targets(step)
    assert sequences == len(new) + len(replayed)


def test_widths_are_no_larger_than_the_widest_row_needs() -> None:
    """Short rows are not padded to the longest sequence."""
    text = Encoder(tiny.tokenizer(), 48)(tiny.samples(5, seed=1, longest=1))
    short = rows_of(text, 48)
    lone = LonePieces.of(short, text)
    feed = CausalFeed(short, short, pad=0, size=8, device=CPU, apart=PiecesApart(lone, lone, 8 * 48))
    (batch,) = feed.micro_batches(Step(np.arange(len(short)), NONE))
    assert batch.inputs["input_ids"].shape == (5, 8)
    assert "position_ids" not in batch.inputs


def test_padding_keeps_within_what_the_model_takes() -> None:
    """A model with 45 learned positions has none for the padding of a full row to a rounder width."""
    long = rows_of(Encoder(tiny.tokenizer(), 45)(tiny.samples(20, seed=1, longest=20)), 45)
    assert long.widths.max() == 45
    feed = CausalFeed(long, long, pad=0, size=64, device=CPU, longest=45)
    (batch,) = feed.micro_batches(Step(np.arange(len(long)), NONE))
    assert batch.inputs["input_ids"].shape[1] == 45


def test_replayed_rows_of_a_pass_can_be_cut_off() -> None:
    """What the parent sees are the replayed rows' own tokens."""
    feed = CausalFeed(NEW, REPLAY, pad=0, size=9, device=CPU)
    (batch,) = feed.micro_batches(Step(np.arange(2), np.arange(3)))
    (alone,) = feed.micro_batches(Step(NONE, np.arange(3)))
    cut = batch.replayed_inputs()
    assert torch.equal(cut["input_ids"][:, : alone.inputs["input_ids"].shape[1]], alone.inputs["input_ids"])
    assert cut["use_cache"] is False


LABELS = {label: at for at, label in enumerate(tiny.LABELS)}
ENCODE = Encoder(tiny.tokenizer(bert=True), 32, LABELS)


def absent(new: list[str], replayed: list[str], *, masks: bool = True) -> list[bool] | None:
    """The classes that new documents of these labels leave out."""
    new_text, replayed_text = (
        ENCODE([sample for label in labels for sample in tiny.labelled(1, seed=1, labels=[label])])
        for labels in (new, replayed)
    )
    feed = ClassifierFeed(new_text, replayed_text, classes=3, masks_absent=masks, pad=0, size=9, device=CPU)
    (batch,) = feed.micro_batches(Step(np.arange(len(new)), np.arange(len(replayed))))
    assert batch.targets.tolist() == [LABELS[label] for label in (*new, *replayed)]
    return None if batch.absent is None else batch.absent.tolist()


def test_new_documents_leave_out_what_they_lack() -> None:
    """Their softmax runs over their own labels."""
    assert absent(["calm", "stormy"], ["frozen"]) == [False, False, True]


def test_new_documents_of_one_label_are_set_apart_from_the_replayed() -> None:
    """A softmax over one label would teach nothing."""
    assert absent(["calm", "calm"], ["frozen"]) == [False, True, False]
    assert absent(["calm"], []) is None


def test_nothing_is_left_out_without_a_new_label() -> None:
    """Then all labels compete."""
    assert absent(["calm", "stormy"], ["frozen"], masks=False) is None
