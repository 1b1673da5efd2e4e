"""Numbers that no round, generation or dead letter has, wherever one can be given: an error that says so."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from prometheus_client import CollectorRegistry
from starlette.routing import Route
from starlette.testclient import TestClient

from daemon.admin.app import create_app
from daemon.admin.token import Token
from daemon.cli.main import cli, main
from daemon.control.bounds import LARGEST_ID
from daemon.control.operations import OPERATIONS
from daemon.exit_codes import ExitCode
from tests.unit.daemon.kept import Kept

ODD: tuple[Any, ...] = (0, -1, 999, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 10**400, 1.5, True, "1", "x", None)
ODD_TEXTS = ("0", "-1", "+1", "999", str(2**63), str(10**30), "9" * 5_000, "1.5", "1e3", "٣", "x", "%00", "1%2F2")
BODIES = (
    ("/rollback", "generation"),
    *(("/comparisons", name) for name in ("first", "second", "max_tokens", "seed")),
    ("/trace", "partition"),
    ("/trace", "offset"),
    ("/streams/peek", "partition"),
    ("/streams/peek", "offset"),
    ("/streams/peek", "count"),
    ("/aside/release", "round"),
    ("/aside/drop", "round"),
    ("/aside/count", "round"),
    ("/dead-letters/replay", "ids"),
    ("/dead-letters/drop", "ids"),
)
PAGING = ("limit", "after", "before")
QUERIES = [
    *(("/rounds", name) for name in ("limit", "before")),
    *(("/dead-letters", name) for name in ("limit", "before", "text")),
    *(("/memory/gaps", name) for name in ("limit", "before")),
]
NEEDED: dict[tuple[str, ...], list[str]] = {
    ("memory", "find"): ["someone"],
    ("round", "show"): ["--json"],
}
"""What a command, or an option of one, cannot do without."""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A store with a generation and documents."""
    kept = Kept(tmp_path)
    kept.base()
    kept.arrive(20)
    with kept.store:
        yield kept


@pytest.fixture
def client(kept: Kept) -> TestClient:
    """The admin surface on that store."""
    app = create_app(kept.control, CollectorRegistry(), Token("token"))
    return TestClient(app, headers={"authorization": "Bearer token"}, raise_server_exceptions=False)


def is_said(response: Any) -> None:
    """Not an answer, and not a fault of the daemon's: an error with its kind and words."""
    assert response.status_code in (400, 404, 409), response.text
    assert response.json()["error"]["message"]


def test_every_path_with_a_number_says_that_there_is_no_such_round(client: TestClient) -> None:
    """As there is none of any number; of generations there is the base, which is 0."""
    assert isinstance(client.app, object)
    routes = [route for route in client.app.routes if isinstance(route, Route)]  # type: ignore[attr-defined]  # typed as any ASGI app
    numbered = [route for route in routes if "{" in route.path]
    assert len(numbered) >= 3
    for route in numbered:
        for text in ODD_TEXTS:
            if route.path == "/generations/{number}" and text.strip("0") == "":
                continue
            (method,) = (route.methods or set()) - {"HEAD"}
            body = {"choice": "left"} if route.path.endswith("/pick") else None
            response = client.request(method, route.path.format(number=text, other="7"), json=body)
            is_said(response)
            assert response.status_code == 404, (route.path, text[:20], response.text)


def test_every_body_with_a_number_is_among_those_that_are_tried() -> None:
    """A field that is added is tried too."""
    bodies = [operation for operation in OPERATIONS if operation.has_body]
    fields = {
        field.alias or name
        for body in bodies
        for name, field in body.arguments.model_fields.items()
        if "int" in str(field.annotation) and f"{{{name}}}" not in body.path
    }
    assert fields == {*(field for _, field in BODIES), "limit", "after"}


@pytest.mark.parametrize(("path", "field"), BODIES)
def test_odd_numbers_in_a_body_are_refused(client: TestClient, kept: Kept, path: str, field: str) -> None:
    """And nothing is changed: no ids at all would mean every dead letter."""
    kept.die(b"{")
    for odd in ODD:
        if odd is None or (field == "ids" and odd in (999, 2**63 - 1)):
            continue
        content = json.dumps({field: [odd] if field == "ids" else odd})
        # The base serves, so that generation 0 cannot be gone back to either.
        is_said(client.post(path, content=content))
    assert kept.store.counts().quarantine_rows == 1


@pytest.mark.parametrize("path", ["/dead-letters/replay", "/dead-letters/drop"])
def test_dead_letters_that_are_not_there_are_not_all(client: TestClient, kept: Kept, path: str) -> None:
    """Ids that nothing has choose nothing."""
    kept.die(b"{")
    answer = client.post(path, json={"ids": [999, 2**63 - 1]}).json()
    assert not any(answer.values()), answer
    assert kept.store.counts().quarantine_rows == 1


@pytest.mark.parametrize("name", ["limit", "after"])
def test_odd_numbers_that_page_a_body_are_refused_or_bounded(client: TestClient, name: str) -> None:
    """Beyond what there is lies nothing, which is an answer."""
    for odd in ODD:
        if odd is not None:
            response = client.post("/memory/find", content=json.dumps({"key": "someone", name: odd}))
            assert response.status_code in (200, 400, 404), (odd, response.text)


@pytest.mark.parametrize(("path", "name"), QUERIES)
def test_odd_numbers_in_a_query_are_refused_or_bounded(client: TestClient, path: str, name: str) -> None:
    """Nothing is ever a fault of the daemon's."""
    for text in ODD_TEXTS:
        response = client.get(path, params={name: text})
        assert response.status_code in (200, 400), (text[:20], response.text)
    # As far as the command line lets one page, whether a daemon runs or not.
    assert client.get(path, params={name: str(LARGEST_ID)}).status_code == 200


def numeric() -> Iterator[tuple[list[str], click.Parameter]]:
    """Every command that takes a number, and the parameter."""
    pending: list[tuple[list[str], click.Command]] = [([], cli)]
    while pending:
        words, command = pending.pop()
        for parameter in command.params:
            if isinstance(parameter.type, click.types.IntParamType):
                yield [*words, "--yes"] if "yes" in {one.name for one in command.params} else words, parameter
        if isinstance(command, click.Group):
            context = click.Context(command)
            named = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
            pending += [([*words, name], nested) for name, nested in named if nested is not None]


def run(home: Path, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a command, as a shell sees it."""
    monkeypatch.setattr(sys, "argv", ["riverkeep", "-c", str(home / "riverkeep.toml"), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(("words", "parameter"), list(numeric()), ids=str)
def test_odd_numbers_on_the_command_line_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    parameter: click.Parameter,
) -> None:
    """Exit status 2 or 4, and a sentence; what pages is given what there is."""
    kept = Kept(tmp_path)
    kept.base()
    kept.store.close()
    (tmp_path / "riverkeep.toml").write_text(f'state_dir = "{kept.settings.state_dir}"\n[model]\npath = "model"\n')
    for text in ("-1", str(2**63), str(10**30), "9" * 5_000, "1.5", "x"):
        needed = NEEDED.get(tuple(words), NEEDED.get((words[0], str(parameter.name)), []))
        option = [*needed, parameter.opts[0], text] if isinstance(parameter, click.Option) else ["--", text]
        code = run(tmp_path, [*words, *option], monkeypatch)
        said = capsys.readouterr()
        # Beyond the last there is nothing, which is an answer.
        allowed = {ExitCode.BAD_USAGE, ExitCode.NOT_FOUND, *([ExitCode.OK] if parameter.name in PAGING else [])}
        assert code in allowed, (text[:20], said)
        assert said.err.strip() or code == ExitCode.OK
