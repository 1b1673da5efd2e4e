"""Generations handed to engines that others run: real processes behind one address, told by a webhook."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from checkpoints.generation_store import GenerationStore
from tests.harness import post, wait_until
from tests.integration.test_serving import SHORT, Server, make_store
from tests.remote_fleet import KEY, Fleet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GenerationStore:
    """Two generations that answer differently."""
    return make_store(tmp_path_factory.mktemp("remote"), 2)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Engines that others run."""
    with Fleet() as made:
        yield made


def remote(tmp_path: Path, fleet: Fleet, **more: Any) -> dict[str, Any]:
    """Settings that hand generations to the fleet."""
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    location = tmp_path / "shelf"
    told = {"location": str(location), "webhook": f"{fleet.url}/told", "key_file": str(key)}
    return {"engine": "remote", "remote": {**told, **more}}


@contextmanager
def served(store: GenerationStore, **settings: Any) -> Iterator[Server]:
    """A serving process that waits for engines which others start."""
    server = Server(store.root, **settings)
    try:
        wait_until(server.answers, timeout_s=180, what=f"the server ({server.log})")
        yield server
    finally:
        server.__exit__()


def test_generations_are_handed_over_answered_from_and_taken_back(
    store: GenerationStore, fleet: Fleet, tmp_path: Path
) -> None:
    """Who runs the engines hears of each that comes and goes. What they answer: `test_engines.py`."""
    store.point_to(0)
    with served(store, **remote(tmp_path, fleet, url=fleet.url, keep=1)) as server:
        store.point_to(1)
        server.until_serves(1)
        answer = post(f"{server.url}/v1/completions", json=SHORT, timeout=60)
        assert (answer.status_code, answer.headers["x-riverkeep-generation"]) == (200, "1")
        wait_until(
            lambda: (fleet.told[-1]["event"], fleet.told[-1]["name"]) == ("generation_retired", "riverkeep@g0000"),
            timeout_s=30,
            what="the end of generation 0",
        )
    folder = tmp_path / "shelf" / "riverkeep@g0001"
    handed = json.loads((folder / "handed_over.json").read_text())
    assert (handed["generation"], handed["digest"]) == (1, store.digest(1))
    assert set(handed["files"]) == {path.name for path in folder.iterdir()} - {"handed_over.json"}
    assert "card.json" not in handed["files"]
    ready = [each for each in fleet.told if each["event"] == "generation_ready"]
    assert ready[-1] == {
        "event": "generation_ready",
        "name": "riverkeep@g0001",
        "generation": 1,
        "digest": store.digest(1),
        "location": str(folder),
    }


def test_without_an_address_generations_are_handed_over_and_nobody_is_answered(
    store: GenerationStore, fleet: Fleet, tmp_path: Path
) -> None:
    """The door is left out: readiness and metrics are there, and a request is told where answers are."""
    store.point_to(1)
    with served(store, **remote(tmp_path, fleet)) as server:
        assert (tmp_path / "shelf" / "riverkeep@g0001" / "handed_over.json").is_file()
        answer = post(f"{server.url}/v1/completions", json=SHORT, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "answered_elsewhere")
        store.point_to(0)
        server.until_serves(0)
        assert (tmp_path / "shelf" / "riverkeep@g0000" / "handed_over.json").is_file()
