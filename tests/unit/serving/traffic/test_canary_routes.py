"""What clients get while a generation is watched: whole answers of one generation, from the side that they fall to."""

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from checkpoints.serving_pointer import Canary, CanaryMode
from serving.engine.loaded import LoadedGeneration
from serving.errors import EngineLost
from serving.generations.switch import Watched
from serving.routes import callers
from serving.routes.shadows import Shadows
from serving.traffic.choice import Caller
from serving.traffic.tally import MOST_ASKERS, Tally
from tests.harness import wait_until
from tests.unit.serving.conftest import Served, load, reference
from tests.unit.serving.traffic.test_watched_text import by_probes

Serve = Callable[..., Served]
PROMPT = {"prompt": "the state", "max_tokens": 3, "temperature": 0}
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "temperature": 0}
GENERATION = "x-riverkeep-generation"
USERS = [f"user {number}" for number in range(12)]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key."""
    path = tmp_path / "keys"
    path.write_text("the-key\n")
    return path


def watch(served: Served, generation: LoadedGeneration, share: float = 0.5, mode: CanaryMode = "canary") -> None:
    """Let a generation be watched."""
    served.switch.watch(Watched(generation, Canary(generation.number, share, mode, since=0.0)))


def falls(user: str, generation: LoadedGeneration, share: float = 0.5) -> bool:
    """Whether a user falls to the canary."""
    return Caller(b"user:" + user.encode()).falls_to(generation.number, share)


def ask(served: Served, headers: dict[str, str] | None = None, **more: Any) -> Any:
    """A completion."""
    return served.client.post("/v1/completions", json=PROMPT | more, headers=headers or {})


def counted(served: Served, side: str, column: int) -> float:
    """One column of what was counted of a side, over all groups."""
    rows = served.client.get("/v1/riverkeep/canary").json()["counts"][side]
    return float(sum(row[column] for row in rows))


def test_each_user_keeps_to_one_generation_and_is_told_which(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration
) -> None:
    """Text, header and fingerprint are of the same one, at every request; both sides are counted."""
    served = serve(first)
    watch(served, second)
    for user in USERS * 2:
        answer, expected = ask(served, user=user), second if falls(user, second) else first
        assert answer.headers[GENERATION] == str(expected.number)
        assert answer.json()["system_fingerprint"] == expected.fingerprint
        assert answer.json()["choices"][0]["text"] == reference(expected, "the state", 3)
    tried = 2 * sum(falls(user, second) for user in USERS)
    assert 0 < tried < 24
    assert served.count("watched_answers_total", role="canary", outcome="answered") == tried
    assert served.count("watched_answers_total", role="serving", outcome="answered") == 24 - tried
    facts = served.client.get("/v1/riverkeep/canary").json()
    assert (facts["serving"], facts["watched"], facts["loaded"]) == (1, 2, 2)
    for side, answers in (("watched", tried), ("serving", 24 - tried)):
        assert [counted(served, side, column) for column in (0, 1, 2, 4)] == [answers, 0, answers, answers]
        assert math.isfinite(counted(served, side, 3))
        assert counted(served, side, 5) < 0


def test_a_header_keeps_requests_together_before_all_else(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration
) -> None:
    """Whoever sends them; another header may be named."""
    for settings, header in (({}, "x-riverkeep-session"), ({"canary": {"sticky_header": "x-room"}}, "x-room")):
        served = serve(first, **settings)
        watch(served, second)
        for session in ("blue", "red", "green"):
            answers = {ask(served, {header: session}, user=user).headers[GENERATION] for user in USERS[:4]}
            assert answers == {"2" if Caller(b"header:" + session.encode()).falls_to(2, 0.5) else "1"}


def test_without_any_name_each_request_is_drawn_by_itself(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration, key_file: Path
) -> None:
    """A key holds requests together, unless the settings say that it does not."""
    key = {"authorization": "Bearer the-key"}
    for settings, sides in (({}, 1), ({"canary": {"sticky_by_key": False}}, 2)):
        served = serve(first, key_file, **settings)
        watch(served, second)
        assert len({ask(served, key).headers[GENERATION] for _ in range(20)}) == sides


def test_who_has_a_key_may_say_which_answers(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration, key_file: Path
) -> None:
    """And is not counted: who chooses is no sample of those who ask. Without a key nobody may."""
    served = serve(first, key_file)
    watch(served, second)
    key = {"authorization": "Bearer the-key"}
    for wish, number in (("always", "2"), ("never", "1")):
        for user in USERS[:6]:
            assert ask(served, key | {"x-riverkeep-canary": wish}, user=user).headers[GENERATION] == number
    assert served.count("watched_answers_total", role="canary", outcome="answered") == 0
    assert ask(served, key | {"x-riverkeep-canary": "perhaps"}).status_code == 400
    assert ask(serve(first), {"x-riverkeep-canary": "always"}).status_code == 403


def test_the_daemon_learns_to_whom_the_canary_answered(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration, tmp_path: Path
) -> None:
    """Request by request, by the key's name, those by force too; of what the other one answered nothing."""
    keys = tmp_path / "keys"
    keys.write_text(f"web sha256:{sha256(b'web-key').hexdigest()}\napp sha256:{sha256(b'app-key').hexdigest()}\n")
    served = serve(first, keys, daemon_key="d" * 32)
    watch(served, second, share=1.0)
    web, app = ({"authorization": f"Bearer {name}-key"} for name in ("web", "app"))
    for headers, more in (
        (web, {"n": 2, "temperature": 1}),
        (web, {"stream": True}),
        (web | {"x-riverkeep-canary": "always"}, {}),
        (web | {"x-riverkeep-canary": "never"}, {}),
        (app, {}),
        (app, {"max_tokens": 10**9}),
    ):
        ask(served, headers, **more)
    client = TestClient(by_probes(served.app))
    facts = client.get("/v1/riverkeep/canary", headers={"authorization": "Bearer " + "d" * 32}).json()
    assert facts["askers"] == {"web": 3, "app": 1}
    assert "askers" not in served.client.get("/v1/riverkeep/canary", headers=web).json()


def test_keys_beyond_those_that_are_told_apart_are_counted_together() -> None:
    """However many there are."""
    tally = Tally(lambda role, *, failed: None)
    for number in range(MOST_ASKERS + 5):
        tally.asker(1, 2, f"key-{number}")()
    tally.asker(1, 2, "key-0")()
    assert (len(tally.askers), tally.askers["key-0"], tally.askers["(others)"]) == (MOST_ASKERS + 1, 2, 5)
    tally.asker(1, 3, "web")()
    assert dict(tally.askers) == {"web": 1}


def test_with_nothing_watched_the_serving_generation_answers(serve: Serve, first: LoadedGeneration) -> None:
    """Nothing is counted, and one that has just begun to serve is not compared with itself."""
    served = serve(first)
    assert ask(served, user="user 1").headers[GENERATION] == "1"
    watch(served, first)
    assert ask(served, user="user 1").headers[GENERATION] == "1"
    assert served.client.get("/v1/riverkeep/canary").json() == {
        "loaded": 1,
        "failing": None,
        "failures": 0,
        "why": "",
        "serving": None,
        "watched": None,
        "counts": {},
    }


@pytest.mark.parametrize(("route", "body"), [("/v1/completions", PROMPT), ("/v1/chat/completions", CHAT)])
def test_where_the_canary_fails_the_serving_generation_answers(
    serve: Serve, first: LoadedGeneration, paths: dict[str, Path], route: str, body: dict[str, Any]
) -> None:
    """Whole, under its own name; the failure is counted against the canary and nobody calls the process broken."""
    served, faulty = serve(first), load(paths["second"], 2)
    faulty.model.forward = lambda **_: 1 / 0
    watch(served, faulty, share=1.0)
    for user in USERS[:5]:
        answer = served.client.post(route, json={**body, "user": user})
        assert answer.status_code == 200
        assert answer.headers[GENERATION] == "1"
        assert answer.json()["system_fingerprint"] == first.fingerprint
    assert (counted(served, "watched", 0), counted(served, "watched", 1)) == (5, 5)
    assert counted(served, "serving", 0) == 0
    assert not served.worker.trouble


def test_a_stream_that_the_canary_breaks_off_says_so_and_is_counted(
    serve: Serve, first: LoadedGeneration, paths: dict[str, Path]
) -> None:
    """Its status went out before: the error is its last event."""
    served, faulty = serve(first), load(paths["second"], 2)
    faulty.model.forward = lambda **_: 1 / 0
    watch(served, faulty, share=1.0)
    answer = ask(served, stream=True)
    assert answer.headers[GENERATION] == "2"
    assert "generation_failed" in answer.text
    assert "[DONE]" not in answer.text
    assert counted(served, "watched", 1) == 1


def test_who_wanted_the_canary_is_told_of_its_failure(
    serve: Serve, first: LoadedGeneration, paths: dict[str, Path], key_file: Path
) -> None:
    """Under the number of the one that failed."""
    served, faulty = serve(first, key_file), load(paths["second"], 2)
    faulty.model.forward = lambda **_: 1 / 0
    watch(served, faulty)
    answer = ask(served, {"authorization": "Bearer the-key", "x-riverkeep-canary": "always"})
    assert (answer.status_code, answer.headers[GENERATION]) == (500, "2")


def test_what_a_client_does_wrong_is_nobodys_failure(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration
) -> None:
    """A bad request is told, and not counted."""
    served = serve(first)
    watch(served, second, share=1.0)
    answer = ask(served, max_tokens=10**9)
    assert (answer.status_code, answer.headers[GENERATION]) == (400, "2")
    assert (counted(served, "watched", 0), counted(served, "watched", 1)) == (0, 0)


def test_a_classifiers_canary_answers_and_falls_back_alike(
    serve: Serve, judge: LoadedGeneration, paths: dict[str, Path]
) -> None:
    """Its answers come whole: the time until then is what is compared."""
    served, other = serve(judge, classifier=True), load(paths["classifier"], 2)
    watch(served, other, share=1.0)
    body = {"input": ["the state"], "user": "user 1"}
    assert served.client.post("/v1/classify", json=body).headers[GENERATION] == "2"
    assert [counted(served, "watched", column) for column in (0, 1, 2, 4)] == [1, 0, 1, 0]
    other.model.forward = lambda **_: 1 / 0
    assert served.client.post("/v1/classify", json=body).headers[GENERATION] == "1"
    assert [counted(served, "watched", column) for column in (0, 1)] == [2, 1]


@pytest.mark.parametrize("route", ["/v1/completions", "/v1/chat/completions", "/v1/classify"])
@pytest.mark.parametrize("late", [False, True])
def test_who_answers_in_the_canarys_place_has_the_rest_of_the_time(
    serve: Serve, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch, route: str, *, late: bool
) -> None:
    """And no time of its own: an engine that is lost after two minutes is not followed by two minutes more."""
    classifies = route == "/v1/classify"
    path = paths["classifier" if classifies else "first"]
    served = serve(load(path, 1), classifier=classifies, request_timeout_s=600)
    watch(served, load(path, 2), share=1.0)
    submit = served.worker.submit

    def lose(*jobs: Any, **options: bool) -> None:
        if not jobs[0].watched:
            submit(*jobs, **options)
            return
        monkeypatch.setattr(callers, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 1_000 * late))
        for job in jobs:
            job.fail(EngineLost("of a test"))

    monkeypatch.setattr(served.worker, "submit", lose)
    body = {"input": ["the state"]} if classifies else CHAT if "chat" in route else PROMPT
    assert served.client.post(route, json=body).status_code == (504 if late else 200)


@pytest.mark.parametrize("stream", [False, True])
def test_a_shadow_answers_copies_that_nobody_gets(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration, *, stream: bool
) -> None:
    """The serving generation answers all; the copy is counted, and warms nothing."""
    served = serve(first)
    watch(served, second, share=1.0, mode="shadow")
    with served.client:
        answer = ask(served, stream=stream)
        assert answer.headers[GENERATION] == "1"
        wait_until(lambda: served.count("watched_answers_total", role="shadow", outcome="answered") == 1)
        assert [counted(served, side, 0) for side in ("serving", "watched")] == [1, 1]
    assert served.count("watched_answers_total", role="serving", outcome="answered") == 1
    assert len(served.recent.usable_by(first)) == 1


def test_a_shadow_that_fails_is_counted_and_nobody_learns_of_it(
    serve: Serve, first: LoadedGeneration, paths: dict[str, Path]
) -> None:
    """Nor is the process called broken, however often it fails."""
    served, faulty = serve(first), load(paths["second"], 2)
    faulty.model.forward = lambda **_: 1 / 0
    watch(served, faulty, share=1.0, mode="shadow")
    with served.client:
        for _ in range(5):
            before = served.count("watched_answers_total", role="shadow", outcome="failed")
            assert ask(served).status_code == 200
            wait_until(partial(fails_again, served, before))
    assert not served.worker.trouble


def fails_again(served: Served, before: float) -> bool:
    """Whether one more copy has failed."""
    return served.count("watched_answers_total", role="shadow", outcome="failed") > before


def test_who_falls_to_no_share_has_no_copy(serve: Serve, first: LoadedGeneration, second: LoadedGeneration) -> None:
    """And is compared all the same."""
    served = serve(first)
    watch(served, second, share=0.5, mode="shadow")
    (user,) = [user for user in USERS if not falls(user, second)][:1]
    with served.client:
        assert ask(served, user=user).status_code == 200
        assert counted(served, "serving", 0) == 1
    assert served.count("watched_answers_total", role="shadow", outcome="answered") == 0


class FullQueue:
    """A worker behind whom some wait."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting


def test_a_copy_is_dropped_where_requests_wait_and_gives_way_to_those_that_come() -> None:
    """One at a time, and never before anybody else."""
    asyncio.run(_copies())


async def _copies() -> None:
    worker, begun, dropped = FullQueue(1), list[int](), list[int]()
    shadows = Shadows(worker)

    async def answer(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            dropped.append(number)
            raise

    shadows.copy(lambda: answer(1))
    await asyncio.sleep(0)
    assert begun == []
    worker.waiting = 0
    for number in (2, 3):
        shadows.copy(lambda number=number: answer(number))  # type: ignore[misc]  # bound now
        await asyncio.sleep(0)
    assert begun == [2]
    worker.waiting = 2
    shadows.give_way()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert dropped == [2]


def test_what_breaks_a_copy_is_logged_without_what_a_client_wrote() -> None:
    """By its kind and the place in the code."""

    async def fail() -> None:
        raise ValueError("cannot read: my secret")

    async def copy() -> None:
        Shadows(FullQueue(0)).copy(fail)
        await asyncio.sleep(0)

    with capture_logs() as logs:
        asyncio.run(copy())
    assert [(line["event"], line["error"]) for line in logs] == [("shadow_failed", "ValueError")]
    assert "secret" not in str(logs)
