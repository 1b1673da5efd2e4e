"""From planned rows to what a forward pass sees: arrays filled, moved to the device, split into micro-batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from learner.batches import IGNORED, Rows, Step, fill_row
from learner.encoding import Encoded, Ints
from learner.objectives import MicroBatch

# Widths are rounded up to this: tensor cores and vector units like it, and fewer shapes are seen.
WIDTH_MULTIPLE = 8


class Feed(Protocol):
    """Turns steps into micro-batches."""

    def targets(self, step: Step) -> tuple[int, int]:
        """Return what the step predicts in new and in replayed text: tokens, or documents for a classifier."""

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens, new and replayed."""

    def micro_batches(self, step: Step) -> Iterator[MicroBatch]:
        """Yield the step's rows, widest first, in passes that lie on the device."""


@dataclass(frozen=True, slots=True)
class CausalFeed:
    """Feeds rows of packed documents.

    Attributes:
        new: rows of new text.
        replay: rows of replayed text.
        packed: whether rows hold several pieces, so that positions must restart.
        pad: the token that fills a row.
        size: rows in one forward pass.
        device: where the tensors go.
    """

    new: Rows
    replay: Rows
    packed: bool
    pad: int
    size: int
    device: torch.device

    def targets(self, step: Step) -> tuple[int, int]:
        """Return the tokens that the step predicts; see `Feed`."""
        return int(self.new.targets[step.new].sum()), int(self.replay.targets[step.replayed].sum())

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens; see `Feed`."""
        return int(self.new.widths[step.new].sum()), int(self.replay.widths[step.replayed].sum())

    def micro_batches(self, step: Step) -> Iterator[MicroBatch]:
        """Yield micro-batches; see `Feed`."""
        rows, replayed, widths = _merged(step, self.new.widths, self.replay.widths)
        for part in _parts(len(rows), self.size):
            yield self._batch(rows[part], replayed[part], int(widths[part].max()))

    def _batch(self, rows: Ints, replayed: Any, width: int) -> MicroBatch:
        shape = (len(rows), _rounded(width))
        ids, targets = np.full(shape, self.pad, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
        positions = np.empty(shape, dtype=np.int64)
        for at, row in enumerate(rows):
            fill_row(self.replay if replayed[at] else self.new, int(row), ids[at], positions[at], targets[at])
        inputs = {"input_ids": moved(ids, self.device), "use_cache": False}
        if self.packed:
            inputs["position_ids"] = moved(positions, self.device)
        return _micro_batch(inputs, targets, replayed, self.device)


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
    """

    new: Encoded
    replay: Encoded
    classes: int
    masks_absent: bool
    pad: int
    size: int
    device: torch.device

    def targets(self, step: Step) -> tuple[int, int]:
        """Return the documents of the step; see `Feed`."""
        return len(step.new), len(step.replayed)

    def tokens(self, step: Step) -> tuple[int, int]:
        """Return the step's tokens; see `Feed`."""
        return int(self.new.lengths[step.new].sum()), int(self.replay.lengths[step.replayed].sum())

    def micro_batches(self, step: Step) -> Iterator[MicroBatch]:
        """Yield micro-batches; see `Feed`."""
        rows, replayed, _ = _merged(step, self.new.lengths, self.replay.lengths)
        absent = self._absent(step)
        for part in _parts(len(rows), self.size):
            texts = [self._text(int(row), is_replay) for row, is_replay in zip(rows[part], replayed[part], strict=True)]
            labels = np.where(
                replayed[part],
                np.take(self.replay.labels, rows[part], mode="clip") if len(self.replay) else 0,
                np.take(self.new.labels, rows[part], mode="clip"),
            )
            inputs = padded(texts, self.pad, self.device)
            yield _micro_batch(inputs, labels, replayed[part], self.device, absent)

    def _text(self, row: int, is_replay: bool) -> Any:
        return (self.replay if is_replay else self.new).document(row)

    def _absent(self, step: Step) -> Tensor | None:
        if not self.masks_absent:
            return None
        absent = np.ones(self.classes, dtype=bool)
        absent[self.new.labels[step.new]] = False
        return moved(absent, self.device)


def padded(documents: list[Any], pad: int, device: torch.device) -> dict[str, Any]:
    """Return `input_ids` and `attention_mask` of documents, each padded on the right to the longest's width."""
    shape = (len(documents), max(map(len, documents)))
    ids, mask = np.full(shape, pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for at, document in enumerate(documents):
        ids[at, : len(document)] = document
        mask[at, : len(document)] = 1
    return {"input_ids": moved(ids, device), "attention_mask": moved(mask, device)}


def moved(array: Any, device: torch.device) -> Tensor:
    """Return an array as a tensor on the device, without waiting for the copy where that is possible."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _merged(step: Step, new: Ints, replay: Ints) -> tuple[Ints, Any, Ints]:
    """Return all rows of a step, which of them are replayed, and their widths; widest first."""
    rows = np.concatenate([step.new, step.replayed])
    replayed = np.arange(len(rows)) >= len(step.new)
    widths = np.concatenate([new[step.new], replay[step.replayed]])
    order = np.argsort(-widths, kind="stable")
    return rows[order], replayed[order], widths[order]


def _micro_batch(
    inputs: dict[str, Any], targets: Ints, replayed: Any, device: torch.device, absent: Tensor | None = None
) -> MicroBatch:
    return MicroBatch(
        inputs=inputs,
        targets=moved(targets, device),
        replayed=moved(replayed, device),
        replay_rows=moved(np.flatnonzero(replayed), device),
        absent=absent,
    )


def _parts(count: int, size: int) -> Iterator[slice]:
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def _rounded(width: int) -> int:
    return -(-width // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
