"""What deploy/ holds is understood by systemd, Kubernetes, Prometheus and Grafana, and fits the code."""

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from daemon.admin.app import OPEN_PATHS
from daemon.cli import main
from daemon.settings.lifecycle import LifecycleSettings
from daemon.settings.tree import Settings
from serving.addresses import OPEN_ROUTES
from serving.door.turned_away import Endings
from serving.settings import ServingSettings
from tests.unproven import KUBECTL, PROMTOOL, SYSTEMD, program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
REPLICAS = DEPLOY / "kubernetes-replicas"
UNIT = DEPLOY / "riverkeep.service"
ALERTS = DEPLOY / "alerts.yaml"
RECORDING = DEPLOY / "recording.yaml"
EXPECTATIONS = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
NOT_DRAWN = {
    "what a person asked for, and saw the end of": {"riverkeep_comparisons"},
    "how long something took that the log tells of each time": {
        "riverkeep_checkpoint_publish_seconds",
        "riverkeep_last_swap_seconds",
        "riverkeep_last_round_ended_timestamp_seconds",
    },
    "what `riverkeep status` says of the round in progress, for who asks more often than Prometheus": {
        "riverkeep_round_phase",
        "riverkeep_round_phase_done_ratio",
        "riverkeep_round_phase_left_seconds",
    },
    "another view of what is drawn": {
        "riverkeep_answering_generation",
        "riverkeep_learner_ends",
        "riverkeep_memory_dead_letters",
        "riverkeep_memory_gap_offsets",
        "riverkeep_memory_quarantine_rows",
        "riverkeep_part_failures",
        "riverkeep_serving_canary_generation",
    },
    "trouble that ends by itself; what does not has an alert": {
        "riverkeep_commit_errors",
        "riverkeep_dead_letter_floods",
        "riverkeep_partitions_made_anew",
        "riverkeep_partitions_moved",
        "riverkeep_poll_errors",
        "riverkeep_serving_cancelled",
        "riverkeep_serving_failures",
        "riverkeep_stalled_partitions",
    },
    "amounts and sizes for capacity planning, seldom looked at": {
        "riverkeep_admin_connections",
        "riverkeep_checkpoints_kept",
        "riverkeep_dead_letters_published",
        "riverkeep_memory_bytes_per_token",
        "riverkeep_serving_classified_texts",
        "riverkeep_serving_connections",
        "riverkeep_serving_forward_passes",
        "riverkeep_serving_cache_tokens",
        "riverkeep_serving_loaded_generations",
        "riverkeep_trained_tokens",
    },
}
"""By the reason, the metrics that are on no panel and in no alert."""
METRIC = re.compile(r"\b(?:riverkeep|process|up)(?:_\w+)?\b(?=[\s{\[)]|$)")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A program's outcome, both streams in one."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )


# --- systemd ---


def unit_text() -> str:
    """The unit, with a program that this machine has where Riverkeep would be installed."""
    return UNIT.read_text().replace("/opt/riverkeep/bin/riverkeep", sys.executable)


def unit_value(key: str) -> str:
    """The value of a key that the unit has once."""
    (value,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert isinstance(value, str)
    return value


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Not even a warning."""
    analyze = program("systemd-analyze", SYSTEMD)
    (tmp_path / UNIT.name).write_text(unit_text())
    found = run(analyze, "verify", str(tmp_path / UNIT.name))
    assert (found.returncode, found.stdout) == (0, "")


def test_systemd_rates_the_unit_as_hardened(tmp_path: Path) -> None:
    """An exposure of at most 2.0 of 10."""
    analyze = program("systemd-analyze", SYSTEMD)
    (tmp_path / UNIT.name).write_text(unit_text())
    found = run(analyze, "security", "--offline=true", "--threshold=20", str(tmp_path / UNIT.name))
    assert found.returncode == 0, found.stdout


def test_systemd_waits_longer_than_the_service_takes_to_end() -> None:
    """Else a round that is being finished is killed."""
    assert float(unit_value("TimeoutStopSec")) > LifecycleSettings().grace_seconds


def test_systemd_reads_the_settings_where_the_service_looks() -> None:
    """The unit's environment is understood by the code."""
    from daemon.settings.load import CONFIG_VARIABLE, USUAL_PLACES

    variable, _, path = unit_value("Environment=RIVERKEEP_CONFIG").rpartition("=")
    assert variable == ""
    assert CONFIG_VARIABLE == "RIVERKEEP_CONFIG"
    assert Path(path) in USUAL_PLACES


def test_the_services_user_can_reach_its_settings() -> None:
    """Of all its directories systemd gives the configuration's alone to root, not to the unit's user."""
    assert int(unit_value("ConfigurationDirectoryMode"), 8) & 0o005 == 0o005


def test_wrong_settings_are_not_retried_for_ever() -> None:
    """The exit status that the unit gives up on is that of wrong settings."""
    from daemon.exit_codes import ExitCode

    assert int(unit_value("RestartPreventExitStatus")) == ExitCode.BAD_USAGE


# --- Kubernetes ---


def objects() -> list[dict[str, Any]]:
    """Every object of the base, read from the files that its kustomization names."""
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    return [each for file in kustomization["resources"] for each in yaml.safe_load_all((KUBERNETES / file).read_text())]


def stateful_set() -> dict[str, Any]:
    """The one object that runs something."""
    (found,) = [each for each in objects() if each["kind"] == "StatefulSet"]
    return found


def pod() -> dict[str, Any]:
    """Its pod."""
    spec = stateful_set()["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container() -> dict[str, Any]:
    """Its only container."""
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", ["1.29.0", "1.34.0", "1.37.0"])
@pytest.mark.parametrize("which", objects(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_knows_every_field(which: dict[str, Any], version: str) -> None:
    """Each object against the schema of three versions, unknown fields refused."""
    kubernetes_validate.validate(which, version, strict=True)


def test_the_base_names_every_file_and_only_files_that_exist() -> None:
    """A file that no kustomization names is applied by nobody."""
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    generated = [file for each in kustomization["configMapGenerator"] for file in each["files"]]
    assert {"kustomization.yaml", *kustomization["resources"], *generated} == {p.name for p in KUBERNETES.iterdir()}


def test_what_the_pod_refers_to_is_in_the_base() -> None:
    """Service account, governing service, settings; the model and the secrets are the user's."""
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    names = {(each["kind"], each["metadata"]["name"]) for each in objects()}
    volumes = {each["name"]: each for each in pod()["volumes"]}
    assert ("ServiceAccount", pod()["serviceAccountName"]) in names
    assert ("Service", stateful_set()["spec"]["serviceName"]) in names
    assert volumes["settings"]["configMap"]["name"] in [each["name"] for each in kustomization["configMapGenerator"]]
    claimed = {each["metadata"]["name"] for each in stateful_set()["spec"]["volumeClaimTemplates"]}
    assert {each["name"] for each in container()["volumeMounts"]} == set(volumes) | claimed


def test_services_select_the_pod_and_its_ports() -> None:
    """A typo in a label is a service without endpoints."""
    labels = stateful_set()["spec"]["template"]["metadata"]["labels"]
    ports = {each["name"] for each in container()["ports"]}
    services = [each for each in objects() if each["kind"] == "Service"]
    assert stateful_set()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for service in services:
        assert service["spec"]["selector"].items() <= labels.items()
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports
        assert service["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


def test_the_pod_meets_the_restricted_standard() -> None:
    """Pod Security Standards, profile restricted, and a root file system that cannot be written."""
    security, own = pod()["securityContext"], container()["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"] is True
    assert pod()["automountServiceAccountToken"] is False
    kinds = {key for each in pod()["volumes"] for key in each if key != "name"}
    assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}


def test_services_put_no_variables_into_the_pod() -> None:
    """RIVERKEEP_PORT of a service called riverkeep would be read as a setting, and refused."""
    assert pod()["enableServiceLinks"] is False


def test_one_pod_holds_the_memory() -> None:
    """Not one node: ReadWriteOnce would let a second pod in."""
    (claim,) = stateful_set()["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_probes_ask_paths_that_answer_without_a_token() -> None:
    """Liveness asks the process alone, so that a broker that is away restarts nothing."""
    live, start, ready = (container()[f"{name}Probe"]["httpGet"] for name in ("liveness", "startup", "readiness"))
    assert (live["path"], live["port"]) == ("/healthz", "admin") == (start["path"], start["port"])
    assert (ready["path"], ready["port"]) == ("/readyz", "probes")
    assert live["path"] in OPEN_PATHS
    assert ready["path"] in OPEN_ROUTES
    assert "/metrics" in OPEN_PATHS & OPEN_ROUTES


def test_kubernetes_waits_longer_than_the_service_takes_to_end() -> None:
    """The time in which requests turn elsewhere, and then the daemon's grace."""
    command, seconds = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert pod()["terminationGracePeriodSeconds"] > float(seconds) + LifecycleSettings().grace_seconds


def test_the_grace_time_is_enough_for_the_round_and_then_for_requests() -> None:
    """As the settings stand without a word, neither takes of the other's time."""
    lifecycle = LifecycleSettings()
    assert lifecycle.grace_seconds > lifecycle.round_grace_seconds + ServingSettings().drain_timeout_s
    assert lifecycle.grace_seconds >= 2 * ServingSettings().drain_timeout_s


def test_the_pods_settings_are_valid_and_fit_the_pod() -> None:
    """Ports, state and secrets lie where the pod mounts and opens them."""
    settings = Settings.model_validate(tomllib.loads((KUBERNETES / "riverkeep.toml").read_text()))
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    mounts = {each["name"]: Path(each["mountPath"]) for each in container()["volumeMounts"]}
    listened = (settings.serving.port, settings.serving.probe_port, settings.admin.port)
    assert (ports["serving"], ports["probes"], ports["admin"]) == listened
    assert settings.state_dir == mounts["state"]
    assert settings.model.path == mounts["model"]
    assert settings.admin.token_file is not None
    assert settings.serving.api_key_file is not None
    assert settings.admin.token_file.parent == settings.serving.api_key_file.parent == mounts["secrets"]


# --- replicas that answer ---


def replicas_kustomization() -> dict[str, Any]:
    """The component."""
    found = yaml.safe_load((REPLICAS / "kustomization.yaml").read_text())
    assert isinstance(found, dict)
    return found


def of_replicas() -> list[dict[str, Any]]:
    """Every object that the component adds."""
    names = replicas_kustomization()["resources"]
    return [each for file in names for each in yaml.safe_load_all((REPLICAS / file).read_text())]


def replica_pod() -> dict[str, Any]:
    """The pod of a replica."""
    (found,) = [each for each in of_replicas() if each["kind"] == "Deployment"]
    spec = found["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


@pytest.mark.parametrize("version", ["1.29.0", "1.34.0", "1.37.0"])
@pytest.mark.parametrize("which", of_replicas(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_knows_every_field_of_replicas(which: dict[str, Any], version: str) -> None:
    """Each object of the component against the schemas, and none of its files is named by nobody."""
    kubernetes_validate.validate(which, version, strict=True)
    named = {*replicas_kustomization()["resources"], *(each["path"] for each in replicas_kustomization()["patches"])}
    assert {"kustomization.yaml", *named} == {each.name for each in REPLICAS.iterdir()}


def test_replicas_follow_checkpoints_that_they_cannot_write() -> None:
    """On a volume that many may mount; the memory stays on one that a single pod has."""
    (claim,) = [each for each in of_replicas() if each["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (one,) = replica_pod()["containers"]
    (mount,) = [each for each in one["volumeMounts"] if each["name"] == "checkpoints"]
    settings = Settings.model_validate(tomllib.loads((KUBERNETES / "riverkeep.toml").read_text()))
    assert mount == {"name": "checkpoints", "mountPath": str(settings.checkpoints_dir), "readOnly": True}
    assert one["args"] == ["serve"]
    assert one["args"][0] in main.COMMANDS
    ports = {each["name"]: each["containerPort"] for each in one["ports"]}
    assert (ports["serving"], ports["probes"]) == (settings.serving.port, settings.serving.probe_port)
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert one[name]["httpGet"]["path"] in OPEN_ROUTES
        assert one[name]["httpGet"]["port"] == "probes"
    assert replica_pod()["terminationGracePeriodSeconds"] > 5 + settings.serving.drain_timeout_s


def test_replicas_are_as_confined_as_the_daemon() -> None:
    """The same user, the same standard, no variables of services."""
    ours, theirs = replica_pod(), pod()
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "serviceAccountName"):
        assert ours[name] == theirs[name]
    assert ours["containers"][0]["securityContext"] == container()["securityContext"]


def test_kustomize_puts_base_and_replicas_together(tmp_path: Path) -> None:
    """Settings and image reach both, and the daemon writes where the replicas read."""
    kubectl = program("kubectl", KUBECTL)
    for place in (KUBERNETES, REPLICAS):
        shutil.copytree(place, tmp_path / place.name)
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    lines = ("kind: Kustomization", "resources: [../kubernetes]", "components: [../kubernetes-replicas]")
    (overlay / "kustomization.yaml").write_text("\n".join(lines))
    built = run(kubectl, "kustomize", str(overlay))
    assert built.returncode == 0, built.stdout
    pods = [
        each["spec"]["template"]["spec"] for each in yaml.safe_load_all(built.stdout) if "template" in spec_of(each)
    ]
    assert len(pods) == 2
    for one in pods:
        volumes = {each["name"]: each for each in one["volumes"]}
        assert volumes["settings"]["configMap"]["name"].startswith("riverkeep-")
        assert volumes["checkpoints"]["persistentVolumeClaim"]["claimName"] == "riverkeep-checkpoints"
        assert one["containers"][0]["image"] == "riverkeep:0.1.0"


def spec_of(which: dict[str, Any]) -> dict[str, Any]:
    """What an object is to be; empty where it is data."""
    return dict(which.get("spec", {}))


# --- the image ---


def test_the_image_has_every_room_and_runs_as_nobody_in_particular() -> None:
    """A room that is not copied is missed at the first start only."""
    text = (DEPLOY / "Containerfile").read_text()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    assert copied == {each.rstrip("*") for each in packages}
    (user,) = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert user == (str(pod()["securityContext"]["runAsUser"]), str(pod()["securityContext"]["runAsGroup"]))
    assert f"EXPOSE {ServingSettings().port} 8401 8710" in text


def test_the_image_takes_only_torch_from_another_index() -> None:
    """That index has not every version of the rest, and two at once could both supply any package."""
    text = (DEPLOY / "Containerfile").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("RUN") and "index-url" in line]
    assert re.fullmatch(r".* \$\{TORCH_INDEX:\+--no-deps --index-url \$\{TORCH_INDEX\}\} torch", line)


def test_one_image_has_one_name_everywhere() -> None:
    """What the head of the Containerfile builds is what all others pull, and says which version it is."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    text = (DEPLOY / "Containerfile").read_text()
    built = re.findall(r"^#   podman build -t (\S+) (--build-arg TORCH_INDEX)?", text, re.MULTILINE)
    assert built == [(f"riverkeep:{version}", ""), (f"riverkeep:{version}-cpu", "--build-arg TORCH_INDEX")]
    assert re.findall(r"^#   podman run .* (riverkeep\S*)$", text, re.MULTILINE) == [f"riverkeep:{version}"]
    for folder in (KUBERNETES, REPLICAS):
        images = yaml.safe_load((folder / "kustomization.yaml").read_text())["images"]
        assert images == [{"name": "riverkeep", "newTag": version}]
    chart = DEPLOY / "helm" / "riverkeep"
    told = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (told["version"], told["appVersion"]) == (version, version)
    assert yaml.safe_load((chart / "values.yaml").read_text())["image"]["tag"] == ""
    assert "image" not in yaml.safe_load((chart / "values-gpu.yaml").read_text())
    assert yaml.safe_load((chart / "values-cpu.yaml").read_text())["image"]["tag"] == f"{version}-cpu"
    composed = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    assert {each["image"] for each in composed.values() if "build" in each} == {f"riverkeep:{version}-cpu"}
    final = text.rpartition("\nFROM ")[2]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="\$\{(\w+)\}"', final))
    assert labels == {"version": "VERSION", "revision": "REVISION", "source": "SOURCE"}
    assert re.findall(r"^ARG (\w+)=(.*)$", final, re.MULTILINE) == [
        ("VERSION", version),
        ("REVISION", ""),
        ("SOURCE", ""),
    ]


# --- Prometheus and Grafana ---


@pytest.fixture(scope="module")
def of_the_daemon(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of every series that the daemon shows, collected from its rooms' registries."""
    registry = CollectorRegistry()
    _register(registry, tmp_path_factory.mktemp("store") / "riverkeep.db")
    return _series(registry)


@pytest.fixture(scope="module")
def of_serving() -> set[str]:
    """The names of every series that a serving process shows."""
    from serving.metrics import ServingMetrics

    registry = CollectorRegistry()
    ServingMetrics(registry)
    Endings("serving", registry)
    return _series(registry)


@pytest.fixture(scope="module")
def known_metrics(of_the_daemon: set[str], of_serving: set[str]) -> set[str]:
    """Every series that Prometheus finds."""
    return of_the_daemon | of_serving | {"up", "process_resident_memory_bytes"}


def _series(registry: CollectorRegistry) -> set[str]:
    return {family.name + suffix for family in registry.collect() for suffix in SUFFIXES[family.type]}


def _register(registry: CollectorRegistry, database: Path) -> None:
    from checkpoints.metrics import CheckpointsMetrics
    from daemon.assembly.disk_space import DiskSpaces
    from daemon.assembly.live_metrics import Live, LiveState
    from daemon.metrics import DaemonMetrics
    from daemon.rounds.current import PhaseWork
    from gate.metrics import KnowledgeMetrics
    from memory.metrics import MemoryMetrics
    from memory.settings import MemorySettings
    from memory.store import Store
    from streams.metrics import StreamsMetrics

    with Store.open(database, MemorySettings()) as store:
        shown = CollectorRegistry()
        MemoryMetrics(shown, store)
        shown.register(KnowledgeMetrics(store))
        families = list(shown.collect())
    registry.register(_Recorded(families))
    StreamsMetrics(registry).watch(dict, dict, tuple, tuple)
    CheckpointsMetrics(registry)
    DaemonMetrics(registry)
    Endings("admin", registry)
    work = PhaseWork(1, 2, "tokens", 3.0)
    live = Live((), None, "", 0, 0, 1, 1, 1.0, 0.5, serving_healthy=True, round_work=work)
    registry.register(LiveState(lambda: live))
    registry.register(DiskSpaces(Settings.model_validate({"state_dir": database.parent, "model": {"path": "m"}})))


class _Recorded:
    """Families as they were shown once: the store that they were read from is closed."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def describe(self) -> list[Any]:
        """Nothing."""
        return []

    def collect(self) -> list[Any]:
        """The families."""
        return self._families


def metrics_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression names."""
    return set(METRIC.findall(re.sub(r'"[^"]*"', '""', expression)))


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Every panel that shows something, on all dashboards."""
    return [each for path in DASHBOARDS for each in json.loads(path.read_text())["panels"] if each["type"] != "row"]


def test_prometheus_understands_the_alerts_and_the_example() -> None:
    """Promtool check, rules and scrape configuration."""
    promtool = program("promtool", PROMTOOL)
    files = (("rules", ALERTS), ("rules", RECORDING), ("config", DEPLOY / "prometheus.yml"))
    for what, path in files:
        found = run(promtool, "check", what, str(path))
        assert found.returncode == 0, found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPECTATIONS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_before(path: Path) -> None:
    """Promtool test rules, on series made for each alert."""
    found = run(program("promtool", PROMTOOL), "test", "rules", str(path))
    assert found.returncode == 0, found.stdout


def test_every_alert_has_been_made_to_fire() -> None:
    """An alert without an expectation is a hope."""
    fired = {
        case["alertname"]
        for path in EXPECTATIONS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """A summary, a runbook sentence, and a severity that routes."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["runbook"]) > 40
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"


def commands() -> Iterator[tuple[str, ...]]:
    """Every `riverkeep …` that a runbook tells to type."""
    for rule in rules():
        for text in re.findall(r"`riverkeep ([^`]*)`", rule["annotations"]["runbook"]):
            yield tuple(word for word in text.split() if word not in {"N", "ID"})


@pytest.mark.parametrize("words", sorted(set(commands())), ids=" ".join)
def test_every_command_in_a_runbook_exists(words: tuple[str, ...]) -> None:
    """Subcommands are reached, options are known."""
    path, options = [w for w in words if not w.startswith("-")], [w for w in words if w.startswith("-")]
    shown = CliRunner().invoke(main.cli, [*path, "--help"])
    assert shown.exit_code == 0, shown.output
    for option in options:
        assert option in shown.output


def test_alerts_name_only_metrics_that_exist(known_metrics: set[str]) -> None:
    """A renamed metric would silence its alert for ever."""
    named = {metric for rule in rules() for metric in metrics_in(rule["expr"])}
    assert named - known_metrics == set()


def test_the_dashboards_name_only_metrics_that_exist(known_metrics: set[str]) -> None:
    """A renamed metric would empty its panel."""
    named = {metric for each in panels() for target in each["targets"] for metric in metrics_in(target["expr"])}
    assert named - known_metrics == set()


def test_every_metric_is_drawn_or_watched_or_left_out_for_a_reason(known_metrics: set[str]) -> None:
    """What nobody sees might as well not be measured."""
    on_panels = {metric for each in panels() for target in each["targets"] for metric in metrics_in(target["expr"])}
    watched = {metric for rule in rules() for metric in metrics_in(rule["expr"])}
    left_out = set().union(*NOT_DRAWN.values())
    families = {re.sub(r"_(total|bucket|sum|count)$", "", metric) for metric in known_metrics if "riverkeep" in metric}
    seen = {re.sub(r"_(total|bucket|sum|count)$", "", metric) for metric in on_panels | watched}
    assert families - seen == left_out
    assert sum(map(len, NOT_DRAWN.values())) == len(left_out)


def test_no_metric_means_one_thing_here_and_another_there(of_the_daemon: set[str], of_serving: set[str]) -> None:
    """A sum over both targets would count it twice."""
    assert of_the_daemon & of_serving == set()


def test_every_counter_is_there_before_its_first_event(tmp_path: Path) -> None:
    """A series that is born with its first value has no rise, so that no rate, panel or alert would see the event."""
    from serving.addresses import ROUTES
    from serving.metrics import ServingMetrics
    from streams.metrics import StreamsMetrics

    registry, streams, serving = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    _register(registry, tmp_path / "riverkeep.db")
    StreamsMetrics(streams).begin(["news"])
    of_serving = ServingMetrics(serving)
    of_serving.begin_requests(ROUTES)
    of_serving.begin_generation(0)
    of_serving.keys.show(["alice"])
    shown = [family for one in (registry, streams, serving) for family in one.collect()]
    empty = {family.name for family in shown if family.type in ("counter", "histogram") and not family.samples}
    begun = {family.name for family in shown if family.samples}
    # Which errors of Kafka there will be nobody knows.
    assert empty - begun == {"riverkeep_poll_errors", "riverkeep_partitions_moved"} - begun


@pytest.mark.parametrize(
    "metric",
    ["riverkeep_slice_accuracy_ratio", "riverkeep_slice_macro_f1_ratio", "riverkeep_memory_labelled_samples"],
)
def test_a_dashboard_shows_what_a_classifier_knows(metric: str) -> None:
    """Its answers on each slice, and the balance of its labels, beside the losses."""
    assert any(metric in metrics_in(target["expr"]) for each in panels() for target in each["targets"])


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_laid_out_without_overlap(path: Path) -> None:
    """Each cell of the grid belongs to one panel, and each panel has an id of its own."""
    every = json.loads(path.read_text())["panels"]
    cells = [
        (x, y)
        for box in (each["gridPos"] for each in every)
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)
    assert len({each["id"] for each in every}) == len(every)


def test_every_panels_query_is_promql(tmp_path: Path) -> None:
    """Promtool parses each, as the expression of a rule."""
    promtool = program("promtool", PROMTOOL)
    groups = [
        {
            "name": f"{at}: {panel['title']}",
            "rules": [
                {"record": "x", "labels": {"query": str(query)}, "expr": re.sub(r"\$__?\w+", "1m", target["expr"])}
                for query, target in enumerate(panel["targets"])
            ],
        }
        for at, panel in enumerate(panels())
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    found = run(promtool, "check", "rules", str(tmp_path / "rules.yaml"))
    assert found.returncode == 0, found.stdout


def test_the_command_line_is_the_one_that_is_installed() -> None:
    """The unit, the image and the pod start `riverkeep run`."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["riverkeep"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert unit_value("ExecStart").endswith("/riverkeep run")
    assert container()["args"] == ["run"]
