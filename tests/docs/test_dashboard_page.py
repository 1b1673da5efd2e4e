"""The page of the dashboard names panels that there are, each on its dashboard."""

import json
import re

import pytest

from tests.docs.test_docs import ROOT

PAGE = (ROOT / "docs" / "dashboard.md").read_text()
ROWS = re.findall(r"^\| (Overview|Learning|Streams|Serving) \| ([^|]+) \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("dashboard", "panel", "then"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_a_panel_that_is_to_be_looked_at_is_there(dashboard: str, panel: str, then: str) -> None:
    """Also those to which it leads on."""
    found = panels(dashboard)
    assert panel in found
    for other, names in re.findall(r"\b(Learning|Streams|Serving): ([A-Z][^|;]*)", then):
        assert set(names.strip().split(", ")) <= panels(other)


def panels(dashboard: str) -> set[str]:
    """The titles of what a dashboard shows."""
    file = ROOT / "deploy" / "grafana" / "dashboards" / f"{dashboard.lower()}.json"
    return {each["title"] for each in json.loads(file.read_text())["panels"]}


def test_each_dashboard_is_looked_at() -> None:
    """None is left out of the first look."""
    assert {row[0] for row in ROWS} == {"Overview", "Learning", "Streams", "Serving"}
