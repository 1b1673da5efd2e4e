"""Metrics come in the format that the scraper asks for."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from serving.exposition import Pages, expose

NAMED = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.fixture
def registry() -> CollectorRegistry:
    """One of each kind, and a gauge whose own name ends as those of births do."""
    made = CollectorRegistry()
    Counter("riverkeep_a", "A.", ["x"], registry=made).labels("1").inc(2)
    Histogram("riverkeep_b_seconds", "B.", buckets=(1,), registry=made).observe(0.5)
    Gauge("riverkeep_c_created", "C.", registry=made).set(3)
    return made


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain", "text/plain;version=1.0.0", f"text/plain,{NAMED[:28]};q=0.1"]
)
def test_plain_text_has_no_births(registry: CollectorRegistry, accept: str) -> None:
    """Nothing but what was counted: a birth would be a gauge beside each counter and histogram."""
    content, kind = expose(registry, accept)
    assert kind.startswith("text/plain; version=0.0.4")
    names = {sample.name for family in plain(content.decode()) for sample in family.samples}
    counted = {
        "riverkeep_a_total",
        "riverkeep_b_seconds_bucket",
        "riverkeep_b_seconds_count",
        "riverkeep_b_seconds_sum",
    }
    assert names == counted | {"riverkeep_c_created"}


def test_openmetrics_has_them(registry: CollectorRegistry) -> None:
    """As Prometheus asks."""
    content, kind = expose(registry, NAMED)
    assert kind.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")
    families = openmetrics(content.decode())  # type: ignore[no-untyped-call]  # it carries no types
    names = {sample.name for family in families for sample in family.samples}
    assert {"riverkeep_a_created", "riverkeep_b_seconds_created"} <= names


@given(st.text(max_size=60) | st.from_regex(r"application/openmetrics-text;(version|q|escaping)=[^,]*", fullmatch=True))
def test_no_header_escapes(accept: str) -> None:
    """Whatever stands in the header, metrics come."""
    registry = CollectorRegistry()
    Counter("riverkeep_a", "A.", registry=registry).inc()
    content, _ = expose(registry, accept)
    assert b"riverkeep_a_total 1.0" in content


def test_who_asks_while_a_page_is_made_gets_the_next_one_together_with_all_others() -> None:
    """A thousand cost two; and nobody gets a page that was begun before they asked."""
    made = list[str]()
    times = iter(range(10**6))

    async def ask_all() -> list[tuple[bytes, str]]:
        began, go_on = anyio.Event(), anyio.Event()

        async def make(accept: str) -> tuple[bytes, str]:
            made.append(accept)
            began.set()
            await go_on.wait()
            return str(len(made)).encode(), accept

        pages, got = Pages(make, clock=lambda: float(next(times))), list[tuple[bytes, str]]()

        async def ask(accept: str = "a") -> None:
            got.append(await pages.page(accept))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await began.wait()
            for _ in range(1000):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            go_on.set()
        await ask("b")
        await ask("b")
        return got

    got = anyio.run(ask_all)
    assert got == [(b"1", "a"), *[(b"2", "a")] * 1000, (b"3", "b"), (b"4", "b")]
