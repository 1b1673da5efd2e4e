"""A real Prometheus for tests: it scrapes what runs, and answers what a dashboard and its alerts would ask."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.brokers import free_port
from tests.harness import get, wait_until
from tests.unproven import PROMETHEUS, program

SCRAPE_SECONDS = 0.5
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """How to ask it."""

    url: str

    def get(self, path: str, **query: Any) -> Any:
        """The data of an answer of its API; an expression that fails is an error."""
        answer = get(f"{self.url}/api/v1/{path}", params=query, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str, *, at: float | None = None) -> dict[Labels, float]:
        """What an expression is now, or was at a time in unix seconds, by labels."""
        found = self.get("query", query=expression, **({} if at is None else {"time": at}))["result"]
        return {frozenset(each["metric"].items()): float(each["value"][1]) for each in found}

    def history(self, expression: str, *, since: float, until: float) -> list[float]:
        """What an expression was at each scrape, of all series."""
        found = self.get("query_range", query=expression, start=since, end=until, step=SCRAPE_SECONDS)["result"]
        return [float(value) for each in found for _, value in each["values"]]

    def label_values(self, query: str) -> list[str]:
        """What Grafana's `label_values(selector, label)` finds."""
        matched = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert matched is not None, query
        found: list[str] = self.get(f"label/{matched[2]}/values", **{"match[]": matched[1]})
        return found

    def targets(self) -> list[Mapping[str, Any]]:
        """What it scrapes."""
        found: list[Mapping[str, Any]] = self.get("targets", state="active")["activeTargets"]
        return found


@contextmanager
def scraping(
    path: Path, jobs: Sequence[Mapping[str, Any]], *, rules: Sequence[Path] = (), scrape_s: float = SCRAPE_SECONDS
) -> Iterator[Prometheus]:
    """Run Prometheus on these scrape configurations; skips where it is not installed."""
    binary = program("prometheus", PROMETHEUS)
    often = {"scrape_interval": f"{int(1000 * scrape_s)}ms", "evaluation_interval": f"{int(1000 * scrape_s)}ms"}
    config = {"global": often, "rule_files": [str(rule) for rule in rules], "scrape_configs": list(jobs)}
    # JSON is YAML, and has no anchors.
    (path / "prometheus.yml").write_text(json.dumps(config))
    found = Prometheus(f"http://127.0.0.1:{free_port()}")
    command = [binary, f"--config.file={path}/prometheus.yml", f"--storage.tsdb.path={path}/data"]
    with (path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={found.url.removeprefix('http://')}"], stdout=log, stderr=log
        )
    try:
        wait_until(lambda: _is_ready(found, process, path), what="Prometheus")
        yield found
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(found: Prometheus, process: "subprocess.Popen[bytes]", path: Path) -> bool:
    assert process.poll() is None, (path / "prometheus.log").read_text()[-2000:]
    try:
        return get(f"{found.url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def jobs_of(config: Path) -> list[dict[str, Any]]:
    """The scrape configurations of an example file."""
    jobs: list[dict[str, Any]] = yaml.safe_load(config.read_text())["scrape_configs"]
    return jobs
