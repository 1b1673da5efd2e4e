"""Tensors written one by one."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from checkpoints.files.durable_writes import FAULT_VARIABLE
from learner.errors import BadRoundDirectory
from learner.weights.streamed_tensors import FORMATS, StreamedTensors, write_streamed


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    """Every format and shape, views and empty ones too; and what the file is, is told."""
    numbers = torch.arange(24).reshape(4, 6)
    tensors = {str(dtype): numbers.to(dtype) for dtype in FORMATS}
    tensors |= {"scalar": torch.tensor(1.5), "turned": numbers.T, "none": torch.empty(0, 3)}
    listed = write_streamed(tmp_path / "t.safetensors", tensors)
    content = (tmp_path / "t.safetensors").read_bytes()
    assert (listed.sha256, listed.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    loaded, streamed = load_file(tmp_path / "t.safetensors"), StreamedTensors(tmp_path / "t.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert name in streamed
        for read in (loaded[name], streamed[name]):
            assert read.dtype == tensor.dtype
            assert torch.equal(read, tensor)
    assert "another" not in streamed


def test_what_was_cut_off_is_not_read(tmp_path: Path) -> None:
    """The last byte is missing, or the whole file."""
    with pytest.raises(BadRoundDirectory, match=r"t\.safetensors cannot be read"):
        StreamedTensors(tmp_path / "t.safetensors")
    write_streamed(tmp_path / "t.safetensors", {"weight": torch.ones(3)})
    content = (tmp_path / "t.safetensors").read_bytes()
    (tmp_path / "t.safetensors").write_bytes(content[:-1])
    with pytest.raises(BadRoundDirectory, match="it was not copied whole"):
        StreamedTensors(tmp_path / "t.safetensors")


def test_nothing_is_left_of_what_had_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full before it was synced."""
    monkeypatch.setenv(FAULT_VARIABLE, "stage.sync_file:enospc")
    monkeypatch.setattr("checkpoints.files.durable_writes._reached", {"stage.sync_file": 0})
    with pytest.raises(OSError, match="No space left"):
        write_streamed(tmp_path / "t.safetensors", {"weight": torch.ones(3)})
    assert list(tmp_path.iterdir()) == []
