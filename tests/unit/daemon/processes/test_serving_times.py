"""How long answers took over time: what was counted, each request once, whoever counts it and however long."""

import math
import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from daemon.processes.serving_times import MOST_SLOTS, ServingTimes, TimesSlot, merged, quantile
from serving.metrics import LATENCY_BUCKETS, ServingMetrics

ROUTE = "/v1/completions"


class Door:
    """A serving process that counts, and can be replaced or be silent."""

    def __init__(self, now: float = 6_000.0) -> None:
        self.now, self.asked, self.is_silent = now, 0, False
        self.replace()

    def replace(self) -> None:
        """By one that has counted nothing."""
        self.registry = CollectorRegistry()
        Gauge("process_start_time_seconds", "When.", registry=self.registry).set(self.now)
        self.metrics = ServingMetrics(self.registry)
        self.metrics.begin_requests([ROUTE, "/v1/models"])

    def answers(self, *seconds: float, code: str = "200", route: str = ROUTE) -> None:
        """Some requests come to an end."""
        for each in seconds:
            self.metrics.request_seconds.labels(route).observe(each)
            self.metrics.requests.labels(route, code).inc()

    def ask(self) -> str:
        """What it counts."""
        self.asked += 1
        return "" if self.is_silent else generate_latest(self.registry).decode()

    def clock(self) -> float:
        """Of the walls and of the process alike."""
        return self.now

    def times(self) -> ServingTimes:
        """Read off it."""
        return ServingTimes(self.ask, self.clock, self.clock)


def told(times: ServingTimes) -> list[tuple[int, int, int, int]]:
    """Each slot's beginning, requests, failed and refused."""
    return [(slot.at, slot.measured, slot.failed, slot.refused) for slot in times.told(0.0)]


def test_each_request_is_in_the_minute_in_which_it_was_read() -> None:
    """With those that failed and those that were refused; of other routes none."""
    door = Door()
    times = door.times()
    times.look()
    door.answers(0.02, 0.2, 3.0)
    door.answers(0.01, route="/v1/models")
    door.now += 10
    times.look()
    door.answers(9.0, code="504")
    door.answers(0.001, 0.001, code="429")
    door.now += 55
    times.look()
    assert told(times) == [(6_000, 3, 0, 0), (6_060, 3, 1, 2)]
    assert +times.told(6_060.0)[0].within == {0.005: 2, 10.0: 1}
    assert [slot.at for slot in times.told(6_001.0)] == [6_060]


def test_a_process_that_is_replaced_counts_from_nothing() -> None:
    """What it has counted before it is asked first counts too, however much its predecessor had; silence is no slot."""
    door = Door()
    times = door.times()
    door.answers(*[0.2] * 7)
    times.look()
    door.now += 60
    door.replace()
    door.answers(*[0.2] * 9)
    times.look()
    door.now += 60
    door.is_silent = True
    times.look()
    door.now += 60
    door.is_silent = False
    times.look()
    assert told(times) == [(6_000, 7, 0, 0), (6_060, 9, 0, 0), (6_180, 0, 0, 0)]


def test_where_no_start_is_told_counts_that_fell_are_those_of_another() -> None:
    """As where the system does not say when a process began."""
    door = Door()
    lines = [line for line in door.ask().splitlines() if "process_start" not in line]
    assert lines
    times = ServingTimes(
        lambda: "\n".join(line for line in door.ask().splitlines() if "process_start" not in line) + "\n",
        door.clock,
        door.clock,
    )
    door.answers(*[0.2] * 7)
    times.look()
    door.now += 60
    door.replace()
    door.answers(0.2, 0.2)
    times.look()
    assert told(times) == [(6_000, 7, 0, 0), (6_060, 2, 0, 0)]


@pytest.mark.parametrize("text", ["", "<html>", "a b c d\n", 'riverkeep_serving_request_seconds_bucket{le="', "up 1\n"])
def test_what_is_no_such_count_is_passed_over(text: str) -> None:
    """Of a process that starts, is cut off, or is something else."""
    times = ServingTimes(lambda: text, lambda: 60.0, lambda: 60.0)
    times.look()
    assert told(times) == []


def test_a_day_is_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest minute makes room."""
    monkeypatch.setattr("daemon.processes.serving_times.MOST_SLOTS", 3)
    door = Door()
    times = door.times()
    for _ in range(5):
        times.look()
        door.now += 60
    assert [at for at, *_ in told(times)] == [6_120, 6_180, 6_240]
    assert MOST_SLOTS == 24 * 60


def test_a_crowd_that_looks_asks_once() -> None:
    """And waits for nobody: while a process hangs that is asked, whoever comes gets what there is."""
    door, inside, go = Door(), threading.Event(), threading.Event()

    def ask() -> str:
        inside.set()
        assert go.wait(30)
        return door.ask()

    times = ServingTimes(ask, door.clock, door.clock)
    first = threading.Thread(target=times.look)
    first.start()
    assert inside.wait(30)
    times.look()
    assert told(times) == []
    go.set()
    first.join(30)
    times.look()
    assert door.asked == 1
    assert told(times) == [(6_000, 0, 0, 0)]


@given(st.lists(st.floats(0.0001, 200), min_size=1, max_size=80), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_share_lies_between_the_bounds_that_are_told(seconds: Sequence[float], share: float) -> None:
    """The figure between them too; beyond the last bound nothing is told but that it is longer."""
    bounds = (*LATENCY_BUCKETS, math.inf)
    within = Counter(dict.fromkeys(bounds, 0))
    within.update(next(bound for bound in bounds if each <= bound) for each in seconds)
    found = quantile(within, share)
    assert found is not None
    rank = math.ceil(share * len(seconds) - 1e-9)
    exact = sorted(seconds)[rank - 1]
    assert found.low <= exact <= found.high
    assert not any(found.low < bound < found.high for bound in bounds)
    assert found.low <= found.seconds <= found.high
    assert quantile({}, share) is None


@given(st.lists(st.integers(0, 50), max_size=40))
def test_slots_that_are_put_together_hold_what_they_held(numbers: list[int]) -> None:
    """Nothing twice, nothing lost."""
    slots = [
        TimesSlot(60 * at, 1, Counter({0.1: number}), number // 3, number // 5) for at, number in enumerate(numbers)
    ]
    together = merged(slots, 300)
    assert sum(slot.measured for slot in together) == sum(numbers)
    assert sum(slot.failed for slot in together) == sum(slot.failed for slot in slots)
    assert all(slot.at % 300 == 0 for slot in together)
    assert len(together) == math.ceil(len(numbers) / 5)
