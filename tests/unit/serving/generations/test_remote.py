"""What those who run engines are told of a generation, over its life; who hears it is a list, and so a fake."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from checkpoints.base.prepare import import_base
from checkpoints.generation_store import BASE, GenerationStore
from serving.engine.loaded import LoadedGeneration
from serving.errors import BrokenGeneration
from serving.generations import remote
from serving.generations.remote import RemoteLoader
from serving.metrics import ServingMetrics
from serving.processes.settings import EngineProcessSettings, RemoteSettings
from serving.settings import ServingSettings
from tests.models import make_causal

READY, RETIRED = "generation_ready", "generation_retired"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was told, in order."""
    heard: list[str] = []

    class FakeWebhook:
        """Hears everything."""

        def __init__(self, *_: object) -> None:
            pass

        def tell(self, event: str, **_: object) -> None:
            """Note it."""
            heard.append(event)

    monkeypatch.setattr(remote, "Webhook", FakeWebhook)
    return heard


def loader(tmp_path: Path, **more: Any) -> RemoteLoader:
    """One over a store with a base."""
    store = GenerationStore(tmp_path / "checkpoints")
    import_base(store, make_causal(tmp_path / "model"))
    settings = ServingSettings(
        engine="remote",
        remote=RemoteSettings(location=str(tmp_path / "shelf"), **more),
        engine_process=EngineProcessSettings(ready_timeout_s=0.01),
    )
    (tmp_path / "home").mkdir()
    return RemoteLoader(store, "causal-lm", settings, ServingMetrics(CollectorRegistry()), tmp_path / "home")


def let_go(generation: LoadedGeneration) -> None:
    """As the loader does, once nobody holds it."""
    assert generation.engine is not None
    generation.engine.retire(0.0)


def test_one_that_was_lost_and_came_back_is_not_retired_by_its_first_end(tmp_path: Path, told: list[str]) -> None:
    """Both have one name: who hears of the first one's end would end what answers."""
    brings = loader(tmp_path)
    first = brings.load(BASE, None, None)
    second = brings.load(BASE, None, None)
    let_go(first)
    assert told == [READY, READY]
    let_go(second)
    assert told == [READY, READY, RETIRED]


def test_one_that_nobody_takes_is_taken_back(tmp_path: Path, told: list[str]) -> None:
    """Whoever is late hears that it is not wanted any more."""
    brings = loader(tmp_path, url="http://127.0.0.1:1")
    with pytest.raises(BrokenGeneration, match=r"nobody at serving\.remote\.url"):
        brings.load(BASE, None, None)
    assert told == [READY, RETIRED]


def test_one_that_fails_its_first_answers_is_taken_back(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never serves."""
    brings = loader(tmp_path, url="http://127.0.0.1:1")
    monkeypatch.setattr(RemoteLoader, "_until_taken", lambda *_: None)
    generation = brings.load(BASE, None, None)

    def fails(_: LoadedGeneration) -> None:
        raise BrokenGeneration("no answer")

    with pytest.raises(BrokenGeneration):
        brings.warm(generation, fails)
    assert told == [READY, RETIRED]
