"""The drawings are those that the script makes, and can be read: on light and on dark, and by who hears them."""

import re
from xml.etree import ElementTree as ET

import pytest

from tests.docs.drawings import DARK, DRAWINGS, FILLS, FOLDER, LIGHT, Drawing, contrast, files

PAGE = (FOLDER / "ideas.md").read_text()


def test_they_are_of_this_script() -> None:
    """Made anew they are the same, and none is left over."""
    made = dict(files())
    assert {path: path.read_text() for path in FOLDER.glob("idea-*.svg")} == made, "run: python -m tests.docs.drawings"


def test_the_page_shows_each_and_says_what_it_shows() -> None:
    """For those who do not see it."""
    shown = dict(re.findall(r"!\[([^\]]{40,})\]\((idea-\w+\.svg)\)", PAGE))
    assert set(shown.values()) == {f"idea-{name}.svg" for name in DRAWINGS}


@pytest.mark.parametrize("name", DRAWINGS)
def test_each_is_whole_and_asks_for_nothing(name: str) -> None:
    """Well-formed, with a title, without links, fonts or scripts from anywhere."""
    drawn = DRAWINGS[name]()
    text = drawn.svg()
    root = ET.fromstring(text)
    assert root[0].tag.endswith("title")
    assert root[0].text == drawn.title
    assert "prefers-color-scheme: dark" in text
    assert re.findall(r"href|<script|<image|url\((?!#)", text) == []


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(colours: dict[str, str]) -> None:
    """As accessible pages need it: 4.5 of 21 for words, 3 for lines."""
    for behind in ("ground", *FILLS):
        assert contrast(colours["ink"], colours[behind]) >= 4.5, behind
    for behind in ("ground", "room", "yes", "no", "held", "plain"):
        assert contrast(colours["soft"], colours[behind]) >= 4.5, behind
        assert contrast(colours["line"], colours[behind]) >= 3, behind


def test_words_that_do_not_fit_are_refused() -> None:
    """Where there is too little room, at the edge, and below it."""
    drawn = Drawing("a drawing", 100)
    with pytest.raises(AssertionError, match="far too long"):
        drawn.box(0, 0, 60, 60, "far too long for it")
    with pytest.raises(AssertionError, match="out of the drawing"):
        drawn.text(740, 20, "outside")
    with pytest.raises(AssertionError, match="below"):
        drawn.text(20, 101, "below")
