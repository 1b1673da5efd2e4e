"""Where a page says which tests replay it, they are there."""

import re
from pathlib import Path

import pytest

from tests.docs.test_docs import PAGES, ROOT
from tests.docs.test_promises import names_in

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
REPLAYED = {"operations.md": 25, "security.md": 35}
"""Pages whose procedures are replayed, with how many tests they name at least."""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    """File and test."""
    named = NAMED.findall(page.read_text())
    assert len(named) >= REPLAYED.get(page.name, 0)
    for path, name in named:
        assert (ROOT / path).is_file(), path
        assert name in names_in(path), name
