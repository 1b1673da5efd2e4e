"""What a generation's files must be: the list that is written with them, its digest, and the check against it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from checkpoints.card import CARD
from checkpoints.errors import DamagedGeneration
from checkpoints.files.durable_writes import sha256_of
from checkpoints.json_files import STRICT

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, config=STRICT)
class ListedFile:
    """What a file must be.

    Attributes:
        sha256: of its content, in hexadecimal.
        bytes: its size.
    """

    sha256: str
    bytes: NonNegativeInt


@dataclass(frozen=True, slots=True, config=STRICT)
class Manifest:
    """What a generation's files must be.

    Attributes:
        files: by name; all of its directory but this list.
        digest: of the list, as `digest_of` gives it: it names the generation's content.
        format: of the file.
    """

    files: Mapping[str, ListedFile]
    digest: str
    format: int = FORMAT


def list_files(contents: Mapping[str, Path | bytes]) -> Manifest:
    """The manifest of files that are about to be written, by the name that they will have.

    Raises:
        OSError: one cannot be read.
    """
    files = {name: ListedFile(sha256_of(content), _size(content)) for name, content in contents.items()}
    return Manifest(files, digest_of(files))


def digest_of(files: Mapping[str, ListedFile]) -> str:
    """SHA-256 over the list in the format of `sha256sum`, sorted by name."""
    # So that a person can compute it with a shell's own tools.
    listing = "".join(f"{entry.sha256}  {name}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def files_of_model(manifest: Manifest) -> dict[str, ListedFile]:
    """The files that make a model what it is: all but the card, which bears the time of its writing."""
    return {name: entry for name, entry in manifest.files.items() if name != CARD}


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Read every file of a generation and compare it with its manifest.

    Raises:
        DamagedGeneration: names the first file that differs, is missing, or does not belong.
    """
    for name, expected in manifest.files.items():
        _verify_file(directory, name, expected)
    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}
    # transformers reads what lies there by its name: a stray file can change what a model answers.
    stray = sorted(present - set(manifest.files) - {MANIFEST})
    if stray:
        raise DamagedGeneration(directory, stray[0], "is not in the manifest")


def _verify_file(directory: Path, name: str, expected: ListedFile) -> None:
    try:
        actual = (directory / name).stat().st_size
        # The size first: it costs nothing, and tells the most frequent damage, a copy that was cut off.
        if actual != expected.bytes:
            raise DamagedGeneration(directory, name, f"has {actual} bytes instead of {expected.bytes}")
        if sha256_of(directory / name) != expected.sha256:
            raise DamagedGeneration(directory, name, "its content has changed")
    except OSError as error:
        raise DamagedGeneration(directory, name, f"cannot be read ({error.strerror})") from error


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size
