"""The Job that a person wrote."""

from pathlib import Path
from typing import Any

import pytest

from daemon.settings.jobs.template import BadTemplate, as_template, quantity_of, read_template
from daemon.settings.load import load
from daemon.settings.mistakes import BadSettings

JOB = """
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      nodeSelector: {pool: a100}
      containers:
        - {name: proxy}
        - name: learner
          resources:
            requests: {cpu: 4}
            limits: {nvidia.com/gpu: 2, memory: 1.5Gi, ephemeral-storage: 1Gi, hugepages-2Mi: 2Mi}
"""


def written(tmp_path: Path, text: str) -> Path:
    """A file with this text."""
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return path


def test_what_it_asks_for_is_told(tmp_path: Path) -> None:
    """Of the learner's container alone; and where it may run is part of what is told of its memory."""
    template = read_template(written(tmp_path, JOB))
    assert template.container["name"] == "learner"
    assert template.devices == {"nvidia.com/gpu": 2}
    assert template.memory_bytes == 3 * 2**29
    assert template.cores == 4
    assert "a100" in template.describe()
    assert template.describe() == read_template(written(tmp_path, f"# another comment\n{JOB}")).describe()
    assert template.describe() != read_template(written(tmp_path, JOB.replace("a100", "h200"))).describe()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "It is no Job"),
        ("[1, 2]", "It is no Job"),
        ("a: [", "neither YAML nor JSON"),
        (JOB.replace("batch/v1", "v1"), "It is no Job"),
        (JOB.replace("name: learner", "name: other"), "none is called learner"),
        ("{apiVersion: batch/v1, kind: Job, spec: {template: {spec: {containers: []}}}}", "has no container"),
        ("{apiVersion: batch/v1, kind: Job, spec: {template: {spec: {containers: [{image: x}]}}}}", "has no name"),
        (JOB + "metadata: {annotations: {since: 2026-01-01}}", "value that JSON has not"),
        (JOB + "metadata: [1]", "metadata has to be a table"),
        (JOB + "metadata: {labels: [a]}", "labels has to be a table"),
        (JOB.replace("- name: learner", "- name: learner\n          env: {A: b}"), "env has to be a list of tables"),
        (JOB + "---\n" + JOB, "neither YAML nor JSON"),
        ("!!python/object/apply:os.system ['true']", "neither YAML nor JSON"),
    ],
)
def test_what_is_no_job_is_a_mistake_in_the_settings(tmp_path: Path, text: str, says: str) -> None:
    """With what to do about it, before anything starts."""
    path = written(tmp_path, text or "# nothing")
    with pytest.raises(BadTemplate, match=says) as bad:
        read_template(path)
    assert bad.value.remedy
    environment = {"RIVERKEEP_MODEL__PATH": str(tmp_path), "RIVERKEEP_JOBS__TEMPLATE_FILE": str(path)}
    with pytest.raises(BadSettings, match=r"jobs\.template_file"):
        load(None, environment, files=True)


def test_devices_that_are_claimed_count_too() -> None:
    """As with dynamic resource allocation."""
    container = {"name": "one", "resources": {"claims": [{"name": "gpu"}], "limits": {"memory": "64G"}}}
    job: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job"}
    template = as_template(job | {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert template.devices == {"gpu": 1}
    assert template.memory_bytes == 64 * 10**9


@pytest.mark.parametrize(
    ("quantity", "bytes_"),
    [
        ("64Gi", 64 * 2**30),
        ("500M", 500 * 10**6),
        ("1e3", 1000),
        ("500m", 0.5),
        ("123", 123),
        ("many", None),
        ("1..2", None),
        ("5Q", None),
    ],
)
def test_quantities_are_read(quantity: str, bytes_: int | None) -> None:
    """As Kubernetes writes them."""
    assert quantity_of(quantity) == bytes_
