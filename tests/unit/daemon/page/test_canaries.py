"""What is offered of a generation that is watched in traffic, what is said before it is done, and what comes of it."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli.invocation import Invocation
from daemon.cli.main import cli
from daemon.control.within_daemon import LiveControl
from daemon.errors import Refused, UnknownThing
from memory.ledger.records import GenerationState
from tests.unit.daemon.control.test_within_daemon import live_control
from tests.unit.daemon.page.browsers import TOKEN, Browser, PageInFront
from tests.unit.daemon.rooms import World, world

CANARY = {"enabled": True, "share": 0.25}


@dataclass(frozen=True)
class WatchedOne:
    """Generation 2 is watched beside generation 1; somebody is signed in."""

    here: World
    control: LiveControl
    browser: Browser

    def states(self) -> list[str]:
        """Of the generations, by number."""
        lines = sorted(self.control.generations()["generations"], key=lambda line: line["number"])
        return [line["state"] for line in lines]

    def asked(self, address: str) -> str:
        """What is said before it is done, without its markup."""
        answer = self.browser.get(address)
        assert answer.status_code == 200
        main = answer.text[answer.text.index("<main") : answer.text.index("</main")]
        return " ".join(re.sub("<[^>]*>", " ", main).split())

    def serving(self) -> int | None:
        """By the ledger and by the pointer, which agree."""
        pointer = self.here.rooms.checkpoints.serving()
        assert pointer is not None
        assert pointer.canary is None
        assert pointer.generation == self.here.store.generations.serving()
        return pointer.generation


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedOne]:
    """Anew for each: what is decided is decided."""
    with world(tmp_path, gate={"minimum_documents": 5, "resamples": 200}, serving={"canary": CANARY}) as here:
        here.run()
        here.store.canaries.promote(1, by="a test")
        here.feed(seed=3)
        here.run()
        control = live_control(here)
        assert here.store.canaries.watched() is not None
        yield WatchedOne(here, control, PageInFront(control, here.store).browser().signed_in())


def test_its_row_offers_to_let_it_serve_and_to_take_it_back(watched: WatchedOne) -> None:
    """And not to go back to it, where it never was; so does the page of serving."""
    for path in ("/generations", "/serving"):
        text = watched.browser.get(path).text
        assert "/act/promote_canary?generation=2" in text
        assert "/act/take_back_canary?generation=2" in text
        assert "/act/rollback?generation=2" not in text


def test_it_serves_by_a_persons_word(watched: WatchedOne) -> None:
    """What is said before comes true: the one before stays one to go back to, and nothing is rolled back."""
    said = watched.asked("/act/promote_canary?generation=2")
    assert "Generation 2 answers all requests at once, in place of generation 1." in said
    assert "Generation 1 stays accepted: one can go back to it." in said
    assert "not promoted again" not in said
    assert watched.browser.act("promote_canary", generation="2").status_code == 303
    assert watched.serving() == 2
    assert watched.states() == ["accepted", "accepted", "accepted"]
    assert "/act/rollback?generation=1" in watched.browser.get("/generations").text


def test_it_is_taken_back_by_a_persons_word(watched: WatchedOne) -> None:
    """It is flagged, and what serves serves on."""
    said = watched.asked("/act/take_back_canary?generation=2")
    assert "Generation 2 answers no requests any more; generation 1, which serves, answers all." in said
    assert watched.browser.act("take_back_canary", generation="2").status_code == 303
    assert watched.serving() == 1
    assert watched.states() == ["accepted", "accepted", GenerationState.ROLLED_BACK]
    line = watched.control.audit(limit=1)[0]
    assert (line["what"], line["who"]) == ("taken_back", "ada, by the page")


@pytest.mark.parametrize(
    ("address", "title", "sentence", "after"),
    [
        ("/act/rollback", "Serve generation 1?", "Generation 2 answers no requests any more", (1, "rolled_back")),
        (
            "/act/rollback?generation=2",
            "Serve generation 2?",
            "Generation 2 answers all requests at once",
            (2, "accepted"),
        ),
        (
            "/act/rollback?generation=0",
            "Serve generation 0?",
            "Generation 2, which is watched in traffic, is taken back as well.",
            (0, "rolled_back"),
        ),
    ],
)
def test_a_rollback_meanwhile_says_what_it_comes_to(
    watched: WatchedOne, address: str, title: str, sentence: str, after: tuple[int, str]
) -> None:
    """Whichever number is named, or none: the number that was agreed to goes along."""
    page = watched.browser.get(address).text
    assert f"<bdi>{title}</bdi>" in page
    assert sentence in watched.asked(address)
    agreed = re.search(r'name="generation" value="([0-9]+)"', page)
    assert agreed is not None
    assert watched.browser.act("rollback", generation=agreed[1]).status_code == 303
    assert (watched.serving(), watched.states()[2]) == after


def test_without_a_watch_there_is_nothing_to_decide(watched: WatchedOne) -> None:
    """Nor of another one than is watched; a rollback that names none goes to the one before what serves."""
    for action in ("promote_canary", "take_back_canary"):
        assert watched.browser.get(f"/act/{action}?generation=1").status_code == 404
        assert watched.browser.act(action, generation="1").status_code in (404, 409)
    with pytest.raises(UnknownThing, match="Generation 1 is not watched"):
        watched.control.promote_canary(1)
    watched.control.take_back_canary()
    for action in ("promote_canary", "take_back_canary"):
        assert watched.browser.get(f"/act/{action}").status_code == 404
    assert "Generation 0 serves at once, in place of generation 1" in watched.asked("/act/rollback")
    assert watched.serving() == 1


def test_what_is_damaged_is_not_promoted(watched: WatchedOne) -> None:
    """Its files are verified first; the watch goes on."""
    file = next(watched.here.rooms.checkpoints.path(2).glob("*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Refused, match="Generation 2 cannot serve"):
        watched.control.promote_canary()
    assert watched.here.store.canaries.watched() is not None


def test_over_http_both_are_operations(watched: WatchedOne) -> None:
    """With the token, and the number of the one that is meant."""
    client, headers = watched.browser.client, {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
    client.cookies.clear()
    wrong = client.post("/canary/promote", json={"generation": 7}, headers=headers)
    assert wrong.status_code == 404
    done = client.post("/canary/take-back", json={"generation": 2}, headers=headers)
    assert (done.status_code, done.json()) == (200, {"generation": 2, "serving": 1})


@pytest.mark.parametrize(
    ("command", "question", "after"),
    [
        (["canary", "promote"], "Let generation 2, which is watched in traffic, serve at once, in place of", 2),
        (["canary", "take-back", "2"], "Take back generation 2, which is watched in traffic, so that generation 1", 1),
        (["rollback"], "Take back generation 2, which is watched in traffic, so that generation 1", 1),
        (["rollback", "2"], "Let generation 2, which is watched in traffic, serve at once, in place of", 2),
        (["rollback", "0"], "Go back from generation 1 to generation 0, and take back generation 2", 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_commands_ask_what_they_do(
    watched: WatchedOne, monkeypatch: pytest.MonkeyPatch, command: list[str], question: str, after: int
) -> None:
    """A promotion is not called going back."""
    monkeypatch.setattr(Invocation, "control", lambda *_: nullcontext(watched.control))
    done = CliRunner().invoke(cli, command, input="y\n")
    assert (done.exit_code, question in done.stderr) == (0, True), done.output
    assert watched.serving() == after
