"""What engines count of themselves, asked over HTTP of small servers that stand in for them."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from serving.engine.running import RunningEngine
from serving.exposition import OPENMETRICS, expose
from serving.processes import engine_metrics
from serving.processes.engine_metrics import ANSWERED, EngineMetrics
from tests.unit.serving.processes.test_asking import NoProcess

OF_VLLM = """\
# HELP vllm:tokens_total Tokens.
# TYPE vllm:tokens_total counter
vllm:tokens_total{generation="mine",model_name="m@g0001"} 5.0
# TYPE vllm:tokens_created gauge
vllm:tokens_created 1.7e+09
# HELP vllm:wait_seconds Waiting.
# TYPE vllm:wait_seconds histogram
vllm:wait_seconds_bucket{le="1.0"} 2.0
vllm:wait_seconds_bucket{le="+Inf"} 3.0
vllm:wait_seconds_count 3.0
vllm:wait_seconds_sum 4.5
# TYPE process_threads gauge
process_threads 7
not_declared 1 1700000000000
"""


class FakeEngine:
    """A server that says what it is told to say; `answer` writes a whole response."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                assert self.headers["authorization"] == "Bearer key"
                answer(self)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.running = RunningEngine(
            f"http://127.0.0.1:{self._server.server_port}", "m@g0001", "key", NoProcess(), silence_s=60
        )

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


Engines = Callable[[Callable[[BaseHTTPRequestHandler], None]], FakeEngine]


@pytest.fixture
def engines() -> Iterator[Engines]:
    """Makes engines."""
    made: list[FakeEngine] = []

    def make(answer: Callable[[BaseHTTPRequestHandler], None]) -> FakeEngine:
        made.append(FakeEngine(answer))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def says(content: bytes, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    """A response of this content."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def shown(metrics: EngineMetrics, accept: str = "", **engines: FakeEngine) -> dict[tuple[str, ...], float]:
    """What the door's `/metrics` shows, by name and labels, beside a gauge of its own."""
    registry = CollectorRegistry()
    Gauge("process_threads", "Its own.", registry=registry).set(1)
    pairs = [(int(name[1:]), engine.running) for name, engine in engines.items()]
    content, _ = expose(registry, accept, anyio.run(metrics.families, pairs))
    parse = openmetrics if accept else plain
    families = list(parse(content.decode()))
    assert len({family.name for family in families}) == len(families), "each family stands once"
    return {
        (each.name, *(f"{name}={value}" for name, value in sorted(each.labels.items()))): each.value
        for family in families
        for each in family.samples
    }


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_what_an_engine_counts_is_shown_under_its_generation(engines: Engines, accept: str) -> None:
    """A label of that name keeps its value as Prometheus would keep it; nothing is mistaken for the door's own."""
    found = shown(EngineMetrics(), accept, g1=engines(says(OF_VLLM.encode())), g2=engines(says(OF_VLLM.encode())))
    for number in ("1", "2"):
        mark = f"generation={number}"
        assert found["vllm:tokens_total", "exported_generation=mine", mark, "model_name=m@g0001"] == 5
        assert found["vllm:wait_seconds_bucket", mark, "le=1.0"] == 2
        assert found["vllm:wait_seconds_sum", mark] == 4.5
        assert found["engine_process_threads", mark] == 7
        assert found["not_declared", mark] == 1
        assert found[ANSWERED, mark] == 1
    assert found[("process_threads",)] == 1
    assert not [name for name, *_ in found if name.endswith("_created")]


def test_an_engine_that_generations_share_is_counted_once(engines: Engines) -> None:
    """Under the newest: a sum over generations is what the engine did."""
    engine = engines(says(OF_VLLM.encode()))
    found = shown(EngineMetrics(), g7=engine, g6=engine)
    counts = [labels for (name, *labels) in found if name == "vllm:wait_seconds_sum"]
    assert counts == [["generation=7"]]
    assert engine.asked == 1


def test_an_engine_without_metrics_is_not_sick(engines: Engines) -> None:
    """Not every program that serves OpenAI's API has them."""
    assert shown(EngineMetrics(), g1=engines(says(b"", 404))) == {("process_threads",): 1}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"{}",
        b"# TYPE a nonsense\na 1\n",
        b"a{b=1} 2\n",
        b'a{"b c"="1"} 2\n',
        b'{"b c"} 1\n',
        b"a one\n",
        b"a 1\n" * (engine_metrics.MOST_SAMPLES + 1),
        b"#" * (engine_metrics.MOST_BYTES + 1),
    ],
    ids=["bytes", "json", "type", "label", "quoted", "name", "value", "samples", "size"],
)
def test_nonsense_is_left_out(engines: Engines, content: bytes) -> None:
    """The door's own metrics come, and those of the other engine; which one failed is told."""
    found = shown(EngineMetrics(), g1=engines(says(content)), g2=engines(says(b"a 1\n")))
    assert found == {
        ("process_threads",): 1,
        (ANSWERED, "generation=1"): 0,
        (ANSWERED, "generation=2"): 1,
        ("a", "generation=2"): 1,
    }


def test_one_that_does_not_answer_is_given_up_and_left_alone_for_a_while(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that ask do not wait for it again; it is asked again later."""
    monkeypatch.setattr(engine_metrics, "WITHIN_S", 0.05)
    goes_on, now = threading.Event(), [0.0]
    engine, metrics = engines(lambda _: assert_true(goes_on.wait(60))), EngineMetrics(lambda: now[0])
    try:
        for _ in range(2):
            assert shown(metrics, g1=engine)[ANSWERED, "generation=1"] == 0
        assert engine.asked == 1
        now[0] = engine_metrics.SICK_FRESH_S
        shown(metrics, g1=engine)
        assert engine.asked == 2
    finally:
        goes_on.set()


def assert_true(value: object) -> None:
    """For expressions."""
    assert value


def test_who_asks_without_end_does_not_ask_the_engine_without_end(engines: Engines) -> None:
    """What it said a moment ago is given again."""
    now, engine = [0.0], engines(says(b"a 1\n"))
    metrics = EngineMetrics(lambda: now[0])
    for _ in range(3):
        assert shown(metrics, g1=engine)["a", "generation=1"] == 1
    assert engine.asked == 1
    now[0] = engine_metrics.FRESH_S
    shown(metrics, g1=engine)
    assert engine.asked == 2
