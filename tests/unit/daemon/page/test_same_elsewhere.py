"""Each page's link to its JSON and its command give what the page shows; and every link leads somewhere."""

import json
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any, Final
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from click.testing import CliRunner

from daemon.cli.invocation import Invocation
from daemon.cli.main import cli
from daemon.control.protocol import Control
from daemon.page.page_lines import THEN
from daemon.page.pages import PAGES
from streams.document import Pause
from tests.unit.daemon.page.browsers import Browser
from tests.unit.daemon.page.conftest import COMPARED, Ground

SHOWN: Final = {
    "/": "riverkeep status",
    "/needs": "riverkeep memory aside",
    "/aside/4": "riverkeep memory aside 4 --masked",
    "/aside/4?worst=1&text=1&limit=7": "riverkeep memory aside 4 --text --worst --limit 7",
    "/rounds": "riverkeep round list",
    "/rounds?before=3&limit=1": "riverkeep round list --before 3 --limit 1",
    "/rounds/2": "riverkeep round show 2",
    "/rounds/2/flips": "riverkeep round flips 2",
    "/rounds/2/flips?limit=3&text=1": "riverkeep round flips 2 --text --limit 3",
    "/knowledge": "riverkeep generations",
    "/generations": "riverkeep generations",
    "/generations/2": "riverkeep generations --show 2",
    "/generations/1/diff/2": "riverkeep generations --diff 1 2",
    "/comparisons": "riverkeep compare picks",
    f"/comparisons/{COMPARED}": f"riverkeep compare show {COMPARED}",
    "/streams": "riverkeep streams",
    "/memory": "riverkeep memory",
    "/dead-letters": "riverkeep memory dead-letters",
    "/dead-letters?before=4&limit=2": "riverkeep memory dead-letters --before 4 --limit 2",
    "/dead-letters?text=1": "riverkeep memory dead-letters --text",
    "/dead-letters/3": "riverkeep memory dead-letters --before 4 --limit 1",
    "/dead-letters/3?text=1": "riverkeep memory dead-letters --show 3",
    "/serving": "riverkeep serving",
    "/serving?hours=6": "riverkeep serving --hours 6",
    "/trace?topic=news&partition=0&offset=1": "riverkeep trace news 0 1",
    "/audit": "riverkeep audit",
    "/audit?before=5&limit=2": "riverkeep audit --before 5 --limit 2",
}
"""By address, the command whose answer is that of the JSON link."""
FORMS: Final = {"/trace": "riverkeep trace TOPIC PARTITION OFFSET", "/streams/peek": "riverkeep peek TOPIC"}
"""Pages that ask first: there is a word to fill in."""
PASSING: Final = frozenset({"until", "begins", "at", "seconds", "latency", "samples", "disk"})
"""What differs between two answers to one question, and what a command tells besides."""


def told_by(page: str) -> tuple[list[str], str]:
    """The commands that a page names, and where its JSON is."""
    commands = re.search(r'<code id="command">([^<]*)</code>', page)
    # The last one: that of the whole page stands at its foot.
    links = re.findall(r'<a href="([^"]*)">JSON</a>', page)
    assert commands is not None
    return unescape(commands[1]).split(THEN), unescape(links[-1]) if links else ""


def lasting(answer: Any) -> Any:
    """An answer without what passes."""
    if isinstance(answer, dict):
        return {name: lasting(value) for name, value in answer.items() if name not in PASSING}
    return list(map(lasting, answer)) if isinstance(answer, list) else answer


@pytest.fixture
def terminal(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Where commands are typed that reach the same service."""

    @contextmanager
    def control(_invocation: Invocation, _ask: object) -> Iterator[Control]:
        yield ground.control

    monkeypatch.setattr(Invocation, "control", control)
    return CliRunner()


def run(terminal: CliRunner, command: str) -> Any:
    """What a command prints as JSON."""
    program, *words = command.split()
    assert program == "riverkeep"
    done = terminal.invoke(cli, [*words, "--json"])
    assert done.exit_code == 0, (command, done.output, done.exception)
    return json.loads(done.stdout)


@pytest.mark.parametrize(("address", "command"), SHOWN.items(), ids=str)
def test_command_and_json_are_what_the_page_was_asked(
    reader: Browser, terminal: CliRunner, address: str, command: str
) -> None:
    """The same part of a list, with text only where the page shows it; every command that stands there runs."""
    commands, link = told_by(reader.get(address).text)
    assert commands[0] == command
    sent = reader.get(link).json()
    asked, linked = ({*urlsplit(each).query.split("&")} - {""} for each in (address, link))
    assert linked == asked | {"format=json"} or urlsplit(link).path == "/serving"
    printed, *_ = [run(terminal, each) for each in commands]
    if address == "/dead-letters/3":
        # One of a list of one.
        (printed,) = printed
    if isinstance(sent, dict):
        printed = {name: value for name, value in printed.items() if name in sent}
    assert lasting(printed) == lasting(sent)


def test_every_page_is_in_the_table() -> None:
    """A new one needs a line."""
    paths = {re.sub(r"/[0-9]+", "/{}", urlsplit(address).path) for address in (*SHOWN, *FORMS)}
    assert paths == {re.sub(r"\{[a-z]+\}", "{}", page.path) for page in PAGES}


@pytest.mark.parametrize(("address", "command"), FORMS.items(), ids=str)
def test_a_page_that_asks_names_what_to_fill_in(reader: Browser, address: str, command: str) -> None:
    """Before anything is asked for there is a command all the same."""
    assert told_by(reader.get(address).text)[0] == [command]


@pytest.mark.parametrize("address", ["/aside/4", "/rounds/2/flips", "/dead-letters", "/dead-letters/3"])
def test_masked_text_is_nowhere_near(ground: Ground, reader: Browser, address: str) -> None:
    """Neither in the page nor behind its link; with `text=1` it is in both, and the link says so."""
    texts = [json.dumps(each["text"])[1:-1] for each in ground.control.aside_text(4, text=True)["documents"]]
    texts += [json.dumps(each["value"])[1:-1] for each in ground.control.dead_letters(text=True)]
    texts += [json.dumps(each["sample"]["text"])[1:-1] for each in ground.control.flips(2, text=True)["worst"]]  # type: ignore[index]
    before = ground.control.audit(limit=1)[0]["id"]
    masked = reader.get(address).text
    behind = reader.get(told_by(masked)[1]).text
    assert ground.control.audit(limit=1)[0]["id"] == before
    assert not any(text in masked or text in behind for text in texts)
    shown = reader.get(f"{address}?text=1").text
    assert any(text in reader.get(told_by(shown)[1]).text for text in texts)


def links_of(page: str) -> set[str]:
    """Where its links and its forms lead that only look."""
    found = re.findall(r'<a [^>]*href="([^"]*)"', page)
    # With what two of them ask for; the others pass it over.
    found += [f"{to}?first=1&second=2" for to in re.findall(r'<form [^>]*method="get" action="([^"]*)"', page)]
    return {unescape(each) for each in found if each}


FLOODED: Final = {"paused": {"news/0": Pause.DEAD_LETTER_FLOOD}, "reason": "", "trouble": "", "unread": ["news"]}
TROUBLED: Final = {
    "waiting": [],
    "rounds_paused": {"since": 0.0, "reason": ""},
    "ingest": {"lag_records": 0, "lag_by_partition": {}, **FLOODED},
}
"""What of the status brings everything up that there is a place for."""


@pytest.mark.parametrize("status", [{}, TROUBLED], ids=["as it is", "with all that needs a person"])
def test_every_link_and_every_anchor_leads_somewhere(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any]
) -> None:
    """All that can be come to from the table of pages, what asks before it is done too; anchors have their place."""
    facts = ground.control.status() | status
    monkeypatch.setattr(type(ground.control), "status", lambda _: facts)
    waiting = deque([*SHOWN, *FORMS])
    pages: dict[str, str] = {}
    kept: dict[str, set[str]] = {}
    while waiting:
        address = waiting.popleft()
        if address in pages or len(pages) > 300:
            continue
        answer = reader.get(address)
        assert answer.status_code in (200, 303), (address, answer.status_code)
        pages[address] = answer.text
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        kept[address] = links_of(answer.text)
        waiting.extend(urldefrag(urljoin(address, link)).url for link in kept[address] if "/act/" not in link)
        assert not [link for link in kept[address] if urlsplit(link).netloc]
    for address, links in kept.items():
        for link in links:
            whole, anchor = urldefrag(urljoin(address, link))
            if anchor and whole in pages:
                assert f'id="{anchor}"' in pages[whole], (address, link)
    if status:
        assert {f"/needs#{place}" for place in ("floods", "pause", "aside")} <= kept["/"]
    asking = {link for links in kept.values() for link in links if "/act/" in link}
    assert {link: reader.get(link).status_code for link in asking if reader.get(link).status_code != 200} == {}
