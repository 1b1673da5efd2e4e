"""From planned rows to what a forward pass sees: arrays filled, moved to the device, split into micro-batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from checkpoints.probe.conduct import Side
from learner.devices.device import move_to_device
from learner.devices.share import WHOLE, Share
from learner.material.batches import Rows, Step, fill_row
from learner.material.encoding import Encoded, Ints
from learner.material.masks import Masking, draw_gaps, write_rows
from learner.material.pairs import PairArrays, parts_of, write_pairs
from learner.material.rows_of_passes import (
    WIDTH_MULTIPLE,
    PiecesApart,
    equal_parts,
    parts_within,
    round_up,
    shared,
    split,
    widest_first,
)
from learner.material.weights import Floats, counted, join_weights
from learner.objectives.forward_pass import IGNORED, MicroBatch, Pieces


class Feed(Protocol):
    """Turns steps into micro-batches."""

    def targets(self, step: Step) -> tuple[float, float]:
        """Return what the step predicts in new and in replayed text: tokens, or documents for a classifier.

        Each counts by the weight of its sample: whole numbers where all are alike.
        """

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens, new and replayed."""

    def sequences(self, step: Step) -> int:
        """Return how many rows all of the step's passes have."""

    def micro_batches(self, step: Step, share: Share = WHOLE) -> Iterator[MicroBatch]:
        """Yield a share of the step's rows, new ones first, in passes that lie on the device; none of no rows."""


@dataclass(frozen=True, slots=True)
class CausalFeed:
    """Feeds rows of packed documents.

    Attributes:
        new: rows of new text.
        replay: rows of replayed text.
        pad: the token that fills a row.
        size: rows in one forward pass.
        device: where the tensors go.
        longest: tokens that the model takes at most, padding included; None where it takes any number.
        multiple: widths are rounded up to one of it; 1 where the model bears no padding.
        alike: whether passes have as few shapes as can be, for code that is compiled for each: all rows are `longest`
            wide, new and replayed ones pass apart, each in passes of equally many, and where one is short of a row it
            has one of padding in its place.
        apart: the pieces of the rows, for a model that has to read each by itself; None where it keeps them apart.
    """

    new: Rows
    replay: Rows
    pad: int
    size: int
    device: torch.device
    longest: int | None = None
    multiple: int = WIDTH_MULTIPLE
    alike: bool = False
    apart: PiecesApart | None = None

    def targets(self, step: Step) -> tuple[float, float]:
        """Return the tokens that the step predicts; see `Feed`."""
        return _predicted(self.new, step.new), _predicted(self.replay, step.replayed)

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens; see `Feed`."""
        return int(self.new.widths[step.new].sum()), int(self.replay.widths[step.replayed].sum())

    def sequences(self, step: Step) -> int:
        """Return the step's rows, or pieces that are read apart; see `Feed`."""
        if self.apart is None:
            return step.rows
        return len(self.apart.new.within(step.new)) + len(self.apart.replay.within(step.replayed))

    def micro_batches(self, step: Step, share: Share = WHOLE) -> Iterator[MicroBatch]:
        """Yield micro-batches; see `Feed`."""
        if self.alike:
            yield from self._alike_batches(step, share)
            return
        if self.apart is not None:
            yield from self._batches_apart(self.apart, step, share)
            return
        for new, replayed in split(step, self.new.widths, self.replay.widths, self.size, share):
            yield self._batch(new, replayed, len(new) + len(replayed))

    def _batches_apart(self, apart: PiecesApart, step: Step, share: Share) -> Iterator[MicroBatch]:
        alone = Step(apart.new.within(step.new), apart.replay.within(step.replayed), step.number)
        texts = apart.new.rows, apart.replay.rows
        new, replayed = shared(alone, texts[0].widths, texts[1].widths, share)
        widths = np.concatenate([texts[0].widths[new], texts[1].widths[replayed]])
        for of_new, of_replay in parts_within(new, replayed, [*map(self._width, widths.tolist())], apart.tokens):
            yield self._batch(of_new, of_replay, len(of_new) + len(of_replay), texts)

    def _alike_batches(self, step: Step, share: Share) -> Iterator[MicroBatch]:
        new, replayed = shared(step, self.new.widths, self.replay.widths, share)
        for part, count in equal_parts(new, self.size):
            yield self._batch(part, replayed[:0], count)
        for part, count in equal_parts(replayed, self.size):
            yield self._batch(new[:0], part, count)

    def _width(self, widest: int) -> int:
        if self.alike and self.longest is not None:
            return self.longest
        width = round_up(widest, self.multiple)
        # Rounded up, a full row would reach beyond the last position that some models have.
        return width if self.longest is None else min(width, self.longest)

    def _batch(self, new: Ints, replayed: Ints, count: int, texts: tuple[Rows, Rows] | None = None) -> MicroBatch:
        """A pass of `count` rows, of which the last ones hold padding alone where there is no text for them."""
        of_new, of_replay = texts or (self.new, self.replay)
        rows = [(of_new, row) for row in new.tolist()] + [(of_replay, row) for row in replayed.tolist()]
        empty = count - len(rows)
        widths = (*(int(text.widths[row]) for text, row in rows), *(0 for _ in range(empty)))
        shape = (count, self._width(max(widths)))
        ids, targets = np.full(shape, self.pad, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
        positions = np.tile(np.arange(shape[1], dtype=np.int64), (count, 1))
        for at, (text, row) in enumerate(rows):
            fill_row(text, row, ids[at], positions[at], targets[at])
        inputs: dict[str, Any] = {"input_ids": move_to_device(ids, self.device), "use_cache": False}
        if self.apart is None:
            # They restart with each piece.
            inputs["position_ids"] = move_to_device(positions, self.device)
        first_replayed = len(new) if len(replayed) else count
        batch = _by_token(inputs, targets, self.device, first_replayed=first_replayed, widths=widths, of=rows)
        pieces = [[piece.width for piece in text.rows[row]] for text, row in rows] + [[shape[1]]] * empty
        old = pieces[first_replayed:]
        return replace(
            batch,
            pieces=Pieces.of(pieces, shape[1], self.device),
            replayed_pieces=Pieces.of(old, shape[1], self.device) if old else None,
        )


@dataclass(frozen=True, slots=True)
class MaskedFeed:
    """Feeds rows of one piece each, with gaps that are drawn anew for each step.

    Attributes:
        new: rows of new text.
        replay: rows of replayed text.
        masking: how pieces are written.
        random: given a step's number, makes what its gaps are drawn by.
        pad: the token that fills a row.
        size: rows in one forward pass.
        device: where the tensors go.
        longest: tokens that the model takes at most.
        multiple: widths are rounded up to one of it; 1 where the model bears no padding.
        side: on which rows are padded.
    """

    new: Rows
    replay: Rows
    masking: Masking
    random: Callable[[int], np.random.Generator]
    pad: int
    size: int
    device: torch.device
    longest: int
    multiple: int = WIDTH_MULTIPLE
    side: Side = "right"

    def targets(self, step: Step) -> tuple[float, float]:
        """Return how many gaps the step has; see `Feed`."""
        return _predicted(self.new, step.new), _predicted(self.replay, step.replayed)

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens; see `Feed`."""
        return int(self.new.widths[step.new].sum()), int(self.replay.widths[step.replayed].sum())

    def sequences(self, step: Step) -> int:
        """Return the step's rows; see `Feed`."""
        return step.rows

    def micro_batches(self, step: Step, share: Share = WHOLE) -> Iterator[MicroBatch]:
        """Yield micro-batches; see `Feed`."""
        # Drawn for the whole step, whose rows come in one order however it is cut and shared: each has the same gaps.
        drawn = self._gaps(step)
        gaps = iter([drawn[at] for at in share.of(len(drawn))])
        for new, replayed in split(step, self.new.widths, self.replay.widths, self.size, share):
            yield self._batch(new, replayed, list(islice(gaps, len(new) + len(replayed))))

    def _gaps(self, step: Step) -> list[Ints]:
        """Which tokens of each of the step's rows are gaps; rows in the order in which passes take them."""
        random = self.random(step.number)
        parts = ((self.new, step.new), (self.replay, step.replayed))
        ordered = ((text, widest_first(rows, text.widths).tolist()) for text, rows in parts)
        return [draw_gaps(piece, random) for text, rows in ordered for row in rows for piece in text.rows[row]]

    def _batch(self, new: Ints, replayed: Ints, gaps: list[Ints]) -> MicroBatch:
        chosen = [(self.new, row) for row in new.tolist()] + [(self.replay, row) for row in replayed.tolist()]
        widths = tuple(int(text.widths[row]) for text, row in chosen)
        pieces = (piece.ids(text.tokens, None) for text, row in chosen for piece in text.rows[row])
        rows = list(zip(pieces, gaps, strict=True))
        width = min(round_up(max(widths), self.multiple), self.longest)
        ids, seen, targets = write_rows(rows, self.masking, pad=self.pad, width=width, side=self.side)
        inputs = {"input_ids": move_to_device(ids, self.device), "attention_mask": move_to_device(seen, self.device)}
        return _by_token(inputs, targets, self.device, first_replayed=len(new), widths=widths, of=chosen)


@dataclass(frozen=True, slots=True)
class PairFeed:
    """Feeds one pair a row.

    Attributes:
        new: rows of new pairs.
        replay: rows of replayed ones.
        start: what the decoder begins with.
        pad: the token that fills a row.
        size: rows in one forward pass.
        device: where the tensors go.
    """

    new: Rows
    replay: Rows
    start: int
    pad: int
    size: int
    device: torch.device

    def targets(self, step: Step) -> tuple[float, float]:
        """Return the step's target tokens; see `Feed`."""
        return _predicted(self.new, step.new), _predicted(self.replay, step.replayed)

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens, of inputs and targets; see `Feed`."""
        return int(self.new.widths[step.new].sum()), int(self.replay.widths[step.replayed].sum())

    def sequences(self, step: Step) -> int:
        """Return the step's rows; see `Feed`."""
        return step.rows

    def micro_batches(self, step: Step, share: Share = WHOLE) -> Iterator[MicroBatch]:
        """Yield micro-batches; see `Feed`."""
        for new, replayed in split(step, self.new.widths, self.replay.widths, self.size, share):
            chosen = [(self.new, row) for row in new.tolist()] + [(self.replay, row) for row in replayed.tolist()]
            widths = tuple(int(text.widths[row]) for text, row in chosen)
            pairs = [parts_of(pair, text.tokens) for text, row in chosen for pair in text.rows[row]]
            arrays = write_pairs(pairs, start=self.start, pad=self.pad)
            inputs = pair_inputs(arrays, self.device)
            yield _by_token(inputs, arrays.targets, self.device, first_replayed=len(new), widths=widths, of=chosen)


def pair_inputs(arrays: PairArrays, device: torch.device) -> dict[str, Any]:
    """Return the arguments with which a sequence-to-sequence model reads pairs."""
    return {
        "input_ids": move_to_device(arrays.ids, device),
        "attention_mask": move_to_device(arrays.seen, device),
        "decoder_input_ids": move_to_device(arrays.written, device),
        "use_cache": False,
    }


@dataclass(frozen=True, slots=True)
class ClassifierFeed:
    """Feeds one document a row.

    Attributes:
        new: new documents.
        replay: replayed ones.
        classes: how many the model has.
        masks_absent: whether new documents' softmax is restricted to their own labels (ER-ACE).
        pad: the token that fills a row.
        size: rows in one forward pass.
        device: where the tensors go.
        side: on which rows are padded.
        weights: what each new document counts, and each replayed one; None: all alike.
    """

    new: Encoded
    replay: Encoded
    classes: int
    masks_absent: bool
    pad: int
    size: int
    device: torch.device
    side: Side = "right"
    weights: tuple[Floats | None, Floats | None] = (None, None)

    def targets(self, step: Step) -> tuple[float, float]:
        """Return the documents of the step; see `Feed`."""
        of_new, of_replay = self.weights
        return counted(of_new, step.new), counted(of_replay, step.replayed)

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens; see `Feed`."""
        return int(self.new.lengths[step.new].sum()), int(self.replay.lengths[step.replayed].sum())

    def sequences(self, step: Step) -> int:
        """Return the step's rows; see `Feed`."""
        return step.rows

    def micro_batches(self, step: Step, share: Share = WHOLE) -> Iterator[MicroBatch]:
        """Yield micro-batches; see `Feed`."""
        absent = self._absent(step)
        for new, replayed in split(step, self.new.lengths, self.replay.lengths, self.size, share):
            documents = [*map(self.new.document, new), *map(self.replay.document, replayed)]
            labels = np.concatenate([self.new.labels[new], self.replay.labels[replayed]])
            inputs = pad_documents(documents, self.pad, self.device, self.side)
            weights = join_weights(zip(self.weights, (new, replayed), strict=True))
            yield MicroBatch(
                inputs,
                move_to_device(labels, self.device),
                first_replayed=len(new),
                absent=absent,
                weights=None if weights is None else move_to_device(weights, self.device),
            )

    def _absent(self, step: Step) -> Tensor | None:
        """Return the classes that new documents' softmax leaves out; None for none.

        A softmax over one label teaches nothing: new documents that all have the same are set apart from the replayed
        ones' labels, and where there are none of these either, from all.
        """
        present = np.unique(self.new.labels[step.new])
        if len(present) == 1:
            present = np.union1d(present, self.replay.labels[step.replayed])
        if not self.masks_absent or len(present) == 1:
            return None
        absent = np.ones(self.classes, dtype=bool)
        absent[present] = False
        return move_to_device(absent, self.device)


def pad_documents(documents: list[Any], pad: int, device: torch.device, side: Side = "right") -> dict[str, Any]:
    """Return `input_ids` and `attention_mask` of documents, each padded to the longest's width."""
    shape = (len(documents), max(map(len, documents)))
    ids, mask = np.full(shape, pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for at, document in enumerate(documents):
        place = slice(0, len(document)) if side == "right" else slice(shape[1] - len(document), shape[1])
        ids[at, place] = document
        mask[at, place] = 1
    return {"input_ids": move_to_device(ids, device), "attention_mask": move_to_device(mask, device)}


def _predicted(text: Rows, rows: Ints) -> float:
    """What rows predict, counted by weight; a whole number where all count alike."""
    return int(text.targets[rows].sum()) if text.weights is None else float(text.weights.targets[rows].sum())


def _by_token(
    inputs: dict[str, Any],
    targets: Ints,
    device: torch.device,
    *,
    first_replayed: int,
    widths: tuple[int, ...],
    of: Sequence[tuple[Rows, int]],
) -> MicroBatch:
    """A micro-batch of rows that each predict several tokens; `of` are these rows."""
    # Found here, not on the device, which would have to be waited for.
    places = np.flatnonzero(targets != IGNORED)
    cut = np.searchsorted(places, first_replayed * targets.shape[1])
    return MicroBatch(
        inputs,
        move_to_device(targets, device),
        first_replayed=first_replayed,
        widths=widths,
        places=tuple(move_to_device(part, device) for part in (places[:cut], places[cut:])),
        weights=_weights_of(of, targets.shape, device),
    )


def _weights_of(rows: Sequence[tuple[Rows, int]], shape: tuple[int, ...], device: torch.device) -> Tensor | None:
    """What each place counts, of a batch of this shape; None where all count alike."""
    if all(text.weights is None for text, _ in rows):
        return None
    weights = np.ones(shape, dtype=np.float32)
    for at, (text, row) in enumerate(rows):
        if text.weights is not None:
            text.weights.write(row, [piece.width for piece in text.rows[row]], weights[at])
    return move_to_device(weights, device)
