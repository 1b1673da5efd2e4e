"""The learner as a Job, on a fake cluster that runs scripts which stand in for learners."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from structlog.testing import capture_logs

from daemon.jobs.cluster import ClusterError
from daemon.jobs.learner_job import JobMaker, LearnerJob
from daemon.jobs.patience import Paces
from daemon.processes.learner import LearnerEnding, LearnerExit, LearnerLimits
from learner.directory.progress_event import ProgressEvent
from learner.directory.round_directory import PROGRESS, REPORT
from tests.fake_kubernetes import FULL, JOBS, PODS, VERSION, FakeKubernetes
from tests.harness import wait_until
from tests.unit.daemon.rounds.cut_off.test_going_on import save

PATIENT = LearnerLimits(silence=60, time=60)
QUICK = Paces(look=0.01, ask=0.03, api=10.0, end=10.0, remains=10.0)
TELL = """
import json, sys
from pathlib import Path
here = Path(sys.argv[1])
def tell(**event):
    with (here / "progress.jsonl").open("a") as file: print(json.dumps(event), file=file)
    print(json.dumps(event), flush=True)
"""
FINISH = '(here / "report.json").touch()\n'
STEPS = TELL + 'tell(event="phase", name="train"); tell(event="step", step=1)\n' + FINISH
FOR_EVER = TELL + 'tell(event="step", step=1)\nimport time\ntime.sleep(600)\n'


class Running:
    """A learner that runs in a thread of its own."""

    def __init__(self, learner: LearnerJob, directory: Path, limits: LearnerLimits = PATIENT) -> None:
        self.heard: list[ProgressEvent] = []
        self.must_stop = threading.Event()
        self._ended: list[LearnerExit] = []

        def run() -> None:
            self._ended.append(
                learner.run(directory, limits=limits, on_progress=self.heard.append, must_stop=self.must_stop.is_set)
            )

        self.thread = threading.Thread(target=run)
        self.thread.start()

    @property
    def steps(self) -> list[int | None]:
        """That were told."""
        return [event.step for event in self.heard if event.event == "step"]

    def waits_for(self, what: str) -> bool:
        """Whether it was told that something is waited for."""
        return any(event.event == "waits" and what in event.reason for event in self.heard)

    def end(self) -> LearnerExit:
        """How it ended."""
        self.thread.join(30)
        (ended,) = self._ended
        return ended


@pytest.fixture
def job(cluster: FakeKubernetes, template_file: Path) -> Callable[..., LearnerJob]:
    """Makes a learner that runs a script as a Job."""

    def make(script: str, *, pending_seconds: float = 60, **more: Any) -> LearnerJob:
        maker = JobMaker(cluster.account, template_file, "state-1", pending_seconds, (sys.executable, "-c", script))
        return LearnerJob(maker, **{"paces": QUICK, **more})

    return make


@contextmanager
def running(learner: LearnerJob, directory: Path, limits: LearnerLimits = PATIENT) -> Iterator[Running]:
    """A learner that runs, and is stopped with the block."""
    run = Running(learner, directory, limits)
    try:
        yield run
    finally:
        run.must_stop.set()
        run.thread.join(30)


def run(learner: LearnerJob, directory: Path, limits: LearnerLimits = PATIENT) -> tuple[LearnerExit, Running]:
    """Run it to its end."""
    one = Running(learner, directory, limits)
    return one.end(), one


def test_a_job_runs_the_learner_and_tells_what_it_tells(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """Each event once; its other words are kept; the Job stays for a while, and is what the template says and more."""
    learner = job(STEPS + 'sys.stderr.write("a warning\\n")')
    ended, one = run(learner, tmp_path)
    assert ended.ending is LearnerEnding.FINISHED, ended.detail
    assert [event.event for event in one.heard] == ["runs", "phase", "step"]
    assert (tmp_path / "learner.log").read_text() == "a warning\n"
    assert learner.resident == 0
    assert ("jobs", "get") in cluster.used
    (made,) = cluster.jobs.values()
    assert made["metadata"]["labels"]["team"] == "models"
    assert made["metadata"]["ownerReferences"][0]["uid"] == cluster.pods["riverkeep-0"]["metadata"]["uid"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry/riverkeep:1"
    assert container["args"] == [str(tmp_path)]
    for each in (*cluster.jobs.values(), *cluster.pods.values()):
        kubernetes_validate.validate(each, VERSION, strict=False)


def test_one_that_writes_a_candidate_is_told_which(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """What the round itself told is not heard again, and what is awaited is the candidate."""
    (tmp_path / PROGRESS).write_text('{"event": "done"}\n')
    script = TELL + 'tell(event="phase", name="write"); (here / "candidates" / sys.argv[3]).mkdir(parents=True)'
    heard: list[ProgressEvent] = []
    ended = job(script).run(tmp_path, limits=PATIENT, on_progress=heard.append, must_stop=lambda: False, write="0.25")
    assert ended.ending is LearnerEnding.FINISHED, ended.detail
    assert [event.name for event in heard if event.event == "phase"] == ["write"]
    assert [event.event for event in heard] == ["runs", "phase"]
    assert (tmp_path / "writer.log").exists()
    assert "-write-" in next(iter(cluster.jobs))


@pytest.mark.parametrize(
    ("goes_on", "phases"), [(True, ["train", "done"]), (False, ["done"])], ids=["goes on", "begins anew"]
)
def test_what_an_earlier_learner_told_is_not_heard_again(
    job: Callable[..., LearnerJob], tmp_path: Path, *, goes_on: bool, phases: list[str]
) -> None:
    """Where a round goes on its events follow the earlier ones; else the file begins anew, however long it was."""
    (tmp_path / PROGRESS).write_text('{"event": "phase", "name": "train"}\n' * 2)
    if goes_on:
        save(tmp_path, 10)
    script = TELL + 'tell(event="phase", name="done")\n' + FINISH
    _, one = run(job(script), tmp_path)
    assert [event.name for event in one.heard if event.event == "phase"] == ["done"]
    written = (tmp_path / PROGRESS).read_text()
    assert written.count('"train"') == (2 if goes_on else 0)
    assert phases[-1] in written


def test_it_waits_for_a_node_and_says_so(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """Neither silence nor time is counted meanwhile."""
    cluster.has_node, later = False, [0.0]
    learner = job(STEPS, pending_seconds=1e9, clock=lambda: time.monotonic() + later[0])
    with running(learner, tmp_path) as one:
        wait_until(lambda: one.waits_for("a node"))
        assert one.heard == [ProgressEvent("waits", reason=f"a node: {FULL}")]
        assert learner.resident is None
        later[0] += 1e6
        asked = len(cluster.asked)
        wait_until(lambda: len(cluster.asked) > asked + 4)
        cluster.find_node()
        ended = one.end()
    assert ended.ending is LearnerEnding.FINISHED, ended.detail
    assert one.steps == [1]


def test_it_waits_a_bounded_time(cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path) -> None:
    """Then its Job is gone, and the reason is Kubernetes' own."""
    cluster.has_node, later = False, [0.0]
    learner = job(STEPS, pending_seconds=3600, clock=lambda: time.monotonic() + later[0])
    with running(learner, tmp_path) as one:
        wait_until(lambda: one.waits_for("a node"))
        later[0] += 3601
        ended = one.end()
    assert ended.ending is LearnerEnding.NOT_STARTED
    assert FULL in ended.detail
    assert "did not run within 1 h (jobs.pending_seconds)" in ended.detail
    assert cluster.jobs == {}
    assert cluster.learner_pods() == []


def test_what_the_cluster_warns_of_is_told(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """Of a Job that gets no pod; where the account may not read events, it is done without."""
    for allowed in (True, False):
        cluster.forget()
        if not allowed:
            cluster.refuse("GET /api/v1/namespaces/ml/events", 403, "Forbidden", "cannot list events")
        cluster.makes_pods = False
        with running(job(STEPS), tmp_path) as one:
            wait_until(lambda: cluster.jobs)
            (made,) = cluster.jobs.values()
            cluster.warn(made["metadata"]["uid"], 'pods "x" is forbidden: exceeded quota: gpus')
            if allowed:
                wait_until(lambda: one.waits_for("its pod: pods"))
                assert one.waits_for("exceeded quota: gpus")
            else:
                asked = len(cluster.asked)
                wait_until(lambda: len(cluster.asked) > asked + 8)  # noqa: B023 - the same
                assert one.heard == []


@pytest.mark.parametrize(
    ("befalls", "ending", "certain", "says"),
    [
        ("kill_for_memory", LearnerEnding.OUT_OF_MEMORY, True, "OOMKilled, with a limit of 64Gi"),
        ("kill", LearnerEnding.OUT_OF_MEMORY, False, "killed by signal 9; Kubernetes does not say"),
        ("evict", LearnerEnding.LOST, True, "Evicted: The node was low on resource: ephemeral-storage."),
        ("preempt", LearnerEnding.LOST, True, "PreemptionByScheduler"),
    ],
)
def test_what_befalls_its_pod_is_told(
    cluster: FakeKubernetes,
    job: Callable[..., LearnerJob],
    tmp_path: Path,
    *,
    befalls: str,
    ending: LearnerEnding,
    certain: bool,
    says: str,
) -> None:
    """By the pod's own word; what was taken away is no want of memory."""
    with running(job(FOR_EVER), tmp_path) as one:
        wait_until(lambda: one.steps == [1])
        getattr(cluster, befalls)()
        ended = one.end()
    assert (ended.ending, ended.certain) == (ending, certain)
    assert says in ended.detail


@pytest.mark.parametrize(
    ("script", "ending", "says"),
    [
        ("raise SystemExit(3)", LearnerEnding.OUT_OF_MEMORY, "the learner ran out of memory"),
        ("raise SystemExit(4)", LearnerEnding.BAD_DIRECTORY, "is the volume of"),
        ("raise KeyError('weight')", LearnerEnding.CRASHED, "status 1: KeyError: 'weight'"),
        ("import os; os.kill(os.getpid(), 11)", LearnerEnding.CRASHED, "killed by signal 11 (SIGSEGV)"),
    ],
)
def test_an_exit_status_means_what_it_means_of_a_process(
    job: Callable[..., LearnerJob], tmp_path: Path, script: str, ending: LearnerEnding, says: str
) -> None:
    """With the learner's last words."""
    ended, _ = run(job(script), tmp_path)
    assert ended.ending is ending
    assert says.lower() in ended.detail.lower()
    assert ended.certain


def test_a_learner_that_is_silent_or_slow_is_ended(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """And nothing of it is left."""
    ended, _ = run(job(FOR_EVER), tmp_path, replace(PATIENT, silence=0.2))
    assert ended.ending is LearnerEnding.HUNG
    talks = TELL + "import time\nwhile True: tell(event='alive'); time.sleep(0.05)"
    ended, _ = run(job(talks), tmp_path, replace(PATIENT, time=0.3))
    assert ended.ending is LearnerEnding.OUT_OF_TIME
    assert cluster.learner_pods() == []
    assert cluster.jobs == {}


def test_who_must_stop_waits_until_the_pod_is_gone(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """A learner that still wrote into the round's directory would spoil what comes after it."""
    with running(job(FOR_EVER), tmp_path) as one:
        wait_until(lambda: one.steps == [1])
        cluster.holds_pods = True
        one.must_stop.set()
        wait_until(lambda: any(asked.startswith("DELETE") for asked in cluster.asked))
        asked = len(cluster.asked)
        wait_until(lambda: len(cluster.asked) > asked + 5)
        assert one.thread.is_alive()
        cluster.holds_pods = False
        with cluster.lock:
            for pod in cluster.learner_pods():
                del cluster.pods[pod["metadata"]["name"]]
        assert one.end().ending is LearnerEnding.STOPPED


def test_a_pod_that_never_ends_keeps_the_next_round_from_beginning(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """Its node may be gone, or only cut off: it is waited for a while, and told what a person can do."""
    impatient = replace(QUICK, end=0.1, remains=0.1)
    learner = job(FOR_EVER, paces=impatient)
    with running(learner, tmp_path) as one:
        wait_until(lambda: one.steps == [1])
        cluster.holds_pods = True
        one.must_stop.set()
        with capture_logs() as logs:
            assert one.end().ending is LearnerEnding.STOPPED
        assert [line["event"] for line in logs].count("job_may_still_run") == 1
    with pytest.raises(ClusterError, match=r"may still run: .* on node-1\. .*kubectl delete pod --force"):
        learner.end_leftovers(lambda: False)
    ended, other = run(learner, tmp_path)
    assert ended.ending is LearnerEnding.NOT_STARTED
    assert other.waits_for("an earlier learner to end")
    assert not learner.end_leftovers(lambda: True)


def test_what_a_killed_daemon_left_is_ended_before_anything_else(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """By the label of its state directory; others' Jobs stay."""
    other = JobMaker(cluster.account, tmp_path / "job.yaml", "state-2", 60, (sys.executable, "-c", FOR_EVER))
    (tmp_path / "other").mkdir()
    with running(job(FOR_EVER), tmp_path) as left, running(LearnerJob(other, paces=QUICK), tmp_path / "other") as stays:
        wait_until(lambda: left.steps == stays.steps == [1])
        assert job("").end_leftovers(lambda: False)
        assert left.end().ending is LearnerEnding.LOST
        assert [made["metadata"]["labels"]["riverkeep/state"] for made in cluster.jobs.values()] == ["state-2"]
        assert stays.thread.is_alive()


def test_trouble_of_the_api_is_borne_while_the_learner_runs(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """Answers that fail, connections that break off, another token: nothing is lost, and nothing is heard twice."""
    go, script = tmp_path / "go", TELL + "tell(event='step', step=1)\nimport time\n"
    script += f"while not Path({str(go)!r}).exists(): time.sleep(0.01)\ntell(event='step', step=2)\n" + FINISH
    cluster.refuse(f"POST {JOBS}", 503, "ServiceUnavailable", "apiserver is shutting down", times=1)
    cluster.drops[f"POST {JOBS}"] = 2
    with running(job(script), tmp_path) as one:
        wait_until(lambda: one.steps == [1])
        assert len(cluster.jobs) == 1
        cluster.refuse("GET", 500, "InternalError", "etcdserver: leader changed", times=3)
        cluster.drops["GET"] = 3
        wait_until(lambda: cluster.drops["GET"] == 0)
        cluster.renew("second")
        go.touch()
        ended = one.end()
    assert ended.ending is LearnerEnding.FINISHED, ended.detail
    assert one.steps == [1, 2]


def test_a_learner_that_ends_while_the_api_is_away_is_not_taken_for_hung(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """That it ended only the API can tell, however long nothing was heard."""
    go, later = tmp_path / "go", [0.0]
    script = TELL + f"tell(event='step', step=1)\nimport time\nwhile not Path({str(go)!r}).exists(): time.sleep(0.01)\n"
    learner = job(script + FINISH, paces=replace(QUICK, api=1e9), clock=lambda: time.monotonic() + later[0])
    with running(learner, tmp_path) as one:
        wait_until(lambda: one.steps == [1])
        cluster.refuse("GET", 500, "InternalError", "etcdserver: leader changed")
        asked = len(cluster.asked)
        wait_until(lambda: len(cluster.asked) > asked + 2)
        go.touch()
        wait_until((tmp_path / REPORT).exists)
        later[0] += 1e6
        asked = len(cluster.asked)
        wait_until(lambda: len(cluster.asked) > asked + 2)
        cluster.refusals.clear()
        ended = one.end()
    assert ended.ending is LearnerEnding.FINISHED, ended.detail


def test_an_api_that_stays_away_is_not_waited_for_without_end(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path
) -> None:
    """What became of the learner nobody can tell; the next run first sees that nothing is left of it."""
    with running(job(FOR_EVER, paces=replace(QUICK, api=0.2, end=0.1)), tmp_path) as one:
        wait_until(lambda: one.steps == [1])
        cluster.refuse("GET", 500, "InternalError", "etcdserver: no leader")
        ended = one.end()
    assert ended.ending is LearnerEnding.LOST
    assert "nobody could tell" in ended.detail
    assert "etcdserver: no leader" in ended.detail
    cluster.refusals.clear()
    wait_until(lambda: job("").end_leftovers(lambda: False))
    assert cluster.jobs == {}


@pytest.mark.parametrize(
    ("what", "code", "message", "says"),
    [
        (f"POST {JOBS}", 403, 'jobs.batch is forbidden: User "x" cannot create resource "jobs"', "allowed to create"),
        (f"GET {PODS}/riverkeep-0", 403, 'pods "riverkeep-0" is forbidden', "allowed to get and list"),
        (f"POST {JOBS}", 404, 'namespaces "ml" not found', 'namespaces "ml" not found'),
        (f"POST {JOBS}", 422, 'Job.batch "x" is invalid: spec.template: Required value', "Correct the file"),
    ],
)
def test_what_the_api_refuses_is_told_at_once(
    cluster: FakeKubernetes,
    job: Callable[..., LearnerJob],
    tmp_path: Path,
    *,
    what: str,
    code: int,
    message: str,
    says: str,
) -> None:
    """With its own words, and what to grant or to correct."""
    cluster.refuse(what, code, "x", message)
    ended, _ = run(job(STEPS), tmp_path)
    assert ended.ending is LearnerEnding.NOT_STARTED
    assert message in ended.detail
    assert says in ended.detail
    assert cluster.jobs == {}


def test_a_daemon_that_does_not_know_its_pod_needs_an_image_in_the_template(
    cluster: FakeKubernetes, job: Callable[..., LearnerJob], tmp_path: Path, template_file: Path
) -> None:
    """As on a host's network, where a pod is called as its node is; nothing then ends with its pod."""
    del cluster.pods["riverkeep-0"]
    ended, _ = run(job(STEPS), tmp_path)
    assert ended.ending is LearnerEnding.NOT_STARTED
    assert "image: Required value. Correct the file" in ended.detail
    template_file.write_text(template_file.read_text() + "          image: mine:2\n")
    ended, _ = run(job(STEPS), tmp_path)
    assert ended.ending is LearnerEnding.FINISHED, ended.detail
    assert "ownerReferences" not in next(iter(cluster.jobs.values()))["metadata"]


def test_a_template_that_was_spoilt_meanwhile_starts_nothing(
    job: Callable[..., LearnerJob], tmp_path: Path, template_file: Path
) -> None:
    """It is read for each run, and told by its name."""
    template_file.write_text("kind: Pod")
    ended, _ = run(job(STEPS), tmp_path)
    assert ended.ending is LearnerEnding.NOT_STARTED
    assert f"{template_file}: It is no Job" in ended.detail
    assert not (tmp_path / REPORT).exists()
