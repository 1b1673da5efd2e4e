"""A model and a store for the tests of this room."""

from pathlib import Path

import pytest

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from tests.models import make_causal


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model; tests must not write into it."""
    return make_causal(tmp_path_factory.mktemp("causal"))


@pytest.fixture
def store(tmp_path: Path) -> GenerationStore:
    """An empty store with a clock that stands at 1,000."""
    return GenerationStore(tmp_path / "checkpoints", clock=lambda: 1000.0)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A directory that passes for a model where nothing is loaded."""
    path = tmp_path / "candidate"
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"weights" * 1000)
    (path / "config.json").write_text('{"model_type": "llama"}')
    (path / "tokenizer.json").write_text("{}")
    return path


def card(number: int) -> Card:
    """A card for generation `number`."""
    return Card(number, "causal-lm", parent=number - 1, round=number)


def publish(store: GenerationStore, candidate: Path, *numbers: int) -> None:
    """Publish the same model under several numbers."""
    for number in numbers:
        store.publish(candidate, number, card(number))
