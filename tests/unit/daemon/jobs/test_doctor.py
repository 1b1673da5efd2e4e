"""What `riverkeep doctor` says of rounds that are Jobs."""

from pathlib import Path

import pytest

from daemon.doctor.jobs import examine_jobs
from daemon.settings.tree import Settings
from tests.fake_kubernetes import JOBS, FakeKubernetes


def settings(template_file: Path) -> Settings:
    """Settings with a template that mounts the rounds."""
    mounts = f"          volumeMounts: [{{name: rounds, mountPath: {template_file.parent}/rounds}}]\n"
    template_file.write_text(template_file.read_text() + mounts)
    tree = {"model": {"path": "/model"}, "jobs": {"template_file": str(template_file)}}
    return Settings.model_validate({"state_dir": str(template_file.parent), **tree})


def test_a_job_is_tried_and_none_is_run(cluster: FakeKubernetes, template_file: Path) -> None:
    """And each right that a round takes."""
    (cluster.files / "riverkeep-0.log").write_text("a line\n")
    findings = list(examine_jobs(settings(template_file), cluster.account))
    assert all(finding.ok for finding in findings), findings
    assert "can be written here, and is mounted in a Job" in findings[0].detail
    assert "1 nvidia.com/gpu, image registry/riverkeep:1" in findings[1].detail
    assert "may list Jobs, delete Jobs, list pods, list events, read logs of pods" in findings[2].detail
    assert cluster.jobs == {}
    assert cluster.allowed - cluster.used == {("jobs", "get")}, "the Role grants what nobody takes"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (f"POST {JOBS}", "not allowed here"),
        (f"DELETE {JOBS}", "may not delete Jobs"),
        ("GET /api/v1/namespaces/ml/events", "may not list events"),
    ],
)
def test_what_is_not_granted_is_told(cluster: FakeKubernetes, template_file: Path, what: str, says: str) -> None:
    """With the Role that grants it."""
    (cluster.files / "riverkeep-0.log").write_text("a line\n")
    cluster.refuse(what, 403, "Forbidden", "not allowed here")
    (wrong,) = [finding for finding in examine_jobs(settings(template_file), cluster.account) if not finding.ok]
    assert says in wrong.detail
    assert "Role of deploy/kubernetes-jobs" in wrong.remedy


def test_a_job_that_would_not_see_its_round_is_told(cluster: FakeKubernetes, template_file: Path) -> None:
    """As nothing is mounted where it is, or what is there cannot be written."""
    (cluster.files / "riverkeep-0.log").write_text("a line\n")
    here = settings(template_file)
    here.rounds_dir.write_text("no folder")
    (wrong,) = [finding for finding in examine_jobs(here, cluster.account) if not finding.ok]
    assert "File exists" in wrong.detail
    template_file.write_text(template_file.read_text().replace("/rounds}", "/elsewhere}"))
    (wrong,) = [finding for finding in examine_jobs(here, cluster.account) if not finding.ok]
    assert f"mounts nothing at {here.rounds_dir}" in wrong.detail


def test_outside_of_a_cluster_it_is_told_so(template_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No round could begin."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (wrong,) = examine_jobs(settings(template_file))
    assert not wrong.ok
    assert "this is no pod" in wrong.detail
