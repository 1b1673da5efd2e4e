"""The schema that editors have takes what Riverkeep takes, and marks what it refuses by type, bound or name."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from checkpoints.kinds import KINDS
from daemon.settings.fields import EACH, walk
from daemon.settings.reference import reference
from daemon.settings.tree import Settings
from daemon.settings.written.schema import FILE_NAME, LINE, schema, schema_text
from tests.command_line import riverkeep

ROOT = Path(__file__).parents[4]
SCHEMA = schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def mistakes(text: str) -> list[str]:
    """What the schema says of a settings file."""
    return [error.json_path for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def test_the_shipped_schema_is_the_codes() -> None:
    """riverkeep.schema.json stands where the first line of riverkeep.toml says; both are made."""
    assert (ROOT / FILE_NAME).read_text() == schema_text(), f"run: riverkeep config schema > {FILE_NAME}"
    assert (ROOT / "riverkeep.toml").read_text().splitlines()[0] == LINE == f"#:schema ./{FILE_NAME}"
    Draft202012Validator.check_schema(SCHEMA)


def test_it_takes_the_shipped_settings() -> None:
    """The reference as it is, with each key uncommented, and the one of the Kubernetes base."""
    uncommented = re.sub(r"^#(?![ :]|$)", "", reference(), flags=re.MULTILINE)
    for text in (reference(), uncommented, (ROOT / "deploy/kubernetes/riverkeep.toml").read_text()):
        assert mistakes(text) == []


def test_it_takes_what_init_writes(tmp_path: Path) -> None:
    """For every kind of model; the schema lies beside it."""
    for kind in KINDS:
        riverkeep("init", f"{kind}.toml", "--kind", kind, cwd=tmp_path)
        text = (tmp_path / f"{kind}.toml").read_text()
        assert (text.splitlines()[0], mistakes(text)) == (LINE, [])
    assert (tmp_path / FILE_NAME).read_text() == schema_text()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[learner.recipe]\nkll = 1.0", "$.learner.recipe"),
        ('[admin]\nport = "high"', "$.admin.port"),
        ("[admin]\nport = 99999999", "$.admin.port"),
        ('[model]\nkind = "gpt"', "$.model.kind"),
        ("[[streams.topics]]\nname = 7", "$.streams.topics[0].name"),
        ("state_dirr = 'x'", "$"),
    ],
)
def test_it_marks_mistakes(text: str, where: str) -> None:
    """Of names, types and bounds, where they stand."""
    assert mistakes(text) == [where]


def test_none_unsets_what_can_be_unset() -> None:
    """TOML has no null."""
    assert mistakes('[learner.recipe]\nmax_steps = "none"') == []
    assert mistakes('[learner.recipe]\nepochs = "none"') == ["$.learner.recipe.epochs"]


def test_it_knows_every_setting_and_says_what_it_is_for() -> None:
    """Which is what an editor shows beside it."""
    for setting in walk(Settings):
        assert _find(setting.path)["description"] == setting.info.description, setting.path


def _find(path: tuple[str, ...]) -> dict[str, Any]:
    node = SCHEMA
    for name in path:
        node = node["items"] if name == EACH else node["properties"][name]
        if "$ref" in node and "properties" not in node:
            node = {**SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], **node}
    return node
