"""The page of serving: the process's own count, what served when, and the criteria of a watch."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from daemon.control.serving_facts import counted
from daemon.page.views.serving import serving_view
from serving.metrics import ServingMetrics
from tests.unit.daemon.page.browsers import Browser
from tests.unit.daemon.page.conftest import Ground


@pytest.fixture(scope="module")
def exposition() -> str:
    """What a serving process shows that has answered some."""
    registry = CollectorRegistry()
    metrics = ServingMetrics(registry)
    metrics.begin_requests(["/v1/completions", "/v1/classify"])
    for number in (3, 4):
        metrics.begin_generation(number)
    for seconds in (0.02, 0.03, 0.04, 0.2):
        metrics.first_token_seconds.labels("4").observe(seconds)
        metrics.queue_seconds.labels("4").observe(seconds / 10)
        metrics.request_seconds.labels("/v1/completions").observe(10 * seconds)
    metrics.first_token_seconds.labels("3").observe(500.0)
    metrics.waiting.set(5)
    metrics.active.set(2)
    metrics.loaded.set(2)
    metrics.swaps.labels("served").inc(3)
    return generate_latest(registry).decode()


def test_what_the_process_counts_is_read_as_it_counts_it(exposition: str) -> None:
    """Means exactly, shares by the bounds within which they lie; beyond the last bound nothing is said."""
    found = counted(exposition)
    assert found is not None
    assert (found["waiting"], found["active"], found["loaded"]) == (5, 2, 2)
    assert (found["swaps"], found["swaps_failed"]) == (3, 0)
    assert [each["generation"] for each in found["generations"]] == [4, 3]
    latest, before = found["generations"]
    assert latest["first_token"] == {
        "count": 4,
        "mean_seconds": pytest.approx(0.0725),
        "half_within_seconds": 0.05,
        "nine_tenths_within_seconds": 0.25,
    }
    assert latest["output_token"]["mean_seconds"] is None
    assert (before["first_token"]["count"], before["first_token"]["half_within_seconds"]) == (1, None)
    assert [each["route"] for each in found["routes"]] == ["/v1/completions"]


@pytest.mark.parametrize("text", ["", "<html>", "a b c d\n", "up 1\n", 'riverkeep_serving_waiting{a="'])
def test_what_is_no_such_count_is_none(text: str) -> None:
    """Of a process that starts, is cut off, or is something else."""
    assert counted(text) is None


def test_the_page_says_what_the_operation_says(
    ground: Ground, reader: Browser, exposition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without a serving process that there is none; what served when is the audit log's."""
    answer, page = ground.control.serving(), reader.get("/serving")
    assert answer["counted"] is None
    assert "No serving process runs beside this daemon" in page.text
    assert f"Generation {answer['standing']['generation']} has served for" in page.text
    lines = [line for line in ground.control.audit(limit=500) if line["what"] == "serves"]
    assert [(line["at"], line["generation"]) for line in answer["swaps"] if line["what"] == "serves"] == [
        (line["at"], line["detail"]["generation"]) for line in lines
    ][:20]
    assert page.text.count("</a> serves<") == min(20, len(lines))
    assert reader.get("/serving?format=json").json() == answer
    told = ground.control._serving_answer({"swap_seconds": 1.5, "failed": {7: "<b>why</b>"}}, exposition)
    told["standing"] |= {"ok": True, "answering": 4, "address": "http://127.0.0.1:8700"}
    monkeypatch.setattr(type(ground.control), "serving", lambda _: told)
    text = reader.get("/serving").text
    assert "5 requests wait, 2 are being answered" in text
    assert "3 done, 0 failed" in text
    assert '<td class="n nowrap">72.5 ms</td><td class="n nowrap">50 ms</td><td class="n nowrap">250 ms</td>' in text
    assert "longer than is told apart" in text
    assert "&lt;b&gt;why" in text


def check(kind: str, figure: float | None, lower: float | None, upper: float | None) -> dict[str, Any]:
    """One of a watch."""
    limits = {"figure": figure, "bound": 0.1, "lower": lower, "upper": upper, "answers": 40}
    return {"name": "errors", "kind": kind, **limits}


def test_criteria_of_a_watch_are_kept_broken_or_not_proven(ground: Ground) -> None:
    """By the interval, as the watch itself decides; what was not measured is unknown."""
    checks = [
        check("difference", 0.01, -0.02, 0.05),
        check("ratio", 1.5, 1.2, 1.9),
        check("nats", 0.02, -0.1, 0.3),
        check("nats", None, None, None),
    ]
    watch = {"generation": 5, "beside": 4, "mode": "canary", "share": 0.1, "since": 1.0, "ended_at": None}
    watch |= {"outcome": "watched", "ended_by": "", "verdict": {"sentence": "it goes on", "checks": checks}}
    view = serving_view(ground.control.serving() | {"canary": watch})  # type: ignore[arg-type]  # made by hand
    assert view.watched is not None
    assert [row.verdict for row in view.watched.criteria] == ["kept", "broken", "not proven yet", "not proven yet"]
    assert [row.figure for row in view.watched.criteria] == ["+1.00%", "1.50 times", "+0.0200 nats a token", "unknown"]
