"""What the example for Kubernetes scrapes: its relabelling, by a real Prometheus, of what our manifests have.

The discovery itself is a stand-in, made from the manifests: Debian's Prometheus is built without Kubernetes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import wait_until
from tests.prometheus import jobs_of, scraping
from tests.unproven import PROMETHEUS, program

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDERS = (DEPLOY / "kubernetes", DEPLOY / "kubernetes-replicas")
ADDRESSES = {"riverkeep": ("127.0.0.2",), "riverkeep-replica": ("127.0.0.3", "127.0.0.4")}
STRANGER = {
    "kind": "Service",
    "metadata": {"name": "database", "labels": {"app.kubernetes.io/name": "database"}},
    "spec": {"selector": {"app.kubernetes.io/name": "riverkeep"}, "ports": [{"name": "http", "targetPort": "serving"}]},
}


def manifests(kind: str) -> list[dict[str, Any]]:
    """Every object of a kind that we ship, but patches."""
    files = [path for folder in FOLDERS for path in sorted(folder.glob("*.yaml")) if path.stem != "kustomization"]
    found = [each for path in files for each in yaml.safe_load_all(path.read_text())]
    return [each for each in found if each["kind"] == kind and "selector" in each.get("spec", {})]


def behind(service: dict[str, Any]) -> dict[str, Any]:
    """The template of the pods that a service leads to."""
    templates = [owner["spec"]["template"] for kind in ("StatefulSet", "Deployment") for owner in manifests(kind)]
    wanted = service["spec"]["selector"].items()
    (found,) = [one for one in templates if wanted <= one["metadata"]["labels"].items()]
    assert isinstance(found, dict)
    return found


def ports(template: dict[str, Any]) -> dict[str, int]:
    """A pod's ports by their names."""
    return {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}


def discovered(service: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the role `endpointslice` finds of a service: each pod's port, and the pod's other ports without a name."""
    template = behind(service)
    app = template["metadata"]["labels"]["app.kubernetes.io/name"]
    named = {ports(template)[port["targetPort"]]: port["name"] for port in service["spec"]["ports"]}
    for at, address in enumerate(ADDRESSES[app]):
        for number in ports(template).values():
            labels = {
                "__meta_kubernetes_namespace": "river",
                "__meta_kubernetes_pod_name": f"{app}-{at}",
                "__meta_kubernetes_service_label_app_kubernetes_io_name": service["metadata"]["labels"][
                    "app.kubernetes.io/name"
                ],
            }
            if number in named:
                labels["__meta_kubernetes_endpointslice_port_name"] = named[number]
            yield {"targets": [f"{address}:{number}"], "labels": labels}


@pytest.mark.slow
def test_daemon_serving_and_every_replica_are_scraped_once_under_the_jobs_that_alerts_know(tmp_path: Path) -> None:
    """And nobody else's service, even where it leads to the same pods."""
    program("prometheus", PROMETHEUS)
    (job,) = jobs_of(DEPLOY / "prometheus-kubernetes.yml")
    assert job.pop("kubernetes_sd_configs") == [{"role": "endpointslice"}]
    groups = [group for service in (*manifests("Service"), STRANGER) for group in discovered(service)]
    (tmp_path / "found.json").write_text(json.dumps(groups))
    with scraping(tmp_path, [job | {"file_sd_configs": [{"files": [f"{tmp_path}/found.json"]}]}]) as prometheus:
        wait_until(lambda: len(prometheus.targets()) >= 4, what="the targets")
        found = sorted((one["labels"]["job"], one["labels"]["instance"]) for one in prometheus.targets())
        pods = {one["labels"]["instance"]: one["labels"]["pod"] for one in prometheus.targets()}
    assert found == [
        ("riverkeep", "127.0.0.2:8710"),
        ("riverkeep-serving", "127.0.0.2:8400"),
        ("riverkeep-serving", "127.0.0.3:8400"),
        ("riverkeep-serving", "127.0.0.4:8400"),
    ]
    assert pods["127.0.0.4:8400"] == "riverkeep-replica-1"


@pytest.mark.parametrize("service", manifests("Service"), ids=lambda each: str(each["metadata"]["name"]))
def test_a_service_says_where_its_metrics_are_for_who_scrapes_by_annotations(service: dict[str, Any]) -> None:
    """The port that its pods have behind it."""
    (port,) = service["spec"]["ports"]
    noted = service["metadata"]["annotations"]
    assert noted["prometheus.io/scrape"] == "true"
    assert noted["prometheus.io/port"] == str(ports(behind(service))[port["targetPort"]])
    assert noted["prometheus.io/path"] == "/metrics"
