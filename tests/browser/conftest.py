"""A service with a story behind it, and a real browser before it in which somebody is signed in."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from daemon.control.within_daemon import LiveControl
from tests.browser.screenshots import TOKEN, sign_in
from tests.browser.story import Story, telling
from tests.unproven import CHROMIUM, program


@dataclass
class Watched:
    """A browser's page, with what it asked for and complained of."""

    page: Page
    address: str
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, path: str) -> Page:
        """Go there."""
        self.page.goto(f"{self.address}{path}")
        return self.page


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Story]]:
    """Where it listens, and what it is about."""
    with telling(tmp_path_factory.mktemp("story"), now=time.time(), token=TOKEN) as told:
        yield told


@pytest.fixture(scope="module")
def control(service: tuple[str, Story]) -> LiveControl:
    """Who answers, asked directly."""
    return service[1].control()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real one."""
    chromium = program("chromium", CHROMIUM)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, service: tuple[str, Story]) -> Iterator[BrowserContext]:
    """Somebody is signed in."""
    context = browser.new_context()
    sign_in(context.new_page(), service[0])
    yield context
    context.close()


@pytest.fixture
def watched(signed_in: BrowserContext, service: tuple[str, Story]) -> Iterator[Watched]:
    """A page that is watched: nothing from elsewhere, and not a word on its console."""
    page = signed_in.new_page()
    seen = Watched(page, service[0])
    yield seen
    page.close()
    assert seen.said == []
    assert {url.split("/")[2] for url in seen.asked} <= {service[0].split("/")[2]}
