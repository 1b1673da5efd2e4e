"""What the documents say is what the code does."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from daemon.cli.main import cli
from daemon.settings.fields import EACH, find, walk
from daemon.settings.load import load
from daemon.settings.reference import reference
from daemon.settings.tree import Settings

ROOT = Path(__file__).parents[2]
ROOMS = ("streams", "memory", "checkpoints", "learner", "gate", "serving", "daemon")
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*(ROOT / name for name in ("README.md", "DESCRIPTION.md", "CONTRIBUTING.md", "CHANGELOG.md")), *PAGES]
DEPLOYED = sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".json")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
# Files of the state directory and of a generation, and a key of its card: no settings and no metric.
CALLED_LIKE_OURS = frozenset({"admin.token", "learner.log", "model.safetensors.index.json", "riverkeep_version"})
# Words that a table header or a shell line may have after `riverkeep` without being a command.
NO_COMMAND = frozenset({"-c", "--config", "--help", "--version", "-h"})


def test_the_reference_equals_the_code() -> None:
    """riverkeep.toml is what `python -m daemon.settings.reference` writes now."""
    remedy = "run: python -m daemon.settings.reference > riverkeep.toml"
    assert (ROOT / "riverkeep.toml").read_text() == reference(), remedy


def test_the_reference_as_it_is_changes_nothing(tmp_path: Path) -> None:
    """With every key commented out, the file says nothing but its tables."""
    (tmp_path / "riverkeep.toml").write_text(reference())
    settings = load(tmp_path / "riverkeep.toml", {"RIVERKEEP_MODEL__PATH": "/m"})
    assert settings == load(None, {"RIVERKEEP_MODEL__PATH": "/m"})


def test_the_reference_uncommented_is_the_defaults(tmp_path: Path) -> None:
    """Each value that is shown is the default; only the model, the example topic and the example skill are not."""
    text = re.sub(r"^#(?![ :]|$)", "", reference(), flags=re.MULTILINE)
    (tmp_path / "riverkeep.toml").write_text(text)
    shown = load(tmp_path / "riverkeep.toml", {})
    assert [topic.name for topic in shown.streams.topics] == ["news"]
    assert [skill.name for skill in shown.evaluation.skills] == ["arithmetic"]
    plain = shown.model_copy(
        update={
            "streams": shown.streams.model_copy(update={"topics": ()}),
            "evaluation": shown.evaluation.model_copy(update={"skills": ()}),
        }
    )
    assert plain == load(None, {"RIVERKEEP_MODEL__PATH": str(shown.model.path)})


def test_the_reference_has_every_key_once() -> None:
    """Nothing that can be set is missing, nothing is there twice."""
    uncommented = re.sub(r"^#(?![ :]|$)", "", reference(), flags=re.MULTILINE)
    assert set(_keys(tomllib.loads(uncommented))) == {setting.path for setting in walk(Settings)}


def _keys(table: dict[str, object], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _keys(value, (*prefix, name))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _keys(value[0], (*prefix, name, EACH))
        else:
            yield (*prefix, name)


def test_every_setting_says_what_it_is_for() -> None:
    """A description that ends as a sentence."""
    for setting in walk(Settings):
        assert (setting.info.description or "").endswith((".", "…")), setting.path


@pytest.mark.parametrize("file", [*DOCUMENTS, *DEPLOYED, *SOURCES], ids=lambda path: path.name)
def test_nothing_is_installed_by_a_name_that_is_not_ours(file: Path) -> None:
    """No distribution is published: whoever registers the name would be given control. A checkout is installed."""
    assert not re.search(r"pip install\b[^`\n]*?[ '\"]riverkeep\b", file.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(document: Path) -> None:
    """Each `riverkeep …` that is written somewhere is a command, down to its subcommand and options."""
    for words in _invocations(document.read_text()):
        _resolve(words)


@pytest.mark.parametrize("file", DEPLOYED, ids=lambda path: path.name)
def test_commands_in_deploy_exist(file: Path) -> None:
    """Also those in the remarks of units, images and manifests, which a person copies."""
    text = file.read_text()
    installed = [match.split() for match in re.findall(r"/bin/riverkeep((?: +[^\s#|&;`)]+)+)", text)]
    for words in [*_quoted(text), *installed]:
        _resolve(words)


def test_commands_that_messages_name_exist() -> None:
    """An error at night says what to run: that must be there."""
    told = [words for path in SOURCES for words in _quoted(path.read_text())]
    assert len(told) > 20
    for words in told:
        _resolve(words)


def _quoted(text: str) -> list[list[str]]:
    """The words after `riverkeep` where the whole command stands in backticks."""
    return [match.split("|")[0].split() for match in re.findall(r"`riverkeep +([^`\n]+)`", text)]


def _invocations(text: str) -> Iterator[list[str]]:
    """The words after `riverkeep` in code: fenced blocks and inline."""
    code = "\n".join(re.findall(r"```.*?\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text))
    # Objects and releases of a cluster are called so too, but for what `kubectl exec` runs in a pod; and a user is.
    own = re.sub(r"^(?!.* -- ).*\b(?:kubectl|helm)\b.*$|^.*\bkubectl\b.* -- ", "", code, flags=re.MULTILINE)
    own = re.sub(r"-[ogu] riverkeep\b", "", own)
    for match in re.finditer(r"(?:^|[\s/(;&|])riverkeep((?: +[^\s#|&;`)]+)+)", own, re.MULTILINE):
        yield match[1].split()


def _resolve(words: list[str]) -> None:
    """Follow the words down the commands; every option must be one of theirs."""
    command: click.Command = cli
    context = click.Context(cli)
    options = _options(cli)
    for word in words:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in options, f"riverkeep {' '.join(words)}: no option {word}"
        elif isinstance(command, click.Group) and (nested := command.get_command(context, word)) is not None:
            command, options = nested, options | _options(nested)
        elif command is cli and words[0] not in NO_COMMAND:
            pytest.fail(f"riverkeep {' '.join(words)}: no command {word!r}")


def _options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}


# What changed names settings as they were.
@pytest.mark.parametrize(
    "document", [each for each in DOCUMENTS if each.name != "CHANGELOG.md"], ids=lambda path: path.name
)
def test_settings_in_documents_exist(document: Path, tmp_path: Path) -> None:
    """TOML blocks load, with a model where they name none; variables and dotted keys are settings."""
    text = document.read_text()
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        (tmp_path / "riverkeep.toml").write_text(block)
        load(tmp_path / "riverkeep.toml", {} if "[model]" in block else {"RIVERKEEP_MODEL__PATH": "/m"})
    for variable in re.findall(r"RIVERKEEP_([A-Z0-9_]+__[A-Z0-9_]+)", text):
        assert find(Settings, tuple(variable.lower().split("__"))) is not None, variable
    sections = "|".join(Settings.model_fields)
    for key in re.findall(rf"`((?:{sections})(?:\.[a-z_0-9]+)+)`", text):
        path = key.split(".")
        if key in CALLED_LIKE_OURS:
            continue
        assert ROOT.joinpath(*path).with_suffix(".py").is_file() or find(Settings, tuple(path)) is not None, key


def metrics() -> set[str]:
    """The names of all metrics that the code defines, without the suffixes that Prometheus adds."""
    names: set[str] = set()
    for room in ROOMS:
        package = importlib.import_module(room)
        for source in Path(package.__path__[0]).rglob("*.py"):
            names |= set(re.findall(r'"(riverkeep_[a-z0-9_]+)"', source.read_text()))
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_metrics_in_documents_exist(document: Path) -> None:
    """A metric that a document names is one that the code exports."""
    known = metrics()
    for name in re.findall(r"\briverkeep_[a-z0-9_]+", document.read_text()):
        stem = re.sub(r"_(total|bucket|count|sum)$", "", name)
        assert {name, stem} & known or name in CALLED_LIKE_OURS, name


def test_the_rooms_that_are_told_of_exist() -> None:
    """Each that the table for those who work on it names is a folder."""
    for name in re.findall(r"`([a-z]+)/`", (ROOT / "CONTRIBUTING.md").read_text()):
        assert (ROOT / name).is_dir(), name
