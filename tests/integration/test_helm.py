"""The Helm chart says what the Kustomize base says, and what it can say beyond that Kubernetes understands."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

from daemon.jobs.manifest import manifest
from daemon.settings.jobs.template import as_template
from daemon.settings.load import load
from tests.integration.test_deploy import ALERTS, DEPLOY, KUBERNETES, RECORDING, run
from tests.integration.test_deploy_jobs import RUN, kustomized
from tests.unproven import HELM, program

CHART: Final = DEPLOY / "helm" / "riverkeep"
VALUES: Final = sorted(CHART.glob("values*.yaml"))
OWN_LABELS: Final = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
}
EVERYTHING: Final = {
    "rounds.asJobs.enabled": True,
    "rounds.asJobs.image": "riverkeep:cuda",
    "rounds.asJobs.labels": {"kueue.x-k8s.io/queue-name": "gpus"},
    "rounds.asJobs.nodeSelector": {"pool": "gpu"},
    "rounds.asJobs.podAnnotations": {"sidecar.istio.io/inject": "false"},
    "rounds.asJobs.pod": {"priorityClassName": "batch"},
    "rounds.asJobs.runtimeClassName": "nvidia",
    "rounds.asJobs.storage.storageClassName": "shared",
    "replicas.enabled": True,
    "replicas.autoscaling.enabled": True,
    "replicas.gpus": 1,
    "networkPolicy.enabled": True,
    "networkPolicy.answers": [{"podSelector": {"matchLabels": {"app": "gateway"}}}],
    "networkPolicy.scrapers": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
    "networkPolicy.admin": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    "networkPolicy.egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 9092}]}],
    "monitoring.serviceMonitor.enabled": True,
    "monitoring.rules.enabled": True,
    "secrets.external.enabled": True,
    "secrets.external.store.name": "vault",
    "tls.secretName": "riverkeep-tls",
    "image.pullSecrets": [{"name": "registry"}],
    "runtimeClassName": "nvidia",
    "gpus": 2,
    "affinity": {"nodeAffinity": {}},
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "environment": {"RIVERKEEP_STREAMS__GROUP_ID": "river", "RIVERKEEP_LEARNER__SAVE_SECONDS": 60},
    "podAnnotations": {"team": "models"},
    "storage.storageClassName": "fast",
    "replicas.checkpoints.storageClassName": "shared",
}
OWN: Final = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
GENERATED: Final = re.compile(r"(?<=^riverkeep)-[a-z0-9]{10}$|(?<=^riverkeep-jobs)-[a-z0-9]{10}$")
"""What Kustomize appends to the name of a ConfigMap that it generates."""
OF_PROMETHEUS: Final = {"ServiceMonitor": ServiceMonitor, "PrometheusRule": PrometheusRule}
"""Kinds of the Prometheus operator, by the schemas of its own definitions."""
OF_OPERATORS: Final = {*OF_PROMETHEUS, "ExternalSecret"}
"""Kinds that Kubernetes itself does not know."""
EXTERNAL_SECRET: Final = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "ExternalSecret",
    "spec": {
        "refreshInterval": str,
        "secretStoreRef": {"name": str, "kind": str},
        "target": {"name": str},
        "data": [{"secretKey": str, "remoteRef": {"key": str, "property": str}}],
    },
}
"""What of its definition the chart may use; no registry of packages that this project takes from has the whole."""


def helm() -> str:
    """Helm's program, as the wheel of that name brings it."""
    beside = Path(sys.executable).with_name("helm")
    return str(beside) if beside.exists() else program("helm", HELM)


def rendered(values: Mapping[str, object] = MappingProxyType({}), release: str = "riverkeep") -> list[dict[str, Any]]:
    """The chart's objects.

    Args:
        values: by their paths.
        release: its name.
    """
    options = [word for path, value in values.items() for word in ("--set-json", f"{path}={json.dumps(value)}")]
    command = [helm(), "template", release, str(CHART), "--namespace", "ml", *options]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    return [each for each in yaml.safe_load_all(made.stdout) if each]


def plain(value: Any) -> Any:
    """An object without what each of the two tools adds for itself; lists of named things in the order of names."""
    if isinstance(value, list):
        each = [plain(one) for one in value]
        return sorted(each, key=lambda one: one["name"]) if all(_is_named(one) for one in each) else each
    if not isinstance(value, dict):
        return value
    return {name: plain(one) for name, one in value.items() if name not in OWN_LABELS | {"checksum/settings"}}


def _is_named(value: object) -> bool:
    return isinstance(value, dict) and "name" in value


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """Objects by kind and name; a generated ConfigMap by the name that it was generated for."""
    names = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    text = json.dumps(objects)
    for name in names:
        text = text.replace(f'"{name}"', f'"{GENERATED.sub("", name)}"')
    return {(each["kind"], each["metadata"]["name"]): plain(each) for each in json.loads(text)}


def held(config: dict[str, Any]) -> object:
    """What is in the only file of a ConfigMap, without what the chart adds to the pods of Jobs."""
    ((name, text),) = config["data"].items()
    if name != "job.yaml":
        return text.rstrip()
    job = yaml.safe_load(text)
    # The release's name, so that a policy of the network finds them.
    assert set(job["spec"]["template"].pop("metadata", {"labels": OWN})["labels"]) == OWN
    return job


@pytest.mark.parametrize(
    "components",
    [(), ("replicas",), ("jobs",), ("replicas", "autoscaling", "jobs")],
    ids=lambda names: " and ".join(names) or "alone",
)
def test_it_makes_what_kustomize_makes(tmp_path: Path, components: tuple[str, ...]) -> None:
    """Field by field; beyond it only what the base leaves to the cluster's owner."""
    replicas = "replicas" in components
    values = {
        "replicas.enabled": replicas,
        "replicas.autoscaling.enabled": "autoscaling" in components,
        "rounds.asJobs.enabled": "jobs" in components,
    }
    ours = by_name(rendered(values))
    theirs = by_name(kustomized(tmp_path, components))
    assert set(ours) - set(theirs) == ({("PodDisruptionBudget", "riverkeep-replica")} if replicas else set())
    for name, expected in theirs.items():
        made = ours[name]
        # Labels of a generated object, how often an image is pulled, what outlives a release, where replicas go.
        if name[0] == "ConfigMap":
            assert held(made) == held(expected)
            continue
        if name[0] == "RoleBinding":
            assert made["subjects"][0].pop("namespace") == "ml"
            assert expected["subjects"][0].pop("namespace") == "default"
        if name[0] in ("StatefulSet", "Deployment"):
            spec = made["spec"]["template"]["spec"]
            assert spec["containers"][0].pop("imagePullPolicy") == "IfNotPresent"
            spec.pop("topologySpreadConstraints", None)
            if not made["spec"]["template"]["metadata"]["annotations"]:
                del made["spec"]["template"]["metadata"]["annotations"]
        if name[0] == "PersistentVolumeClaim":
            assert made["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert made == expected


@pytest.mark.parametrize("file", VALUES, ids=lambda file: file.stem)
def test_helm_finds_nothing_wrong(file: Path) -> None:
    """Strictly, with each file of values that comes with it."""
    linted = run(helm(), "lint", "--strict", str(CHART), "--values", str(file))
    assert linted.returncode == 0, linted.stdout
    assert "[WARNING]" not in linted.stdout


@pytest.mark.parametrize("version", ["1.29.0", "1.34.0", "1.37.0"])
def test_kubernetes_knows_every_field_of_it(version: str) -> None:
    """Of all that it can make, against the schemas of three versions."""
    objects = rendered(EVERYTHING)
    kinds = {each["kind"] for each in objects}
    assert kinds >= {"NetworkPolicy", "HorizontalPodAutoscaler", "PodDisruptionBudget", *OF_OPERATORS}
    for each in objects:
        if each["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(each, version, strict=True)


def test_the_operator_of_prometheus_knows_every_field() -> None:
    """Of the right kind, and none that it would drop without a word."""
    found = [each for each in rendered(EVERYTHING) if each["kind"] in OF_PROMETHEUS]
    assert {each["kind"] for each in found} == {*OF_PROMETHEUS}
    for each in found:
        known = OF_PROMETHEUS[each["kind"]].model_validate(each)
        assert known.model_dump(mode="json", by_alias=True, exclude_unset=True) == each
    wrong = next(each for each in rendered(EVERYTHING) if each["kind"] == "ServiceMonitor")
    wrong["spec"]["endpoints"][0]["intervall"] = "15s"
    known = ServiceMonitor.model_validate(wrong)
    assert known.model_dump(mode="json", by_alias=True, exclude_unset=True) != wrong


def fits(value: object, form: object) -> bool:
    """Whether a value has this form: keys that it names, of these types; each of a list alike."""
    if isinstance(form, type):
        return isinstance(value, form) and bool(value)
    if isinstance(form, dict):
        return isinstance(value, dict) and value.keys() == form.keys() and all(fits(value[k], form[k]) for k in form)
    if isinstance(form, list):
        return isinstance(value, list) and bool(value) and all(fits(each, form[0]) for each in value)
    return value == form


def test_a_secret_from_a_store_has_the_form_that_its_operator_wants() -> None:
    """As its documentation has it, looked up by hand; every file that the settings name is in it."""
    (secret,) = [each for each in rendered(EVERYTHING) if each["kind"] == "ExternalSecret"]
    assert fits({key: value for key, value in secret.items() if key != "metadata"}, EXTERNAL_SECRET)
    assert secret["spec"]["target"]["name"] == secret["metadata"]["name"] == "riverkeep"
    settings = tomllib.loads((KUBERNETES / "riverkeep.toml").read_text())
    named = {settings["admin"]["token_file"], settings["serving"]["api_key_file"]}
    assert {each["secretKey"] for each in secret["spec"]["data"]} == {Path(file).name for file in named}


def test_the_job_of_a_round_is_what_the_values_say() -> None:
    """Of all of them, once the daemon has filled it in; a service of answers has no label for it."""
    (text,) = [each["data"]["job.yaml"] for each in rendered(EVERYTHING) if "job.yaml" in each.get("data", {})]
    job = manifest(as_template(yaml.safe_load(text)), RUN)
    kubernetes_validate.validate(job, "1.37.0", strict=True)
    pod, labels = job["spec"]["template"]["spec"], job["spec"]["template"]["metadata"]["labels"]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert job["spec"]["template"]["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert (pod["priorityClassName"], pod["runtimeClassName"], pod["nodeSelector"]) == (
        "batch",
        "nvidia",
        {"pool": "gpu"},
    )
    assert pod["containers"][0]["image"] == "riverkeep:cuda"
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    for each in rendered(EVERYTHING):
        if each["kind"] == "Service":
            assert not each["spec"]["selector"].items() <= labels.items()
        if each["metadata"]["name"] == "riverkeep-learner":
            assert each["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
            assert "egress" not in each["spec"]


def test_two_releases_share_nothing() -> None:
    """Neither a name nor a selector."""
    first, second = (rendered(EVERYTHING, name) for name in ("riverkeep-news", "laws"))
    names = [{(each["kind"], each["metadata"]["name"]) for each in objects} for objects in (first, second)]
    shared = {("ExternalSecret", "riverkeep")}
    assert names[0] & names[1] == shared
    assert ("StatefulSet", "riverkeep-news") in names[0]
    assert ("StatefulSet", "laws-riverkeep") in names[1]
    for objects, release in ((first, "riverkeep-news"), (second, "laws")):
        for each in objects:
            selector = each.get("spec", {}).get("selector") or each.get("spec", {}).get("podSelector")
            if selector:
                labels = selector.get("matchLabels", selector)
                assert labels["app.kubernetes.io/instance"] == release, each["kind"]


def test_its_variables_are_settings(tmp_path: Path) -> None:
    """What the chart writes into the environment is taken by the program, with the settings that it mounts."""
    (daemon,) = [each for each in rendered(EVERYTHING) if each["kind"] == "StatefulSet"]
    environment = {each["name"]: each["value"] for each in daemon["spec"]["template"]["spec"]["containers"][0]["env"]}
    settings = next(each for each in rendered(EVERYTHING) if "riverkeep.toml" in each.get("data", {}))
    (tmp_path / "riverkeep.toml").write_text(settings["data"]["riverkeep.toml"])
    taken = load(tmp_path / "riverkeep.toml", environment)
    assert taken.streams.group_id == "river"
    assert taken.learner.save_seconds == 60
    assert taken.serving.tls_cert_file == taken.admin.tls_cert_file == Path("/run/secrets/riverkeep-tls/tls.crt")


def test_settings_of_ones_own_take_the_place_of_the_base_ones() -> None:
    """And pods begin anew when they change."""
    text = (KUBERNETES / "riverkeep.toml").read_text() + "\n[gate]\nmax_harm_per_gain = 0.25\n"
    before, after = rendered(), rendered({"settings": text})
    made = {each["kind"]: each for each in after}
    assert tomllib.loads(made["ConfigMap"]["data"]["riverkeep.toml"])["gate"] == {"max_harm_per_gain": 0.25}
    sums = [
        each["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        for objects in (before, after)
        for each in objects
        if each["kind"] == "StatefulSet"
    ]
    assert sums[0] != sums[1]


def test_the_rules_are_the_alerts_and_what_is_recorded() -> None:
    """Not a copy of them."""
    (rules,) = [each for each in rendered(EVERYTHING) if each["kind"] == "PrometheusRule"]
    groups = [group for path in (ALERTS, RECORDING) for group in yaml.safe_load(path.read_text())["groups"]]
    assert rules["spec"] == {"groups": groups}


def test_alerts_name_the_place_where_people_read() -> None:
    """Each its own page; what is recorded has none."""
    values = {"monitoring.rules.enabled": True, "monitoring.rules.runbookUrl": "https://wiki.example/river/%s.html"}
    (made,) = [each for each in rendered(values) if each["kind"] == "PrometheusRule"]
    alerts = [rule for group in made["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 20
    for rule in alerts:
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example/river/{rule['alert']}.html"
    refused = run(helm(), "template", str(CHART), "--set", "monitoring.rules.runbookUrl=https://wiki.example/river/")
    assert "runbookUrl" in refused.stdout


def test_who_may_ask_keeps_no_scraper_out() -> None:
    """Metrics are at both ports: whoever restricts one lets Prometheus in at both."""

    def peers(port: str, **values: object) -> object:
        on = {"networkPolicy.enabled": True} | {f"networkPolicy.{name}": value for name, value in values.items()}
        (policy,) = [each for each in rendered(on) if each["kind"] == "NetworkPolicy"]
        (rule,) = [each for each in policy["spec"]["ingress"] if each["ports"] == [{"port": port}]]
        return rule.get("from")

    gateway, prometheus = ({"podSelector": {"matchLabels": {"app": name}}} for name in ("gateway", "prometheus"))
    assert peers("serving", answers=[gateway], scrapers=[prometheus]) == [gateway, prometheus]
    assert peers("admin", admin=[gateway], scrapers=[prometheus]) == [gateway, prometheus]
    # Who restricts nothing still lets everybody in.
    assert peers("serving", scrapers=[prometheus]) is None
    assert peers("admin", answers=[gateway], scrapers=[prometheus]) is None


def test_a_value_that_is_misspelt_is_refused() -> None:
    """By the schema, which knows each of the values that there are."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    for file in VALUES:
        jsonschema.validate(yaml.safe_load(file.read_text()), schema)
    refused = run(helm(), "template", "riverkeep", str(CHART), "--set", "replicas.autoscalling.enabled=true")
    assert refused.returncode != 0
    assert "autoscalling" in refused.stdout


def test_a_packaged_chart_has_all_that_it_needs(tmp_path: Path) -> None:
    """Also what lies elsewhere in this checkout."""
    packed = run(helm(), "package", str(CHART), "--destination", str(tmp_path))
    assert packed.returncode == 0, packed.stdout
    (archive,) = tmp_path.glob("riverkeep-*.tgz")
    shown = run(helm(), "template", "riverkeep", str(archive), "--set", "monitoring.rules.enabled=true")
    assert "RiverkeepDown" in shown.stdout or "alert:" in shown.stdout
    assert 'state_dir = "/var/lib/riverkeep"' in shown.stdout
