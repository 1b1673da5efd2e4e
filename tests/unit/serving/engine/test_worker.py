"""How a worker shares its thread between those who wait for answers and generations on trial."""

import threading
from dataclasses import dataclass, field

import pytest

from serving.engine.traces import NO_REQUEST, RequestTrace
from serving.engine.worker import PASS_TIMEOUT_S, JobGroup, Worker
from serving.errors import QueueFull
from serving.metrics import ServingMetrics


@dataclass(eq=False)
class Task:
    """A job of so many passes, each of which takes a second of the test's clock."""

    passes: int
    trial: bool = False
    watched: bool = False
    cancelled: bool = False
    trace: RequestTrace = NO_REQUEST
    owner: str = ""
    finished: threading.Event = field(default_factory=threading.Event)

    def fail(self, error: Exception) -> None:
        """End it."""
        self.finished.set()


class Alone:
    """A part of one task."""

    def __init__(self, task: Task, machine: "Machine") -> None:
        self.task = task
        self.machine = machine

    def run(self) -> None:
        """One pass."""
        self.machine.now += 1
        self.machine.done.append("trial" if self.task.trial else "answer")
        self.task.passes -= 1
        if not self.task.passes:
            self.task.finished.set()

    def jobs(self) -> list[Task]:
        """The task, until it is done."""
        return [self.task] if self.task.passes else []

    def suspects(self) -> list[Task]:
        """The task."""
        return self.jobs()

    def separate(self) -> None:
        """It is alone."""

    def answers(self) -> bool:
        """It always does."""
        return True


class Machine(Worker[Task]):
    """A worker whose passes move its clock."""

    def __init__(self, metrics: ServingMetrics) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.parts: list[Alone] = []
        super().__init__("machine", at_once=8, queue=8, metrics=metrics, clock=lambda: self.now)

    def _admit(self, jobs: list[Task]) -> None:
        self.parts.extend(Alone(job, self) for job in jobs)

    def _parts(self) -> list[JobGroup[Task]]:
        self.parts = [part for part in self.parts if part.jobs()]
        return list(self.parts)

    def _drop(self, part: JobGroup[Task]) -> None:
        self.parts = [kept for kept in self.parts if kept is not part]


def run(machine: Machine, *tasks: Task) -> list[str]:
    """Submit tasks together; returns the passes in order when all are done."""
    machine.submit(*tasks)
    machine.start()
    for task in tasks:
        assert task.finished.wait(60)
    machine.close()
    return machine.done


def test_a_trial_takes_a_small_share_from_answers(metrics: ServingMetrics) -> None:
    """While answers are under way, at most one pass in eleven is the trial's, and it does get its share."""
    done = run(Machine(metrics), Task(120), Task(20, trial=True))
    meanwhile = done[: len(done) - done[::-1].index("answer")]
    share = meanwhile.count("trial") / len(meanwhile)
    assert share == pytest.approx(1 / 11, abs=0.02)


def test_a_trial_alone_has_the_machine(metrics: ServingMetrics) -> None:
    """With nobody waiting it runs at full speed, and an answer that comes later starts without a debt."""
    machine = Machine(metrics)
    assert run(machine, Task(10, trial=True)) == ["trial"] * 10
    assert machine.now == 10


def test_answers_alone_owe_nothing(metrics: ServingMetrics) -> None:
    """Time without a trial is not saved up for the next one."""
    machine = Machine(metrics)
    machine.start()
    first = Task(100)
    machine.submit(first)
    assert first.finished.wait(60)
    later = [Task(6), Task(6, trial=True)]
    machine.submit(*later)
    for task in later:
        assert task.finished.wait(60)
    machine.close()
    assert machine.done[100:107].count("trial") <= 2


def test_who_went_away_keeps_no_place_in_the_queue(metrics: ServingMetrics) -> None:
    """A full queue refuses, until some of those in it are no longer waited for."""
    machine = Machine(metrics)
    waiting = [Task(1) for _ in range(16)]
    machine.submit(*waiting)
    with pytest.raises(QueueFull):
        machine.submit(Task(1))
    for task in waiting[:2]:
        task.cancelled = True
    machine.submit(Task(1), Task(1))
    with pytest.raises(QueueFull):
        machine.submit(Task(1))


def test_a_pass_that_takes_too_long_is_told_from_another_thread(metrics: ServingMetrics) -> None:
    """While it hangs, and not any more when it has ended after all; a worker without work hangs never."""
    machine = Machine(metrics)
    machine.now += 1_000
    assert machine.trouble == ""
    machine.beat()
    machine.now += PASS_TIMEOUT_S
    assert machine.trouble == ""
    machine.now += 1
    assert "serving.pass_timeout_s" in machine.trouble
    run(machine, Task(1))
    assert machine.trouble == ""
