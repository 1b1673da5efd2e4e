"""Each alert has a page that tells what to do, and each page is of an alert; what it names is there."""

import re
from pathlib import Path

import pytest
import yaml

from daemon.settings.fields import find
from daemon.settings.tree import Settings
from tests.docs.alerts_page import page
from tests.docs.test_docs import NO_COMMAND, _quoted, _resolve

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs/runbooks").glob("Riverkeep*.md")}
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
HEADINGS = ["## What it means", "## What to look at", "## What to do"]


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    """`runbook_url` names it, and the index leads to it."""
    assert PAGES.keys() == ALERTS.keys()
    for name, rule in ALERTS.items():
        assert (ROOT / rule["annotations"]["runbook_url"]).name == f"{name}.md"
        assert (ROOT / rule["annotations"]["runbook_url"]).is_file()
    index = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
    assert index == page(), "run: python -m tests.docs.alerts_page > docs/runbooks/README.md"
    assert set(re.findall(r"\]\((\w+)\.md\)", index)) == PAGES.keys()
    assert "{{" not in index


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_says_what_it_means_what_to_look_at_and_what_to_do(name: str) -> None:
    """Under its alert's name, with the severity that routes it; commands, settings and links are there."""
    text = PAGES[name]
    assert text.startswith(f"# {name}\n\nSeverity `{ALERTS[name]['labels']['severity']}`: ")
    assert re.findall(r"^## .*", text, re.MULTILINE) == HEADINGS
    for part in text.split("\n## ")[1:]:
        assert len(part.partition("\n")[2].strip()) > 40
    for words in _quoted(text):
        if words[0] not in NO_COMMAND:
            _resolve(words)
    for key in re.findall(rf"`((?:{'|'.join(Settings.model_fields)})(?:\.[a-z_0-9]+)+)`", text):
        assert find(Settings, tuple(key.split("."))) is not None, key
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / "docs/runbooks" / link).is_file(), link
