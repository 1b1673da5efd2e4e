"""The README's pictures, drawn by a real browser, without a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.unproven import CHROMIUM, program

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = sorted(DOCS.glob("*.svg"))
FAMILIES = (
    "",  # the picture's own
    "Liberation Sans",  # as wide as Arial and Helvetica
    "Noto Sans",
    "DejaVu Sans",  # as wide as Verdana
    "DejaVu Serif",
    "DejaVu Sans Mono",  # where a browser has nothing else
)
"""Fonts that readers have; where one is not installed here another stands in."""
SLACK = 1.0
"""Of the picture's units: a browser's rounding."""

# For each text, where it is drawn, and the smallest box that it begins in, in the picture's own units.
TEXTS = """() => {
  const svg = document.documentElement, back = svg.getScreenCTM().inverse();
  const box = element => {
    const drawn = element.getBoundingClientRect();
    const from = new DOMPoint(drawn.left, drawn.top).matrixTransform(back);
    const to = new DOMPoint(drawn.right, drawn.bottom).matrixTransform(back);
    return [from.x, from.y, to.x, to.y];
  };
  const view = svg.viewBox.baseVal;
  const picture = [view.x, view.y, view.x + view.width, view.y + view.height];
  const boxes = [picture, ...[...svg.querySelectorAll("rect")].filter(one => !one.closest("clipPath, defs")).map(box)];
  const area = one => (one[2] - one[0]) * (one[3] - one[1]);
  return [...svg.querySelectorAll("text")].filter(one => one.textContent.trim()).map(one => {
    const drawn = box(one), x = drawn[0] + 1, y = (drawn[1] + drawn[3]) / 2;
    const around = boxes.filter(b => b[0] <= x && x <= b[2] && b[1] <= y && y <= b[3]);
    around.sort((a, b) => area(a) - area(b));
    return {words: one.textContent, drawn, picture, box: around[0] ?? null};
  });
}"""
OTHER_FONT = """family => {
  const style = document.createElementNS("http://www.w3.org/2000/svg", "style");
  style.textContent = `* { font-family: "${family}" !important }`;
  document.documentElement.append(style);
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a browser that reaches no network, as wide as a README is shown."""
    chromium = program("chromium", CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 900, "height": 700}, offline=True)
        browser.close()


def texts(page: Page, picture: Path, family: str = "") -> list[dict[str, Any]]:
    """Each text of a picture, where it is drawn in that font, and the box that it stands in."""
    page.goto(picture.as_uri())
    if family:
        page.evaluate(OTHER_FONT, family)
    found: list[dict[str, Any]] = page.evaluate(TEXTS)
    return found


def within(inner: list[float], outer: list[float]) -> bool:
    """Whether one box (left, top, right, bottom) lies in another."""
    low = all(one >= other - SLACK for one, other in zip(inner[:2], outer[:2], strict=True))
    return low and all(one <= other + SLACK for one, other in zip(inner[2:], outer[2:], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_no_text_leaves_its_box(page: Page, picture: Path, family: str) -> None:
    """In whatever font a reader has: the one it was drawn for may not be there."""
    found = texts(page, picture, family)
    assert len(found) > 5
    assert [one["words"] for one in found if not within(one["drawn"], one["box"] or one["picture"])] == []


@pytest.mark.slow
def test_what_overflows_would_be_seen(page: Page, tmp_path: Path) -> None:
    """The measure itself: a sentence too long for its box, and one beyond the picture."""
    picture = tmp_path / "picture.svg"
    picture.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 100"><rect x="10" y="10" width="90" height="40"/>'
        '<text x="20" y="30">fits</text><text x="20" y="45">much too long for its box</text>'
        '<text x="350" y="90">beyond the picture</text></svg>'
    )
    seen = [one["words"] for one in texts(page, picture) if not within(one["drawn"], one["box"])]
    assert seen == ["much too long for its box", "beyond the picture"]


def test_every_picture_is_shown() -> None:
    """None is kept that nobody sees, and none is missing."""
    texts = [path.read_text() for path in (DOCS.parent / "README.md", *DOCS.glob("*.md"))]
    linked = {part.partition(")")[0].removeprefix("docs/") for text in texts for part in text.split("](")[1:]}
    assert {path.name for path in PICTURES} == {each for each in linked if each.endswith(".svg") and "/" not in each}
