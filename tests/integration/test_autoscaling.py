"""What replicas are scaled by is one figure, from what is recorded to what the autoscaler asks for."""

from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from tests.integration.test_deploy import DEPLOY, RECORDING, REPLICAS
from tests.integration.test_helm import EVERYTHING, rendered

COMPONENT: Final = DEPLOY / "kubernetes-autoscaling"
ADAPTER: Final = DEPLOY / "prometheus-adapter.yaml"
RECORDED: Final = "riverkeep:serving_queue_seconds:p95_rate5m"


def autoscaler() -> dict[str, Any]:
    """The component's only object."""
    (file,) = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())["resources"]
    made = yaml.safe_load((COMPONENT / file).read_text())
    assert isinstance(made, dict)
    return made


def asked_for(scaler: dict[str, Any]) -> tuple[str, str]:
    """The metric of pods that an autoscaler asks for, and how much of it is enough."""
    (metric,) = scaler["spec"]["metrics"]
    assert metric["type"] == "Pods"
    return metric["pods"]["metric"]["name"], metric["pods"]["target"]["averageValue"]


@pytest.mark.parametrize("version", ["1.29.0", "1.34.0", "1.37.0"])
def test_kubernetes_knows_every_field_of_the_autoscaler(version: str) -> None:
    """And it scales the replicas, which need a component of their own."""
    kubernetes_validate.validate(autoscaler(), version, strict=True)
    deployment = yaml.safe_load((REPLICAS / "deployment.yaml").read_text())
    target = autoscaler()["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])


def test_helm_and_kustomize_scale_by_what_is_recorded() -> None:
    """The wait in the queue: recorded, given by the adapter's rule, asked for under the name that the rule gives."""
    (helms,) = [each for each in rendered(EVERYTHING) if each["kind"] == "HorizontalPodAutoscaler"]
    assert asked_for(helms) == asked_for(autoscaler())
    (rule,) = yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]
    assert rule["name"]["as"] == asked_for(helms)[0]
    assert rule["seriesQuery"].partition("{")[0] == RECORDED
    assert "<<.Series>>" in rule["metricsQuery"]
    recorded = [each for group in yaml.safe_load(RECORDING.read_text())["groups"] for each in group["rules"]]
    (expression,) = [each["expr"] for each in recorded if each["record"] == RECORDED]
    # What the rule asks of a series' labels the recording keeps.
    for label in rule["resources"]["overrides"]:
        assert f", {label}" in expression
