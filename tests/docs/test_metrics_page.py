"""The page of all metrics is what the code defines."""

from pathlib import Path

from tests.docs.metrics_page import ROOMS, ROOT, metrics_of, page
from tests.docs.test_docs import metrics

NO_METRICS = {"riverkeep_new_weights", "riverkeep_packed", "riverkeep_pieces", "riverkeep_serving_"}
"""Names in the code that look like one, and what those of serving begin with."""


def test_the_page_is_of_this_code() -> None:
    """Made anew it is the same."""
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == page()


def test_no_metric_is_left_out_and_each_says_what_it_is() -> None:
    """Whatever names one, in whatever way it is made."""
    every = [shown for room in ROOMS for shown in metrics_of(room)]
    told = {shown.name.removesuffix("_total") for shown in every}
    assert not {name for name in metrics() if name not in told} - NO_METRICS
    assert all(shown.what.endswith(".") for shown in every)
    assert all(all(shown.labels) for shown in every)


def test_each_room_of_the_page_has_some() -> None:
    """One whose metrics have moved would be an empty table."""
    assert all(metrics_of(room) for room in ROOMS)
    assert Path(ROOT / "docs/metrics.md").is_file()
