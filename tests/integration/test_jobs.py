"""Rounds as Jobs, on a fake cluster: the real learner's, and what a daemon that was killed left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.jobs.learner_job import JobMaker, LearnerJob
from daemon.jobs.patience import Paces
from daemon.processes.learner_process import LEARNER
from memory.ledger.states import RoundState
from tests.daemon_harness import daemon, fake_learner, fill, make_home
from tests.fake_kubernetes import FakeKubernetes, kubernetes
from tests.harness import wait_until
from tests.integration.test_judging_again import RECIPE, run
from tests.models import make_causal
from tests.unit.daemon.rooms import BY_HAND, tiny_model, world

pytestmark = pytest.mark.slow

JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: rounds}
spec: {template: {spec: {containers: [{name: learner}]}}}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubernetes]:
    """A cluster, which has the template of rounds among its files."""
    files = tmp_path_factory.mktemp("cluster")
    (files / "job.yaml").write_text(JOB)
    with kubernetes(files) as fake:
        yield fake


def test_a_round_of_the_real_learner_is_a_job(cluster: FakeKubernetes, tmp_path: Path) -> None:
    """From its draw to the generation that serves; what it tells is followed to its last phase."""
    maker = JobMaker(cluster.account, cluster.files / "job.yaml", "state", 60, LEARNER)
    phases = list[str]()
    with world(
        tmp_path,
        model={"path": str(make_causal(tmp_path / "llama"))},
        learner={"device": "cpu", "threads": 1, "silence_seconds": 120, "recipe": RECIPE},
        gate={"minimum_documents": 5, "minimum_gain": 0},
    ) as here:
        begin = here.current.phase

        def phase(name: str) -> None:
            phases.append(name)
            begin(name)

        here.current.phase = phase  # type: ignore[method-assign]
        conclusion = run(here, LearnerJob(maker, paces=Paces(look=0.02, ask=0.1)), BY_HAND)
        assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
        assert here.metric("riverkeep_learner_ends_total", ending="finished") == 1
        assert here.store.generations.serving() == 1
    assert {"start", "load", "train", "candidates", "judge"} <= set(phases)
    (job,) = cluster.jobs.values()
    assert [each["type"] for each in job["status"]["conditions"]] == ["Complete"]


def test_a_daemon_that_was_killed_finds_its_job_again(cluster: FakeKubernetes, tmp_path: Path) -> None:
    """The next one ends it before it does anything about the round, whose directory it might still write into."""
    cluster.forget()
    home = make_home(tmp_path, model=tiny_model(tmp_path / "model"))
    fill(home, before=120, fresh=120)
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(cluster.port),
        "HOSTNAME": "riverkeep-0",
        "ACCOUNT_OF_TEST": str(cluster.files),
        "RIVERKEEP_JOBS__TEMPLATE_FILE": str(cluster.files / "job.yaml"),
    }
    with daemon(home, learner=fake_learner("hang"), environment=environment) as first:
        first.until(lambda control: control.request_round())
        first.until(lambda control: (standing := control.status()["round"]) and standing["phase"] == "start")
        (pod,) = wait_until(cluster.learner_pods)
        first.kill()
        assert pod["status"]["phase"] == "Running"
        assert (home.settings.rounds_dir / "000001").is_dir()
    with daemon(home, learner=fake_learner("hang"), environment=environment) as second:
        second.until(lambda _: second.events("round_recovered"))
        assert pod["status"]["phase"] == "Failed"
        assert [line["pods"] for line in second.events("jobs_ended")] == [[pod["metadata"]["name"]]]
        names = [line.get("event") for line in second.lines()]
        assert names.index("jobs_ended") < names.index("round_recovered")
        with second.control as control:
            assert "micro-batch" not in control.round(1)["detail"], "its memory was not the service's"
    assert cluster.learner_pods() == []
