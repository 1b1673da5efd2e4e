"""The page's pictures in `docs/`, taken by a real browser of a service that is told of.

    python -m tests.browser.screenshots [FOLDER]

Light, dark, and as wide as a phone; of a stand-in's scores (`tests/browser/story.py`), so that they need no model.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.story import telling
from tests.unproven import CHROMIUM, program

DOCS = Path(__file__).parents[2] / "docs"
TOKEN = "a-token-for-pictures"


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: of its file.
        height: of what is seen; 0: the whole page.
    """

    name: str
    path: str
    scheme: Literal["light", "dark"] = "light"
    width: int = 1180
    height: int = 0


PICTURES = (
    Picture("page-now", "/", height=860),
    Picture("page-now-dark", "/", scheme="dark", height=860),
    Picture("page-now-phone", "/", width=375, height=800),
    Picture("page-needs", "/needs", height=900),
    Picture("page-round", "/rounds/1", height=1000),
    Picture("page-knowledge", "/knowledge", height=1250),
    Picture("page-trace", "/trace?topic=news&partition=0&offset=3", height=1000),
    Picture("page-generations", "/generations", height=760),
    Picture("page-serving", "/serving", height=1100),
    Picture("page-memory", "/memory", height=1000),
    Picture("page-needs-phone", "/needs", scheme="dark", width=375, height=800),
)


def sign_in(page: Page, address: str) -> None:
    """As a person does."""
    page.goto(f"{address}/sign-in")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_label("Your name").fill("ada")
    page.get_by_role("button", name="Sign in").click()


def take(browser: Browser, address: str, picture: Picture, folder: Path) -> Path:
    """Take one picture."""
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height or 900}, color_scheme=picture.scheme
    )
    page = context.new_page()
    sign_in(page, address)
    page.goto(f"{address}{picture.path}")
    target = folder / f"{picture.name}.png"
    page.screenshot(path=target, full_page=not picture.height)
    context.close()
    return target


def main() -> int:
    """Take all of them; returns the exit status."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    with tempfile.TemporaryDirectory() as home, telling(Path(home), now=time.time(), token=TOKEN) as (address, told):
        told.trains()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program("chromium", CHROMIUM), args=["--no-sandbox"])
            for picture in PICTURES:
                target = take(browser, address, picture, folder)
                print(f"{target}: {target.stat().st_size:,} bytes")
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
