"""A client that a program makes of the OpenAPI documents asks a running service, and understands what it answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiopenapi3 import OpenAPI
from aiopenapi3.errors import HTTPError

from daemon.admin.token import read_token
from daemon.lifecycle.lock import holder_of
from tests.daemon_harness import Daemon, daemon, fake_learner, fill, make_home
from tests.models import make_causal

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi-admin.json").read_text())


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with some text, on which nobody trains."""
    home = make_home(tmp_path_factory.mktemp("home"), model=make_causal(tmp_path_factory.mktemp("model") / "m"))
    fill(home, before=40, fresh=60)
    with daemon(home, learner=fake_learner("good")) as running:
        running.until(lambda control: control.status(), what="an answer")
        yield running


@pytest.fixture
def client(started: Daemon) -> Any:
    """Made of the document, with the token."""
    settings = started.home.settings
    holder = holder_of(settings.state_dir)
    assert holder is not None
    document = json.dumps(DOCUMENT | {"servers": [{"url": holder.admin}]})
    made = OpenAPI.loads(f"{holder.admin}/openapi.json", document, httpx2.Client)
    made.authenticate(token=read_token(settings.admin, settings.state_dir))
    return made


def test_it_reads_what_is_there(client: Any, started: Daemon) -> None:
    """By the operations' own names; each answer is checked against the document by the client itself."""
    with started.control as control:
        assert client._.memory().kept[0].source == control.memory()["kept"][0]["source"]
        assert client._.status().memory.root.fresh_samples == control.status()["memory"]["fresh_samples"]
    assert client._.rounds(parameters={"limit": 5}) == []
    traced = client._.trace_page(parameters={"topic": "file:before", "partition": 0, "offset": 0, "text": True})
    assert [record.offset for record in traced.records] == [0]
    assert client._.dead_letters(parameters={"text": True}) == []


def test_it_changes_something_and_is_told_what_it_asked_wrongly(client: Any, started: Daemon) -> None:
    """A body goes out as the document says, and an error comes back in the form that it says."""
    client._.pause_rounds(data={"reason": "a client was made"})
    with started.control as control:
        assert control.status()["rounds_paused"]["reason"] == "a client was made"
    with pytest.raises(HTTPError):
        client._.round(parameters={"number": 4711})
