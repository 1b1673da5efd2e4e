"""What clients get: answers that name their generation, and errors that they can act on."""

import argparse
import json
import re
import shlex
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch

from serving.addresses import OPEN_ROUTES, ROUTES
from serving.answers.prompts import cut
from serving.api_keys import ApiKeys
from serving.engine.defaults import Defaults
from serving.engine.loaded import LoadedGeneration
from serving.engine.worker import Worker
from serving.errors import CannotServe
from serving.generations.switch import SwapStatus
from serving.generations.warm import warming
from serving.settings import ServingSettings
from tests.unit.serving.conftest import Served, load, reference, reference_ids

Serve = Callable[..., Served]
PROMPT = {"prompt": "the state", "max_tokens": 8, "temperature": 0}
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "temperature": 0}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Two keys."""
    path = tmp_path / "keys"
    path.write_text("first-key\nsecond-key\n")
    return path


def silence(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker take requests and never answer."""
    monkeypatch.setattr(served.worker, "submit", lambda *_, **__: None)


def chunks(text: str) -> list[Any]:
    """The events of a stream, its end mark included."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_a_completion_names_its_generation(serve: Serve, first: LoadedGeneration) -> None:
    """Header and fingerprint say what answered; text and counts are right."""
    response = serve(first).client.post("/v1/completions", json=PROMPT)
    body = response.json()
    assert response.headers["x-riverkeep-generation"] == "1"
    assert body["system_fingerprint"] == first.fingerprint == "riverkeep-1-00000000"
    assert body["choices"][0]["text"] == reference(first, "the state", 8)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 8
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 8


def test_the_request_in_the_documents_is_answered(serve: Serve, first: LoadedGeneration) -> None:
    """As it stands there: a person copies it, and a body that is not declared as JSON is a 415."""
    page = (Path(__file__).parents[3] / "docs/http.md").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^curl .*$", page, re.MULTILINE)
    curl = argparse.ArgumentParser()
    curl.add_argument("address")
    curl.add_argument("-H", action="append", default=[])
    curl.add_argument("-d")
    asked = curl.parse_args(shlex.split(line)[1:])
    headers = dict(header.split(": ", 1) for header in asked.H)
    path = asked.address.removeprefix(f"localhost:{ServingSettings().port}")
    response = serve(first).client.post(path, content=asked.d, headers=headers)
    assert response.status_code == 200, response.text
    assert serve(first).client.post(path, content=asked.d).status_code == 415


def test_several_prompts_are_answered_in_order(serve: Serve, first: LoadedGeneration) -> None:
    """One choice for each prompt, texts and token ids alike."""
    served = serve(first)
    prompts = ["the state", "one two"]
    choices = served.client.post("/v1/completions", json={**PROMPT, "prompt": prompts}).json()["choices"]
    assert [choice["text"] for choice in choices] == [reference(first, prompt, 8) for prompt in prompts]
    assert [choice["index"] for choice in choices] == [0, 1]
    tokens = first.tokenizer("the state")["input_ids"]
    by_ids = served.client.post("/v1/completions", json={**PROMPT, "prompt": tokens}).json()["choices"]
    assert by_ids[0]["text"] == choices[0]["text"]


def test_a_stream_says_the_same_as_a_whole_answer(serve: Serve, first: LoadedGeneration) -> None:
    """The pieces add up; the end carries the usage when it was asked for."""
    served = serve(first)
    body = {**PROMPT, "stream": True, "stream_options": {"include_usage": True}}
    response = served.client.post("/v1/completions", json=body)
    events = chunks(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-riverkeep-generation"] == "1"
    assert events.pop() == "[DONE]"
    last = events.pop()
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 8
    assert "".join(event["choices"][0]["text"] for event in events) == reference(first, "the state", 8)
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert {event["system_fingerprint"] for event in events} == {first.fingerprint}
    assert served.count("first_token_seconds_count", generation="1") == 1


def test_a_chat_is_answered(serve: Serve, first: LoadedGeneration) -> None:
    """Without a template, in plain lines."""
    body = serve(first).client.post("/v1/chat/completions", json=CHAT).json()
    message = body["choices"][0]["message"]
    assert message["role"] == "assistant"
    assert message["content"] == reference(first, "User: hi\nAssistant:", 8)
    assert body["object"] == "chat.completion"


def test_a_chat_streams(serve: Serve, first: LoadedGeneration) -> None:
    """The first piece says who speaks; usage comes only when asked for."""
    events = chunks(serve(first).client.post("/v1/chat/completions", json={**CHAT, "stream": True}).text)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    said = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    assert said == reference(first, "User: hi\nAssistant:", 8)
    assert all(event["choices"] for event in events[:-1])


def test_max_completion_tokens_wins(serve: Serve, first: LoadedGeneration) -> None:
    """The newer name of the limit is the one that counts."""
    body = serve(first).client.post("/v1/chat/completions", json={**CHAT, "max_completion_tokens": 2}).json()
    assert body["usage"]["completion_tokens"] == 2


def test_a_stop_ends_the_answer(serve: Serve, first: LoadedGeneration) -> None:
    """`stop` cuts before the text and says so."""
    whole = reference(first, "the state", 8)
    body = serve(first).client.post("/v1/completions", json={**PROMPT, "stop": whole[2:4]}).json()
    assert body["choices"][0]["text"] == whole[: whole.index(whole[2:4])]
    assert body["choices"][0]["finish_reason"] == "stop"


def test_a_stop_may_be_a_control_token(serve: Serve, paths: dict[str, Path]) -> None:
    """Though no text ever shows it; and a stop by its number does the same."""
    generation = load(paths["first"], 1)
    fifth = reference_ids(generation, "the state", 8)[4]
    generation = replace(generation, unshown={fifth: "<|im_end|>"})
    client = serve(generation).client
    whole = client.post("/v1/completions", json=PROMPT).json()
    for stop in ({"stop": "<|im_end|>"}, {"stop": ["no", "<|im_end|>"]}, {"stop_token_ids": [fifth]}):
        body = client.post("/v1/completions", json={**PROMPT, **stop}).json()
        assert body["choices"][0]["finish_reason"] == "stop"
        assert body["usage"]["completion_tokens"] <= 5
        assert whole["choices"][0]["text"].startswith(body["choices"][0]["text"])


def test_an_end_can_be_ignored(serve: Serve, paths: dict[str, Path]) -> None:
    """For those who measure: the answer is as long as asked for."""
    generation = load(paths["first"], 1)
    ending = replace(generation, stop_ids=frozenset({reference_ids(generation, "the state", 8)[4]}))
    client = serve(ending).client
    assert client.post("/v1/completions", json=PROMPT).json()["usage"]["completion_tokens"] <= 5
    ignored = client.post("/v1/completions", json={**PROMPT, "ignore_eos": True}).json()
    assert (ignored["usage"]["completion_tokens"], ignored["choices"][0]["finish_reason"]) == (8, "length")


@pytest.mark.parametrize(
    "extra",
    [
        {"logit_bias": {"7": 100}},
        {"top_k": 1, "temperature": 2, "logit_bias": {"7": 100}},
        {"repetition_penalty": 0.01},
    ],
)
def test_what_steers_an_answer_reaches_it(serve: Serve, first: LoadedGeneration, extra: dict[str, object]) -> None:
    """By both routes, in a stream as in a whole answer."""
    client = serve(first).client
    usual = client.post("/v1/completions", json=PROMPT).json()["choices"][0]["text"]
    steered = client.post("/v1/completions", json={**PROMPT, **extra}).json()["choices"][0]["text"]
    assert steered != usual
    events = chunks(client.post("/v1/completions", json={**PROMPT, **extra, "stream": True}).text)
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == steered
    if "logit_bias" in extra:
        assert steered == first.tokenizer.decode([7] * 8)
        said = client.post("/v1/chat/completions", json={**CHAT, **extra}).json()
        assert said["choices"][0]["message"]["content"] == steered


@pytest.mark.parametrize("extra", [{"logit_bias": {"320": 1}}, {"stop_token_ids": [5, 320]}])
def test_tokens_that_the_model_has_not_are_named(
    serve: Serve, first: LoadedGeneration, extra: dict[str, object]
) -> None:
    """With the numbers that there are."""
    error = serve(first).client.post("/v1/completions", json={**PROMPT, **extra}).json()["error"]
    assert error["param"] in ("logit_bias.320", "stop_token_ids.1")
    assert "0 … 319" in error["message"]


def test_where_a_request_is_silent_the_model_speaks(serve: Serve, first: LoadedGeneration) -> None:
    """Its generation_config gives temperature and length; the operator's limit holds for it too."""
    silent = {"prompt": "the state"}
    greedy = replace(first, defaults=Defaults(temperature=0.0, max_new_tokens=6))
    body = serve(greedy).client.post("/v1/completions", json=silent).json()
    assert (body["usage"]["completion_tokens"], body["choices"][0]["text"]) == (6, reference(first, "the state", 6))
    served = serve(replace(first, defaults=Defaults(max_new_tokens=500)), max_new_tokens=9, default_new_tokens=4)
    asked = {**silent, "ignore_eos": True}
    assert served.client.post("/v1/completions", json=asked).json()["usage"]["completion_tokens"] == 9
    served = serve(first, default_new_tokens=4)
    assert served.client.post("/v1/completions", json=asked).json()["usage"]["completion_tokens"] == 4


def test_the_model_is_listed(serve: Serve, first: LoadedGeneration) -> None:
    """`/v1/models` has the one name, with its generation."""
    model = serve(first).client.get("/v1/models").json()["data"][0]
    assert (model["id"], model["generation"], model["context_length"]) == ("riverkeep", 1, first.context)


@pytest.mark.parametrize("name", ["riverkeep", "HuggingFaceTB/SmolLM2-135M", "a b/ä?#+", "models/"])
@pytest.mark.parametrize("safe", ["", "/"])
def test_the_model_is_found_by_its_name(serve: Serve, first: LoadedGeneration, name: str, safe: str) -> None:
    """As the list has it, with the name's slashes as such or encoded."""
    client = serve(first, model_name=name).client
    (listed,) = client.get("/v1/models").json()["data"]
    answer = client.get(f"/v1/models/{quote(name, safe=safe)}")
    assert (answer.status_code, answer.json()) == (200, listed)
    assert answer.headers["x-riverkeep-generation"] == "1"


@pytest.mark.parametrize("name", ["gpt-4", "riverkeep/x", "Riverkeep", "", "riverkeep/", "%ff"])
def test_a_model_that_there_is_not_is_a_404(serve: Serve, first: LoadedGeneration, name: str) -> None:
    """In OpenAI's shape, and counted under one label whatever was asked for."""
    served = serve(first)
    answer = served.client.get(f"/v1/models/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert served.count("requests_total", route="/v1/models/{model:path}", code="404") == 1


def test_the_generation_can_be_asked_for(serve: Serve, first: LoadedGeneration) -> None:
    """The daemon polls this route."""
    facts = serve(first).client.get("/v1/riverkeep/generation").json()
    assert (facts["generation"], facts["digest"], facts["failed"]) == (1, first.digest, {})


def test_the_next_request_begins_on_the_new_generation(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration
) -> None:
    """After the switch turns, answers are wholly the new one's."""
    served = serve(first)
    assert served.client.post("/v1/completions", json=PROMPT).headers["x-riverkeep-generation"] == "1"
    served.switch.turn(second)
    after = served.client.post("/v1/completions", json=PROMPT)
    assert after.headers["x-riverkeep-generation"] == "2"
    assert after.json()["choices"][0]["text"] == reference(second, "the state", 8)


def test_classification_gives_labels_with_probabilities(serve: Serve, judge: LoadedGeneration) -> None:
    """One result for each text, in order; the label is the most probable one."""
    served = serve(judge, classifier=True)
    response = served.client.post("/v1/classify", json={"input": ["one two", "日本語"]})
    data = response.json()["data"]
    assert response.headers["x-riverkeep-generation"] == "1"
    assert [entry["index"] for entry in data] == [0, 1]
    for entry in data:
        assert set(entry["probabilities"]) == {"calm", "flood"}
        assert sum(entry["probabilities"].values()) == pytest.approx(1)
        assert entry["label"] == max(entry["probabilities"], key=entry["probabilities"].__getitem__)
    single = served.client.post("/v1/classify", json={"input": "one two"}).json()["data"]
    assert single[0]["probabilities"] == pytest.approx(data[0]["probabilities"], abs=1e-5)


def test_several_labels_have_each_its_own_probability(paths: dict[str, Path], tmp_path: Path, serve: Serve) -> None:
    """All that are more probable than not are named: they need not sum to 1, and none is an answer too."""
    path = Path(shutil.copytree(paths["classifier"], tmp_path / "classifier"))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    generation = load(path, 1)
    texts = ["one two", "日本語", "the state of the union", "four five"]
    data = serve(generation, classifier=True).client.post("/v1/classify", json={"input": texts}).json()["data"]
    for text, answer in zip(texts, data, strict=True):
        with torch.inference_mode():
            logits = generation.model(**generation.tokenizer(text, return_tensors="pt")).logits[0]
        assert list(answer["probabilities"].values()) == pytest.approx(torch.sigmoid(logits).tolist(), rel=1e-4)
        assert answer["labels"] == [name for name, share in answer["probabilities"].items() if share > 0.5]
        assert "label" not in answer


@pytest.mark.parametrize(
    ("route", "body"), [("/v1/classify", {"input": "a"}), ("/v1/completions", PROMPT), ("/v1/chat/completions", CHAT)]
)
def test_the_other_kind_of_model_is_named(
    serve: Serve, first: LoadedGeneration, judge: LoadedGeneration, route: str, body: dict[str, object]
) -> None:
    """A route that the model is not made for is a 404 that says why."""
    classifier = route != "/v1/classify"
    served = serve(judge if classifier else first, classifier=classifier)
    response = served.client.post(route, json=body)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "wrong_model_kind"


def test_a_masked_model_is_tried_and_asked_nothing(serve: Serve, paths: dict[str, Path]) -> None:
    """Each route names what it is; which generation is current it says, and it answers the trial before that."""
    generation = load(paths["masked"], 3)
    served = serve(generation, classifier=True, kind="masked-lm")
    warming(served.worker, served.recent)(generation)
    for route, body in (("/v1/classify", {"input": "a"}), ("/v1/completions", PROMPT), ("/v1/chat/completions", CHAT)):
        response = served.client.post(route, json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "wrong_model_kind")
        assert "masked language model (masked-lm)" in response.json()["error"]["message"]
    assert served.client.get("/v1/models").json()["data"][0]["generation"] == 3


def test_every_route_is_known(serve: Serve, first: LoadedGeneration) -> None:
    """The guard's list is the application's, so that no route is forgotten in metrics or here."""
    assert {route.path for route in serve(first).app.routes} == ROUTES  # type: ignore[attr-defined]  # typed as any ASGI app


@pytest.mark.parametrize("route", [*sorted(ROUTES - OPEN_ROUTES), "/", "/v1/unknown", "/openapi.json"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", "Basic first-key", "first-key"])
def test_every_route_needs_the_key(
    serve: Serve, first: LoadedGeneration, *, key_file: Path, route: str, method: str, header: str | None
) -> None:
    """Closed by default: whatever is asked, in whatever way, without a key it is a 401 and nothing else."""
    headers = {"authorization": header} if header is not None else {}
    response = serve(first, key_file).client.request(method, route, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("route", sorted(OPEN_ROUTES))
def test_probes_and_metrics_need_no_key(serve: Serve, first: LoadedGeneration, key_file: Path, route: str) -> None:
    """The kubelet and Prometheus have none."""
    assert serve(first, key_file).client.get(route).status_code == 200


@pytest.mark.parametrize("header", ["Bearer first-key", "bearer second-key"])
def test_each_key_opens_the_door(serve: Serve, first: LoadedGeneration, key_file: Path, header: str) -> None:
    """Several keys, so that one can be changed without a gap."""
    response = serve(first, key_file).client.get("/v1/models", headers={"authorization": header})
    assert response.status_code == 200


@pytest.mark.parametrize("key", ["secret", "#", "production", "my secret key", "# production"])
def test_a_word_of_the_key_file_is_no_key(serve: Serve, first: LoadedGeneration, key_file: Path, key: str) -> None:
    """A line is a key, and a line that begins with # is none."""
    key_file.write_text("# production\n\n  first-key  \n")
    client = serve(first, key_file).client
    assert client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 401
    assert client.get("/v1/models", headers={"authorization": "Bearer first-key"}).status_code == 200


@pytest.mark.parametrize("line", [b"my secret key", b"key # of production", b"a\tb", "clé".encode(), b"a\x00b"])
def test_a_line_that_can_be_no_key_stops_the_start(tmp_path: Path, line: bytes) -> None:
    """It is named by its number; what it says stays out of the log."""
    (tmp_path / "keys").write_bytes(b"first-key\n" + line + b"\n")
    with pytest.raises(CannotServe, match="line 2 is no API key") as caught:
        ApiKeys(tmp_path / "keys")
    assert line.decode() not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff", b"# none yet\n"])
def test_a_key_file_without_a_key_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    """An empty or missing key file never means an open door."""
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(CannotServe, match="api_key_file"):
        ApiKeys(tmp_path / "keys")


def test_more_prompts_than_can_ever_wait_are_a_400(serve: Serve, first: LoadedGeneration) -> None:
    """To come back later would not help."""
    response = serve(first).client.post("/v1/completions", json={**PROMPT, "prompt": ["a"] * 5})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "prompt"


def test_a_full_queue_is_a_429_with_a_time(
    serve: Serve, first: LoadedGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit beside those that wait is refused whole."""
    served = serve(first)
    monkeypatch.setattr(Worker, "_fits", lambda _, __: False)
    response = served.client.post("/v1/completions", json={**PROMPT, "prompt": ["a"] * 2})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["error"]["code"] == "queue_full"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_a_413(serve: Serve, first: LoadedGeneration, *, declared: bool) -> None:
    """By its declared length, or as soon as more has come."""
    served = serve(first, max_body_bytes=2048)
    body = json.dumps({**PROMPT, "prompt": "a" * 4000}).encode()
    content = body if declared else iter([body[:1000], body[1000:]])
    response = served.client.post("/v1/completions", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_a_body_that_is_not_json_is_refused(serve: Serve, first: LoadedGeneration) -> None:
    """A form or a page of another origin cannot ask: 415 without the JSON content type, 400 for what is none."""
    client = serve(first).client
    assert client.post("/v1/completions", content=b"{}").status_code == 415
    json_type = {"content-type": "application/json; charset=utf-8"}
    assert client.post("/v1/completions", content=b"{", headers=json_type).status_code == 400


def test_a_prompt_beyond_the_context_is_a_400(serve: Serve, first: LoadedGeneration) -> None:
    """OpenAI's error object, with its code."""
    response = serve(first).client.post("/v1/completions", json={**PROMPT, "prompt": [5] * first.context})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert response.json()["error"]["param"] == "prompt"


def test_of_several_prompts_the_one_at_fault_is_named(serve: Serve, first: LoadedGeneration) -> None:
    """By its place, whatever is wrong with it."""
    client = serve(first).client
    for prompt, said in (([5] * first.context, "context"), ([5, 320], "0 … 319"), ([], "at least one")):
        error = client.post("/v1/completions", json={**PROMPT, "prompt": [[5], prompt]}).json()["error"]
        assert error["param"] == "prompt.1"
        assert said in error["message"]
        alone = client.post("/v1/completions", json={**PROMPT, "prompt": [prompt]}).json()["error"]
        assert alone["param"] == "prompt"


def test_a_text_beyond_the_recipes_length_is_cut_and_that_is_said(serve: Serve, paths: dict[str, Path]) -> None:
    """It is classified by the beginning that the gate would have judged it by; its neighbours are whole."""
    generation = load(paths["classifier"], 1, recipe_length=16)
    client = serve(generation, classifier=True).client
    body = client.post("/v1/classify", json={"input": ["one " * 500, "one two"]}).json()
    assert [one["truncated"] for one in body["data"]] == [True, False]
    beginning = generation.tokenizer.decode(cut(generation, "one " * 500, "input").ids)
    whole = client.post("/v1/classify", json={"input": beginning}).json()
    assert whole["data"][0]["truncated"] is False
    assert body["data"][0]["probabilities"] == pytest.approx(whole["data"][0]["probabilities"], abs=1e-5)
    assert body["usage"]["prompt_tokens"] == 16 + len(generation.tokenizer("one two")["input_ids"])
    assert client.get("/v1/models").json()["data"][0]["context_length"] == 16


def test_more_tokens_than_allowed_are_refused(serve: Serve, first: LoadedGeneration) -> None:
    """The operator's limit is said, of the field that was sent."""
    client = serve(first, max_new_tokens=16, default_new_tokens=4).client
    for route, body, field in (
        ("/v1/completions", PROMPT, "max_tokens"),
        ("/v1/chat/completions", CHAT, "max_tokens"),
        ("/v1/chat/completions", CHAT, "max_completion_tokens"),
    ):
        response = client.post(route, json={**body, field: 17})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == field
        assert response.json()["error"]["message"].startswith(f"{field}: at most 16")


def test_an_unknown_model_is_a_404(serve: Serve, first: LoadedGeneration) -> None:
    """The name of the one there is stands in the message."""
    response = serve(first).client.post("/v1/completions", json={**PROMPT, "model": "gpt-4"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert "riverkeep" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "route", "status", "said"),
    [
        ("GET", "/nope", 404, "no such route"),
        ("GET", "/v1/completions", 405, "takes POST"),
        ("HEAD", "/v1/chat/completions", 405, ""),
        ("OPTIONS", "/v1/completions", 405, "takes POST"),
        ("POST", "/v1/models", 405, "takes GET"),
        ("DELETE", "/v1/models/riverkeep", 405, "takes GET"),
        ("PATCH", "/healthz", 405, "takes GET"),
        ("POST", "/v1/completions/", 404, "no such route"),
        ("POST", "/v1/chat/completions/", 404, "no such route"),
        ("GET", "/metrics/", 404, "no such route"),
        ("GET", "/v1/" + "x" * 5000, 404, "no such route"),
    ],
)
def test_what_the_router_refuses_is_an_error_object(
    serve: Serve, first: LoadedGeneration, *, method: str, route: str, status: int, said: str
) -> None:
    """Clients find their error object everywhere, and the generation with it; never a redirect, which loses bodies."""
    response = serve(first).client.request(method, route, follow_redirects=False)
    assert response.status_code == status
    assert response.headers["x-riverkeep-generation"] == "1"
    if method != "HEAD":
        error = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert said in error["message"]
        assert len(error["message"]) < 400
    if status == 405:
        assert {"POST", "GET"} & set(response.headers["allow"].split(", "))


@pytest.mark.parametrize("route", ["/healthz", "/readyz", "/metrics", "/v1/models", "/v1/models/riverkeep"])
def test_head_is_answered_as_get(serve: Serve, first: LoadedGeneration, route: str) -> None:
    """Load balancers probe so."""
    assert serve(first).client.head(route).status_code == 200


@pytest.mark.parametrize(("route", "body"), [("/v1/completions", PROMPT), ("/v1/chat/completions", CHAT)])
def test_a_stream_speaks_of_usage_only_when_asked(
    serve: Serve, first: LoadedGeneration, route: str, body: dict[str, object]
) -> None:
    """Clients take the field's mere presence for an answer to what they did not ask."""
    client = serve(first).client
    for options in ({"include_usage": False}, {}, None):
        events = chunks(client.post(route, json={**body, "stream": True, "stream_options": options}).text)[:-1]
        assert not any("usage" in event for event in events)
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    *events, last = chunks(client.post(route, json=asked).text)[:-1]
    assert [event["usage"] for event in events] == [None] * len(events)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 8)


def test_metrics_are_negotiated(serve: Serve, first: LoadedGeneration) -> None:
    """Births of series only in the format that has a place for them."""
    client = serve(first).client
    assert "_created" not in client.get("/metrics").text
    named = client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    assert named.headers["content-type"].startswith("application/openmetrics-text")
    assert named.text.endswith("# EOF\n")


def test_an_answer_that_takes_too_long_is_a_504(
    serve: Serve, first: LoadedGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up and counted."""
    served = serve(first, request_timeout_s=0.05)
    silence(served, monkeypatch)
    response = served.client.post("/v1/completions", json=PROMPT)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "timeout"
    assert served.count("cancelled_total", reason="timeout") == 1


def test_a_stream_that_takes_too_long_ends_with_an_error(
    serve: Serve, first: LoadedGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last event is the error, and there is no end mark."""
    served = serve(first, request_timeout_s=0.05)
    silence(served, monkeypatch)
    events = chunks(served.client.post("/v1/completions", json={**PROMPT, "stream": True}).text)
    assert events[-1]["error"]["code"] == "timeout"
    assert served.count("cancelled_total", reason="timeout") == 1


def test_before_the_first_generation_it_is_not_ready(serve: Serve) -> None:
    """Requests get a 503 and a time to come back; the probe says the same; the process is healthy."""
    served = serve(None)
    response = served.client.post("/v1/completions", json=PROMPT)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "x-riverkeep-generation" not in response.headers
    assert served.client.get("/readyz").status_code == 503
    assert served.client.get("/healthz").status_code == 200


def test_only_with_a_key_the_probe_tells_what_is_wrong(serve: Serve, first: LoadedGeneration, key_file: Path) -> None:
    """Reasons name files and hosts; that something serves, and which generation, is no secret."""
    served = serve(first, key_file)
    why = "model.safetensors in /var/lib/riverkeep is damaged"
    served.switch.status = SwapStatus(pointed=4, failed={4: why}, problem=why)
    told = served.client.get("/readyz")
    assert told.json() == {"ready": True, "generation": first.number, "healthy": True, "ending": False, "pointed": 4}
    assert served.client.get("/readyz", headers={"authorization": "Bearer wrong"}).json() == told.json()
    answer = served.client.get("/readyz", headers={"authorization": "Bearer first-key"}).json()
    assert (answer["failed"], answer["problem"]) == ({"4": why}, why)


def test_where_nobody_has_a_key_reasons_name_no_place(serve: Serve, first: LoadedGeneration) -> None:
    """What is wrong, but not where the store lies: anybody may ask."""
    served = serve(first)
    file, place = "/var/lib/riverkeep/serving.json cannot be read", "nothing is in /var/lib/riverkeep"
    served.switch.status = SwapStatus(pointed=4, failed={4: place}, problem=file)
    for route in ("/readyz", "/v1/riverkeep/generation"):
        answer = served.client.get(route).json()
        assert answer["failed"] == {"4": "nothing is in the checkpoint store"}
        assert answer["problem"] == "serving.json cannot be read"


def test_a_broken_process_says_so(serve: Serve, first: LoadedGeneration) -> None:
    """Neither probe is green when the worker is broken."""
    served = serve(first)
    served.healthy = False
    assert served.client.get("/healthz").status_code == 503
    assert served.client.get("/readyz").status_code == 503


def test_an_ending_process_is_not_ready(serve: Serve, first: LoadedGeneration) -> None:
    """The load balancer takes it out while it drains; it is still healthy."""
    served = serve(first)
    served.ending = True
    assert served.client.get("/readyz").status_code == 503
    assert served.client.get("/healthz").status_code == 200


def test_requests_are_counted_by_route_and_code(serve: Serve, first: LoadedGeneration) -> None:
    """Labels come from the fixed set of routes, whatever is asked for."""
    served = serve(first)
    served.client.post("/v1/completions", json=PROMPT)
    served.client.get("/made/up/by/a/scanner")
    assert served.count("requests_total", route="/v1/completions", code="200") == 1
    assert served.count("requests_total", route="other", code="404") == 1
    assert served.count("request_seconds_count", route="/v1/completions") == 1
    assert served.count("tokens_total", direction="written", generation="1") == 8


def test_an_answers_times_and_sizes_are_counted_by_generation(serve: Serve, first: LoadedGeneration) -> None:
    """As engines are compared: the queue, the first token, each further one; the cache is empty at the end."""
    served = serve(first)
    served.client.post("/v1/completions", json=PROMPT)
    served.client.post("/v1/completions", json={**PROMPT, "max_tokens": 1})
    read = len(first.tokenizer("the state")["input_ids"])
    for name in ("queue_seconds", "first_token_seconds", "prompt_tokens"):
        assert served.count(f"{name}_count", generation="1") == 2, name
    assert served.count("output_token_seconds_count", generation="1") == 1, "of one token there is no further one"
    assert served.count("prompt_tokens_sum", generation="1") == 2 * read
    served.worker.close()
    assert served.count("cache_tokens", generation="1") == served.count("cache_ratio", generation="1") == 0


def test_a_failure_is_a_500_without_the_text(
    serve: Serve, paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the client wrote is neither in the answer nor in the log."""
    faulty = load(paths["first"], 3)
    faulty.model.forward = lambda **_: 1 / 0
    response = serve(faulty).client.post("/v1/completions", json={**PROMPT, "prompt": "a secret of mine"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "generation_failed"
    assert "secret" not in response.text + "".join(capsys.readouterr())


def test_an_unforeseen_failure_is_a_500(
    serve: Serve, first: LoadedGeneration, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client gets an error object, the log the trace, and no text of the request in it."""
    served = serve(first)

    def submit(*_: object, **__: object) -> None:
        raise KeyError("gone")

    monkeypatch.setattr(served.worker, "submit", submit)
    response = served.client.post("/v1/completions", json={**PROMPT, "prompt": "a secret of mine"})
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in "".join(capsys.readouterr())


def test_prompts_are_remembered_for_the_next_warm_up(serve: Serve, first: LoadedGeneration) -> None:
    """In memory only, as token ids."""
    served = serve(first)
    served.client.post("/v1/completions", json=PROMPT)
    assert served.recent.usable_by(first) == [tuple(first.tokenizer("the state")["input_ids"])]


def test_concurrent_requests_share_forward_passes(serve: Serve, first: LoadedGeneration) -> None:
    """Two answers at once cost hardly more passes than one."""
    served = serve(first)
    body = {**PROMPT, "prompt": ["the state", "one two"], "max_tokens": 50}
    served.client.post("/v1/completions", json=body)
    said = [reference_ids(first, prompt, 50) for prompt in ("the state", "one two")]
    assert served.count("forward_passes_total") <= max(map(len, said)) + 3


def test_many_clients_are_answered_at_once(serve: Serve, first: LoadedGeneration) -> None:
    """Clients in parallel all get their own answer."""
    served = serve(first, max_queue=16)
    prompts = ["the state", "one two", "日本語", "four five", "strong"]
    texts: dict[str, str] = {}

    def ask(prompt: str) -> None:
        body = served.client.post("/v1/completions", json={**PROMPT, "prompt": prompt}).json()
        texts[prompt] = body["choices"][0]["text"]

    threads = [threading.Thread(target=ask, args=[prompt]) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {prompt: reference(first, prompt, 8) for prompt in prompts}
