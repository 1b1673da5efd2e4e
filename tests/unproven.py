"""What a machine may lack: a test that needs it skips, and the run says in its last lines what it did not prove.

What pip and the Makefile install is not among it: a run without that is broken, and fails.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import pytest

VLLM_PYTHON: Final = Path(
    os.environ.get("RIVERKEEP_VLLM_PYTHON", Path(__file__).parents[1] / ".venv-vllm" / "bin" / "python")
)
MLFLOW_PYTHON: Final = Path(
    os.environ.get("RIVERKEEP_MLFLOW_PYTHON", Path(__file__).parents[1] / ".venv-mlflow" / "bin" / "python")
)
KAFKA_LIBS: Final = Path(__file__).parent / "kafka" / "libs"


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is not here.

    Attributes:
        missing: a clause: what, and how to get it. Also the reason of the skip.
        promises: ends the sentence "This run did not prove …".
    """

    missing: str
    promises: str

    def skip(self) -> NoReturn:
        """Skip the test that needs it."""
        pytest.skip(self.missing)

    def lines(self) -> tuple[str, str]:
        """What the run says at its end."""
        return f"{self.missing}.", f"This run did not prove {self.promises}."


APACHE: Final = Lack(
    f"Apache Kafka is not in {KAFKA_LIBS}: run `make kafka` (needs Java and Maven)",
    "on Apache Kafka itself: nothing lost and nothing twice through kills, rebalances, retention, transactions, "
    "topics made anew and a broker that goes away and comes back; logins, TLS and rights",
)
CHROMIUM: Final = Lack(
    "Chromium is not installed: apt install chromium",
    "that the documents' pictures can be read, and that the page is whole in a browser: figures, keyboard, contrast",
)
SYSTEMD: Final = Lack(
    "systemd-analyze is not installed: apt install systemd",
    "that systemd understands deploy/riverkeep.service and rates it as hardened",
)
PROMTOOL: Final = Lack(
    "promtool is not installed: apt install prometheus",
    "that Prometheus understands the alerts, the dashboards' queries and the example of a configuration, "
    "and that each alert fires when it should and not before",
)
PROMETHEUS: Final = Lack(
    "prometheus is not installed: apt install prometheus",
    "that every panel of the dashboards and every alert shows what is, on a Prometheus that scrapes a running service, "
    "and that the example for Kubernetes finds daemon, serving and replicas",
)
KUBECTL: Final = Lack(
    "kubectl is not installed: see kubernetes.io/docs/tasks/tools",
    "that Kustomize puts the base in deploy/kubernetes and the replicas together",
)
HADOLINT: Final = Lack(
    "hadolint is not installed: see its releases",
    "that hadolint finds nothing wrong with the Containerfile",
)
HELM: Final = Lack(
    "helm is not installed: see helm.sh/docs/intro/install",
    "that the Helm chart makes what Kustomize makes, and what Kubernetes understands",
)
MOUNT: Final = Lack(
    "a small tmpfs cannot be mounted here: run the tests as root, in a container with CAP_SYS_ADMIN and util-linux",
    "that a full file system loses nothing, neither of the store nor of a whole service, and that an erasure on it "
    "says what is left to do (limits on pages and on files stood in)",
)
MAKE: Final = Lack(
    "make is not installed: apt install make",
    "that the tests go on where Apache Kafka could not be fetched",
)
CURL: Final = Lack(
    "curl is not installed: apt install curl",
    "that the tutorial leads from a checkout to a round that was accepted",
)
VLLM: Final = Lack(
    f"vLLM is not at {VLLM_PYTHON}: run `make test-vllm` (6 GB)",
    "that vLLM behind the door keeps what every engine has to keep",
)
MLFLOW: Final = Lack(
    f"MLflow is not at {MLFLOW_PYTHON}: run `make test-mlflow` (1 GB)",
    "that MLflow itself takes what `riverkeep round export` tells it (a fake that is as strict stood in)",
)
LACKS: Final = (
    APACHE,
    CHROMIUM,
    SYSTEMD,
    PROMTOOL,
    PROMETHEUS,
    KUBECTL,
    HADOLINT,
    HELM,
    MOUNT,
    MAKE,
    CURL,
    VLLM,
    MLFLOW,
)


def program(name: str, lack: Lack) -> str:
    """The path of a program that pip has not; skips where it is not installed."""
    path = shutil.which(name)
    return path if path is not None else lack.skip()


def unproven(reasons: Iterable[str]) -> list[Lack]:
    """What was lacking, by the reasons of all tests that were skipped."""
    said = "\n".join(reasons)
    return [lack for lack in LACKS if lack.missing in said]
