"""A generation is what its manifest lists, to the bit, and nothing else."""

from pathlib import Path

import pytest

from checkpoints.errors import DamagedGeneration
from checkpoints.generation_store import GenerationStore
from tests.unit.checkpoints.conftest import card, publish


def test_the_models_digest_is_that_of_its_files_alone(store: GenerationStore, candidate: Path) -> None:
    """The same model under another card has another digest, and the same model digest."""
    publish(store, candidate, 1, 2)
    assert store.digest(1) != store.digest(2)
    assert store.model_digest(1) == store.model_digest(2)
    weights = candidate / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    publish(store, candidate, 3)
    assert store.model_digest(3) != store.model_digest(1)


def test_the_digest_is_that_of_sha256sum(store: GenerationStore, candidate: Path) -> None:
    """Anyone can check a generation with standard tools: the digest is over `sha256sum`'s own listing."""
    import subprocess
    from hashlib import sha256

    published = store.publish(candidate, 1, card(1))
    names = sorted(store.manifest(1).files)
    listing = subprocess.run(["sha256sum", *names], cwd=published.path, capture_output=True, check=True).stdout
    assert sha256(listing).hexdigest() == published.digest


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "card.json"])
def test_one_flipped_bit_is_found_and_named(store: GenerationStore, candidate: Path, name: str) -> None:
    """A single changed bit in any file fails verification, which names the file."""
    path = store.publish(candidate, 1, card(1)).path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedGeneration, match=name) as caught:
        store.verify(1)
    assert caught.value.file == name


def test_a_changed_manifest_is_found(store: GenerationStore, candidate: Path) -> None:
    """A manifest that was edited contradicts its own digest."""
    path = store.publish(candidate, 1, card(1)).path / "manifest.json"
    sha256 = store.manifest(1).files["config.json"].sha256
    path.write_text(path.read_text().replace(sha256, "0" * 64))
    with pytest.raises(DamagedGeneration) as caught:
        store.verify(1)
    assert caught.value.file == "manifest.json"


def test_another_generation_under_its_name_is_found(store: GenerationStore, candidate: Path) -> None:
    """A generation that is intact but not the one that was meant does not pass."""
    publish(store, candidate, 1)
    with pytest.raises(DamagedGeneration, match="digest"):
        store.verify(1, digest="0" * 64)


@pytest.mark.parametrize("change", ["missing", "shorter", "stray"])
def test_files_that_differ_are_found(store: GenerationStore, candidate: Path, change: str) -> None:
    """A file that is gone, cut, or does not belong fails verification."""
    path = store.publish(candidate, 1, card(1)).path
    if change == "missing":
        (path / "model.safetensors").unlink()
    elif change == "shorter":
        (path / "model.safetensors").write_bytes(b"short")
    else:
        (path / "extra.safetensors").write_bytes(b"x")
    with pytest.raises(DamagedGeneration):
        store.verify(1)
