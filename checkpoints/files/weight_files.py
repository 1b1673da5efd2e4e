"""Whether the files of a model are whole, told from their first bytes and their sizes. Imports no torch."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from checkpoints.errors import UnusableModel

WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
LFS_POINTER: Final = b"version https://git-lfs"
# A safetensors file begins with the length of its header as eight bytes.
LENGTH_BYTES: Final = 8
# The safetensors library's own limit.
MAX_HEADER_BYTES: Final = 100_000_000
SHOWN: Final = 3
# Of a file, in most file systems.
LONGEST_NAME: Final = 255
AGAIN: Final = "take it from the model's source again"


def require_whole(directory: Path) -> None:
    """Refuse a directory whose weights are missing, cut off, or stand-ins for what was never fetched.

    Raises:
        UnusableModel: names the file, and what to do.
    """
    for path in sorted(each for each in directory.iterdir() if each.is_file()):
        # Every file, not the weights alone: git-lfs also holds back large tokenizers.
        refuse_pointer(path)
    # Where a directory has both, transformers loads the single file and other engines follow the index.
    if (directory / INDEX).is_file():
        _require_shards(directory)
    if (directory / WEIGHTS).is_file():
        tensors(directory / WEIGHTS)
    elif not (directory / INDEX).is_file():
        _say_what_is_there(directory)


def refuse_pointer(path: Path) -> None:
    """Refuse what git left in place of a large file.

    Raises:
        UnusableModel: it is a pointer of git-lfs.
    """
    if _beginning(path, len(LFS_POINTER)) == LFS_POINTER:
        raise UnusableModel(
            f"{path} is a pointer of git-lfs, not the file itself: run `git lfs pull` in {path.parent}, or copy the "
            "file from the model's source"
        )


def tensors(path: Path) -> frozenset[str]:
    """The names of the tensors in a safetensors file, by its header.

    Raises:
        UnusableModel: it is no such file, or not all of it is here.
    """
    size = path.stat().st_size
    length = int.from_bytes(_beginning(path, LENGTH_BYTES), "little")
    entries = entries_of(path)
    if entries is None:
        raise UnusableModel(
            f"{path} ({size:,} bytes) is no safetensors file, or was cut off near its beginning; {AGAIN}"
        )
    ends = [entry["data_offsets"][1] for entry in entries.values()]
    # The header comes first, so that only the size tells that a copy was cut off.
    whole = LENGTH_BYTES + length + max(ends, default=0)
    if size != whole:
        raise UnusableModel(f"{path} has {size:,} bytes, its header says {whole:,}: it was not copied whole; {AGAIN}")
    return frozenset(entries)


def entries_of(path: Path) -> dict[str, Any] | None:
    """What a safetensors file's header says of each tensor, by its name; None where it is no such file.

    Each entry has at least `dtype`, `shape` and `data_offsets` in a file that safetensors wrote.
    """
    length = int.from_bytes(_beginning(path, LENGTH_BYTES), "little")
    header = _header(path, length) if length <= MAX_HEADER_BYTES else None
    return header and {name: entry for name, entry in header.items() if name != "__metadata__"}


def stored_weights(directory: Path) -> Counter[str]:
    """How many weights a model's directory holds by safetensors' name of their format: "BF16", "F16", "F32" and so on.

    Files that are not whole are left out: `require_whole` says what they are.
    """
    counts: Counter[str] = Counter()
    for path in sorted(directory.glob("*.safetensors")):
        for entry in (entries_of(path) or {}).values():
            counts[entry["dtype"]] += math.prod(entry["shape"])
    return counts


def is_mostly_bfloat16(directory: Path) -> bool:
    """Whether most of the weights that a model's directory holds are in bfloat16."""
    return [name for name, _ in stored_weights(directory).most_common(1)] == ["BF16"]


def _header(path: Path, length: int) -> dict[str, Any] | None:
    with path.open("rb") as file:
        file.seek(LENGTH_BYTES)
        content = file.read(length)
    try:
        # Anything may stand where a header should: what of it can be wrong raises here, and means the same.
        header = json.loads(content) if len(content) == length else {}
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        return header if entries and all(_is_span(entry["data_offsets"]) for entry in entries) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _is_span(offsets: object) -> bool:
    """Whether it is where a tensor begins and ends, in bytes."""
    return isinstance(offsets, list) and [type(offset) for offset in offsets] == [int, int] and min(offsets) >= 0


def _require_shards(directory: Path) -> None:
    file_of = _weight_map(directory / INDEX)
    files = sorted(set(file_of.values()))
    _require_beside(directory / INDEX, files)
    missing = [name for name in files if not (directory / name).is_file()]
    if missing:
        raise UnusableModel(
            f"{directory / INDEX} names {_list_names(missing)}, of {len(files)} files: not here. Copy what is missing "
            "from the model's source"
        )
    stored = {file: tensors(directory / file) for file in files}
    astray = sorted(tensor for tensor, file in file_of.items() if tensor not in stored[file])
    if astray:
        raise UnusableModel(
            f"{directory / INDEX} says that {astray[0]} is in {file_of[astray[0]]}, which has it not: index and "
            f"weights are of two models or versions; take all of them from one source"
        )


def _weight_map(index: Path) -> dict[str, str]:
    try:
        file_of = json.loads(index.read_bytes())["weight_map"]
    except (ValueError, TypeError, KeyError, RecursionError):
        file_of = None
    if not isinstance(file_of, dict) or not all(isinstance(file, str) for file in file_of.values()):
        raise UnusableModel(f"{index} is not an index of weights (JSON with a `weight_map`); {AGAIN}")
    if not file_of:
        raise UnusableModel(f"{index} names no weights (its `weight_map` is empty); {AGAIN}")
    return file_of


def _require_beside(index: Path, files: Iterable[str]) -> None:
    """Refuse an index that names what is no file of weights in its own directory, or below it."""
    for name in files:
        # An index is a file of a stranger's: it must not lead out of its directory.
        inside = PurePosixPath(name)
        is_file = inside.suffix == ".safetensors" and name.isprintable() and len(inside.name) <= LONGEST_NAME
        if not is_file or inside.is_absolute() or ".." in inside.parts:
            raise UnusableModel(
                f"{index} names {name!r:.80}, which is no *.safetensors file of this directory; {AGAIN}"
            )


def _say_what_is_there(directory: Path) -> None:
    """There is neither the one file nor an index: by the names that there are, what is wrong."""
    names = sorted(path.name for path in directory.glob("*.safetensors"))
    if any(re.search(r"-\d+-of-\d+\.safetensors$", name) for name in names):
        raise UnusableModel(
            f"{directory} has {_list_names(names)} but not {INDEX}, which says what is where; copy that too"
        )
    renamed = f"; if {names[0]} is the whole model, rename it to that" if len(names) == 1 else ""
    raise UnusableModel(
        f"{directory} has weights as {_list_names(names)}, none of which transformers reads: it takes {WEIGHTS}, or "
        f"the files that {INDEX} names{renamed}"
    )


def _list_names(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _beginning(path: Path, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError as error:
        raise UnusableModel(f"{path} cannot be read: {error.strerror}; let the service's user read it") from error
