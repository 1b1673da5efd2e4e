"""Where a round is computed, in which precision, and how it is made to give the same weights again."""

import errno
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import deterministic

from learner.devices import peaks
from learner.devices.cores import usable_cores
from learner.devices.ranks import ALONE, Ranks
from learner.errors import LearnerError
from learner.settings import Precision

# What allocators and mappings say besides torch.OutOfMemoryError: CPU and MPS raise a plain RuntimeError.
_OUT_OF_MEMORY = ("can't allocate memory", "Cannot allocate memory", "out of memory", "_STATUS_ALLOC_FAILED")


TIDY_SECONDS = 1.0
"""Between two times that free memory is given back: what is used again has to be asked for again, which takes a few
hundredths of that."""


@dataclass(slots=True)
class Tidying:
    """Gives free main memory back, now and then.

    Attributes:
        clock: monotonic seconds.
        next: not before.
    """

    clock: Callable[[], float] = time.monotonic
    next: float = 0.0

    def __call__(self) -> None:
        """Give it back, where that is due."""
        now = self.clock()
        if now >= self.next:
            peaks.give_back_free_memory()
            self.next = now + TIDY_SECONDS


@dataclass(frozen=True, slots=True)
class Device:
    """Where a round is computed.

    Attributes:
        where: torch's name of it.
        name: for people and reports.
        compute: the dtype of the forward pass; master weights are float32 in any case.
    """

    where: torch.device
    name: str
    compute: torch.dtype
    tidying: Tidying = field(default_factory=Tidying, compare=False, repr=False)

    def tidy(self) -> None:
        """Give back what passes have freed; on a GPU torch keeps it for the next one."""
        if self.where.type == "cpu":
            self.tidying()

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes run."""
        return torch.autocast(self.where.type, dtype=self.compute, enabled=self.compute != torch.float32)

    def memory_bytes(self) -> int:
        """Return the peak memory of the phase so far: the device's, or the process's on CPU."""
        if self.where.type == "cuda":
            return torch.cuda.max_memory_allocated(self.where)
        if self.where.type == "mps":
            return torch.mps.driver_allocated_memory()
        return peaks.peak_bytes()

    def forget_peak(self) -> None:
        """Let `memory_bytes` begin anew, where that is possible."""
        if self.where.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.where)
        peaks.forget_peak()


def choose(wanted: str, precision: Precision, ranks: Ranks = ALONE) -> Device:
    """Return the device to use: of several ranks each has a GPU of its own, or all of them share the CPU.

    Args:
        wanted: `auto` (CUDA, else MPS, else CPU) or torch's name of a device.
        precision: of the forward pass; `auto` is bfloat16 where CUDA computes in it.
        ranks: that run the round together.

    Raises:
        LearnerError: the wanted device is not here, or there are fewer than ranks.
    """
    device = torch.device(_first_there() if wanted == "auto" else wanted)
    if not ranks.is_alone:
        device = _own_of(device, ranks)
    if not _is_there(device):
        raise LearnerError(f"the device {wanted} is not here; set [learner] device to auto or to one that is")
    return Device(device, _name(device), _compute_dtype(device, precision))


def _own_of(device: torch.device, ranks: Ranks) -> torch.device:
    """The device of one of several ranks: a GPU of its own, or the CPU, which any number may share."""
    if device.type == "cpu":
        return device
    there = gpus_there() if device.type == "cuda" else 1
    if ranks.local_rank >= there:
        raise LearnerError(
            f"the round is to run on at least {ranks.local_rank + 1} devices, of {device.type} there is {there}: set "
            f'[learner] devices to {there}, or to "all"'
        )
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def gpus_there() -> int:
    """Return how many GPUs torch sees."""
    return torch.cuda.device_count()


def threads_of_each(threads: int | None, ranks: int) -> int | None:
    """Return how many CPU threads each of several ranks has, where all have so many; None: as many as torch takes."""
    if ranks == 1:
        return threads
    return max(1, (usable_cores() if threads is None else threads) // ranks)


def settle(device: Device, *, seed: int, threads: int | None) -> int:
    """Seed and configure torch so that a round on CPU gives the same weights bit for bit; return the CPU threads.

    The thread count is part of what makes sums come out the same, so it is reported. On CUDA and MPS kernels may
    add in any order: there results agree only to rounding.
    """
    torch.manual_seed(seed)
    if threads is not None:
        torch.set_num_threads(threads)
    if device.where.type == "cpu":
        torch.use_deterministic_algorithms(mode=True)
        # Filling every new tensor with NaN guards against reading it unset; no kernel used here does.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch's module takes it by itself
    return torch.get_num_threads()


def move_to_device(array: Any, device: torch.device) -> Tensor:
    """Return an array as a tensor on the device, without waiting for the copy where that is possible."""
    # Only from pinned memory does CUDA copy while the CPU goes on.
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def random_state(device: Device) -> dict[str, Tensor]:
    """Return the state of torch's random numbers, by what kind of device draws them."""
    states = {"cpu": torch.get_rng_state()}
    if device.where.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device.where)
    elif device.where.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random(device: Device, states: Mapping[str, Tensor]) -> None:
    """Let torch draw on from where `random_state` was taken."""
    torch.set_rng_state(states["cpu"])
    if device.where.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device.where)
    elif device.where.type == "mps":
        torch.mps.set_rng_state(states["mps"])


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it was raised from, says that memory ran out, on whatever device."""
    if error is None:
        return False
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY):
        return True
    return is_out_of_memory(error.__cause__)


def _first_there() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    return device.type != "mps" or torch.backends.mps.is_available()


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"{device} ({os.uname().machine})"


def _compute_dtype(device: torch.device, precision: str) -> torch.dtype:
    if precision == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
