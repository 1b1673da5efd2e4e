"""Several processes that run one round together, each on a device of its own: what they tell each other.

Every rank runs the whole round with a whole model. Text is divided: each passes its share of a step's rows, whose
gradients are added up over all ranks before any of them moves, and scores its share of the documents, whose scores are
gathered. So all ranks have equal weights and equal scores at each moment, and the first one alone writes.

What depends on a clock or on a disk would be decided otherwise by each: such a value is the first rank's, which the
others are told (`agree`).
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from learner.devices.share import Share, is_rank
from learner.errors import RankLost

BUCKET_ELEMENTS: Final = 1 << 24
"""Numbers that are added up over the ranks at a time: enough that the messages cost little, few enough to fit."""
PATIENCE: Final = timedelta(days=7)
"""How long a rank waits for the others. One that ended is noticed at once; of one that hangs the daemon sees that
nothing is said, and of one that writes a large model nothing is wrong."""
TRANSPORT: Final = "gloo"
"""In what torch says of a connection between processes on CPUs that broke: the file that noticed it."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a round, as one of them sees it; one that is alone waits for nobody.

    All of them make the same calls in the same order: each waits until the others have come to theirs.

    Attributes:
        rank: this one's number, from 0.
        count: how many there are.
        local_rank: its number among those on the same machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and tells of progress."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    @property
    def share(self) -> Share:
        """What this rank does of what is divided."""
        return Share(self.rank, self.count)

    def for_all(self, passed: Callable[[int], None]) -> Callable[[int], None]:
        """Return what counts this rank's work for all of them, where it is divided evenly."""
        return lambda amount: passed(amount * self.count)

    def wait(self) -> None:
        """Wait until all have come here.

        Raises:
            RankLost: another one has ended.
        """
        self.agree(0.0)

    def agree(self, value: float) -> float:
        """Return the first rank's value, whatever the others have.

        Raises:
            RankLost: another one has ended.
        """
        if self.is_alone:
            return value
        number = torch.tensor([value], dtype=torch.float64)
        # Added up, not handed out: the first one, too, then knows that all have come.
        self.add_up(number if self.is_first else number.zero_())
        return float(number)

    def add_up(self, numbers: Tensor) -> None:
        """Replace numbers, in place, by their sum over all ranks: the same on each, bit for bit.

        Raises:
            RankLost: another one has ended.
        """
        if not self.is_alone:
            with _others_needed():
                distributed.all_reduce(numbers)

    def take_over(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, in place, by the first rank's.

        Raises:
            RankLost: another one has ended.
        """
        if not self.is_alone:
            with torch.no_grad(), _others_needed():
                for tensor in tensors:
                    whole = tensor.detach().contiguous()
                    distributed.broadcast(whole, 0)
                    tensor.copy_(whole)

    def add_up_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Give each weight the sum of its gradients over all ranks.

        One that has a gradient on some ranks alone (of an expert that no token of a rank went to, say) has it on all
        after this; one that has none anywhere has none. Those of divided weights were added up as they were divided.

        Raises:
            RankLost: another one has ended.
        """
        if self.is_alone or any(isinstance(weight, DTensor) for weight in weights):
            return
        # On the CPU, so that nothing waits for the device.
        touched = torch.tensor([float(weight.grad is not None) for weight in weights])
        self.add_up(touched)
        gradients = [_gradient(weight) for weight, ranks in zip(weights, touched.tolist(), strict=True) if ranks]
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self.add_up(flat)
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    @contextmanager
    def passing_together(self) -> Iterator[None]:
        """The context of passes in which torch itself sends weights and gradients from rank to rank.

        Raises:
            RankLost: another one has ended.
        """
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, distributed.DistError) or TRANSPORT in str(error):
                raise _lost(error) from error
            raise

    def gather(self, value: Any) -> list[Any]:
        """Return what every rank gives here, in their order.

        Args:
            value: of JSON's kinds, and numbers that are infinite or none. Not pickled: what comes over a socket is
                never run.

        Raises:
            RankLost: another one has ended.
        """
        if self.is_alone:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = torch.zeros(self.count, dtype=torch.int64)
        sizes[self.rank] = len(own)
        self.add_up(sizes)
        # Of one size, as gloo wants them.
        parts = [torch.zeros(int(sizes.max()), dtype=torch.uint8) for _ in range(self.count)]
        parts[self.rank][: len(own)] = own
        with _others_needed():
            distributed.all_gather(parts, parts[self.rank].clone())
        whole = zip(parts, sizes.tolist(), strict=True)
        return [json.loads(part[:size].numpy().tobytes()) for part, size in whole]


ALONE: Final = Ranks()
"""A round that one process runs."""


@contextmanager
def joined_ranks(meeting: Path | None, environ: Mapping[str, str] = os.environ) -> Iterator[Ranks]:
    """Meet the other ranks of the round; one that was not started as one of several is alone.

    Args:
        meeting: the file by which they find each other; None where the environment names a machine and a port.
        environ: says which rank this is, of how many, as `torchrun` says it.
    """
    if not is_rank(environ):
        yield ALONE
        return
    ranks = Ranks(int(environ["RANK"]), int(environ["WORLD_SIZE"]), int(environ.get("LOCAL_RANK", "0")))
    store = None if meeting is None else distributed.FileStore(str(meeting), ranks.count)  # type: ignore[attr-defined]
    with _others_needed():
        distributed.init_process_group(
            # What lies on the CPU goes by gloo in any case: it waits for no device.
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=store,
            rank=ranks.rank,
            world_size=ranks.count,
            timeout=PATIENCE,
        )
    yield ranks
    # Not after an error: on GPUs it would wait for what the others will never send.
    distributed.destroy_process_group()


@contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _lost(error) from error


def _lost(error: RuntimeError) -> RankLost:
    return RankLost(f"another rank of the round has ended: {error}")


def _gradient(weight: nn.Parameter) -> Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield gradients of one format, so many together as are added up at a time, or a single one that is larger."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        held = sum(each.numel() for each in bucket)
        if bucket and (held + gradient.numel() > BUCKET_ELEMENTS or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
