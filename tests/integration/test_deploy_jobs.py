"""The component by which rounds are Jobs: Kubernetes knows it, it fits the daemon, and confines what it starts."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from daemon.jobs.manifest import DaemonPod, JobRun, manifest
from daemon.settings.jobs.template import read_template
from daemon.settings.load import load
from tests.integration.test_deploy import KUBERNETES, container, pod, run
from tests.unproven import KUBECTL, program

COMPONENT: Final = KUBERNETES.with_name("kubernetes-jobs")
RUN: Final = JobRun(
    name="riverkeep-round-000001-abcdef",
    state="0123456789abcdef",
    command=("/opt/riverkeep/bin/python", "-m", "learner"),
    arguments=("/var/lib/riverkeep/rounds/000001",),
    variables={"PYTHONUNBUFFERED": "1"},
    seconds=3600.0,
    daemon=DaemonPod("riverkeep-0", "uid", "riverkeep:0.1.0"),
)


def kustomized(
    tmp_path: Path, components: Sequence[str], *more: str, beside: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The objects of the base, with those of components and of the overlay's own, in one that says more."""
    kubectl = program("kubectl", KUBECTL)
    for place in (KUBERNETES, *(KUBERNETES.with_name(f"kubernetes-{name}") for name in components)):
        shutil.copytree(place, tmp_path / place.name)
    overlay = tmp_path / "overlay"
    overlay.mkdir(exist_ok=True)
    named = [*(f"../kubernetes-{name}" for name in components), *beside]
    lines = ["kind: Kustomization", "resources: [../kubernetes]", f"components: [{', '.join(named)}]", *more]
    (overlay / "kustomization.yaml").write_text("\n".join(lines))
    built = run(kubectl, "kustomize", str(overlay))
    assert built.returncode == 0, built.stdout
    return list(yaml.safe_load_all(built.stdout))


def objects() -> list[dict[str, Any]]:
    """Every object that the component adds."""
    names = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())["resources"]
    return [each for file in names for each in yaml.safe_load_all((COMPONENT / file).read_text())]


@pytest.mark.parametrize("version", ["1.29.0", "1.34.0", "1.37.0"])
def test_kubernetes_knows_every_field(version: str) -> None:
    """Of each object, and of the Job that the daemon makes of the template; no file is named by nobody."""
    for each in (*objects(), manifest(read_template(COMPONENT / "job.yaml"), RUN)):
        kubernetes_validate.validate(each, version, strict=True)
    kustomization = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    named = {*kustomization["resources"], *(each["path"] for each in kustomization["patches"]), "job.yaml"}
    assert {"kustomization.yaml", *named} == {each.name for each in COMPONENT.iterdir()}


def test_a_learner_is_as_confined_as_the_daemon() -> None:
    """The same user, who reads and writes the same files, the same standard, and no account at all."""
    made = manifest(read_template(COMPONENT / "job.yaml"), RUN)["spec"]["template"]["spec"]
    for name in ("securityContext", "enableServiceLinks", "automountServiceAccountToken"):
        assert made[name] == pod()[name]
    assert "serviceAccountName" not in made
    assert made["containers"][0]["securityContext"] == container()["securityContext"]
    assert not [each for each in made["volumes"] if "secret" in each]


def test_daemon_and_learner_have_the_rounds_at_one_place(tmp_path: Path) -> None:
    """On a volume that both may mount, where the settings say; the memory stays on the daemon's own."""
    built = kustomized(tmp_path, ["jobs"], "namespace: ml")
    (daemon,) = [each["spec"]["template"]["spec"] for each in built if each["kind"] == "StatefulSet"]
    (binding,) = [each for each in built if each["kind"] == "RoleBinding"]
    assert daemon["automountServiceAccountToken"] is True
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": daemon["serviceAccountName"], "namespace": "ml"}]
    (own,) = daemon["containers"]
    mounts = {each["name"]: Path(each["mountPath"]) for each in own["volumeMounts"]}
    claims = {each["name"]: each.get("persistentVolumeClaim", {}).get("claimName") for each in daemon["volumes"]}
    template = read_template(COMPONENT / "job.yaml")
    (mounted,) = [each for each in template.container["volumeMounts"] if each["name"] == "rounds"]
    (volume,) = [each for each in template.pod["volumes"] if each["name"] == "rounds"]
    assert Path(mounted["mountPath"]) == mounts["rounds"]
    assert volume["persistentVolumeClaim"]["claimName"] == claims["rounds"]
    settings = load(KUBERNETES / "riverkeep.toml", {each["name"]: each["value"] for each in own["env"]})
    assert settings.rounds_dir == mounts["rounds"]
    assert settings.jobs.template_file == mounts["jobs"] / "job.yaml"
    (claim,) = [each for each in objects() if each["kind"] == "PersistentVolumeClaim"]
    assert (claim["metadata"]["name"], claim["spec"]["accessModes"]) == (claims["rounds"], ["ReadWriteMany"])
    config = next(each for each in built if "job.yaml" in each.get("data", {}))
    assert yaml.safe_load(config["data"]["job.yaml"]) == template.job


def test_an_overlay_has_a_job_of_its_own(tmp_path: Path) -> None:
    """As the head of the component's kustomization says."""
    own = tmp_path / "overlay" / "job"
    own.mkdir(parents=True)
    (own / "job.yaml").write_text("kind: Job")
    head = (COMPONENT / "kustomization.yaml").read_text()
    lines = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
    (own / "kustomization.yaml").write_text("\n".join(lines[lines.index("kind: Component") - 1 :]))
    built = kustomized(tmp_path, ["jobs"], beside=["job"])
    config = next(each for each in built if "job.yaml" in each.get("data", {}))
    assert config["data"]["job.yaml"] == "kind: Job"
