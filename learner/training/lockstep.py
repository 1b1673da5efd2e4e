"""Passes that all ranks make together, as a model whose weights are divided needs: none passes what others do not.

Shares of a step are alike but for a row, so that a rank may have a pass less than another, or none with replayed rows
where another has some. It then passes something that counts for nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

import torch

from learner.devices.ranks import Ranks
from learner.devices.share import Share
from learner.material.batches import Step
from learner.material.feeds import Feed
from learner.objectives.forward_pass import IGNORED, MicroBatch


@dataclass(frozen=True, slots=True)
class Turn:
    """One pass of all ranks.

    Attributes:
        batch: what this one passes.
        rows: how many of its rows count; 0 where it passes it for the others' sake.
        reads_parent: whether the parent reads with it although nothing in it is replayed, as it does on another rank.
    """

    batch: MicroBatch
    rows: int
    reads_parent: bool


def turns_alone(feed: Feed, step: Step, ranks: Ranks) -> Iterator[Turn]:
    """Yield the passes that a rank makes of a step whatever the others do; see `Feed.micro_batches`."""
    for batch in feed.micro_batches(step, ranks.share):
        yield Turn(batch, batch.sequences, reads_parent=False)


def turns(feed: Feed, step: Step, ranks: Ranks) -> Iterator[Turn]:
    """Yield the passes of a step, as many on every rank; see `Feed.micro_batches`.

    Raises:
        learner.errors.RankLost: another rank has ended.
    """
    own = list(feed.micro_batches(step, ranks.share))
    replayed = ranks.gather([_has_replayed(batch) for batch in own])
    # The first rank's, which has some whenever any has.
    blank = _blank(own[0] if own else next(feed.micro_batches(step, Share(0, ranks.count))))
    for batch, *others in zip_longest(own, *replayed):
        passed = batch or blank
        reads_parent = any(others) and not _has_replayed(passed)
        yield Turn(passed, 0 if batch is None else batch.sequences, reads_parent)


def first_made(planned: Iterator[Turn]) -> Iterator[Turn]:
    """Return the passes of a step, of which the first has its micro-batch on its way to the device."""
    # Of few rows a rank may have none.
    first = next(planned, None)
    return planned if first is None else chain([first], planned)


def _has_replayed(batch: MicroBatch) -> bool:
    return batch.first_replayed < len(batch.targets)


def _blank(batch: MicroBatch) -> MicroBatch:
    """A batch's first row, in which nothing is to be predicted."""
    nowhere = batch.places[0][:0]
    inputs = {name: value[:1] if isinstance(value, torch.Tensor) else value for name, value in batch.inputs.items()}
    return MicroBatch(
        inputs,
        torch.full_like(batch.targets[:1], IGNORED),
        first_replayed=1,
        widths=(0,),
        places=(nowhere, nowhere),
    )
