"""Generations that lie for others to read: whole or not there, in a directory and in a store that knows no renaming."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from serving.errors import BrokenGeneration
from serving.handover.shelf import READY_FILE, HandedOver, Shelf
from tests.models import make_causal

FIRST = HandedOver("m@g0001", 1, "a" * 64)


@pytest.fixture(params=["directory", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A directory, or fsspec's own store in memory, which has no folders and no renaming, as an object store."""
    yield str(tmp_path / "shelf") if request.param == "directory" else "memory://shelf/models"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with what a generation has besides."""
    path = make_causal(tmp_path / "model")
    (path / "card.json").write_text("{}")
    (path / "importance").mkdir()
    (path / "importance" / "moments.safetensors").write_bytes(b"")
    return path


def read(location: str, name: str) -> bytes:
    """A file that lies there."""
    with fsspec.open(f"{location}/{name}") as file:
        content: bytes = file.read()
        return content


def test_what_serves_is_copied_and_told_of_last(location: str, model: Path) -> None:
    """Not the lineage, nor what only rounds need."""
    shelf = Shelf(location)
    shelf.put(FIRST, model)
    facts = json.loads(read(location, f"m@g0001/{READY_FILE}"))
    assert (facts["name"], facts["generation"], facts["digest"]) == ("m@g0001", 1, "a" * 64)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(facts["files"])
    assert not {name for name in facts["files"] if name in ("card.json", "moments.safetensors")}
    assert read(location, "m@g0001/model.safetensors") == (model / "model.safetensors").read_bytes()
    assert shelf.names() == ["m@g0001"]


def test_what_was_cut_off_is_not_there_and_goes_on(location: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before its last file: nobody takes it for whole, and the next call completes it."""
    shelf = Shelf(location)
    files: Any = shelf._files
    with monkeypatch.context() as patched:
        patched.setattr(type(files), "pipe_file", lambda *_, **__: (_ for _ in ()).throw(OSError("no room")))
        with pytest.raises(BrokenGeneration, match=r"generation 1 cannot be handed over at .*m@g0001: no room"):
            shelf.put(FIRST, model)
    assert shelf.names() == []
    shelf.put(FIRST, model)
    shelf.put(FIRST, model)
    assert shelf.names() == ["m@g0001"]


def test_another_services_generation_is_not_written_over(location: str, model: Path) -> None:
    """Two that hand over to one place would swap each other's models."""
    shelf = Shelf(location)
    shelf.put(FIRST, model)
    with pytest.raises(BrokenGeneration, match="is another generation's"):
        shelf.put(replace(FIRST, digest="b" * 64), model)


def test_they_are_listed_by_age_and_removed_whole(location: str, model: Path) -> None:
    """By number, not by name."""
    shelf = Shelf(location)
    for number in (10_001, 2, 10):
        shelf.put(HandedOver(f"m@g{number:04d}", number, "a" * 64), model)
    assert shelf.names() == ["m@g0002", "m@g0010", "m@g10001"]
    shelf.remove("m@g0002")
    assert shelf.names() == ["m@g0010", "m@g10001"]
    with pytest.raises(FileNotFoundError):
        read(location, "m@g0002/model.safetensors")


def test_an_address_that_nothing_here_knows_is_told() -> None:
    """With the setting that it stands in."""
    with pytest.raises(BrokenGeneration, match=r"serving\.remote\.location nowhere://x cannot be reached"):
        Shelf("nowhere://x")
