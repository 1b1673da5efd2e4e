"""The files by which Riverkeep is deployed, from wherever it is installed."""

import re
from pathlib import Path

import pytest

from daemon.cli import deployed
from daemon.errors import DaemonError
from daemon.exit_codes import ExitCode
from tests.command_line import riverkeep

DEPLOY = Path(__file__).parents[4] / "deploy"
EVERY = sorted(str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_each_file_is_under_one_name_that_is_listed(tmp_path: Path) -> None:
    """What is new in deploy/ has to be put on the list; a file on it twice would be written twice."""
    assert sorted(map(str, deployed.files())) == EVERY
    shown = riverkeep("deploy", "print", cwd=tmp_path).stdout
    assert re.findall(r"^(\S+)  +\S.*$", shown, re.MULTILINE) == list(deployed.WHAT)


@pytest.mark.parametrize("name", ["riverkeep.service", "deploy/alerts.yaml", "helm/riverkeep/.helmignore"])
def test_a_file_is_printed_as_it_is(tmp_path: Path, name: str) -> None:
    """To be piped where it belongs; by the name that the documentation has too."""
    printed = riverkeep("deploy", "print", name, cwd=tmp_path)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == (DEPLOY.parent / "deploy" / name.removeprefix("deploy/")).read_text()


@pytest.mark.parametrize("name", ["helm/riverkeep", "grafana/dashboards/", "./kubernetes"])
def test_of_a_folder_its_files_are_listed(tmp_path: Path, name: str) -> None:
    """Each can be printed by that name."""
    listed = riverkeep("deploy", "print", name, cwd=tmp_path).stdout.splitlines()
    assert listed == [each for each in EVERY if each.startswith(f"{name.removeprefix('./').rstrip('/')}/")]
    assert len(listed) > 3


def test_all_are_written_as_they_lie_to_each_other(tmp_path: Path) -> None:
    """Compose mounts what is beside it, a component changes the base beside it."""
    assert riverkeep("deploy", "print", "--into", "out", cwd=tmp_path).returncode == 0
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert sorted(written) == EVERY
    for name in EVERY:
        assert (tmp_path / "out" / name).read_bytes() == (DEPLOY / name).read_bytes()


def test_what_somebody_changed_is_not_written_over(tmp_path: Path) -> None:
    """Nothing is written then; with --force it is. Files that are there as they should be are no obstacle."""
    (tmp_path / "alerts.yaml").write_text("groups: []\n")
    refused = riverkeep("deploy", "print", "--into", ".", cwd=tmp_path)
    assert refused.returncode == ExitCode.REFUSED
    assert "alerts.yaml: there already" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["alerts.yaml"]
    for _ in range(2):
        assert riverkeep("deploy", "print", "--into", ".", "--force", cwd=tmp_path).returncode == 0
    assert riverkeep("deploy", "print", "alerts.yaml", "--into", ".", cwd=tmp_path).returncode == 0
    assert (tmp_path / "alerts.yaml").read_bytes() == (DEPLOY / "alerts.yaml").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["alert.yaml"], "Did you mean alerts.yaml?"),
        (["../pyproject.toml"], "There is no ../pyproject.toml."),
        (["/etc/passwd"], "There is no /etc/passwd."),
        ([""], "There is no ."),
        (["alerts.yaml", "--force"], "--force is for --into"),
    ],
)
def test_what_is_not_there_is_a_usage_error(tmp_path: Path, arguments: list[str], told: str) -> None:
    """Nothing outside of deploy/ is ever read."""
    ran = riverkeep("deploy", "print", *arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (ExitCode.BAD_USAGE, "")
    assert told in ran.stderr


def test_an_installation_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And which path is missing."""
    monkeypatch.setattr(deployed, "PLACE", tmp_path)
    with pytest.raises(DaemonError, match="is not there: this installation is not whole"):
        deployed.files()
