"""The generation in a round's directory is the one that the round means."""

import json
from pathlib import Path

import pytest

from learner.directory.parent_and_base import require_intact
from learner.directory.round_directory import GenerationRef
from learner.errors import BadRoundDirectory
from tests.unit.learner import tiny


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generation on disk."""
    root = tmp_path_factory.mktemp("store")
    return tiny.generation(root, tiny.llama(), tiny.tokenizer(), "causal-lm").path


@pytest.fixture
def generation(published: Path, tmp_path: Path) -> tuple[Path, GenerationRef]:
    """A copy of it that a test may damage, and what names it."""
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path, GenerationRef(0, json.loads((tmp_path / "manifest.json").read_bytes())["digest"])


def test_whole_generation_passes(generation: tuple[Path, GenerationRef]) -> None:
    """Nothing is said of one whose files are as listed."""
    require_intact(*generation)


def test_flipped_bit_is_found(generation: tuple[Path, GenerationRef]) -> None:
    """One bit in the weights is enough."""
    weights = generation[0] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BadRoundDirectory, match=r"model\.safetensors is damaged"):
        require_intact(*generation)


def test_missing_file_is_found(generation: tuple[Path, GenerationRef]) -> None:
    """A listed file must be there."""
    (generation[0] / "tokenizer.json").unlink()
    with pytest.raises(BadRoundDirectory, match=r"tokenizer\.json cannot be read"):
        require_intact(*generation)


def test_another_generation_is_refused(generation: tuple[Path, GenerationRef]) -> None:
    """The digest must be the one that the round names."""
    with pytest.raises(BadRoundDirectory, match="is not generation 4"):
        require_intact(generation[0], GenerationRef(4, "0123456789ab"))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": {"a": {}}, "digest": "x"}', b'{"files": []}'])
def test_manifest_that_is_none_is_refused(generation: tuple[Path, GenerationRef], content: bytes) -> None:
    """It must list files and have a digest."""
    (generation[0] / "manifest.json").write_bytes(content)
    with pytest.raises(BadRoundDirectory, match="is no manifest"):
        require_intact(*generation)
