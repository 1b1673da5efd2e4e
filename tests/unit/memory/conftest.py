"""Stores for the memory's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.store import Store
from tests.unit.memory.helpers import Stream, open_store


@pytest.fixture(autouse=True)
def _one_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every store splits text the same way, so that tests do not depend on luck."""
    monkeypatch.setattr("memory.database.schema.secrets.token_bytes", lambda size: bytes(range(size)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store with a base model and the default settings."""
    with open_store(tmp_path / "riverkeep.db") as opened:
        yield opened


@pytest.fixture
def stream() -> Stream:
    """A partition from its start."""
    return Stream()
