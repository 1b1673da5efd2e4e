"""The page of settings by size is what the estimate says now."""

import pytest

from daemon.sizes.estimate import SCORE
from tests.docs.sizes_page import EXAMPLES, RECIPES, Example, highest, page
from tests.docs.test_docs import ROOT


def test_the_page_is_of_this_code() -> None:
    """Made anew it is the same."""
    assert (ROOT / "docs/sizes.md").read_text(encoding="utf-8") == page(), "run: python -m tests.docs.sizes_page"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.like)
def test_what_the_page_says_of_the_recipes_is_so(example: Example) -> None:
    """Each that is recommended for taking less takes less to train."""
    training = {name: highest(name, example.shape("cuda"))[2] for name in RECIPES}
    assert training["full"] == max(training.values())
    assert training["QLoRA"] < training["LoRA"] < training["full"]
    assert training["8-bit AdamW"] < training["full"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.like)
def test_an_adapters_round_is_bound_by_scoring(example: Example) -> None:
    """So that four bits save nothing beyond, as the page says."""
    assert {highest(name, example.shape("cuda"))[1] for name in ("LoRA", "QLoRA")} == {SCORE}
