"""Tensors written to a safetensors file, and read back, one by one: main memory never holds a second copy of all.

The library's own writer takes all tensors in main memory at once: of a model that is trained on a GPU, its weights and
the optimizer's moments. Its reader maps the file, and what was read counts as the process's as long as it is open.
"""

import ctypes
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from checkpoints.errors import UnusableModel
from checkpoints.files import weight_files
from checkpoints.files.durable_writes import DurableStep, step
from checkpoints.files.weight_files import LENGTH_BYTES
from checkpoints.manifest import ListedFile
from learner.errors import BadRoundDirectory

FORMATS: Final = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}
"""safetensors' names of formats."""
_DTYPES: Final = {name: dtype for dtype, name in FORMATS.items()}


def write_streamed(
    path: Path,
    tensors: Mapping[str, Tensor],
    passed: Callable[[], None] = lambda: None,
    *,
    notes: Mapping[str, str] | None = None,
) -> ListedFile:
    """Write tensors to a safetensors file, durable on return; return what the file is.

    Args:
        path: the file, made anew.
        tensors: by name, on any device.
        passed: told after each of them.
        notes: on them, in this order: the library's writer leaves theirs to chance, and two files of the same differ.

    Raises:
        KeyError: a tensor has a format that `FORMATS` lacks.
        OSError: the disk refused; nothing remains.
    """
    digest = hashlib.sha256()
    try:
        step(DurableStep.STAGE_COPY)
        with path.open("wb") as file:
            for part in _parts(tensors, notes or {}):
                file.write(part)
                digest.update(part)
                passed()
            step(DurableStep.STAGE_SYNC_FILE)
            file.flush()
            os.fsync(file.fileno())
            return ListedFile(digest.hexdigest(), file.tell())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _parts(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    header = _header(tensors, notes)
    yield len(header).to_bytes(LENGTH_BYTES, "little")
    yield header
    for tensor in tensors.values():
        flat = tensor.detach().cpu().contiguous()
        # Not by numpy, which takes from the storage's owner the right to let go of it.
        size = flat.numel() * flat.element_size()
        yield memoryview((ctypes.c_ubyte * size).from_address(flat.data_ptr())) if size else b""


def _header(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(notes)} if notes else {}
    begin = 0
    for name, tensor in tensors.items():
        end = begin + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": FORMATS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    content = json.dumps(entries).encode()
    # As the library does, so that what follows lies aligned.
    return content.ljust(-(-len(content) // LENGTH_BYTES) * LENGTH_BYTES)


class StreamedTensors:
    """Reads tensors of a file that `write_streamed` wrote, each into memory of its own.

    Args:
        path: of the file, which is read anew for each tensor.

    Raises:
        BadRoundDirectory: it is no such file, or was cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            weight_files.tensors(path)
        except (OSError, UnusableModel) as error:
            raise BadRoundDirectory(f"{path} cannot be read: {error}. Discard the round.") from error
        self._entries = weight_files.entries_of(path) or {}
        with path.open("rb") as file:
            self._begin = LENGTH_BYTES + int.from_bytes(file.read(LENGTH_BYTES), "little")

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Tensor:
        """Read a tensor, on the CPU.

        Raises:
            KeyError: the file has none of that name.
        """
        entry = self._entries[name]
        tensor = torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]])
        with self._path.open("rb") as file:
            file.seek(self._begin + entry["data_offsets"][0])
            file.readinto(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return tensor
