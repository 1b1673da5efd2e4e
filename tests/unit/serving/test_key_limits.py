"""What a request with a key is told, and what is counted of it, through the whole application."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.addresses import ANSWER_ROUTES, FEEDBACK_ROUTE
from serving.engine.loaded import LoadedGeneration
from serving.feedback.spool import take
from serving.keys.key_file import add_key
from serving.keys.limits import KeyLimits
from tests.unit.serving.conftest import Served

Serve = Callable[..., Served]
PROMPT = {"prompt": "the state", "max_tokens": 4, "temperature": 0}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """None is there yet."""
    return tmp_path / "keys"


def header(key_file: Path, name: str, **limits: int | None) -> dict[str, str]:
    """What a client sends with a key that is added for it."""
    return {"authorization": f"Bearer {add_key(key_file, name, limits).secret}"}


def test_a_limit_is_told_as_openai_tells_it(serve: Serve, first: LoadedGeneration, key_file: Path) -> None:
    """What is left on each answer; beyond it a 429 with a time, and without work."""
    alice = header(key_file, "alice", requests_per_minute=2, tokens_per_minute=100_000)
    served = serve(first, key_file)
    answer = served.client.post("/v1/completions", json=PROMPT, headers=alice)
    assert answer.status_code == 200
    assert (answer.headers["x-ratelimit-limit-requests"], answer.headers["x-ratelimit-remaining-requests"]) == (
        "2",
        "1",
    )
    assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    assert served.client.post("/v1/completions", json={}, headers=alice).status_code == 400
    refused = served.client.post("/v1/completions", json=PROMPT, headers=alice)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    usage = answer.json()["usage"]
    assert served.count("key_tokens_total", key="alice", direction="read") == usage["prompt_tokens"]
    assert served.count("key_tokens_total", key="alice", direction="written") == usage["completion_tokens"] > 0
    assert served.count("key_requests_total", key="alice", code="2xx") == 1
    assert served.count("key_requests_total", key="alice", code="4xx") == 2
    assert served.count("key_refusals_total", key="alice", limit="requests_per_minute") == 1
    # To ask how things are takes nothing, and is always answered.
    assert served.client.get("/v1/models", headers=alice).status_code == 200


@pytest.mark.parametrize("end", ["%0A", "%0D", "%0D%0A", "%00", "%7F", "%C2%85"])
@pytest.mark.parametrize("route", sorted(ANSWER_ROUTES | {FEEDBACK_ROUTE}))
def test_a_control_character_behind_an_address_leads_past_no_limit(
    serve: Serve, first: LoadedGeneration, key_file: Path, route: str, end: str
) -> None:
    """There is no such route: it is not answered, and not tried before the key either."""
    alice = header(key_file, "alice", requests_per_minute=1)
    served = serve(first, key_file)
    asked = [served.client.post(f"{route}{end}", json=PROMPT, headers=alice) for _ in range(2)]
    assert [(each.status_code, each.json()["error"]["type"]) for each in asked] == [(404, "invalid_request_error")] * 2
    assert served.client.post(f"{route}{end}", json=PROMPT).status_code == 401
    assert served.count("requests_total", route="other", code="404") == 2


@pytest.mark.parametrize("route", ["/healthz", "/readyz", "/metrics", "/v1/models", "/v1/models/riverkeep"])
def test_no_other_address_has_control_characters_either(
    serve: Serve, first: LoadedGeneration, key_file: Path, route: str
) -> None:
    """Those that need no key tell nothing there."""
    alice = header(key_file, "alice")
    client = serve(first, key_file).client
    assert client.get(route, headers=alice).status_code == 200
    assert client.get(f"{route}%0A").status_code == 401
    assert client.get(f"{route}%0A", headers=alice).status_code == 404


def test_feedback_takes_of_the_requests_alone(
    serve: Serve, first: LoadedGeneration, key_file: Path, tmp_path: Path
) -> None:
    """Where tokens are used up it is taken; beyond its requests it is refused with a time, and not written down."""
    alice = header(key_file, "alice", requests_per_minute=3, tokens_per_day=1)
    served = serve(first, key_file, state=tmp_path / "state")
    answer = served.client.post("/v1/completions", json=PROMPT, headers=alice).json()["id"]
    assert served.client.post("/v1/completions", json=PROMPT, headers=alice).json()["error"]["type"] == (
        "insufficient_quota"
    )
    said = {"id": answer, "verdict": "reject"}
    given = [served.client.post("/v1/feedback", json=said, headers=alice) for _ in range(3)]
    assert [response.status_code for response in given] == [200, 200, 429]
    assert given[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(given[2].headers["retry-after"]) <= 20
    assert given[1].headers["x-ratelimit-remaining-requests"] == "0"
    waiting = take(tmp_path / "state", 0)
    assert waiting is not None
    assert len(list(waiting.lines())) == 2
    assert served.count("key_refusals_total", key="alice", limit="requests_per_minute") == 1
    assert served.count("key_requests_total", key="alice", code="2xx") == 3


def test_feedback_that_cannot_be_written_down_takes_nothing(
    serve: Serve, first: LoadedGeneration, key_file: Path, tmp_path: Path
) -> None:
    """As a request that a full queue refuses; one that says something wrong counts."""
    alice = header(key_file, "alice", requests_per_minute=1)
    (tmp_path / "state").touch()
    client = serve(first, key_file, state=tmp_path / "state").client
    said = {"id": "cmpl-" + "0" * 56, "verdict": "reject"}
    statuses = [client.post("/v1/feedback", json=body, headers=alice).status_code for body in (said, said, {}, said)]
    assert statuses == [503, 503, 400, 429]


def test_a_quota_that_is_used_up_is_not_tried_again(serve: Serve, first: LoadedGeneration, key_file: Path) -> None:
    """OpenAI's clients would, within seconds; of a limit of the minute they may."""
    alice = header(key_file, "alice", tokens_per_day=1)
    client = serve(first, key_file).client
    assert client.post("/v1/completions", json=PROMPT, headers=alice).status_code == 200
    refused = client.post("/v1/completions", json=PROMPT, headers=alice)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"


def test_settings_limit_keys_that_name_no_limit(serve: Serve, first: LoadedGeneration, key_file: Path) -> None:
    """And `none` lifts that for one."""
    alice, bob = header(key_file, "alice"), header(key_file, "bob", requests_per_minute=None)
    client = serve(first, key_file, key_limits=KeyLimits(requests_per_minute=1)).client
    statuses = [
        [client.post("/v1/completions", json=PROMPT, headers=each).status_code for _ in range(2)]
        for each in (alice, bob)
    ]
    assert statuses == [[200, 429], [200, 200]]


def test_several_prompts_are_several_answers_at_once(serve: Serve, first: LoadedGeneration, key_file: Path) -> None:
    """More than a key may ever have are a 400."""
    alice = header(key_file, "alice", at_once=2)
    client = serve(first, key_file).client
    statuses = [
        client.post("/v1/completions", json={**PROMPT, "prompt": ["a"] * count}, headers=alice).status_code
        for count in (2, 3, 2)
    ]
    assert statuses == [200, 400, 200]


def test_a_stream_counts_what_was_written(serve: Serve, first: LoadedGeneration, key_file: Path) -> None:
    """And its place is free again at its end."""
    alice = header(key_file, "alice", at_once=1)
    served = serve(first, key_file)
    for _ in range(2):
        answer = served.client.post("/v1/completions", json={**PROMPT, "stream": True}, headers=alice)
        assert answer.text.endswith("data: [DONE]\n\n")
    assert served.count("key_tokens_total", key="alice", direction="written") == 8


def test_texts_that_are_classified_count_too(serve: Serve, judge: LoadedGeneration, key_file: Path) -> None:
    """As tokens read, and as one answer."""
    alice = header(key_file, "alice", at_once=1)
    served = serve(judge, key_file, classifier=True)
    answer = served.client.post("/v1/classify", json={"input": ["one", "two three"]}, headers=alice)
    read = answer.json()["usage"]["prompt_tokens"]
    assert served.count("key_tokens_total", key="alice", direction="read") == read > 0
