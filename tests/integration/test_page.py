"""The page of a whole service: a round that ends while somebody looks, a token that is changed, an end under way."""

import re
import signal
from pathlib import Path

import httpx
import psutil

from daemon.admin.token import read_token
from daemon.processes.children import OWNER_VARIABLE
from tests.daemon_harness import daemon, fake_learner, fill, make_home
from tests.harness import PLAIN_HTTP, wait_until
from tests.unit.daemon.page.browsers import FORM_TOKEN, HTML
from tests.unit.daemon.rooms import tiny_model


def sign_in(client: httpx.Client, token: str) -> httpx.Response:
    """As a browser does."""
    form = FORM_TOKEN.search(client.get("/sign-in").text)
    assert form is not None
    return client.post("/sign-in", data={"form_token": form[1], "token": token, "name": "ada"})


ASKED = {"prompt": "a prompt of nobody's business", "first": "0", "second": "1", "max_tokens": "9"}


def _form_token(client: httpx.Client) -> str:
    form = FORM_TOKEN.search(client.get("/comparisons").text)
    assert form is not None
    return form[1]


def _comparing(state_dir: Path) -> psutil.Process:
    """The process of the comparison that is under way."""

    def found() -> psutil.Process | None:
        mine = (each for each in psutil.process_iter() if "serving.comparison" in " ".join(_words(each)))
        return next((each for each in mine if each.environ().get(OWNER_VARIABLE) == str(state_dir.resolve())), None)

    child = wait_until(found, what="its process")
    assert child is not None
    return child


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _ask_two_generations(client: httpx.Client, state_dir: Path, form_token: str) -> None:
    """What is called off leaves no process; the daemon answers others meanwhile."""
    asked = client.post("/compare/begin", data={**ASKED, "form_token": form_token})
    place = asked.headers["location"]
    child = _comparing(state_dir)
    assert "nobody" not in " ".join(child.cmdline())
    second = client.post("/compare/begin", data={**ASKED, "form_token": form_token})
    assert (second.status_code, second.headers["retry-after"]) == (429, "5")
    off = client.post("/compare/cancel", data={"number": place.rpartition("/")[2], "form_token": form_token})
    assert off.headers["location"] == place
    assert not child.is_running()
    assert "It was called off." in client.get(place).text


def test_a_service_is_looked_at_acted_on_and_ended_by_its_page(tmp_path: Path) -> None:
    """Signed in, a round is begun and seen to its end; a new token signs out; a stop waits for no stream."""
    home = make_home(tmp_path, model=tiny_model(tmp_path / "files"))
    fill(home, before=120, fresh=120)
    with daemon(home, learner=fake_learner("good")) as started:
        with started.control as control:
            control.status()
        address = started._address()
        settings = home.settings
        token = read_token(settings.admin, settings.state_dir)
        with httpx.Client(base_url=address, headers=HTML, verify=PLAIN_HTTP, trust_env=False) as client:
            assert client.get("/").headers["location"] == "/sign-in"
            assert sign_in(client, token).status_code == 303
            asked = client.get("/act/request_round").text
            form = FORM_TOKEN.search(asked)
            assert form is not None
            assert "samples are fresh" in asked
            with client.stream("GET", "/live") as events:
                assert events.headers["content-type"].startswith("text/event-stream")
                lines = events.iter_lines()
                next(line for line in lines if line == "event: begun")
                done = client.post("/act/request_round", data={"form_token": form[1], "step": "do"})
                assert done.status_code == 303
                next(line for line in lines if line == "event: changed")
            started.until(lambda control: control.rounds()[0]["ended_at"], what="the round's end")
            shown = client.get("/rounds/1").text
            assert re.search(r"Round 1\s+ended: accepted", shown)
            assert str(settings.rounds_dir / "000001") in shown
            with started.control as control:
                assert control.audit(limit=50)[0]["what"] in ("serves", "request_round")
                assert "ada, by the page" in {line["who"] for line in control.audit()}
            _ask_two_generations(client, settings.state_dir, form[1])
            (settings.state_dir / "admin.token").write_text("another-token-of-the-test\n")
            started.process.send_signal(signal.SIGHUP)
            wait_until(lambda: client.get("/").status_code == 303, what="everybody signed out")
            assert sign_in(client, token).status_code == 403
            assert sign_in(client, "another-token-of-the-test").status_code == 303
            begun = client.post("/compare/begin", data={**ASKED, "form_token": _form_token(client)})
            child = _comparing(settings.state_dir)
            assert "some seconds" in client.get(begun.headers["location"]).text
            with client.stream("GET", "/live") as events:
                lines = events.iter_lines()
                next(line for line in lines if line == "event: begun")
                started.process.send_signal(signal.SIGTERM)
                # It ends by itself, and not because it was cut off.
                list(lines)
            assert started.process.wait(40) == 0
        assert not child.is_running()
        assert not any(line.get("level") == "error" for line in started.lines())
        assert "nobody" not in started.log.read_text()
