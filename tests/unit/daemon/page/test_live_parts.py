"""Pages that are kept current are so wholly: what the script makes of an old page is the page as it is now."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from daemon.page.access.sessions import IDLE_S
from daemon.page.desk import BY_ITSELF, LIVE
from daemon.page.pages import PAGES
from tests.unit.daemon.control.test_within_daemon import live_control
from tests.unit.daemon.page.browsers import Browser, PageInFront
from tests.unit.daemon.page.conftest import Ground
from tests.unit.daemon.rooms import world

VOID = frozenset({"input", "meta", "link", "br", "line", "rect", "circle", "path"})
LIVE_PAGES = sorted(page.path for page in PAGES if page.is_live)


class Parts(HTMLParser):
    """Where the inner HTML of each part of a page begins and ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._open: list[tuple[str, str, int]] = []
        self.found: dict[str, tuple[int, int]] = {}
        self.feed(text)

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note a part's beginning."""
        if tag not in VOID:
            named = dict(attrs)
            part = named.get("id", "") if "data-part" in named else ""
            self._open.append((tag, part, self._at() + len(self.get_starttag_text() or "")))

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """Nothing is in it."""

    def handle_endtag(self, tag: str) -> None:
        """Note a part's end."""
        opened, part, begins = self._open.pop()
        assert opened == tag
        if part:
            self.found[part] = (begins, self._at())


def kept_current(old: str, fresh: str) -> str:
    """What the page's script makes of an old page once it has asked for it again."""
    there, here = Parts(fresh).found, Parts(old).found
    for part, (begins, ends) in sorted(here.items(), key=lambda entry: -entry[1][0]):
        if part in there:
            old = old[:begins] + fresh[slice(*there[part])] + old[ends:]
    return old


def shown(page: str) -> str:
    """The page without what the frame says of its age and of the next event."""
    main = page[page.index("<body") : page.index("<footer")]
    return re.sub(r' data-live="[^"]*"', "", main)


def drawn(browser: Browser, paths: Mapping[str, str]) -> dict[str, str]:
    """Each page, at its address."""
    return {path: browser.get(address).text for path, address in paths.items()}


def test_every_live_page_becomes_what_it_would_be_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing but a base to rounds of each kind, a round's page from one that waits to one that was accepted."""
    paths = {path: path for path in LIVE_PAGES if "{" not in path}
    with world(tmp_path, gate={"minimum_documents": 5, "resamples": 200}) as here:
        control = live_control(here)
        browser = PageInFront(control, here.store).browser().signed_in()
        before = drawn(browser, paths)
        here.run()
        here.feed(seed=3)
        here.run("worse")
        here.run()
        here.feed(seed=4)
        here.run("implausible")
        watch = {"generation": 2, "beside": 1, "mode": "canary", "share": 0.1, "since": 1.0, "ended_at": None}
        watch |= {
            "outcome": "watched",
            "ended_by": "",
            "answered_to": None,
            "verdict": {"sentence": "it goes on", "checks": []},
        }
        serving = control.serving() | {"canary": watch}
        monkeypatch.setattr(type(control), "serving", lambda _: serving)
        after = drawn(browser, paths)
        before["/rounds/{number}"], after["/rounds/{number}"] = (
            browser.get(f"/rounds/{number}").text for number in (4, 3)
        )
        assert {*after} == {*LIVE_PAGES}
        for path, old in before.items():
            assert old != after[path]
            left = kept_current(shown(old), shown(after[path]))
            assert left == shown(after[path]), path


def test_an_open_page_alone_keeps_no_session(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its script asks for, and its events, are no sign of a person; to open a page is one."""
    page = PageInFront(ground.control, ground.here.store)
    browser, sessions = page.browser().signed_in(), page.desk.sessions
    (session,) = sessions._sessions.values()
    began, now = session.used, [0.0]
    monkeypatch.setattr(sessions, "_clock", lambda: began + now[0])
    for _ in range(4):
        now[0] += IDLE_S / 5
        assert browser.get("/", **{BY_ITSELF: "1"}).status_code == 200
        assert sessions.is_alive(session)
    now[0] += IDLE_S / 4
    assert not sessions.is_alive(session)
    assert browser.get("/", **{BY_ITSELF: "1"}).status_code == 303
    assert browser.get(LIVE).status_code == 401
    browser.signed_in()
    (session,) = sessions._sessions.values()
    for _ in range(3):
        now[0] += IDLE_S / 2 + 1
        assert browser.get("/").status_code == 200
    assert sessions.is_alive(session)
