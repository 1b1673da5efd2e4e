"""Requests are understood as OpenAI's clients write them, and refused in words otherwise."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers.body import parse
from serving.answers.openai import ChatRequest, ClassifyRequest, CompletionRequest
from serving.errors import RequestError

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def refused(values: Any, shape: type = CompletionRequest) -> RequestError:
    """The error that a body gets."""
    with pytest.raises(RequestError) as caught:
        parse(json.dumps(values).encode(), shape)
    return caught.value


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]]), ([], [])],
)
def test_prompts_come_in_four_shapes(prompt: object, prompts: object) -> None:
    """A text, texts, token ids, or lists of them."""
    assert list(parse(json.dumps({"prompt": prompt}).encode(), CompletionRequest).prompt) == prompts


@pytest.mark.parametrize(
    "extra",
    [
        {"best_of": 2},
        {"suffix": "a"},
        {"tools": [{"type": "function"}]},
    ],
)
def test_what_is_not_supported_is_refused_by_name(extra: dict[str, object]) -> None:
    """Nothing that would change the answer is ignored."""
    error = refused({"prompt": "a", **extra})
    assert error.param == next(iter(extra))
    assert error.code == "unsupported_parameter"


@pytest.mark.parametrize(
    "extra",
    [
        {"n": 1, "logprobs": None, "echo": False, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"tools": [], "response_format": {"type": "text"}, "user": "someone", "store": False},
        {"temperature": None, "stop": None, "stream_options": None, "max_tokens": None},
    ],
)
def test_what_asks_for_nothing_is_accepted(extra: dict[str, object]) -> None:
    """Defaults that clients send along do no harm."""
    parse(json.dumps({"prompt": "a", **extra}).encode(), CompletionRequest)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ""}, "stop"),
        ({"prompt": 5}, "prompt"),
    ],
)
def test_values_out_of_range_are_refused(extra: dict[str, object], param: str | None) -> None:
    """The error names the field."""
    error = refused({"prompt": "a", **extra})
    assert error.status == 400
    assert error.param == param


def test_a_chat_takes_texts_and_parts() -> None:
    """Content is a text or a list of text parts."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = parse(json.dumps({"messages": [{"role": "user", "content": parts}]}).encode(), ChatRequest)
    assert asked.messages[0].content == "ab"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "tool", "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
        "hello",
    ],
)
def test_a_chat_that_cannot_be_answered_is_refused(messages: object) -> None:
    """Empty conversations, other roles and pictures are named, not guessed at."""
    assert (refused({"messages": messages}, ChatRequest).param or "").startswith("messages")


def test_classification_takes_one_text_or_many() -> None:
    """Both shapes, and no other field."""
    assert parse(b'{"input": "a"}', ClassifyRequest).input == ["a"]
    assert parse(b'{"input": ["a", "b"]}', ClassifyRequest).input == ["a", "b"]
    assert refused({"input": "a", "inputs": "b"}, ClassifyRequest).param == "inputs"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"prompt": NaN}', b"[" * 100_000, b'{"prompt": "\\ud800"}', b"[]", b"null", b"7"]
)
def test_bodies_that_are_not_requests_are_refused(body: bytes) -> None:
    """Whatever the bytes are, the answer is a 400 in words."""
    with pytest.raises(RequestError) as caught:
        parse(body, CompletionRequest)
    assert caught.value.status == 400


@given(st.binary(max_size=200))
def test_no_body_escapes(body: bytes) -> None:
    """Parsing gives a request or a 400, never another error."""
    for shape in (CompletionRequest, ChatRequest, ClassifyRequest):
        with suppress(RequestError):
            parse(body, shape)
