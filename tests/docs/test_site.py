"""The documentation builds as a site, strictly, and who reads it asks nobody else for anything."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typing_extensions import override

from tests.docs.site_links import without_links_outside
from tests.docs.test_docs import ROOT

ELSEWHERE = re.compile(r"(?:https?:)?//")
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


class Fetched(HTMLParser):
    """What a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(FETCHED.get(tag, ""))
        if address is not None:
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as by `make docs`."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_on_the_site_and_none_asks_another_machine(site: Path) -> None:
    """Nothing is omitted from the navigation, as the build is strict; no fonts, scripts or pictures from elsewhere."""
    for source in (ROOT / "docs").rglob("*.md"):
        name = "index.html" if source.stem == "README" else f"{source.stem}.html"
        page = site / source.relative_to(ROOT / "docs").with_name(name)
        reader = Fetched()
        reader.feed(page.read_text())
        assert reader.addresses
        assert [address for address in reader.addresses if ELSEWHERE.match(address)] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()), style


@pytest.mark.parametrize(
    ("source", "written", "shown"),
    [
        ("keys.md", "see [`deploy/alerts.yaml`](../deploy/alerts.yaml)", "see `deploy/alerts.yaml`"),
        ("keys.md", "the [README](../README.md#measured) says", "the README (`README.md`) says"),
        ("page.md", "[keys](keys.md), [there](https://example.org)", "[keys](keys.md), [there](https://example.org)"),
        (
            "runbooks/Down.md",
            "[keys](../keys.md), [alerts](../../deploy/a.yaml)",
            "[keys](../keys.md), alerts (`deploy/a.yaml`)",
        ),
    ],
)
def test_what_lies_outside_is_named(source: str, written: str, shown: str) -> None:
    """Links within the documentation, and to other sites, stay."""
    assert without_links_outside(written, source) == shown
