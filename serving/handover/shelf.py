"""Where generations lie for engines that others run: a folder for each, complete once its last file is there."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fsspec
import structlog

from checkpoints.files.model_files import model_files
from serving.errors import BrokenGeneration

_log = structlog.get_logger(__name__)

READY_FILE: Final = "handed_over.json"
"""Written last: a folder without it is not complete yet, in an object store too, which knows no renaming."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A generation that lies on the shelf.

    Attributes:
        name: of its folder, and of the model in every engine: never used for another generation.
        generation: its number.
        digest: of its manifest.
    """

    name: str
    generation: int
    digest: str


class Shelf:
    """A directory, or an object store's prefix.

    Args:
        location: a path, or an address that fsspec knows (s3://…, gs://…, abfs://…).

    Raises:
        BrokenGeneration: nothing here knows such an address.
    """

    def __init__(self, location: str) -> None:
        self._location = location.rstrip("/")
        try:
            self._files, root = fsspec.url_to_fs(self._location)
        # An address of an unknown kind is a ValueError, one whose library is not installed an ImportError.
        except (ValueError, ImportError) as error:
            raise BrokenGeneration(f"serving.remote.location {location} cannot be reached: {error}") from error
        self._root = str(root).rstrip("/")

    def place(self, name: str) -> str:
        """The address of a generation's folder."""
        return f"{self._location}/{name}"

    def put(self, handed: HandedOver, model: Path) -> None:
        """Copy a whole model's directory, unless it is there; killed at any point, the next call goes on.

        Raises:
            BrokenGeneration: it cannot be written, or another model has its name.
        """
        try:
            found = self._read(handed.name)
            if found is None:
                self._write(handed, model)
        # Each object store has errors of its own, not all of which are an OSError's.
        except Exception as error:
            raise BrokenGeneration(
                f"generation {handed.generation} cannot be handed over at {self.place(handed.name)}: {error}"
            ) from error
        if found is not None and found != handed:
            raise BrokenGeneration(
                f"{self.place(handed.name)} is another generation's ({found.digest[:12]}): another service hands over "
                "to the same location. Give each a location, or a serving.model_name, of its own"
            )

    def _write(self, handed: HandedOver, model: Path) -> None:
        folder = self._folder(handed.name)
        self._files.makedirs(folder, exist_ok=True)
        told: dict[str, dict[str, Any]] = {}
        for name, file in model_files(model).items():
            # What only rounds need lies below; what serves lies at the top.
            if "/" not in name:
                self._files.put_file(str(file), f"{folder}/{name}")
                told[name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        facts = {"name": handed.name, "generation": handed.generation, "digest": handed.digest, "files": told}
        self._files.pipe_file(f"{folder}/{READY_FILE}", json.dumps(facts, indent=1).encode())
        _log.info("generation_handed_over", generation=handed.generation, place=self.place(handed.name))

    def try_writing(self) -> None:
        """Write something that is no generation, and take it away.

        Raises:
            BrokenGeneration: it cannot be written.
        """
        file = f"{self._root}/.riverkeep-{secrets.token_hex(4)}"
        try:
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(file, b"riverkeep doctor")
            self._files.rm_file(file)
        except Exception as error:
            raise BrokenGeneration(f"serving.remote.location {self._location} cannot be written: {error}") from error

    def names(self) -> list[str]:
        """The generations that lie there complete, oldest first."""
        return [handed.name for handed in sorted(self._all(), key=lambda each: each.generation)]

    def remove(self, name: str) -> None:
        """Take a generation away: first what says that it is complete."""
        folder = self._folder(name)
        self._files.rm_file(f"{folder}/{READY_FILE}")
        self._files.rm(folder, recursive=True)

    def _all(self) -> Iterator[HandedOver]:
        if not self._files.exists(self._root):
            return
        for entry in self._files.ls(self._root, detail=False):
            if (handed := self._read(str(entry).rstrip("/").rpartition("/")[2])) is not None:
                yield handed

    def _read(self, name: str) -> HandedOver | None:
        """What lies there complete under a name."""
        file = f"{self._folder(name)}/{READY_FILE}"
        # Of an object store what was there a moment ago may be remembered.
        self._files.invalidate_cache()
        if not self._files.exists(file):
            return None
        facts = json.loads(self._files.cat_file(file))
        return HandedOver(str(facts["name"]), int(facts["generation"]), str(facts["digest"]))

    def _folder(self, name: str) -> str:
        return f"{self._root}/{name}"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
