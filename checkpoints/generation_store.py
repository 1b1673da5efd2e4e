"""Generations on disk: publish, verify, point to, read back. Imports no torch.

Layout under the root::

    generations/000003/   weights, configuration, tokenizer, card.json, manifest.json; or an adapter and ground.json,
                          which names the whole generation that it lies on
    serving.json          {"generation", "digest", "since", "before": [...]}: what followers serve; under "canary" the
                          one that is watched beside it, where there is one
    removed.json          {"highest"}: the highest number ever removed, so that none is used again
"""

import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from checkpoints.adapters.ground import Ground, is_adapter, read_ground
from checkpoints.card import CARD, Card
from checkpoints.errors import (
    CheckpointsError,
    DamagedGeneration,
    MissingGeneration,
    NumberTaken,
    PublishFailed,
)
from checkpoints.files import durable_writes as atomic
from checkpoints.files.model_files import GROUND_FILE, model_files
from checkpoints.json_files import Kind, explain_unreadable, read_json, write_sorted_json
from checkpoints.manifest import MANIFEST, Manifest, digest_of, files_of_model, list_files, verify_files
from checkpoints.metrics import CheckpointsMetrics
from checkpoints.removed_numbers import highest_removed, remember_removed
from checkpoints.serving_pointer import Canary, Pointer, fall_back_list, read_pointer, write_pointer

BASE: Final = 0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """A generation that is durably on disk."""

    generation: int
    digest: str
    path: Path


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
        pointed_to = [] if pointer is None else [pointer.generation]
        if pointer is not None and pointer.canary is not None:
            pointed_to.append(pointer.canary.generation)
        return max([highest_removed(self._removed_path), *pointed_to, *self.numbers()])

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
        if manifest.digest != digest_of(manifest.files):
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
        return digest_of(files_of_model(self.manifest(number)))

    def size(self, number: int) -> int:
        """Bytes of a generation on disk, by its manifest; of an adapter without its ground."""
        return sum(entry.bytes for entry in self.manifest(number).files.values())

    def verify(self, number: int, *, digest: str | None = None) -> None:
        """Read every file of a generation, and of what it lies on, and compare it with the manifest.

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
        verify_files(directory, manifest)
        ground = self.ground(number)
        if ground is not None:
            self._require_ground(directory, ground)
            self._verify(ground.generation, None)

    def ground(self, number: int) -> Ground | None:
        """What a generation that is an adapter lies on; None of a whole one.

        Raises:
            MissingGeneration, DamagedGeneration: it is not here, or what it says of that cannot be read.
        """
        return self._read(number, GROUND_FILE, Ground) if is_adapter(self.path(number)) else None

    def _require_ground(self, directory: Path, ground: Ground) -> None:
        """Refuse an adapter whose ground is not here: a DamagedGeneration."""
        number = ground.generation
        if number not in self.numbers():
            raise DamagedGeneration(directory, GROUND_FILE, f"generation {number}, which it lies on, is not here")
        if is_adapter(self.path(number)) or self.model_digest(number) != ground.model:
            raise DamagedGeneration(directory, GROUND_FILE, f"generation {number} is not the one that it lies on")

    def lying_on(self, number: int) -> list[int]:
        """The generations that are adapters on this one, oldest first: without it none of them can be loaded."""
        return [other for other, ground in self.grounds().items() if ground == number]

    def grounds(self) -> dict[int, int]:
        """By number of each generation that is an adapter, oldest first, the number of the one that it lies on."""
        found = {}
        for number in self.numbers():
            # Of one that cannot be read nobody knows; it serves nobody either.
            with suppress(CheckpointsError):
                if (ground := self.ground(number)) is not None:
                    found[number] = ground.generation
        return found

    def publish(self, candidate: Path, number: int, card: Card) -> Published:
        """Make a candidate directory generation `number`, durably, whole or not at all.

        Publishing the same model under the same number again returns what is there, so that a recovery may
        repeat itself.

        Raises:
            UnsafeModel, UnusableModel: the candidate is no model that may be loaded.
            DamagedGeneration: it is an adapter whose ground is not here.
            NumberTaken: the number is or was another generation's.
            PublishFailed: the disk refused; nothing remains of the attempt.
        """
        files = model_files(candidate)
        ground = read_ground(candidate)
        if ground is not None:
            self._require_ground(candidate, ground)
        started = time.monotonic()
        # Before the numbers that were removed: a recovery repeats itself, also after newer ones are gone.
        if number in self.numbers():
            return self._published_already(number, files)
        if number <= highest_removed(self._removed_path):
            raise NumberTaken(number, f"numbers up to {highest_removed(self._removed_path)} have been removed")
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
        contents: dict[str, Path | bytes] = {**files, CARD: write_sorted_json(stamped)}
        # From the originals: a copy that comes out otherwise is then found to be damaged.
        manifest = list_files(contents)
        atomic.publish_directory({**contents, MANIFEST: write_sorted_json(manifest)}, self.path(number))
        _log.info("generation_published", generation=number, digest=manifest.digest[:12])
        return Published(number, manifest.digest, self.path(number))

    def _published_already(self, number: int, files: Mapping[str, Path]) -> Published:
        manifest = self.manifest(number)
        kept = {name: entry.sha256 for name, entry in files_of_model(manifest).items()}
        if kept != {name: atomic.sha256_of(path) for name, path in files.items()}:
            raise NumberTaken(number, "another model has it")
        return Published(number, manifest.digest, self.path(number))

    def serving(self) -> Pointer | None:
        """The generation that followers serve; None before the first.

        Raises:
            CheckpointsError: the pointer cannot be read.
        """
        return read_pointer(self.pointer_path)

    def point_to(self, number: int, *, canary: Canary | None = None, rolled_back: Collection[int] = ()) -> Pointer:
        """Let generation `number` serve: verify it, then move the pointer, durably.

        Pointing back to an older one takes those after it off the list to fall back to.

        Args:
            number: the generation.
            canary: one to be watched beside it; None ends the watch of any.
            rolled_back: those that were rolled back from: nobody falls back to them.

        Raises:
            MissingGeneration, DamagedGeneration: one of the two cannot serve; the pointer is untouched.
            PublishFailed: the disk refused; the pointer is untouched.
        """
        current = self._serving_or_none()
        if canary is not None:
            canary = self._verified_canary(canary, current)
        # A recovery that repeats itself need not read gigabytes again.
        stays = current is not None and current.generation == number and current.digest == self.digest(number)
        if current and stays and current.canary == canary:
            return current
        if current and stays:
            pointer = replace(current, canary=canary)
        else:
            self.verify(number)
            before = fall_back_list(current, number, rolled_back)
            pointer = Pointer(number, self.digest(number), self._clock(), before, canary)
        try:
            atomic.replace_file(self.pointer_path, write_pointer(pointer))
        except OSError as error:
            raise PublishFailed(number, error) from error
        atomic.step(atomic.DurableStep.POINTED)
        _log.info(
            "serving_pointer_moved",
            generation=number,
            previous=current and current.generation,
            canary=canary and canary.generation,
        )
        return pointer

    def _verified_canary(self, canary: Canary, current: Pointer | None) -> Canary:
        stamped = replace(canary, digest=self.digest(canary.generation))
        if current is None or current.canary != stamped:
            self.verify(canary.generation)
        return stamped

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
            CheckpointsError: it serves, or others lie on it.
        """
        pointer = self._serving_or_none()
        if pointer and pointer.generation == number:
            raise CheckpointsError(f"generation {number} serves and cannot be removed; roll back first")
        if pointer and pointer.canary is not None and pointer.canary.generation == number:
            raise CheckpointsError(f"generation {number} is watched as a canary and cannot be removed; roll back first")
        if number not in self.numbers():
            return
        if adapters := self.lying_on(number):
            raise CheckpointsError(
                f"generation {number} cannot be removed before those that lie on it ({', '.join(map(str, adapters))})"
            )
        # Before the removal: after a crash in between a number is lost, in the other order one could be used again.
        remember_removed(self._removed_path, number)
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
            why = explain_unreadable(error, Path(name).stem)
            raise DamagedGeneration(directory, name, f"cannot be read ({why})") from error
