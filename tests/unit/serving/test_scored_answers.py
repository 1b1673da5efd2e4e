"""How probable tokens are, several answers to one prompt, prompts that are given back."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from serving.answers.logprobs import MOST_NAMED
from serving.engine.loaded import LoadedGeneration
from serving.engine.scores import token_bytes
from tests.unit.serving.conftest import Served, ids, load, reference, reference_ids
from tests.unit.serving.test_app import CHAT, PROMPT, chunks

Serve = Callable[..., Served]


def asked(served: Served, *route: str, **body: Any) -> dict[str, Any]:
    """An answer as its client reads it."""
    response = served.client.post("/".join(("/v1", *(route or ("completions",)))), json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


def refused(served: Served, *route: str, **body: Any) -> str:
    """The field that a request is refused for."""
    response = served.client.post("/".join(("/v1", *(route or ("completions",)))), json=body)
    assert response.status_code == 400, response.text
    return str(response.json()["error"]["param"])


def own(generation: LoadedGeneration, tokens: list[int]) -> torch.Tensor:
    """The model's own log-probabilities of all tokens in each place, by one plain pass."""
    with torch.inference_mode():
        logits = generation.model(input_ids=torch.tensor([tokens])).logits[0]
    return torch.log_softmax(logits.float(), -1)


def text_of(tokens: list[str]) -> str:
    """What tokens are together, by their names."""
    return b"".join(token_bytes(token) for token in tokens).decode(errors="replace")


def test_scores_are_the_models_own_whatever_steers_the_draw(serve: Serve, first: LoadedGeneration) -> None:
    """Before temperature, penalties, bias and filters; as many alternatives as were asked for, and the token itself."""
    bias = {str(reference_ids(first, "the state", 1)[0]): -100}
    steered = {"temperature": 0.3, "seed": 5, "top_p": 0.9, "logit_bias": bias, "presence_penalty": 1.0}
    choice = asked(serve(first), **{**PROMPT, **steered}, logprobs=3)["choices"][0]
    told = choice["logprobs"]
    assert text_of(told["tokens"]) == choice["text"]
    numbers = {first.names.score(number, None, ()).token: number for number in range(first.tokens)}
    written = ids(first, "the state")
    for token, logprob, top in zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True):
        row = own(first, written)[-1]
        best = [first.names.score(number, None, ()).token for number in row.topk(3).indices.tolist()]
        assert list(top)[:3] == best
        assert list(top.values())[:3] == pytest.approx(row.topk(3).values.tolist(), abs=1e-3)
        assert top[token] == logprob == pytest.approx(float(row[numbers[token]]), abs=1e-3)
        written.append(numbers[token])
    assert numbers[told["tokens"][0]] != int(next(iter(bias)))
    assert told["text_offset"][0] == 0
    assert told["text_offset"] == sorted(told["text_offset"])


def test_a_prompts_own_scores_come_with_echo(serve: Serve, first: LoadedGeneration) -> None:
    """Also without an answer, as evaluation harnesses ask; a long prompt is read in stretches."""
    served = serve(first)
    for text in ("the state", "one two three four 日本語 " * 30):
        prompt = ids(first, text)
        body = asked(served, prompt=prompt, max_tokens=0, echo=True, logprobs=1, temperature=0)
        told = body["choices"][0]["logprobs"]
        rows = own(first, prompt)
        expected = [float(rows[place, token]) for place, token in enumerate(prompt[1:])]
        assert told["token_logprobs"][0] is None
        assert told["top_logprobs"][0] is None
        assert told["token_logprobs"][1:] == pytest.approx(expected, abs=1e-3)
        assert body["choices"][0]["finish_reason"] == "length"
        assert body["usage"] == {
            "prompt_tokens": len(prompt),
            "completion_tokens": 0,
            "total_tokens": len(prompt),
        }
        joined = text_of(told["tokens"])
        assert joined == body["choices"][0]["text"]
        for token, offset in zip(told["tokens"], told["text_offset"], strict=True):
            assert token.startswith("bytes:") or joined.startswith(token, offset)


def test_a_prompt_and_an_answer_are_scored_as_one(serve: Serve, first: LoadedGeneration) -> None:
    """What comes in a stream adds up to what comes at once; the last entry is the answer's own token."""
    served = serve(first)
    body = {"prompt": "the state", "max_tokens": 1, "echo": True, "logprobs": 0, "temperature": 0}
    whole = asked(served, **body)["choices"][0]
    assert whole["text"] == "the state" + reference(first, "the state", 1)
    assert len(whole["logprobs"]["tokens"]) == len(ids(first, "the state")) + 1
    events = chunks(served.client.post("/v1/completions", json={**body, "stream": True}).text)[:-1]
    parts = [event["choices"][0] for event in events]
    assert "".join(part["text"] for part in parts) == whole["text"]
    for name in ("tokens", "token_logprobs", "text_offset"):
        joined = [each for part in parts if part["logprobs"] for each in part["logprobs"][name]]
        assert joined == whole["logprobs"][name]
    plain = asked(served, prompt=["one two", "the state"], max_tokens=0, echo=True)
    assert [choice["text"] for choice in plain["choices"]] == ["one two", "the state"]
    assert plain["choices"][0]["logprobs"] is None


def test_the_token_that_ends_an_answer_is_scored_but_not_in_a_chat(serve: Serve, first: LoadedGeneration) -> None:
    """Harnesses count from the end of the list: one entry for each token that was written."""
    end = reference_ids(first, "the state", 3)[2]
    body = asked(serve(first), **PROMPT, stop_token_ids=[end], logprobs=0)
    told = body["choices"][0]["logprobs"]
    assert len(told["tokens"]) == body["usage"]["completion_tokens"] == 3
    assert told["text_offset"][-1] == len(body["choices"][0]["text"])
    said = reference_ids(first, "User: hi\nAssistant:", 3)
    chat = asked(serve(first), "chat/completions", **CHAT, stop_token_ids=[said[2]], logprobs=True)
    assert len(chat["choices"][0]["logprobs"]["content"]) == chat["usage"]["completion_tokens"] - 1


def test_what_a_stop_cuts_off_is_not_scored(serve: Serve, first: LoadedGeneration) -> None:
    """It was never said."""
    whole = reference(first, "the state", 8)
    choice = asked(serve(first), **PROMPT, stop=whole[4:6], logprobs=0)["choices"][0]
    assert choice["text"] == whole[: whole.index(whole[4:6])]
    assert all(offset < len(choice["text"]) for offset in choice["logprobs"]["text_offset"])
    assert text_of(choice["logprobs"]["tokens"]).startswith(choice["text"])


def test_a_chats_scores_have_bytes_and_alternatives(serve: Serve, first: LoadedGeneration) -> None:
    """At once and in a stream."""
    served = serve(first)
    body = {**CHAT, "logprobs": True, "top_logprobs": 2}
    whole = asked(served, "chat/completions", **body)["choices"][0]
    content = whole["logprobs"]["content"]
    assert b"".join(bytes(each["bytes"]) for each in content).decode(errors="replace") == whole["message"]["content"]
    assert all(len(each["top_logprobs"]) == 2 for each in content)
    assert all(each["logprob"] == each["top_logprobs"][0]["logprob"] for each in content)
    events = chunks(served.client.post("/v1/chat/completions", json={**body, "stream": True}).text)[:-1]
    told = [each["choices"][0]["logprobs"] for each in events]
    assert [token for each in told if each for token in each["content"]] == content
    without = asked(served, "chat/completions", **{**CHAT, "logprobs": True})["choices"][0]["logprobs"]["content"]
    assert all(each["top_logprobs"] == [] for each in without)


def test_n_answers_are_n_choices_of_one_prompt(serve: Serve, first: LoadedGeneration) -> None:
    """Each by the next seed; the prompt is counted once; a stream opens each."""
    served = serve(first, max_batch=4, max_queue=4)
    drawn = {"max_tokens": 6, "temperature": 1, "seed": 11}
    body = asked(served, prompt=["the state", "one two"], n=2, **drawn)
    texts = [choice["text"] for choice in body["choices"]]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    single = [asked(served, prompt=prompt, **{**drawn, "seed": seed})["choices"][0]["text"]
              for prompt in ("the state", "one two") for seed in (11, 12)]  # fmt: skip
    assert texts == single
    assert len(set(texts)) == 4
    assert body["usage"]["prompt_tokens"] == len(ids(first, "the state")) + len(ids(first, "one two"))
    assert body["usage"]["completion_tokens"] == 24
    events = chunks(
        served.client.post("/v1/chat/completions", json={**CHAT, "n": 2, "temperature": 1, "stream": True}).text
    )
    assert [choice["index"] for choice in events[0]["choices"]] == [0, 1]
    assert {event["choices"][0]["index"] for event in events[1:-1]} == {0, 1}


def test_n_answers_are_held_against_the_limits_as_n_prompts(serve: Serve, first: LoadedGeneration) -> None:
    """What can never wait is refused; a queue takes all of a request's answers or none."""
    served = serve(first)
    assert refused(served, **PROMPT, n=5) == "n"
    assert refused(served, **{**PROMPT, "prompt": ["the state", "one two"]}, n=3) == "n"
    assert len(asked(served, **PROMPT, n=4)["choices"]) == 4


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        ("completions", {"logprobs": 21}, "logprobs"),
        ("completions", {"logprobs": True}, "logprobs"),
        ("completions", {"logprobs": -1}, "logprobs"),
        ("completions", {"max_tokens": 0}, "max_tokens"),
        ("completions", {"top_logprobs": 3}, "top_logprobs"),
        ("completions", {"n": 0}, "n"),
        ("completions", {"n": 129}, "n"),
        ("completions", {"best_of": 2}, "best_of"),
        ("chat/completions", {"top_logprobs": 3}, "top_logprobs"),
        ("chat/completions", {"logprobs": False, "top_logprobs": 3}, "top_logprobs"),
        ("chat/completions", {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ("chat/completions", {"logprobs": 3}, "logprobs"),
        ("chat/completions", {"echo": True}, "echo"),
        ("chat/completions", {"max_tokens": 0}, "max_tokens"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(
    serve: Serve, first: LoadedGeneration, path: str, more: dict[str, object], param: str
) -> None:
    """Before anything is queued."""
    assert refused(serve(first), path, **{**(PROMPT if path == "completions" else CHAT), **more}) == param


def test_false_asks_for_no_scores(serve: Serve, first: LoadedGeneration) -> None:
    """On both routes, as clients send along what they did not set."""
    assert asked(serve(first), **PROMPT, logprobs=False, echo=False)["choices"][0]["logprobs"] is None
    assert (
        asked(serve(first), "chat/completions", **CHAT, logprobs=False, top_logprobs=0)["choices"][0]["logprobs"]
        is None
    )


def test_more_names_than_memory_has_room_for_are_refused(serve: Serve, first: LoadedGeneration) -> None:
    """Prompts and answers, with all alternatives."""
    served = serve(first, max_new_tokens=10**6, max_inputs=1000, max_batch=64, max_queue=64)
    assert MOST_NAMED < 21 * 128 * 100
    assert refused(served, prompt=[[5] * 90] * 128, max_tokens=10, logprobs=20, echo=True) == "logprobs"


def test_a_sequence_to_sequence_model_scores_what_it_writes(serve: Serve, paths: dict[str, Any]) -> None:
    """It gives no prompt back: its encoder has read it."""
    served = serve(load(paths["t5"], 1), kind="seq2seq")
    choice = asked(served, prompt="the state", max_tokens=4, temperature=0, logprobs=1)["choices"][0]
    assert all(value <= 0 for value in choice["logprobs"]["token_logprobs"])
    assert refused(served, prompt="the state", echo=True) == "echo"


def test_a_prompt_that_fills_the_context_can_be_scored(serve: Serve, first: LoadedGeneration) -> None:
    """No place is needed for an answer that nobody wants."""
    served = serve(first)
    prompt = [5] * first.context
    choice = asked(served, prompt=prompt, max_tokens=0, echo=True, logprobs=0)["choices"][0]
    assert len(choice["logprobs"]["tokens"]) == first.context
    assert refused(served, prompt=prompt, max_tokens=1) == "prompt"
