"""The Job that is made of a template."""

from pathlib import Path

import kubernetes_validate
import pytest

from daemon.jobs.manifest import DaemonPod, JobRun, manifest, new_name
from daemon.settings.jobs.template import as_template, read_template

RUN = JobRun(
    name="rounds-000012-abcdef",
    state="0123456789abcdef",
    command=("/opt/riverkeep/bin/python", "-m", "learner"),
    arguments=("/var/lib/riverkeep/rounds/000012",),
    variables={"TRACEPARENT": "00-1", "PYTHONUNBUFFERED": "1"},
    seconds=100.5,
    daemon=DaemonPod("riverkeep-0", "uid-1", "registry/riverkeep:1"),
)


def of_container(**more: object) -> dict[str, object]:
    """A Job with these in its container."""
    pod = {"containers": [{"name": "learner", **more}]}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}


@pytest.mark.parametrize("version", ["1.29.0", "1.37.0"])
def test_kubernetes_knows_every_field_of_it(template_file: Path, version: str) -> None:
    """And it runs once, and ends with the daemon's pod."""
    job = manifest(read_template(template_file), RUN)
    kubernetes_validate.validate(job, version, strict=True)
    assert job["spec"] | {"template": None} == {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": 101,
        "ttlSecondsAfterFinished": 3600,
        "template": None,
    }
    assert job["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "riverkeep-0", "uid": "uid-1"}
    ]


def test_no_service_takes_its_pod_for_one_that_answers() -> None:
    """The services' selector is the daemon's name, which a template may have copied."""
    written = as_template(of_container())
    written.job["spec"]["template"]["metadata"] = {"labels": {"app.kubernetes.io/name": "riverkeep", "team": "models"}}
    labels = manifest(written, RUN)["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "riverkeep-learner"
    assert labels["team"] == "models"


def test_its_pod_is_gone_from_the_api_only_when_its_container_is() -> None:
    """A grace of 0 would take it from the API at once."""
    pod = manifest(as_template(of_container()), RUN)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 1
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False


def test_what_a_template_says_of_the_learners_own_container_stands() -> None:
    """Its image, its command and its variables; but not over what the round's learner has to be told."""
    env = [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "TRACEPARENT", "value": "mine"}]
    (container,) = manifest(
        as_template(of_container(image="mine:2", command=["torchrun", "-m", "learner"], env=env)), RUN
    )["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mine:2"
    assert [*container["command"], *container["args"]] == ["torchrun", "-m", "learner", *RUN.arguments]
    assert container["env"] == [
        {"name": "NCCL_DEBUG", "value": "INFO"},
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        {"name": "TRACEPARENT", "value": "00-1"},
    ]


def test_whether_a_round_goes_on_is_not_for_kubernetes_to_say() -> None:
    """What would have a second pod started in the same directory is left out."""
    template = as_template(of_container())
    template.job["spec"].update({"podFailurePolicy": {"rules": []}, "completionMode": "Indexed", "backoffLimit": 6})
    spec = manifest(template, RUN)["spec"]
    assert spec["backoffLimit"] == 0
    assert not {"podFailurePolicy", "completionMode"} & spec.keys()
    assert template.job["spec"]["backoffLimit"] == 6, "the template is as it was"


@pytest.mark.parametrize("what", ["000012", "000012-write", "Odd_name of a.folder" * 9, "---"])
def test_its_name_is_one_that_kubernetes_takes(template_file: Path, what: str) -> None:
    """For a Job, and as a label's value; and no other has it."""
    template = read_template(template_file)
    names = {new_name(template, what) for _ in range(20)}
    assert len(names) == 20
    for name in names:
        assert len(name) <= 63
        assert name.replace("-", "a").isalnum()
        assert name == name.lower().strip("-")
