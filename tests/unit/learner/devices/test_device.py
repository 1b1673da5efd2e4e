"""Devices, precision and memory that runs out."""

import pytest
import torch

from learner.devices.device import choose, is_out_of_memory, settle
from learner.errors import LearnerError


def test_precision_is_float32_on_a_cpu_unless_asked() -> None:
    """Emulated bfloat16 would be slower and rougher."""
    assert choose("cpu", "auto").compute == torch.float32
    assert choose("cpu", "bfloat16").compute == torch.bfloat16


def test_forward_pass_runs_in_the_compute_dtype() -> None:
    """Master weights stay float32, the matrix product is in bfloat16."""
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with choose("cpu", "bfloat16").autocast():
        assert layer(x).dtype == torch.bfloat16
    with choose("cpu", "float32").autocast():
        assert layer(x).dtype == torch.float32


def test_device_that_is_not_here_is_named() -> None:
    """The error says what to set instead."""
    beyond = f"cuda:{torch.cuda.device_count() + 7}"
    with pytest.raises(LearnerError, match=f"{beyond} is not here"):
        choose(beyond, "auto")


def test_settling_seeds_and_sets_threads() -> None:
    """The same seed draws the same, on the threads asked for."""
    threads = torch.get_num_threads()
    try:
        assert settle(choose("cpu", "auto"), seed=3, threads=1) == 1
        first = torch.rand(3)
        settle(choose("cpu", "auto"), seed=3, threads=1)
        assert torch.equal(first, torch.rand(3))
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode=False)


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("unable to mmap 9 bytes from file </g/model.safetensors>: Cannot allocate memory (12)"), True),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory of a joke"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_faults(error: Exception, ran_out: bool) -> None:
    """Only it is worth trying again with less."""
    assert is_out_of_memory(error) == ran_out
