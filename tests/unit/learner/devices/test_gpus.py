"""Which GPUs a process sees, by a fake of nvidia-smi: as CUDA would show them."""

from importlib import util
from pathlib import Path

import pytest
import torch

from learner.devices import gpus
from learner.devices.gpus import gpus_of, gpus_seen, torch_computes_on_gpus, visible_gpus
from learner.process_settings import LearnerSettings
from tests.nvidia_smi import FakeGpu, FakeInstance, put_on_path

MIB = 2**20
FOUR = [FakeGpu(f"GPU-{letter}000", free) for letter, free in zip("abcd", (100, 400, 300, 200), strict=True)]
DIVIDED = FakeGpu(
    "GPU-mmmm", "[N/A]", instances=(FakeInstance("MIG-1111", 9000, 9728), FakeInstance("MIG-2222", 500, 9728))
)


def free_on(runs_on: LearnerSettings, shown: str | None = None) -> list[int | None]:
    """MiB free on each GPU of a round."""
    environ = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    return [None if gpu.free is None else gpu.free // MIB for gpu in gpus_of(runs_on, environ)]


@pytest.mark.parametrize(
    ("chosen", "shown", "free"),
    [
        ({}, None, [100]),
        ({"device": "cuda"}, None, [100]),
        ({"device": "cuda:1"}, None, [400]),
        ({"device": "cuda:1"}, "3,2", [300]),
        ({"device": "cuda:2"}, "3,2", []),
        ({"devices": 3}, None, [100, 400, 300]),
        ({"devices": "all"}, None, [100, 400, 300, 200]),
        ({"devices": "all"}, "2, 1", [300, 400]),
        ({}, "GPU-c", [300]),
        ({"devices": "all"}, "GPU-d000,0", [200, 100]),
        ({"devices": "all"}, "1,-1,2", [400]),
        ({"devices": "all"}, "1,9,2", [400]),
        ({"devices": "all"}, "1,1", []),
        ({"devices": "all"}, "GPU-", []),
        ({}, "", []),
        ({"device": "cpu"}, None, []),
        ({"device": "mps"}, None, []),
    ],
)
def test_a_round_runs_on_the_gpus_that_cuda_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, object], shown: str | None, free: list[int]
) -> None:
    """The first of those that are shown, in the order they are named; a name that is nothing ends the list."""
    put_on_path(tmp_path, monkeypatch, FOUR)
    assert free_on(LearnerSettings.model_validate(chosen), shown) == free


def test_an_instance_of_a_divided_gpu_has_its_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by its UUID; unnamed CUDA shows the first alone."""
    put_on_path(tmp_path, monkeypatch, [FOUR[0], DIVIDED])
    assert free_on(LearnerSettings(), "MIG-2222") == [500]
    assert free_on(LearnerSettings(devices="all")) == [9000]
    assert free_on(LearnerSettings(), "1") == [9000]
    assert free_on(LearnerSettings(), "0") == [100]


def test_of_gpus_that_differ_the_fastest_is_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their memory, unless CUDA is told to go by the bus."""
    put_on_path(tmp_path, monkeypatch, [FakeGpu("GPU-small", 900, 4096, "NVIDIA T400"), FakeGpu("GPU-large", 70_000)])
    assert [gpu.uuid for gpu in gpus_seen({}) or ()] == ["GPU-large", "GPU-small"]
    by_bus = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}
    assert [gpu.uuid for gpu in gpus_seen(by_bus) or ()] == ["GPU-small"]


@pytest.mark.parametrize(("capability", "native"), [("9.0", True), ("8.0", True), ("7.5", False), ("[N/A]", True)])
def test_what_a_gpu_computes_in_is_told_by_its_capability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capability: str, *, native: bool
) -> None:
    """A V100 or T4 has no bfloat16 of its own."""
    put_on_path(tmp_path, monkeypatch, [FakeGpu("GPU-x", 100, capability=capability)])
    (gpu,) = gpus_seen({}) or ()
    assert gpu.native_bfloat16 is native


def test_an_old_driver_tells_of_its_gpus_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses a question that asks for what it does not know."""
    put_on_path(tmp_path, monkeypatch, FOUR, old=True)
    assert free_on(LearnerSettings(devices="all")) == [100, 400, 300, 200]


def test_a_torch_for_cpus_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine has."""
    put_on_path(tmp_path, monkeypatch, FOUR)
    assert visible_gpus({}) == 4
    monkeypatch.setattr(gpus, "torch_computes_on_gpus", lambda: False)
    assert visible_gpus({}) == 0
    assert free_on(LearnerSettings(devices="all")) == []


@pytest.mark.parametrize(
    ("version", "computes"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        ("cuda = None\n", False),
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", True),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4'\n", True),
        ("nothing that is known", True),
    ],
)
def test_what_torch_was_built_for_is_told_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, *, computes: bool
) -> None:
    """By the file with its version; a stand-in for an installation."""
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it was imported')")
    (package / "version.py").write_text(version)
    found = util.spec_from_file_location("torch", package / "__init__.py")
    monkeypatch.setattr(util, "find_spec", lambda _: found)
    assert torch_computes_on_gpus() is computes


def test_of_the_torch_that_is_here_it_says_what_torch_says() -> None:
    """Of its build, not of the machine."""
    assert torch_computes_on_gpus() is any((torch.version.cuda, torch.version.hip))


def test_nobody_tells_where_the_tool_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which need not mean that there is no GPU."""
    monkeypatch.setattr(gpus, "torch_computes_on_gpus", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus_seen({}) is None
