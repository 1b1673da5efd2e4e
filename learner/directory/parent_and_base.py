"""Is a generation in a round's directory the one that the round means? Torch-free."""

from pathlib import Path

from pydantic import ValidationError

from checkpoints.adapters.ground import BELOW, read_ground
from checkpoints.files.durable_writes import sha256_of
from checkpoints.json_files import explain_unreadable, read_json
from checkpoints.manifest import MANIFEST, Manifest, digest_of, files_of_model
from learner.directory.round_directory import GenerationRef
from learner.errors import BadRoundDirectory


def require_intact(directory: Path, wanted: GenerationRef) -> None:
    """Compare a generation's files with its manifest, and the manifest with the digest that the round names.

    Of an adapter what it lies on too.

    Raises:
        BadRoundDirectory: names the file that is missing or differs.
        checkpoints.errors.UnusableModel: what it lies on cannot be told.
    """
    manifest = _manifest(directory)
    if manifest.digest != wanted.digest:
        raise BadRoundDirectory(
            f"{directory} is not generation {wanted.generation}: its digest is {manifest.digest[:12]}, the round "
            f"names {wanted.digest[:12]}. Discard the round and begin it anew."
        )
    _require_files(directory, manifest)
    ground = read_ground(directory)
    if ground is None:
        return
    below = _manifest(directory / BELOW)
    if digest_of(files_of_model(below)) != ground.model:
        raise BadRoundDirectory(
            f"{directory / BELOW} is not generation {ground.generation}, which {directory} lies on. Discard the round "
            "and begin it anew."
        )
    _require_files(directory / BELOW, below)


def _require_files(directory: Path, manifest: Manifest) -> None:
    for name, entry in manifest.files.items():
        _require_same(directory / name, entry.sha256)


def _manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    try:
        return read_json(Manifest, path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadRoundDirectory(
            f"{path} is no manifest ({explain_unreadable(error, 'manifest')}). Discard the round."
        ) from error


def _require_same(path: Path, sha256: str) -> None:
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise BadRoundDirectory(f"{path} cannot be read: {error.strerror}. Discard the round.") from error
    if actual != sha256:
        raise BadRoundDirectory(
            f"{path} is damaged: its content is not what the manifest says. Verify the generation in the checkpoint "
            "store (`riverkeep generations`), roll back if it is damaged there too, and discard the round."
        )
