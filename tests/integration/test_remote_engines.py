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
    """Three generations that answer differently."""
    return make_store(tmp_path_factory.mktemp("remote"), 3)


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


def complete(server: Server) -> tuple[str, str]:
    """Which generation answered, and what."""
    answer = post(f"{server.url}/v1/completions", json=SHORT, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-riverkeep-generation"], answer.json()["choices"][0]["text"]


def test_generations_are_handed_over_answered_from_and_taken_back(
    store: GenerationStore, fleet: Fleet, tmp_path: Path
) -> None:
    """What is answered is what the builtin engine writes; who runs the engines hears of each that comes and goes."""
    written = {}
    with Server(store.root) as builtin:
        for number in (0, 1, 2):
            store.point_to(number)
            builtin.until_serves(number)
            written[str(number)] = complete(builtin)[1]
    store.point_to(0)
    with served(store, **remote(tmp_path, fleet, url=fleet.url, keep=1)) as server:
        for number in (0, 1, 2):
            store.point_to(number)
            server.until_serves(number)
            assert complete(server) == (str(number), written[str(number)])
        retired = [("generation_retired", f"riverkeep@g000{number}") for number in (0, 1)]
        wait_until(
            lambda: sorted((each["event"], each["name"]) for each in fleet.told)[-2:] == retired,
            timeout_s=30,
            what="the end of generations 0 and 1",
        )
    folder = tmp_path / "shelf" / "riverkeep@g0002"
    handed = json.loads((folder / "handed_over.json").read_text())
    assert (handed["generation"], handed["digest"]) == (2, store.digest(2))
    assert set(handed["files"]) == {path.name for path in folder.iterdir()} - {"handed_over.json"}
    assert "card.json" not in handed["files"]
    ready = [each for each in fleet.told if each["event"] == "generation_ready"]
    assert ready[-1] == {
        "event": "generation_ready",
        "name": "riverkeep@g0002",
        "generation": 2,
        "digest": store.digest(2),
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
