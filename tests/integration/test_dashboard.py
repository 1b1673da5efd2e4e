"""Every panel and every alert, asked of a real Prometheus that scraped a running service, against its own figures."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from streams.document import Partition, Pause
from streams.metrics import StreamsMetrics
from tests.brokers import Broker
from tests.integration.dashboard_figures import figures
from tests.integration.dashboard_life import ALERTS, DEPLOY, Life, address, as_grafana, lived
from tests.prometheus import Labels
from tests.unproven import PROMETHEUS, program

pytestmark = pytest.mark.slow

DASHBOARDS = [json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))]
EVERY = [each for dashboard in DASHBOARDS for each in dashboard["panels"] if each["type"] != "row"]
PANELS = list({each["title"]: each for each in EVERY}.values())
"""Those of one title ask the same, and are looked at once."""
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
OF_CLASSIFIERS = {
    "riverkeep_slice_accuracy_ratio",
    "riverkeep_slice_macro_f1_ratio",
    "riverkeep_memory_labelled_samples",
}
SELECTOR = re.compile(r"\b((?:riverkeep|process)_\w+|up)\b(\{[^}]*\})?")
FIRING = {"RiverkeepDeadLetterFlood", "RiverkeepTopicMissing"}
"""What is wrong in that life, pending or firing; everything else is well."""


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, embedded_broker: Broker) -> Iterator[Life]:
    """Lived once for all panels."""
    program("prometheus", PROMETHEUS)
    with lived(tmp_path_factory.mktemp("life"), embedded_broker) as one:
        yield one


@pytest.fixture(scope="module")
def expected(life: Life) -> dict[str, list[Any]]:
    """By panel and query."""
    return figures(life)


def legend(target: dict[str, Any], labels: Labels) -> str:
    """What a series is called; in a table, by its generation and slice or skill."""
    names = dict(labels)
    if target.get("format") == "table":
        return f"{names['generation']} {names.get('slice') or names['skill']}"
    return re.sub(r"\{\{(\w+)\}\}", lambda found: names.get(found[1], ""), target["legendFormat"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda each: str(each["title"]))
def test_a_panel_shows_what_the_service_says_of_itself(
    life: Life, expected: dict[str, list[Any]], panel: dict[str, Any]
) -> None:
    """Each query's figures by their legends: none missing, none more, none that is no number."""
    for target, shown in zip(panel["targets"], expected[panel["title"]], strict=True):
        of_classifier = any(name in target["expr"] for name in OF_CLASSIFIERS)
        instances = [address(life.classifier)] if of_classifier else life.instances
        # As it was then: from the rates' windows what happened first falls out while the panels are looked at.
        found = life.prometheus.values(as_grafana(target["expr"], instances), at=life.ended)
        by_legend = {legend(target, labels): value for labels, value in found.items()}
        assert len(by_legend) == len(found), f"several series of one name: {found}"
        assert by_legend == shown


@pytest.mark.parametrize("panel", PANELS, ids=lambda each: str(each["title"]))
def test_no_panel_ever_showed_what_is_no_number(life: Life, panel: dict[str, Any]) -> None:
    """At no scrape of the whole life, over all instances: before the first round, during one, after."""
    values = life.prometheus.label_values(_variable("instance"))
    assert set(values) == {*life.instances, address(life.classifier)}
    for target in panel["targets"]:
        expression = as_grafana(target["expr"], values)
        seen = life.prometheus.history(expression, since=life.began, until=life.ended)
        assert [value for value in seen if not math.isfinite(value)] == []


def _variable(name: str) -> str:
    """What a variable finds its values by, the same on all dashboards."""
    (found,) = {
        one["query"]["query"]
        for dashboard in DASHBOARDS
        for one in dashboard["templating"]["list"]
        if one["name"] == name
    }
    return str(found)


def test_panels_of_one_title_ask_the_same() -> None:
    """On whichever dashboards they are: what one shows, the others show."""
    asked = {(each["title"], tuple(target["expr"] for target in each["targets"])) for each in EVERY}
    assert len(asked) == len(PANELS)


def test_a_rounds_progress_and_its_learners_memory_were_seen_while_it_ran(life: Life) -> None:
    """Both are nothing between rounds."""
    for title, least in (("Progress of the round", 0.1), ("Memory of the processes", 100 * 2**20)):
        (panel,) = [each for each in PANELS if each["title"] == title]
        (target,) = [each for each in panel["targets"] if "round_step" in each["expr"] or "learner" in each["expr"]]
        expression = as_grafana(target["expr"], [life.instances[0]])
        seen = life.prometheus.history(expression, since=life.began, until=life.ended)
        assert max(seen) >= least, title


def test_the_annotation_marks_each_swap(life: Life) -> None:
    """The line that Grafana draws through all panels."""
    (asked,) = {one["expr"] for dashboard in DASHBOARDS for one in dashboard["annotations"]["list"]}
    expression = as_grafana(asked, life.instances)
    assert life.prometheus.history(expression, since=life.began, until=life.ended) != []


def test_prometheus_evaluates_every_alert_and_finds_what_is_wrong(life: Life) -> None:
    """None fails, and those that are active are those that should be."""
    groups = life.prometheus.get("rules", type="alert")["groups"]
    found = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert found.keys() == {rule["alert"] for rule in RULES}
    assert {name: rule["lastError"] for name, rule in found.items() if rule["health"] != "ok"} == {}
    assert {name for name, rule in found.items() if rule["state"] != "inactive"} == FIRING


@pytest.mark.parametrize(
    "expression",
    [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]],
)
def test_what_is_asked_for_exists_with_its_labels(life: Life, expression: str) -> None:
    """Each selector finds a series; of what shows only while it happens, one is made to happen."""
    instances = life.prometheus.label_values(_variable("instance"))
    for metric, labels in SELECTOR.findall(as_grafana(expression, instances)):
        selector = re.sub(r"==.*", "", metric + labels)
        found = life.prometheus.values(f"count(last_over_time({selector}[10m]))")
        assert found or _may_happen(metric, labels), selector


def _may_happen(metric: str, labels: str) -> bool:
    """Whether the streams would show such a series: of a pause for each reason, of a partition without an answer."""
    registry = CollectorRegistry()
    parts = {Partition("news", at): reason for at, reason in enumerate(Pause)}
    StreamsMetrics(registry).watch(dict, lambda: parts, tuple, lambda: (("news", 1),))
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    return any(
        sample.name == metric and wanted.items() <= sample.labels.items()
        for family in registry.collect()
        for sample in family.samples
    )
