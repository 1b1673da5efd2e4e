"""The page of all settings is what the program reads."""

import json
import re

from daemon.settings.fields import EACH, dot, walk
from daemon.settings.load import load
from daemon.settings.reference import default_text
from daemon.settings.tree import Settings
from tests.docs.settings_page import page, variable
from tests.docs.test_docs import ROOT

SETTINGS = tuple(walk(Settings))


def test_the_page_is_of_this_code() -> None:
    """Made anew it is the same."""
    remedy = "run: python -m tests.docs.settings_page > docs/settings.md"
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), remedy


def test_every_setting_is_there_with_its_variable() -> None:
    """Once, in the section of its table, whole rows of a table."""
    found = []
    for section in page().split("\n## ")[1:]:
        table = re.sub(r"[`\[\]]", "", section.partition("\n")[0])
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        for row in rows:
            cells = re.split(r"(?<!\\\\) \| ", row.strip("| "))
            assert len(cells) == 4, row
            name = cells[0].strip("`")
            found.append((name if table == "Outside of tables" else f"{table}.{name}", cells[2].split("`")[1]))
    assert found == sorted(found, key=found.index)
    assert sorted(found) == sorted((dot(each.path).replace("[]", ""), variable(each.path)) for each in SETTINGS)


def test_each_variable_with_its_default_changes_nothing() -> None:
    """So each is read: what is none of them would be refused."""
    written = {
        variable(each.path): _plain(default_text(each.path, each.info)) for each in SETTINGS if EACH not in each.path
    }
    model = {"RIVERKEEP_MODEL__PATH": "/models/my-model"}
    assert load(None, written | model) == load(None, model)
    topics = json.dumps([{"name": "news"}])
    (topic,) = load(None, model | {"RIVERKEEP_STREAMS__TOPICS": topics}).streams.topics
    assert topic.name == "news"


def _plain(toml: str) -> str:
    """As a variable has it: without the quotes of a text."""
    return str(json.loads(toml)) if toml.startswith('"') else toml
