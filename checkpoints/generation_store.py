"""Generations on disk: publish, verify, point to, read back. Imports no torch.

Layout under the root::

    generations/000003/   weights, configuration, tokenizer, card.json, manifest.json
    serving.json          {"generation", "digest", "since", "before": [...]}: what followers serve
    removed.json          {"highest"}: the highest number ever removed, so that none is used again
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pydantic.dataclasses
import structlog
from pydantic import NonNegativeInt, ValidationError
from pydantic_core import to_jsonable_python

from checkpoints.card import Card
from checkpoints.errors import (
    CheckpointsError,
    DamagedGeneration,
    MissingGeneration,
    NumberTaken,
    PublishFailed,
)
from checkpoints.files import durable_writes as atomic
from checkpoints.files.model_files import model_files
from checkpoints.json_files import STRICT, Kind, explain_json, read_json
from checkpoints.metrics import CheckpointsMetrics

BASE: Final = 0
MANIFEST: Final = "manifest.json"
CARD: Final = "card.json"
FORMAT: Final = 1
# Far more than retention leaves on disk by default, and still a small file.
POINTERS_KEPT: Final = 32

_log = structlog.get_logger(__name__)


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class Pointer:
    """Which generation serves.

    Attributes:
        generation: its number.
        digest: its manifest's digest, so that a follower loads what was meant.
        since: when it was pointed to, unix seconds.
        before: those that served before and were not rolled back from, newest first: what to fall back to.
    """

    generation: int
    digest: str
    since: float
    before: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """A generation that is durably on disk."""

    generation: int
    digest: str
    path: Path


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class ListedFile:
    """What a file must be: its SHA-256 (hexadecimal) and its size."""

    sha256: str
    bytes: NonNegativeInt


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class Manifest:
    """What a generation's files must be, by name, and a digest of that list."""

    files: Mapping[str, ListedFile]
    digest: str
    format: int = FORMAT


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class RemovedNumbers:
    """The highest number of a generation that was ever removed."""

    highest: int


class GenerationStore:
    """The generations under one root. One process writes; any number may read and follow.

    Args:
        root: the directory; it is made by the first write.
        metrics: where to count, if anywhere.
        clock: unix seconds.
    """

    def __init__(
        self,
        root: Path,
        *,
        metrics: CheckpointsMetrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.pointer_path = root / "serving.json"
        self._generations = root / "generations"
        self._removed_path = root / "removed.json"
        self._metrics = metrics
        self._clock = clock

    def path(self, number: int) -> Path:
        """Where generation `number` is or would be."""
        return self._generations / f"{number:06d}"

    def numbers(self) -> list[int]:
        """The generations on disk, oldest first."""
        if not self._generations.is_dir():
            return []
        # What is not a number is a publication or a removal that a crash cut off.
        return sorted(int(path.name) for path in self._generations.iterdir() if path.name.isdecimal())

    def highest_number(self) -> int:
        """The highest number that a generation has or had here, as far as that can be told; -1 for none."""
        pointer = self._serving_or_none()
        # A directory may have been taken away by hand; what served must not get a second meaning.
        pointed_to = -1 if pointer is None else pointer.generation
        return max([self._highest_removed(), pointed_to, *self.numbers()])

    def card(self, number: int) -> Card:
        """The lineage card of a generation.

        Raises:
            MissingGeneration, DamagedGeneration: there is none, or it cannot be read.
        """
        return self._read(number, CARD, Card)

    def manifest(self, number: int) -> Manifest:
        """The manifest of a generation, its digest checked.

        Raises:
            MissingGeneration, DamagedGeneration: there is none, or it cannot be read or contradicts itself.
        """
        manifest = self._read(number, MANIFEST, Manifest)
        if manifest.digest != _digest(manifest.files):
            raise DamagedGeneration(self.path(number), MANIFEST, "its digest is not that of its list")
        return manifest

    def digest(self, number: int) -> str:
        """The digest that names a generation's content.

        Raises:
            MissingGeneration, DamagedGeneration: as `manifest`.
        """
        return self.manifest(number).digest

    def model_digest(self, number: int) -> str:
        """The digest of a generation's model alone: the same wherever the files are, whatever their card says.

        The same base imported twice has two cards, of two times and places, and so two digests.

        Raises:
            MissingGeneration, DamagedGeneration: as `manifest`.
        """
        return _digest({name: entry for name, entry in self.manifest(number).files.items() if name != CARD})

    def size(self, number: int) -> int:
        """Bytes of a generation on disk, by its manifest."""
        return sum(entry.bytes for entry in self.manifest(number).files.values())

    def verify(self, number: int, *, digest: str | None = None) -> None:
        """Read every file of a generation and compare it with the manifest.

        Args:
            number: the generation.
            digest: what its manifest's digest must be, when the caller knows.

        Raises:
            MissingGeneration: it is not here.
            DamagedGeneration: names the first file that differs, is missing, or does not belong.
        """
        try:
            self._verify(number, digest)
        except DamagedGeneration:
            if self._metrics:
                self._metrics.damaged.inc()
            raise

    def _verify(self, number: int, digest: str | None) -> None:
        directory = self.path(number)
        manifest = self.manifest(number)
        if digest is not None and manifest.digest != digest:
            raise DamagedGeneration(directory, MANIFEST, f"digest {manifest.digest[:12]} is not {digest[:12]}")
        for name, expected in manifest.files.items():
            _verify_file(directory, name, expected)
        present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}
        # transformers reads what lies there by its name: a stray file can change what a model answers.
        stray = sorted(present - set(manifest.files) - {MANIFEST})
        if stray:
            raise DamagedGeneration(directory, stray[0], "is not in the manifest")

    def publish(self, candidate: Path, number: int, card: Card) -> Published:
        """Make a candidate directory generation `number`, durably, whole or not at all.

        Publishing the same model under the same number again returns what is there, so that a recovery may
        repeat itself.

        Raises:
            UnsafeModel, UnusableModel: the candidate is no model that may be loaded.
            NumberTaken: the number is or was another generation's.
            PublishFailed: the disk refused; nothing remains of the attempt.
        """
        files = model_files(candidate)
        started = time.monotonic()
        # Before the numbers that were removed: a recovery repeats itself, also after newer ones are gone.
        if number in self.numbers():
            return self._published_already(number, files)
        if number <= self._highest_removed():
            raise NumberTaken(number, f"numbers up to {self._highest_removed()} have been removed")
        try:
            published = self._write(files, number, card)
        except OSError as error:
            raise PublishFailed(number, error) from error
        if self._metrics:
            self._metrics.publish_seconds.observe(time.monotonic() - started)
        self._count_kept()
        return published

    def _write(self, files: Mapping[str, Path], number: int, card: Card) -> Published:
        stamped = replace(
            card,
            generation=number,
            created_at=card.created_at or self._clock(),
            riverkeep_version=version("riverkeep"),
        )
        contents: dict[str, Path | bytes] = {**files, CARD: _json(stamped)}
        # From the originals: a copy that comes out otherwise is then found to be damaged.
        listed = {name: ListedFile(atomic.sha256_of(content), _size(content)) for name, content in contents.items()}
        digest = _digest(listed)
        atomic.publish_directory({**contents, MANIFEST: _json(Manifest(listed, digest))}, self.path(number))
        _log.info("generation_published", generation=number, digest=digest[:12])
        return Published(number, digest, self.path(number))

    def _published_already(self, number: int, files: Mapping[str, Path]) -> Published:
        manifest = self.manifest(number)
        # Without the card, which has the time of its writing in it.
        kept = {name: entry.sha256 for name, entry in manifest.files.items() if name != CARD}
        if kept != {name: atomic.sha256_of(path) for name, path in files.items()}:
            raise NumberTaken(number, "another model has it")
        return Published(number, manifest.digest, self.path(number))

    def serving(self) -> Pointer | None:
        """The generation that followers serve; None before the first.

        Raises:
            CheckpointsError: the pointer cannot be read.
        """
        try:
            return read_json(Pointer, self.pointer_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise CheckpointsError(
                f"{self.pointer_path} cannot be read: {_why(error, self.pointer_path)}; "
                "`riverkeep rollback GENERATION` writes it anew"
            ) from error

    def point_to(self, number: int) -> Pointer:
        """Let generation `number` serve: verify it, then move the pointer, durably.

        Pointing back to an older one takes those after it off the list to fall back to.

        Raises:
            MissingGeneration, DamagedGeneration: it cannot serve; the pointer is untouched.
            PublishFailed: the disk refused; the pointer is untouched.
        """
        current = self._serving_or_none()
        # A recovery that repeats itself need not read gigabytes again.
        if current and current.generation == number and current.digest == self.digest(number):
            return current
        self.verify(number)
        stack = (current.generation, *current.before) if current else ()
        # Only older ones: what a person went back from was not good enough to fall back to.
        before = tuple(earlier for earlier in stack if earlier < number)[:POINTERS_KEPT]
        pointer = Pointer(number, self.digest(number), self._clock(), before)
        try:
            atomic.replace_file(self.pointer_path, _json(pointer))
        except OSError as error:
            raise PublishFailed(number, error) from error
        atomic.step(atomic.DurableStep.POINTED)
        _log.info("serving_pointer_moved", generation=number, previous=current and current.generation)
        return pointer

    def _serving_or_none(self) -> Pointer | None:
        try:
            return self.serving()
        # Who writes the pointer anew must not be stopped by one that cannot be read.
        except CheckpointsError as error:
            _log.error("serving_pointer_unreadable", error=str(error))
            return None

    def remove(self, number: int) -> None:
        """Remove a generation; its number is never used again. Absent ones are no error.

        Raises:
            CheckpointsError: it serves.
        """
        pointer = self._serving_or_none()
        if pointer and pointer.generation == number:
            raise CheckpointsError(f"generation {number} serves and cannot be removed; roll back first")
        if number not in self.numbers():
            return
        # Before the removal: after a crash in between a number is lost, in the other order one could be used again.
        if number > self._highest_removed():
            atomic.replace_file(self._removed_path, _json(RemovedNumbers(number)))
        atomic.remove_directory(self.path(number))
        _log.info("generation_removed", generation=number)
        self._count_kept()

    def sweep(self) -> None:
        """Remove what a killed publication, removal or import left; the writer calls it at its start."""
        for parent in (self.root, self._generations):
            for name in atomic.sweep(parent):
                _log.info("leftover_removed", path=str(parent / name))
        for path in self.root.glob(".import-*"):
            shutil.rmtree(path)
        self._count_kept()

    def _highest_removed(self) -> int:
        try:
            return read_json(RemovedNumbers, self._removed_path.read_bytes()).highest
        except FileNotFoundError:
            return -1
        except ValidationError as error:
            raise CheckpointsError(
                f"{self._removed_path} cannot be read: {_why(error, self._removed_path)}; write "
                '{"highest": N} into it, N being the highest number ever used'
            ) from error

    def _count_kept(self) -> None:
        if not self._metrics:
            return
        files = [path.stat().st_size for path in self._generations.rglob("*") if path.is_file()]
        self._metrics.kept.set(len(self.numbers()))
        self._metrics.kept_bytes.set(sum(files))

    def _read(self, number: int, name: str, kind: type[Kind]) -> Kind:
        directory = self.path(number)
        if not directory.is_dir():
            raise MissingGeneration(number, self.root)
        try:
            return read_json(kind, (directory / name).read_bytes())
        except (OSError, ValidationError) as error:
            raise DamagedGeneration(directory, name, f"cannot be read ({_why(error, Path(name))})") from error


def _why(error: OSError | ValidationError, file: Path) -> str:
    return explain_json(error, file.stem) if isinstance(error, ValidationError) else str(error)


def _verify_file(directory: Path, name: str, expected: ListedFile) -> None:
    try:
        actual = (directory / name).stat().st_size
        # The size first: it costs nothing, and tells the most frequent damage, a copy that was cut off.
        if actual != expected.bytes:
            raise DamagedGeneration(directory, name, f"has {actual} bytes instead of {expected.bytes}")
        if atomic.sha256_of(directory / name) != expected.sha256:
            raise DamagedGeneration(directory, name, "its content has changed")
    except OSError as error:
        raise DamagedGeneration(directory, name, f"cannot be read ({error.strerror})") from error


def _digest(files: Mapping[str, ListedFile]) -> str:
    """SHA-256 over the list in the format of `sha256sum`, sorted by name."""
    # So that a person can compute it with a shell's own tools.
    listing = "".join(f"{entry.sha256}  {name}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _json(value: object) -> bytes:
    # Sorted, so that equal values are equal bytes, and without NaN, which is no JSON.
    return json.dumps(to_jsonable_python(value), indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
