"""Grafana's dashboards are what the tables of panels say, and lead to the pages of alerts."""

import json
import re
from typing import Any, Final

import pytest

from tests.docs.dashboards.building import DASHBOARDS, FOLDER, build
from tests.docs.test_runbooks import ALERTS, ROOT

COMMITTED: Final = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
SCHEMA: Final = 41
"""Of Grafana 11.6 and later."""


def panels(name: str) -> list[dict[str, Any]]:
    """A dashboard's, without the rows' heads."""
    return [each for each in json.loads(COMMITTED[name])["panels"] if each["type"] != "row"]


def test_the_files_are_of_these_tables() -> None:
    """Made anew they are the same, and there is no other."""
    assert {name: build(name) for name in DASHBOARDS} == COMMITTED


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_has_a_schema_of_today_and_an_address_of_its_own(name: str) -> None:
    """Found by its tag from the others, whose links keep time and instances."""
    dashboard = json.loads(COMMITTED[name])
    assert (dashboard["schemaVersion"], dashboard["uid"]) == (SCHEMA, f"riverkeep-{name}")
    (link,) = dashboard["links"]
    assert set(link["tags"]) <= set(dashboard["tags"])
    assert link["keepTime"]
    assert link["includeVars"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_rates_are_over_a_window_that_grafana_chooses(name: str) -> None:
    """One that has two scrapes in it however far one looks; what says `in an hour` or `a day` counts over those."""
    for panel in panels(name):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            windows = set(re.findall(r"\brate\([^\[]*\[([^\]]+)\]", target["expr"]))
            assert windows <= {"$__rate_interval"}, panel["title"]


def test_every_alert_is_reached_from_a_panel_and_every_link_leads_to_a_page() -> None:
    """The variable before it is the address of docs/runbooks."""
    links = [link for name in DASHBOARDS for panel in panels(name) for link in panel.get("links", ())]
    assert {link["title"] for link in links} == ALERTS.keys()
    for link in links:
        assert link["url"] == f"${{runbooks:raw}}{link['title']}.md"
        assert (ROOT / "docs/runbooks" / f"{link['title']}.md").is_file()
