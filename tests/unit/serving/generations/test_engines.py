"""Generations in engines of their own, followed there and back; the engines are fakes, as strict as vLLM."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from checkpoints.base.prepare import import_base
from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from checkpoints.serving_pointer import Canary
from serving.engine.loaded import LoadedGeneration
from serving.generations import engines
from serving.generations.engines import EngineLoader
from serving.generations.swap import Follower
from serving.generations.switch import Switch
from serving.metrics import ServingMetrics
from serving.processes.asking import KnownModel
from serving.processes.settings import EngineProcessSettings
from serving.settings import ServingSettings
from tests.harness import wait_until
from tests.models import make_adapter, make_causal
from tests.unit.serving.processes.test_shared_program import FakeProgram

COMMAND = EngineProcessSettings(command=("program", "{model}", "{port}"))


@dataclass
class FakeEngines:
    """The programs that were begun, in order."""

    begun: list["StartedProgram"] = field(default_factory=list)

    def start(self, *arguments: Any, **options: Any) -> "StartedProgram":
        """As the class of real ones does."""
        self.begun.append(StartedProgram(*arguments, **options))
        return self.begun[-1]

    @property
    def up(self) -> list["StartedProgram"]:
        """Those that have not ended."""
        return [each for each in self.begun if not each.process.ends]


class StartedProgram(FakeProgram):
    """A program that is ready at once."""

    url, key = "http://engine", "key"

    def __init__(self, _: object, model: Path, name: str, *__: object, adapter_rank: int | None = None) -> None:
        super().__init__()
        self.model, self.name, self.adapter_rank = model, name, adapter_rank  # type: ignore[assignment]

    def until_ready(self, name: str, _: threading.Event) -> KnownModel:
        """It has each that was put into it."""
        assert name in (self.name, *self.known)
        return KnownModel(name, None)


class Following:
    """A follower over engines, looked after by hand."""

    def __init__(self, store: GenerationStore, settings: ServingSettings, metrics: ServingMetrics, home: Path) -> None:
        self.store, self.switch = store, Switch(metrics)
        loader = EngineLoader(store, "causal-lm", settings, metrics, home)
        self.follower = Follower(loader, self.switch, lambda _: None, metrics, poll_s=0.01)

    def serve(self, number: int, canary: Canary | None = None) -> LoadedGeneration:
        """Point to a generation; what serves then."""
        self.store.point_to(number, canary=canary)
        self.follower.look()
        assert self.switch.current is not None
        assert self.switch.current.number == number
        return self.switch.current

    @property
    def watched(self) -> LoadedGeneration | None:
        """The generation that is watched."""
        return None if self.switch.watched is None else self.switch.watched.generation


Follow = Callable[[ServingSettings], Following]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> FakeEngines:
    """In place of real ones; nothing is compared, as they compute nothing."""
    made = FakeEngines()
    monkeypatch.setattr(engines, "Program", made.start)
    monkeypatch.setattr(engines, "require_alike", lambda *_, **__: None)
    return made


@pytest.fixture
def follow(tmp_path: Path, metrics: ServingMetrics, programs: FakeEngines) -> Follow:
    """Over a base and two adapters of it."""
    assert not programs.begun
    store = GenerationStore(tmp_path / "checkpoints")
    import_base(store, make_causal(tmp_path / "base"))
    for number in (1, 2):
        candidate = make_adapter(store, tmp_path / f"adapter-{number}", seed=number)
        store.publish(candidate, number, Card(number, "causal-lm", parent=0, round=number))
    (tmp_path / "home").mkdir()
    return lambda settings: Following(store, settings, metrics, tmp_path / "home")


def test_an_adapter_gone_back_to_while_it_answers_is_taken_again(follow: Follow, programs: FakeEngines) -> None:
    """Loaded anew its name would be taken: a second engine came, and the first ended in the midst of its answer."""
    following = follow(ServingSettings(engine="vllm"))
    # As an answer does that is under way.
    held = following.serve(1)
    following.serve(2)
    assert following.serve(1) is held
    (program,) = programs.up
    wait_until(lambda: set(program.known) == {"riverkeep@g0001"}, what="the end of generation 2's adapter")
    # And once more: what was called off before ends this time.
    following.serve(2)
    del held
    wait_until(lambda: set(program.known) == {"riverkeep@g0002"}, what="the end of generation 1's adapter")
    assert programs.begun == [program]


@pytest.mark.parametrize(
    "settings", [ServingSettings(engine="command", engine_process=COMMAND), ServingSettings(engine="vllm")]
)
def test_a_canary_taken_back_and_sent_again_is_the_same(
    follow: Follow, programs: FakeEngines, settings: ServingSettings
) -> None:
    """While one of its answers is under way, and whether it comes again to be watched or to serve."""
    following = follow(settings)
    plan = Canary(2, 0.5, "canary", since=1.0)
    following.serve(1, canary=plan)
    watched = following.watched
    assert watched is not None
    following.serve(1)
    following.serve(1, canary=plan)
    assert following.watched is watched
    following.serve(1)
    assert following.serve(2) is watched
    assert len(programs.begun) == (1 if settings.engine == "vllm" else 2)


def test_a_generation_whose_engine_was_lost_is_not_taken_again(follow: Follow, programs: FakeEngines) -> None:
    """A new one is begun, though an answer holds the old one still."""
    following = follow(ServingSettings(engine="command", engine_process=COMMAND))
    held = following.serve(1)
    following.serve(2)
    programs.begun[0].process.ended = "its process ended with signal SIGKILL"
    assert following.serve(1) is not held
    assert len(programs.begun) == 3


def test_one_that_nobody_holds_any_more_is_brought_in_anew(follow: Follow, programs: FakeEngines) -> None:
    """Its engine has ended with its last answer."""
    following = follow(ServingSettings(engine="command", engine_process=COMMAND))
    for number in (1, 2):
        following.serve(number)
    wait_until(lambda: len(programs.up) == 1, what="the end of the first engine")
    following.serve(1)
    assert [program.name[-1] for program in programs.begun] == ["1", "2", "1"]
