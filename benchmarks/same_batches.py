"""The same packed text for the learner and for transformers' and TRL's trainers."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import Trainer

from learner.devices.device import choose
from learner.directory.round_directory import RoundSample
from learner.material.batches import Rows, Step, rows_of
from learner.material.encoding import Encoded
from learner.material.feeds import CausalFeed

DEVICE = choose("cpu", "float32")


def pack_documents(count: int, length: int, vocabulary: int) -> Rows:
    """Documents of 20 to 400 random tokens, packed into rows of at most `length` tokens; at least `count` rows."""
    random = np.random.default_rng(0)
    lengths: list[int] = []
    while sum(lengths) < (count + 1) * length:
        lengths.append(int(random.integers(20, 400)))
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = random.integers(1, vocabulary, bounds[-1]).astype(np.int32)
    samples = tuple(RoundSample(at, "", "") for at in range(len(lengths)))
    return rows_of(Encoded(tokens, bounds, samples, np.zeros(len(lengths), dtype=np.int64)), length)


def plan(steps: int, rows: int, replayed: float = 0.0) -> list[Step]:
    """Steps of so many rows each, one after another; of each a share is said to be replayed, the last rows of it."""
    fresh = round(rows * (1 - replayed))
    numbers = [np.arange(at * rows, (at + 1) * rows) for at in range(steps)]
    return [Step(of_step[:fresh], of_step[fresh:]) for of_step in numbers]


def feed(rows: Rows, size: int) -> CausalFeed:
    """The same rows as new and as replayed text, so many in a pass."""
    return CausalFeed(rows, rows, pad=0, size=size, device=DEVICE.where)


def documents_of(rows: Rows, steps: Sequence[Step]) -> list[list[int]]:
    """The rows' documents, or parts of long ones, in the order of the steps, for a trainer that packs by itself."""
    return [
        piece.ids(rows.tokens, rows.lead).tolist()
        for step in steps
        for row in [*step.new.tolist(), *step.replayed.tolist()]
        for piece in rows.rows[row]
    ]


def rows_for_trainer(rows: Rows, steps: Sequence[Step], size: int) -> list[dict[str, Tensor]]:
    """The same batches as single rows; labels are unshifted, as `Trainer` shifts them itself."""
    trainer_rows = []
    for step in steps:
        batch = next(feed(rows, size).micro_batches(step))
        labels = torch.full_like(batch.targets, -100)
        labels[:, 1:] = batch.targets[:, :-1]
        ids, positions = batch.inputs["input_ids"], batch.inputs["position_ids"]
        trainer_rows += [
            {"input_ids": ids[row], "position_ids": positions[row], "labels": labels[row]} for row in range(len(ids))
        ]
    return trainer_rows


class InOrder(Trainer):
    """`Trainer` that takes its data in the order it is given, as the others do."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        assert isinstance(rows, Sized)
        return SequentialSampler(rows)
