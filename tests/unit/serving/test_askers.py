"""Each request's key is held to its limits, and what it has taken is given back at its end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from serving import askers as module
from serving.askers import Asker, Askers
from serving.errors import LimitReached, QueueFull, RequestError
from serving.keys.entries import KeyEntry
from serving.keys.limits import KeyLimits
from serving.keys.meter import DAY_S
from serving.keys.metrics import KeyMetrics
from tests.unit.serving.watch import Watch

HEAD = "riverkeep_serving_key"


@dataclass(eq=False)
class Task:
    """An answer that is asked for."""

    read: Sequence[Sequence[int]]
    most: int
    owner: str = ""
    charged: int = 0


class World:
    """Keys with their clocks and counters."""

    def __init__(self, usage: Path | None = None, /, **limits: int) -> None:
        self.registry = CollectorRegistry()
        self.clock, self.wall = Watch(), Watch()
        self.wall.now = 20_000.5 * DAY_S
        self.askers = Askers(
            KeyLimits(**limits),
            at_once=40,
            metrics=KeyMetrics(self.registry),
            usage=usage,
            clock=self.clock,
            wall=self.wall,
        )

    def know(self, *names: str, **limits: int | None) -> None:
        """Let there be these keys."""
        self.askers.know([KeyEntry(name, name.encode(), limits) for name in names])

    def asker(self, name: str = "alice") -> Asker:
        """One who has come in with a key."""
        asker = self.askers.asker(KeyEntry(name, b""))
        asker.knock(for_answer=True)
        return asker

    def count(self, name: str, **labels: str) -> float | None:
        """A counter's value; None where there is no such series."""
        return self.registry.get_sample_value(f"{HEAD}_{name}_total", labels)


def begin(asker: Asker, *jobs: Task) -> None:
    """Hand answers over."""
    with asker.admitted(jobs):
        pass


def test_what_was_taken_is_counted_and_the_rest_given_back() -> None:
    """The prompt and what was written of the answer, also where it was given up; by key and direction."""
    world = World(tokens_per_minute=1000)
    world.know("alice")
    asker, job = world.asker(), Task([[1] * 30], most=900)
    begin(asker, job)
    assert job.owner == "alice"
    assert asker.headers()["x-ratelimit-remaining-tokens"] == "70"
    job.charged = 20
    asker.leave(200, counted=True)
    assert asker.headers()["x-ratelimit-remaining-tokens"] == "950"
    assert world.count("tokens", key="alice", direction="read") == 30
    assert world.count("tokens", key="alice", direction="written") == 20
    assert world.count("requests", key="alice", code="2xx") == 1


def test_a_prompt_with_several_answers_is_read_once() -> None:
    """Each answer's own tokens count."""
    world, prompt = World(), [1] * 10
    world.know("alice")
    asker, jobs = world.asker(), [Task([prompt], most=5, charged=2) for _ in range(3)]
    begin(asker, *jobs)
    asker.leave(200, counted=True)
    assert world.count("tokens", key="alice", direction="read") == 10
    assert world.count("tokens", key="alice", direction="written") == 6


def test_a_full_queue_takes_nothing_from_a_key() -> None:
    """Neither a request nor a token nor a place."""
    world = World(requests_per_minute=1, tokens_per_minute=100, at_once=1, tokens_per_day=100)
    world.know("alice")
    for _ in range(3):
        asker = world.asker()
        with pytest.raises(QueueFull), asker.admitted([Task([[1]], most=99)]):
            raise QueueFull(5)
        asker.leave(429, counted=True)
    begin(world.asker(), Task([[1]], most=1))


@pytest.mark.parametrize(
    ("limits", "kind", "code"),
    [
        ({"requests_per_minute": 1}, "requests", "rate_limit_exceeded"),
        ({"tokens_per_minute": 5}, "tokens", "rate_limit_exceeded"),
        ({"at_once": 1}, "requests", "rate_limit_exceeded"),
        ({"tokens_per_day": 5}, "insufficient_quota", "insufficient_quota"),
    ],
)
def test_beyond_a_limit_it_is_openais_429(limits: dict[str, int], kind: str, code: str) -> None:
    """With the key's name and a time; others' keys have their own; counted by key and limit."""
    world = World(**limits)
    world.know("alice", "bob")
    begin(world.asker(), Task([[1] * 5], most=1))
    with pytest.raises(LimitReached, match="the key alice has reached its limit") as caught:
        begin(world.asker(), Task([[1]], most=1))
    assert (caught.value.status, caught.value.kind, caught.value.code) == (429, kind, code)
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1
    assert world.count("refusals", key="alice", limit=next(iter(limits))) == 1
    begin(world.asker("bob"), Task([[1]], most=1))


def test_one_key_alone_may_have_all_and_of_several_none() -> None:
    """Where nothing is said; and an entry's own limit is what counts, also that it has none."""
    world = World()
    world.know("alice")
    begin(world.asker(), *(Task([[1]], most=1) for _ in range(72)))
    world = World()
    world.know("alice", "bob")
    begin(world.asker(), *(Task([[1]], most=1) for _ in range(40)))
    with pytest.raises(LimitReached):
        begin(world.asker(), Task([[1]], most=1))
    world.know("alice", "bob", at_once=None)
    begin(world.asker(), Task([[1]], most=1))


def test_more_answers_than_a_key_may_ever_have_are_no_matter_of_time() -> None:
    """A 400: to come back later would not help."""
    world = World(at_once=2)
    world.know("alice")
    with pytest.raises(RequestError, match="at most 2 answers") as caught:
        begin(world.asker(), *(Task([[1]], most=1) for _ in range(3)))
    assert caught.value.status == 400


def test_a_revoked_keys_series_go_and_stay_away() -> None:
    """Also where an answer of it ends only then."""
    world = World()
    world.know("alice", "bob")
    asker = world.asker()
    begin(asker, Task([[1]], most=1, charged=1))
    world.know("bob")
    asker.leave(200, counted=True)
    assert world.count("requests", key="bob", code="2xx") == 0
    assert {sample.labels["key"] for family in world.registry.collect() for sample in family.samples} == {"bob"}


def test_without_keys_nothing_is_counted() -> None:
    """Nobody is anybody."""
    asker = World(requests_per_minute=1, at_once=1).askers.asker(None)
    for _ in range(3):
        asker.knock(for_answer=True)
        begin(asker, Task([[1]], most=1))
        asker.leave(200, counted=True)
    assert asker.headers() == {}


def keep(world: World) -> None:
    """One turn of bringing the day's tokens to the disk, and taking up what is there."""
    ending = asyncio.Event()
    ending.set()
    asyncio.run(world.askers.keep(ending))


def used(world: World, tokens: int) -> None:
    """An answer that took so many tokens."""
    asker = world.asker()
    begin(asker, Task([[1] * tokens], most=0))
    asker.leave(200, counted=True)


def test_a_days_quota_survives_a_restart(tmp_path: Path) -> None:
    """And is shared by those who count in one file; the next day begins with all of it."""
    path = tmp_path / "usage.json"
    first = World(path, tokens_per_day=100)
    first.know("alice")
    keep(first)
    used(first, 60)
    keep(first)
    keep(first)
    second = World(path, tokens_per_day=100)
    second.know("alice")
    keep(second)
    used(second, 40)
    keep(second)
    keep(first)
    for world in (first, second):
        with pytest.raises(LimitReached, match="100 tokens per day"):
            world.asker()
        world.wall.now += DAY_S
        keep(world)
        used(world, 1)


def test_a_disk_that_cannot_be_written_refuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, once; the quota goes on in memory, and to the disk when that can be written."""
    monkeypatch.setattr(module, "SAVE_EVERY_S", 0)
    path = tmp_path / "missing" / "usage.json"
    world = World(path, tokens_per_day=100)
    world.know("alice")
    with capture_logs() as logs:
        used(world, 60)
        keep(world)
        keep(world)
    assert [line["event"] for line in logs] == ["key_usage_not_kept"]
    used(world, 40)
    with pytest.raises(LimitReached):
        world.asker()
    path.parent.mkdir()
    keep(world)
    assert '"alice": 100' in path.read_text()
