"""What deploy/compose starts: its paths are there, its commands are commands, and they do together what they should.

No container engine runs here: the commands of the containers are run as they stand, with the places of this machine in
the place of those in the containers, on the embedded broker.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from daemon.settings.load import load
from tests.brokers import Broker, free_port
from tests.harness import wait_until
from tests.integration.test_deploy import DEPLOY, ROOT, run
from tests.unproven import HADOLINT, PROMTOOL, program

COMPOSE: Final = DEPLOY / "compose"
FILE: Final = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = FILE["services"]
OWN: Final = ("before", "riverkeep", "feeder")
"""Those of Riverkeep's own image."""
ROLES: Final = ("fresh", "replay", "holdout")
BESIDE: Final = Path(sys.executable).parent


def bound(service: str) -> dict[str, Path]:
    """What a container sees of this checkout, by where it sees it."""
    mounts = [mount.split(":") for mount in SERVICES[service].get("volumes", ())]
    return {mount[1]: (COMPOSE / mount[0]).resolve() for mount in mounts if mount[0].startswith(".")}


def test_what_is_mounted_is_there_and_cannot_be_written() -> None:
    """A path that is missing becomes an empty directory in the container."""
    for name, service in SERVICES.items():
        for mount in service.get("volumes", ()):
            parts = mount.split(":")
            assert parts[0] in FILE["volumes"] or parts[2:] == ["ro"], mount
        for path in bound(name).values():
            assert path.exists(), path
            assert path.is_relative_to(ROOT)


def test_nothing_listens_beyond_this_machine() -> None:
    """Settings that are for a look have no keys."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_images_are_of_a_version_and_services_wait_for_services() -> None:
    """Not of whatever is the latest one day."""
    for service in SERVICES.values():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-cpu)?", service["image"])
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] != "service_healthy" or "healthcheck" in SERVICES[name]


def test_prometheus_reads_the_jobs_of_the_example(tmp_path: Path) -> None:
    """With alerts and recorded series beside it, where the container has them."""
    promtool = program("promtool", PROMTOOL)
    for place, source in bound("prometheus").items():
        shutil.copy(source, tmp_path / Path(place).name)
    checked = run(promtool, "check", "config", str(tmp_path / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout
    whole = [yaml.safe_load(path.read_text()) for path in (COMPOSE / "prometheus.yml", DEPLOY / "prometheus.yml")]
    assert whole[0]["rule_files"] == whole[1]["rule_files"]
    here, example = (each["scrape_configs"] for each in whole)
    assert [job["job_name"] for job in here] == [job["job_name"] for job in example]
    settings = load(COMPOSE / "riverkeep.toml", {})
    targets = [target for job in here for place in job["static_configs"] for target in place["targets"]]
    assert targets == [f"riverkeep:{settings.admin.port}", f"riverkeep:{settings.serving.port}"]


def test_grafana_finds_what_it_is_given() -> None:
    """A source of figures by the address that Prometheus has here, the dashboards' directory, and one to open on."""
    mounted = {Path(place): source for place, source in bound("grafana").items()}
    provisioning = Path("/etc/grafana/provisioning")
    (source,) = yaml.safe_load(mounted[provisioning / "datasources/riverkeep.yaml"].read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES
    (provider,) = yaml.safe_load(mounted[provisioning / "dashboards/riverkeep.yaml"].read_text())["providers"]
    dashboards = mounted[Path(provider["options"]["path"])]
    assert {path.stem for path in dashboards.iterdir()} == {"overview", "learning", "streams", "serving"}
    opened = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (mounted[opened.parent] / opened.name).is_file()


def test_the_image_is_built_of_what_it_copies() -> None:
    """And of nothing else: .dockerignore lets through what the Containerfile copies."""
    let_through = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    assert let_through == {name for line in lines for name in line.split()}
    built = SERVICES["riverkeep"]["build"]
    assert (COMPOSE / built["context"]).resolve() == ROOT
    assert (ROOT / built["dockerfile"]).is_file()


def test_hadolint_finds_nothing_wrong_with_the_containerfile() -> None:
    """Of its errors, warnings and hints."""
    beside = BESIDE / "hadolint"
    linted = run(str(beside) if beside.exists() else program("hadolint", HADOLINT), str(DEPLOY / "Containerfile"))
    assert (linted.returncode, linted.stdout) == (0, "")


class Here:
    """This machine's places in the place of the containers'."""

    def __init__(self, home: Path, broker: Broker) -> None:
        self.state = home / "state"
        self.state.mkdir()
        self.places = {
            "/var/lib/riverkeep": str(self.state),
            "/demo": str(bound("riverkeep")["/demo"]),
            "/feed.py": str(bound("feeder")["/feed.py"]),
            "kafka:9092": broker.bootstrap,
        }
        settings = home / "riverkeep.toml"
        ports = f"port = {free_port()}\n"
        text = self.placed((COMPOSE / "riverkeep.toml").read_text())
        text = text.replace('host = "0.0.0.0"', f'{ports}host = "127.0.0.1"', 1)
        settings.write_text(text.replace('host = "0.0.0.0"', f'port = {free_port()}\nhost = "127.0.0.1"', 1))
        self.environment = {
            **os.environ,
            "RIVERKEEP_CONFIG": str(settings),
            "RIVERKEEP_LEARNER__DEVICE": "cpu",
            "PATH": f"{BESIDE}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        self.log = home / "log"

    def placed(self, text: str) -> str:
        """A text that names places in the containers."""
        for theirs, ours in self.places.items():
            text = text.replace(theirs, ours)
        return text.replace("$$", "$")

    def words(self, service: str) -> list[str]:
        """What a container runs."""
        begin = SERVICES[service].get("entrypoint", ["riverkeep"])
        return [self.placed(word) for word in [*begin, *SERVICES[service].get("command", ())]]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    @contextmanager
    def running(self, service: str) -> Iterator["subprocess.Popen[bytes]"]:
        """While a container's command runs; it ends as an engine ends it."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(self.words(service), env=self.environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(90)

    def status(self) -> dict[str, Any] | None:
        """What the container's health is told by; None: it is not healthy."""
        asked = self.run(*SERVICES["riverkeep"]["healthcheck"]["test"][1:])
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def kept(self) -> int:
        """Samples in the memory, of text from before the stream too."""
        status = self.status()
        return 0 if status is None else sum(status["memory"][f"{role}_samples"] for role in ROLES)


@pytest.mark.slow
def test_the_commands_do_together_what_they_should(tmp_path: Path, embedded_broker: Broker) -> None:
    """Text from before the stream, a daemon that gets healthy, and a feeder that adds nothing when it begins again."""
    here = Here(tmp_path, embedded_broker)
    for _ in range(2):
        began = here.run(*here.words("before"))
        assert began.returncode == 0, began.stderr
    assert (here.state / "admin.token").stat().st_mode & 0o777 == 0o600
    with here.running("riverkeep") as daemon:
        wait_until(lambda: here.status() is not None, timeout_s=120, what=f"health ({here.log})")
        before = here.kept()
        for _ in range(2):
            fed = here.run(*here.words("feeder"), "0.01")
            assert fed.returncode == 0, fed.stderr
        sent = int(re.findall(r"of (\d+) addresses", fed.stdout)[0])
        assert fed.stdout.startswith(f"0 of {sent}")
        # Of those, a few are nearly the same as what came before the stream.
        wait_until(lambda: here.kept() - before > 0.9 * sent, timeout_s=120, what="all addresses")
        assert daemon.poll() is None
