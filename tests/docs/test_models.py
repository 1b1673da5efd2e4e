"""docs/models.md is what the benchmark of architectures found."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.architectures import everything
from benchmarks.architectures_document import document

ROOT = Path(__file__).parents[2]
RESULTS: dict[str, Any] = json.loads((ROOT / "benchmarks/results/architectures.json").read_text())
ROWS: list[dict[str, Any]] = RESULTS["details"]["rows"]


def test_the_page_is_what_was_found() -> None:
    """Word for word."""
    found = document(RESULTS["details"])
    assert (ROOT / "docs/models.md").read_text() == found, (
        "run: python -m benchmarks.architectures_document benchmarks/results/architectures.json > docs/models.md"
    )


def test_every_architecture_of_transformers_was_tried() -> None:
    """Each as a causal language model, as a classifier, or as both."""
    tried = {(row["name"].partition(",")[0], row["kind"]) for row in ROWS}
    assert tried == {(name, kind) for name, kind, _ in everything()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['name']}-{row['kind']}")
def test_each_has_one_outcome_and_none_is_wrong(row: dict[str, Any]) -> None:
    """Served, refused, or not made; and never otherwise than by whole passes."""
    assert not row["wrong"]
    assert sum(bool(row[outcome]) for outcome in ("served", "refused", "not_made")) == 1
