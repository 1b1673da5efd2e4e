"""A cluster for each module of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_kubernetes import FakeKubernetes, kubernetes


@pytest.fixture(scope="module")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubernetes]:
    """One for all tests of a module."""
    with kubernetes(tmp_path_factory.mktemp("cluster")) as fake:
        yield fake


@pytest.fixture
def cluster(running_cluster: FakeKubernetes) -> Iterator[FakeKubernetes]:
    """The same, with nothing in it."""
    running_cluster.forget()
    yield running_cluster
    running_cluster.forget()


@pytest.fixture
def template_file(tmp_path: Path) -> Path:
    """A Job as a person would write it, without a word too many."""
    path = tmp_path / "job.yaml"
    path.write_text(
        """\
apiVersion: batch/v1
kind: Job
metadata:
  name: rounds
  labels: {team: models}
spec:
  template:
    spec:
      nodeSelector: {pool: gpu}
      containers:
        - name: learner
          resources: {limits: {nvidia.com/gpu: 1, memory: 64Gi}}
"""
    )
    return path
