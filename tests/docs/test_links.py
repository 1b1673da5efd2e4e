"""Links lead somewhere: files that are there, and headings in them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_docs import DOCUMENTS, ROOT

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def links(document: Path) -> Iterator[str]:
    """The targets of a document's links, without what stands in code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(), flags=re.DOTALL)
    return (match[1] for match in LINK.finditer(text))


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as they are made on the web: lower case, dashes for spaces, nothing but words."""
    headings = re.findall(
        r"^#+ +(.+?) *$", re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Within this checkout; what is elsewhere nobody here can look after."""
    for link in links(document):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_links_are_found() -> None:
    """There are some."""
    assert sum(1 for document in DOCUMENTS for _ in links(document)) > 40
