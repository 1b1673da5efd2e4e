"""The admin surface, asked over TCP by a real client."""

import asyncio
import gc
import hmac
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from daemon.admin.app import OPEN_PATHS, create_app
from daemon.admin.client import RemoteControl
from daemon.admin.listener import listening
from daemon.admin.token import Token, ensure_token, read_token, token_path
from daemon.control.protocol import Control
from daemon.errors import BadRequest, Busy, DaemonError, DaemonUnreachable, Refused, UnknownThing
from daemon.lifecycle.supervised_threads import State
from daemon.settings.admin import AdminSettings
from memory.errors import StoreBusy
from memory.samples.records import KeyHash
from serving.door.bearer import digest_of
from tests.harness import PLAIN_HTTP, Facts, get, wait_until
from tests.hostile import filled, names
from tests.unit.daemon.fakes import FakeControl

TOKEN = "a-token-of-the-test"

EVERY_ROUTE = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/rounds"),
    ("GET", "/rounds/1"),
    ("GET", "/rounds/1/explain"),
    ("GET", "/rounds/1/flips"),
    ("GET", "/rounds/1/samples"),
    ("GET", "/generations"),
    ("GET", "/generations/1"),
    ("GET", "/generations/1/diff/1"),
    ("POST", "/canary/promote"),
    ("POST", "/canary/take-back"),
    ("GET", "/serving"),
    ("GET", "/serving/latency"),
    ("GET", "/streams"),
    ("GET", "/memory"),
    ("GET", "/memory/gaps"),
    ("GET", "/memory/next-draw"),
    ("GET", "/feedback"),
    ("GET", "/audit"),
    ("GET", "/settings"),
    ("GET", "/aside"),
    ("GET", "/aside/1"),
    ("GET", "/dead-letters"),
    ("GET", "/dead-letters/1"),
    ("POST", "/rounds"),
    ("POST", "/rounds/1/approve"),
    ("POST", "/rounds/1/reject"),
    ("POST", "/rounds/cancel"),
    ("POST", "/rounds/withdraw"),
    ("POST", "/rounds/pause"),
    ("POST", "/rounds/resume"),
    ("POST", "/rollback"),
    ("GET", "/comparisons"),
    ("POST", "/comparisons"),
    ("GET", "/comparisons/1"),
    ("POST", "/comparisons/1/pick"),
    ("POST", "/comparisons/1/cancel"),
    ("POST", "/resume"),
    ("POST", "/forget"),
    ("POST", "/streams/peek"),
    ("POST", "/memory/find"),
    ("POST", "/trace"),
    ("POST", "/trace/key"),
    ("POST", "/aside/release"),
    ("POST", "/aside/drop"),
    ("POST", "/aside/count"),
    ("POST", "/dead-letters/replay"),
    ("POST", "/dead-letters/drop"),
}


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    """A registry with one counter at 3."""
    registry = CollectorRegistry()
    Counter("riverkeep_things", "Things.", registry=registry).inc(3)
    return registry


@pytest.fixture(scope="module")
def surface(registry: CollectorRegistry) -> Iterator[tuple[str, FakeControl]]:
    """The surface, listening on a free port, and who answers."""
    control = FakeControl()
    with listening(create_app(control, registry, Token(TOKEN)), AdminSettings(port=0)) as admin:
        yield admin.address, control


@pytest.fixture
def control(surface: tuple[str, FakeControl]) -> FakeControl:
    """Who answers, as new."""
    surface[1].reset()
    return surface[1]


@pytest.fixture
def address(surface: tuple[str, FakeControl], control: FakeControl) -> str:
    """Where the surface listens."""
    return surface[0]


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    """A client with the token."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=address, headers=headers, verify=PLAIN_HTTP, trust_env=False) as client:
        yield client


@pytest.fixture
def stranger(address: str) -> Iterator[httpx.Client]:
    """A client without the token."""
    with httpx.Client(base_url=address, verify=PLAIN_HTTP, trust_env=False) as client:
        yield client


@pytest.fixture
def remote(address: str) -> Iterator[RemoteControl]:
    """The command line's client."""
    with RemoteControl(address, TOKEN) as remote:
        yield remote


def test_every_route_is_listed_here(registry: CollectorRegistry) -> None:
    """A new route must be added to this test, and so be thought about."""
    app = create_app(FakeControl(), registry, Token(TOKEN))
    routes = {
        (method, route.path.replace("{number}", "1").replace("{other}", "1"))
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert routes == EVERY_ROUTE
    assert len(app.routes) == len(EVERY_ROUTE)


@pytest.mark.parametrize(("method", "path"), sorted(EVERY_ROUTE))
def test_every_route_but_metrics_and_probes_needs_the_token(stranger: httpx.Client, method: str, path: str) -> None:
    """Without the token: 401, and only the three open paths answer."""
    response = stranger.request(method, path)
    assert (response.status_code == 401) is (path not in OPEN_PATHS)


@pytest.mark.parametrize("path", ["/nothing", "/docs", "/metrics/", "//metrics", "/METRICS"])
def test_an_unknown_path_tells_a_stranger_nothing(stranger: httpx.Client, path: str) -> None:
    """Deny by default: what does not exist answers as what is closed."""
    assert stranger.get(path).status_code == 401


@pytest.mark.parametrize(("method", "path"), [("GET", "/healthz"), ("GET", "/status"), ("POST", "/rollback")])
def test_an_address_with_a_control_character_leads_nowhere(
    client: httpx.Client, stranger: httpx.Client, control: FakeControl, method: str, path: str
) -> None:
    """The router would find the address without its line's end, which comparisons of paths do not."""
    assert client.request(method, f"{path}%0A").status_code == 404
    assert stranger.request(method, f"{path}%0A").status_code == 401
    assert control.calls == []


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer \xff"],
)
def test_a_wrong_token_is_refused(stranger: httpx.Client, control: FakeControl, authorization: str) -> None:
    """Nothing but the whole token opens, and nothing was done."""
    headers = [(b"authorization", authorization.encode("latin-1"))]
    response = stranger.post("/rollback", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert control.calls == []


def test_tokens_are_compared_in_constant_time(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every comparison goes through hmac.compare_digest."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, wanted: bytes) -> bool:
        compared.append((given, wanted))
        return given == wanted

    monkeypatch.setattr(hmac, "compare_digest", compare)
    client.get("/status")
    assert compared == [(digest_of(TOKEN), digest_of(TOKEN))]


def test_an_empty_token_cannot_be_configured(registry: CollectorRegistry) -> None:
    """A surface that anyone opens with `Bearer ` is not built."""
    with pytest.raises(ValueError, match="token"):
        create_app(FakeControl(), registry, Token("")).build_middleware_stack()


def test_the_probe_of_health_says_no_with_503(stranger: httpx.Client, control: FakeControl) -> None:
    """A loop that does not turn fails the liveness probe."""
    assert stranger.get("/healthz").status_code == 200
    control.healthy = False
    assert stranger.get("/healthz").status_code == 503


def test_health_does_not_depend_on_readiness(stranger: httpx.Client, control: FakeControl) -> None:
    """The broker away: alive, not ready."""
    control.ready = False
    assert stranger.get("/healthz").status_code == 200
    assert stranger.get("/readyz").status_code == 503


def test_readiness_tells_details_only_with_the_token(stranger: httpx.Client, client: httpx.Client) -> None:
    """Names of brokers and files are not for strangers; which part is broken is."""
    assert stranger.get("/readyz").json()["parts"] == {"ingest": {"ok": True}}
    assert "broker" in client.get("/readyz").json()["parts"]["ingest"]["detail"]


def test_metrics_come_as_prometheus_text(stranger: httpx.Client) -> None:
    """Without a wish: the classic format."""
    response = stranger.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "riverkeep_things_total 3.0" in response.text


def test_metrics_come_as_openmetrics_when_asked(stranger: httpx.Client) -> None:
    """Prometheus asks for OpenMetrics and gets it, with its end mark."""
    response = stranger.get(
        "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    )
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_a_page_of_rounds_is_bounded(client: httpx.Client) -> None:
    """`limit` and `before` page through; nonsense is refused, an absurd limit is cut."""
    page = client.get("/rounds", params={"limit": 2, "before": 5}).json()
    assert [one["number"] for one in page] == [4, 3]
    assert client.get("/rounds", params={"limit": 10**9}).status_code == 200
    assert client.get("/rounds", params={"limit": "-1"}).status_code == 400
    assert client.get("/rounds", params={"before": "9" * 30}).status_code == 400


def test_a_page_of_a_rounds_samples_is_bounded(client: httpx.Client) -> None:
    """Page after page, each sample once; a person's key is asked for in a body, never in an address."""
    first = client.get("/rounds/1/samples", params={"limit": 2}).json()
    assert [one["id"] for one in first["samples"]] == [1, 2]
    rest = client.get("/rounds/1/samples", params={"limit": 2, "after": first["next"]}).json()
    assert ([one["id"] for one in rest["samples"]], rest["next"]) == ([3], None)
    assert client.get("/memory/find", params={"key": "user-1"}).status_code == 405
    assert client.post("/memory/find", json={"key": "user-1", "limit": 10**6}).status_code == 400
    assert client.get("/memory/gaps", params={"before": "x"}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"generation": "3"}', b'{"generation": -1}', b'{"generation": 3, "force": true}', b"\xff"],
)
def test_a_body_that_is_not_understood_changes_nothing(client: httpx.Client, control: FakeControl, body: bytes) -> None:
    """Malformed JSON, wrong types and unknown fields: 400 with what is wrong."""
    response = client.post("/rollback", content=body)
    assert (response.status_code, control.calls) == (400, [])
    assert response.json()["error"]["message"]


def test_a_field_that_does_not_exist_is_told_those_that_do(client: httpx.Client) -> None:
    """A typo is mended without the documentation."""
    response = client.post("/rounds", content=b'{"dry_rum": true}')
    assert response.json()["error"]["message"] == "dry_rum: there is no such field; there may be: dry_run"


def test_a_huge_body_is_not_read(client: httpx.Client, control: FakeControl) -> None:
    """A megabyte of key is refused before it is parsed."""
    response = client.post("/forget", content=b'{"key": "' + b"x" * 1_000_000 + b'"}')
    assert (response.status_code, control.calls) == (413, [])


@pytest.mark.parametrize("item", [b"{}", b"[]", b'""', b"-1", b"0.5"])
def test_ids_that_are_none_are_refused_by_the_first(client: httpx.Client, control: FakeControl, item: bytes) -> None:
    """As many as a body holds: one sentence, not one for each."""
    for path in ("/dead-letters/drop", "/dead-letters/replay"):
        response = client.post(path, content=filled(b'{"ids":[', item, b"]}", size=60_000))
        assert (response.status_code, control.calls) == (400, [])
        assert len(response.json()["error"]["message"]) < 200
    response = client.post("/aside/drop", content=filled(b'{"round":1,"ids":[', item, b"]}", size=60_000))
    assert (response.status_code, control.calls) == (400, [])
    assert client.post("/forget", content=names(b"{", b"}", size=60_000)).status_code == 400


def test_another_token_counts_from_the_next_request(registry: CollectorRegistry) -> None:
    """A token that leaked is changed without a restart."""
    token = Token(TOKEN)
    with listening(create_app(FakeControl(), registry, token), AdminSettings(port=0)) as admin:

        def status_of(given: str) -> int:
            return get(f"{admin.address}/status", headers={"authorization": f"Bearer {given}"}).status_code

        assert (status_of(TOKEN), status_of("another")) == (200, 401)
        token.text = "another"
        assert (status_of(TOKEN), status_of("another")) == (401, 200)


def test_a_wrong_method_is_405(client: httpx.Client) -> None:
    """GET changes nothing."""
    assert client.get("/rollback").status_code == 405


def test_an_unexpected_error_hides_its_words(
    client: httpx.Client, stranger: httpx.Client, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug answers 500 without internals, and the surface lives on."""
    monkeypatch.setattr(control, "memory", lambda: 1 / 0)
    response = client.get("/memory")
    assert response.status_code == 500
    assert "division" not in response.text
    assert stranger.get("/healthz").status_code == 200


def test_everything_the_client_asks_arrives(remote: RemoteControl, control: FakeControl) -> None:
    """Each operation of the protocol goes through, with its arguments."""
    typed: Control = remote
    assert typed.status()["serving"]["generation"] == 2
    assert typed.rounds(limit=1) == [{"number": 9, "state": "accepted"}]
    assert typed.round(4)["number"] == 4
    assert typed.generations()["serving"] == 2
    assert typed.diff_generations(1, 2)["second"]["number"] == 2
    assert typed.memory() == control.memory()
    assert typed.aside() == control.aside()
    assert [one["id"] for one in typed.aside_text(3, limit=1, after=1)["documents"]] == [2]
    assert typed.aside_text(3, worst=True)["documents"][0]["loss"] == 9.5
    assert [one["id"] for one in typed.dead_letters(limit=1, before=3)] == [2]
    assert typed.dead_letters(text=True)[0] == typed.dead_letter(3, text=True)
    assert [one["id"] for one in typed.round_samples(4, limit=1, after=1)["samples"]] == [2]
    assert typed.find("Zoë/4711", text=True)["kept"][0]["text"] == "Zoë/4711"
    assert typed.find("user-1", limit=1, after=1)["kept"] == []
    assert typed.explain_round(4)["number"] == 4
    assert typed.flips(4, limit=1, text=True)["worst"][0]["sample"] is not None
    assert typed.trace("news", 2, 7, text=True)["records"][0]["detail"] == "news/2/7"
    assert typed.trace_key(KeyHash(-2), after=3)["erasures"][0]["key_hash"] == "fffffffffffffffe"
    assert [one["id"] for one in typed.gaps(limit=1, before=3)] == [2]
    assert [one["id"] for one in typed.audit(limit=1, before=3)] == [2]
    assert typed.settings()["settings"][0]["key"] == "admin.port"
    typed.request_round()
    typed.approve_round(7)
    typed.reject_round(8)
    typed.pause_rounds("the GPU is lent out")
    typed.resume_rounds()
    typed.cancel_rounds()
    typed.withdraw_round(dry_run=True)
    typed.rollback()
    typed.rollback(0)
    typed.compare("Zoë's river", 1, second=2, blind=True, temperature=0.5)
    assert typed.comparison(7)["answers"][1]["generation"] == 2
    typed.pick_answer(7, "left")
    typed.cancel_comparison(7)
    assert typed.picks()[0]["people"] == 2
    typed.resume("news/1")
    typed.forget("Zoë/4711")
    typed.release_aside(3)
    typed.drop_aside(3)
    typed.drop_aside(3, ids=[12, 15])
    assert typed.count_aside(3, source="news")["samples"] == 9
    typed.drop_aside(3, source="Zoë's", key="k")
    typed.replay_dead_letters(ids=[1, 2])
    typed.drop_dead_letters()
    assert control.calls == [
        ("request_round", False),
        ("approve_round", 7),
        ("reject_round", 8),
        ("pause_rounds", "the GPU is lent out"),
        ("resume_rounds", None),
        ("cancel_rounds", None),
        ("withdraw_round", True),
        ("rollback", None),
        ("rollback", 0),
        ("compare", "Zoë's river", 1, 2, True, False, 128, 0.5, None),
        ("pick_answer", 7, "left"),
        ("cancel_comparison", 7),
        ("resume", "news/1"),
        ("forget", "Zoë/4711"),
        ("release_aside", 3),
        ("drop_aside", 3),
        ("drop_aside", 3, (12, 15)),
        ("drop_aside", 3, (), "Zoë's", "k"),
        ("replay_dead_letters", (1, 2)),
        ("drop_dead_letters", ()),
    ]


def test_who_comes_second_is_told_when_to_ask_again(client: httpx.Client, remote: RemoteControl) -> None:
    """By the header that clients know, and by a sentence."""
    answer = client.post("/comparisons", json={"prompt": "busy"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["type"] == "Busy"
    with pytest.raises(Busy, match="under way"):
        remote.compare("busy")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": "x" * 32_001},
        {"prompt": "\ud800"},
        {"prompt": "x", "max_tokens": 0},
        {"prompt": "x", "temperature": -1},
        {"prompt": "x", "temperature": 1e400},
        {"prompt": "x", "seed": -1},
        {"prompt": "x", "first": "1"},
        {"prompt": "x", "blind": 1},
        {"prompt": "x", "sides": "left"},
    ],
    ids=str,
)
def test_a_comparison_that_makes_no_sense_is_refused(
    client: httpx.Client, control: FakeControl, body: dict[str, Any]
) -> None:
    """At the edge, and without a word of the prompt in the answer."""
    answer = client.post("/comparisons", content=json.dumps(body))
    assert (answer.status_code, control.calls) == (400, [])
    assert "xxxx" not in answer.text


def test_errors_come_through_as_themselves(remote: RemoteControl, control: FakeControl) -> None:
    """The exit status is the same with a daemon as without."""
    with pytest.raises(UnknownThing, match="no round 99"):
        remote.round(99)
    with pytest.raises(Refused, match="Nothing is fresh"):
        remote.request_round(dry_run=True)
    with pytest.raises(BadRequest, match="key"):
        remote.forget("")
    with pytest.raises(BadRequest, match="reason"):
        remote.pause_rounds("x" * 501)
    with pytest.raises(UnknownThing, match="Nothing is kept"):
        remote.find("nobody")
    with pytest.raises(UnknownThing, match="no round 99"):
        remote.round_samples(99)


def test_a_key_as_long_as_a_record_passes(remote: RemoteControl, control: FakeControl) -> None:
    """Other bodies are bounded; whoever can be stored can be found and erased while the daemon runs, or by a hash."""
    long = "ü\n" * 100_000
    remote.forget(long)
    remote.forget(KeyHash(-2))
    assert remote.find(long, text=True)["kept"][0]["text"] == long
    assert control.calls == [("forget", long), ("forget", KeyHash(-2))]


def test_a_key_longer_than_a_request_goes_by_its_hash(address: str, control: FakeControl) -> None:
    """The command is beside the daemon's store and asks it."""
    with RemoteControl(address, TOKEN, lambda key: KeyHash(len(key))) as remote:
        remote.forget("k" * 1_000_000)
        remote.forget("k" * 500_000)
    assert control.calls == [("forget", KeyHash(1_000_000)), ("forget", "k" * 500_000)]


@pytest.mark.parametrize("body", [{}, {"key": "u", "key_hash": "0" * 16}, {"key_hash": "xyz"}, {"key_hash": 5}])
@pytest.mark.parametrize("path", ["/forget", "/memory/find"])
def test_a_key_is_named_in_one_way(client: httpx.Client, control: FakeControl, path: str, body: object) -> None:
    """Nothing is erased where it is not sure whose text is meant."""
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert "key" in answer.json()["error"]["message"]
    assert control.calls == []


def test_what_the_store_says_reaches_the_person(
    remote: RemoteControl, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure that must be repeated says so where it was asked for, not in the daemon's log alone."""

    def fail(_key: str) -> None:
        raise StoreBusy("Run the same erasure again.")

    monkeypatch.setattr(control, "forget", fail)
    with pytest.raises(DaemonError, match="Run the same erasure again"):
        remote.forget("user-1")


def test_a_probe_that_says_no_is_an_answer(remote: RemoteControl, control: FakeControl) -> None:
    """503 from a probe carries facts."""
    control.ready = False
    assert remote.readiness()["ready"] is False


def test_the_client_says_what_is_wrong_with_its_token(address: str) -> None:
    """401 names the setting."""
    with RemoteControl(address, "wrong") as remote, pytest.raises(DaemonError, match=r"admin\.token_file"):
        remote.status()


def test_a_daemon_that_is_gone_is_said_so() -> None:
    """Connection refused becomes a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with RemoteControl(f"http://127.0.0.1:{port}", TOKEN) as remote, pytest.raises(DaemonUnreachable, match="answer"):
        remote.status()


def test_it_does_not_listen_beyond_loopback_without_a_configured_token(registry: CollectorRegistry) -> None:
    """Even with settings that were never validated."""
    open_to_all = AdminSettings.model_construct(host="0.0.0.0", port=0, token_file=None)
    app = create_app(FakeControl(), registry, Token(TOKEN))
    with pytest.raises(DaemonError, match="token_file"), listening(app, open_to_all):
        pass


def test_it_listens_beyond_loopback_with_one(registry: CollectorRegistry, tmp_path: Path) -> None:
    """A configured token opens the wildcard address; the address given is one that works here."""
    (tmp_path / "token").write_text(TOKEN)
    settings = AdminSettings(host="0.0.0.0", port=0, token_file=tmp_path / "token")
    with listening(create_app(FakeControl(), registry, Token(TOKEN)), settings) as admin:
        assert get(f"{admin.address}/healthz").status_code == 200


def test_a_port_in_use_is_said_so(registry: CollectorRegistry, address: str) -> None:
    """The error names address and setting."""
    port = int(address.rpartition(":")[2])
    app = create_app(FakeControl(), registry, Token(TOKEN))
    with pytest.raises(DaemonError, match=r"admin\.port"), listening(app, AdminSettings(port=port)):
        pass


def test_a_token_is_made_for_the_services_user_alone(tmp_path: Path) -> None:
    """Without a configured one: random, kept, readable by its owner only."""
    token = ensure_token(AdminSettings(), tmp_path)
    assert len(token) >= 32
    assert token_path(AdminSettings(), tmp_path).stat().st_mode & 0o777 == 0o600
    assert ensure_token(AdminSettings(), tmp_path) == token == read_token(AdminSettings(), tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff"])
def test_a_token_file_that_holds_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty token would open the surface to everyone."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(DaemonError, match="token"):
        read_token(AdminSettings(token_file=tmp_path / "token"), tmp_path)


def _is_well(address: str) -> bool:
    with suppress(httpx.TransportError):
        return get(f"{address}/healthz", timeout=5).status_code == 200
    return False


# What the dead event loop held is closed by nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_listener_whose_thread_dies_comes_back(registry: CollectorRegistry, control: FakeControl) -> None:
    """On the same port, without the service; who connects meanwhile is answered by the next.

    Whom the dying loop had accepted already nobody answers: it asks again.
    """
    dying = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/die":
            dying.set()
            asyncio.get_running_loop().call_soon(sys.exit, 7)
        await inner(scope, receive, send)

    inner = create_app(control, registry, Token(TOKEN))
    with listening(app, AdminSettings(port=0)) as admin:
        with suppress(httpx.TransportError):
            get(f"{admin.address}/die")
        assert dying.is_set()
        wait_until(lambda: _is_well(admin.address))
        wait_until(lambda: admin.parts.healths()[0].state is State.RUNNING)
    gc.collect()


def test_probes_are_answered_while_slow_questions_take_every_thread(
    address: str, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that takes long for each of sixty people is no reason to restart the daemon."""
    released, waiting = threading.Event(), threading.Semaphore(0)

    def wait() -> Facts:
        waiting.release()
        released.wait(60)
        return {}

    monkeypatch.setattr(control, "status", wait)
    headers = {"authorization": f"Bearer {TOKEN}"}
    askers = [threading.Thread(target=lambda: get(f"{address}/status", headers=headers, timeout=60)) for _ in range(60)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(40):
            assert waiting.acquire(timeout=60)
        for path in ("/healthz", "/readyz", "/metrics"):
            assert get(f"{address}{path}", timeout=20).status_code in (200, 503)
    finally:
        released.set()
        for asker in askers:
            asker.join()
