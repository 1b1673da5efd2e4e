"""The page of serving: the process's own count, what served when, and the criteria of a watch."""

import io
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from daemon.cli.render.history import print_serving
from daemon.control.answers.serving import LatencyAnswer, SwapLine
from daemon.control.serving_facts import counted, latency_answer
from daemon.page.time_charts import seconds_between, time_chart
from daemon.page.views.serving import serving_view
from daemon.processes.serving_times import ServingTimes
from serving.metrics import ServingMetrics
from tests.docs.json_page import mistakes
from tests.unit.daemon.cli.render.screens import show_on
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
    assert "5 requests waiting, 2 being answered" in text
    assert "3 done, 0 failed" in text
    assert '<td class="n nowrap">72.5 ms</td><td class="n nowrap">50 ms</td><td class="n nowrap">250 ms</td>' in text
    assert "longer than is told apart" in text
    assert "&lt;b&gt;why" in text


def test_the_command_says_what_the_operation_says(
    ground: Ground, exposition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figure by figure, slot by slot; nothing in a reason from outside moves the cursor."""
    written = io.StringIO()
    show_on(Console(file=written, width=140), monkeypatch)
    told = ground.control._serving_answer({"swap_seconds": 1.5, "failed": {7: "why\x1b[2J"}}, exposition)
    print_serving(told, SLOTS)
    shown = " ".join(written.getvalue().split())
    for words in (
        "5 requests wait, 2 are answered; 2 generations in memory; 3 swaps, 0 failed.",
        "generation 4, first token: 4 measured, mean 72.5 ms, half within 50 ms, nine tenths within 250 ms",
        "generation 3, first token: 1 measured, mean 500 s, half within longer than is told apart",
        "Generation 7 cannot serve: why\\x1b[2J",
        "01-01 00:01 20 ms 1.5 s 12 1 0",
        f"generation {told['swaps'][0]['generation']} begins to serve",
    ):
        assert words in shown, words
    print_serving(ground.control.serving(), ground.control.latency())
    assert "Nothing was asked in that time" in written.getvalue()


SLOTS: Any = {
    "slots": [
        {"at": 60.0, "measured": 12, "failed": 1, "refused": 0, "half_seconds": 0.02, "ninety_nine_seconds": 1.5},
    ]
}


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
        check("nats", None, None, None) | {"not_compared": "nobody can read"},
    ]
    watch = {"generation": 5, "beside": 4, "mode": "canary", "share": 0.1, "since": 1.0, "ended_at": None}
    watch |= {"answered_to": {"by_key": [{"key": "web", "requests": 7}], "other_keys": 0, "other_requests": 0}}
    watch |= {"outcome": "watched", "ended_by": "", "verdict": {"sentence": "it goes on", "checks": checks}}
    told: Any = ground.control.serving() | {"canary": watch}
    view = serving_view(told, ground.control.latency(), 1)
    assert view.watched is not None
    assert view.watched.answered == "it answered 7 of web"
    assert [row.verdict for row in view.watched.criteria] == [
        *("kept", "broken", "not proven yet", "not proven yet", "not compared, as nobody can read"),
    ]
    assert [row.figure for row in view.watched.criteria] == [
        "+1.00%",
        "1.50 times",
        "+0.0200 nats a token",
        "unknown",
        "unknown",
    ]


class Answering:
    """A serving process of an hour ago until now: forty requests a minute, of which one failed, slow in the middle."""

    def __init__(self, until: float) -> None:
        self.moment, self.registry = until - 3_600.0, CollectorRegistry()
        metrics = ServingMetrics(self.registry)
        metrics.begin_requests(["/v1/completions"])
        self.times = ServingTimes(lambda: generate_latest(self.registry).decode(), self._now, self._now)
        for minute in range(60):
            for number in range(40):
                metrics.request_seconds.labels("/v1/completions").observe(3.0 if 20 <= minute < 30 else 0.03)
                metrics.requests.labels("/v1/completions", "500" if number == 0 else "200").inc()
            self.times.look()
            self.moment += 60.0

    def _now(self) -> float:
        return self.moment


def test_answers_over_time_are_drawn_with_swaps_and_watches(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drawing, the table and the JSON say the same; what is from outside is text."""
    now = 1_700_000_000.0
    answer = latency_answer(ground.here.store, Answering(now).times, hours=1, now=now)
    swap: SwapLine = {"at": now - 1_800, "what": "serves", "generation": 4, "before": 3, "who": "<b>who"}
    stretch = {"generation": 4, "beside": 3, "mode": "canary", "since": now - 2_700, "ended_at": now - 1_800}
    answer |= {"swaps": [swap], "watched": [{**stretch, "outcome": "promoted"}]}  # type: ignore[typeddict-item]
    assert list(mistakes(answer, LatencyAnswer)) == []
    assert sum(slot["measured"] for slot in answer["slots"]) == 2_400
    assert {slot["failed"] for slot in answer["slots"]} == {1}
    assert {tuple(slot["half_between"]) for slot in answer["slots"]} == {(0.025, 0.05), (2.5, 5.0)}
    asked: list[int] = []

    def latency(_: object, *, hours: int = 1) -> LatencyAnswer:
        asked.append(hours)
        return answer

    monkeypatch.setattr(type(ground.control), "latency", latency)
    page = reader.get("/serving?hours=6").text
    chart = time_chart(answer)
    assert chart is not None
    (drawn,), (shade,) = chart.swaps, chart.shades
    assert (drawn.label, chart.busiest) == ("→ 4", 40)
    assert shade.x < drawn.x == pytest.approx(shade.x + shade.width, abs=0.02)
    assert f'<line class="swap" x1="{drawn.x}"' in page
    assert f'<rect class="shade" x="{shade.x}"' in page
    assert "generation 4 is watched beside 3, and answers" in page
    assert "Generation 4 begins to serve." in page
    # The lines break nowhere, and rise together where answers were slow.
    assert (chart.half.count("M"), chart.most.count("M"), len(chart.bars)) == (1, 1, 60)
    assert page.count("40 requests, 1 failed: half within about 37.5 ms, 99 of 100 within about 49.8 ms") >= 50
    assert asked == [6]
    assert 'href="/serving/latency?hours=6&amp;format=json"' in page
    assert reader.get("/serving/latency?hours=6&format=json").json() == answer
    assert reader.get("/serving?hours=25").status_code == 400


def test_where_nothing_is_counted_the_page_says_so(ground: Ground, reader: Browser) -> None:
    """Without a serving process, and before anything was asked; swaps stand in the table all the same."""
    answer = ground.control.latency(hours=24)
    assert (answer["since"], answer["slots"]) == (None, [])
    assert time_chart(answer) is None
    page = reader.get("/serving?hours=24").text
    assert "Nothing is counted where no serving process runs beside the daemon." in page
    assert [line["at"] for line in answer["swaps"]] == sorted(line["at"] for line in answer["swaps"])
    idle = answer | {"since": answer["begins"], "slots": []}
    assert "Nothing was asked" not in page
    view = serving_view(ground.control.serving(), idle, 24)
    assert view.latency.chart is None
    assert len([row for row in view.latency.rows if row.happened]) == len(
        {line["at"] // 900 for line in answer["swaps"]}
    )


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [
        (0.02, 0.03, [0.01, 0.02, 0.05, 0.1]),
        (0.02, 5.0, [0.01, 0.1, 1.0, 10.0]),
        (0.0, 0.0, [0.001, 0.002, 0.005, 0.01]),
        (1.0, 1.0, [1.0, 2.0, 5.0, 10.0]),
        (0.004, 120.0, [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0]),
    ],
)
def test_times_are_named_that_people_would_name(least: float, most: float, ticks: list[float]) -> None:
    """From one that is not above to one that is not below, whatever there is to draw."""
    assert seconds_between(least, most) == pytest.approx(ticks)
    assert seconds_between(least, most)[0] <= max(least, 0.001)
    assert seconds_between(least, most)[-1] >= most
