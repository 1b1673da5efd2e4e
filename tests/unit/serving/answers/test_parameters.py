"""What would change the answer is honoured or refused by name; what asks for nothing passes."""

import json
from typing import Any

import pytest

from serving.answers.body import parse
from serving.answers.openai import ChatRequest, ClassifyRequest, CompletionRequest, TextRequest
from serving.answers.parameters import PASSED_OVER, REFUSED
from serving.errors import RequestError

BODIES: dict[type[TextRequest], dict[str, Any]] = {
    CompletionRequest: {"prompt": "a"},
    ChatRequest: {"messages": [{"role": "user", "content": "a"}]},
}
SHAPES = pytest.mark.parametrize("shape", list(BODIES))


def ask(shape: type[TextRequest], **extra: object) -> TextRequest:
    """A request with something beside the question."""
    return parse(json.dumps(BODIES[shape] | extra).encode(), shape)


def refusal(shape: type[TextRequest], **extra: object) -> RequestError:
    """The error that it gets."""
    with pytest.raises(RequestError) as caught:
        ask(shape, **extra)
    assert caught.value.status == 400
    return caught.value


@SHAPES
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("best_of", 3),
        ("suffix", "end"),
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "a"}),
        ("prediction", {"type": "content"}),
        ("reasoning_effort", "low"),
        ("reasoning_effort", "none"),
        ("verbosity", "high"),
        ("web_search_options", {}),
        ("chat_template", "{{ 1 }}"),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("add_generation_prompt", False),
        ("continue_final_message", True),
        ("min_tokens", 5),
        ("skip_special_tokens", False),
        ("include_stop_str_in_output", True),
        ("guided_json", {}),
        ("structured_outputs", {"regex": "a"}),
        ("use_beam_search", True),
    ],
)
def test_what_is_not_supported_is_refused_by_name(shape: type[TextRequest], name: str, value: object) -> None:
    """Whatever it asks for."""
    error = refusal(shape, **{name: value})
    assert (error.param, error.code) == (name, "unsupported_parameter")
    assert str(error).startswith(f"{name} is not supported here")


@SHAPES
@pytest.mark.parametrize(
    "name", ["temprature", "max_new_tokens", "maxTokens", "num_ctx", "grammar", "", "x" * 5000, "ü"]
)
def test_what_nobody_knows_is_refused_by_name(shape: type[TextRequest], name: str) -> None:
    """A name that is mistyped would change nothing without a word."""
    error = refusal(shape, **{name: 1})
    assert (error.param, error.code) == (name[:100], "unknown_parameter")
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("shape", "name"),
    [(CompletionRequest, "messages"), (CompletionRequest, "max_completion_tokens"), (ChatRequest, "prompt")],
)
def test_what_belongs_to_another_route_is_refused_by_name(shape: type[TextRequest], name: str) -> None:
    """It would be passed over there."""
    assert refusal(shape, **{name: 5}).param == name


@SHAPES
@pytest.mark.parametrize("name", sorted([*REFUSED, "temprature", "anything"]))
def test_null_asks_for_nothing(shape: type[TextRequest], name: str) -> None:
    """Clients send along what was not set."""
    ask(shape, **{name: None})


@SHAPES
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_the_usual_value_asks_for_nothing(shape: type[TextRequest], name: str, value: object) -> None:
    """Defaults that clients send along do no harm, whole numbers written as 1 or 1.0."""
    ask(shape, **{name: value})
    if type(value) is int:
        ask(shape, **{name: float(value)})


@SHAPES
@pytest.mark.parametrize("name", sorted(PASSED_OVER))
@pytest.mark.parametrize("value", [True, "a", {"a": "b"}, 5, None])
def test_what_changes_nothing_passes(shape: type[TextRequest], name: str, value: object) -> None:
    """Who asks, and how the provider keeps it."""
    ask(shape, **{name: value})


@SHAPES
def test_tools_that_are_never_called_ask_for_nothing(shape: type[TextRequest]) -> None:
    """`tool_choice` none, with or without tools; so with functions."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    ask(shape, tools=tools, tool_choice="none")
    ask(shape, tool_choice="none")
    ask(shape, functions=[{"name": "f"}], function_call="none")
    if shape is CompletionRequest:
        assert refusal(shape, tools=tools, tool_choice="auto").param == "tools"
    assert refusal(shape, functions=[{"name": "f"}], tool_choice="none").param == "functions"


@SHAPES
def test_the_usual_values_of_what_is_honoured_pass(shape: type[TextRequest]) -> None:
    """Those that other servers have for their defaults."""
    asked = ask(
        shape, presence_penalty=0, frequency_penalty=0.0, repetition_penalty=1, top_k=-1, min_p=0, logit_bias={},
        stop=[], stop_token_ids=[], ignore_eos=False, stream=False, stream_options=None, seed=None,
    )  # fmt: skip
    assert (asked.top_k, asked.logit_bias, asked.stop) == (-1, (), ())


@SHAPES
@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"temperature": True}, "temperature"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_k": 10**30}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": -1}, "repetition_penalty"),
        ({"repetition_penalty": 1e300}, "repetition_penalty"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": "a"}, "frequency_penalty"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"a": 1}}, "logit_bias.a"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1"),
        ({"logit_bias": {"٣": 1}}, "logit_bias.٣"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logit_bias": {"5": True}}, "logit_bias.5"),
        ({"logit_bias": {"5": "1"}}, "logit_bias.5"),
        ({"logit_bias": {str(token): 1 for token in range(2000)}}, "logit_bias"),
        ({"stop": ["a", 5]}, "stop.1"),
        ({"stop": ["a", ""]}, "stop.1"),
        ({"stop": 5}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"stop_token_ids": [1, "2"]}, "stop_token_ids.1"),
        ({"stop_token_ids": [-1]}, "stop_token_ids.0"),
        ({"stop_token_ids": list(range(100))}, "stop_token_ids"),
        ({"stop_token_ids": 5}, "stop_token_ids"),
        ({"ignore_eos": 1}, "ignore_eos"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"stream_options": {"continuous_usage_stats": True}}, "stream_options.continuous_usage_stats"),
        ({"model": 5}, "model"),
        ({"max_tokens": True}, "max_tokens"),
    ],
)
def test_values_that_cannot_be_are_named_by_their_field(
    shape: type[TextRequest], extra: dict[str, object], param: str
) -> None:
    """As it was sent."""
    error = refusal(shape, **extra)
    assert error.param == param
    assert str(error).startswith(param)


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (None, "prompt"), (5, "prompt"), ({}, "prompt"), (["a", 5], "prompt.1"), ([1, "a"], "prompt.1"),
        ([1, True], "prompt.1"), ([{}], "prompt.0"), ([[1], 2], "prompt.1"), ([[1, 2.5]], "prompt.0.1"),
        ([[1], ["a"]], "prompt.1.0"), ([None], "prompt.0"),
    ],
)  # fmt: skip
def test_a_prompt_that_is_none_is_named_by_its_place(prompt: object, param: str) -> None:
    """Of many, the first."""
    error = refusal(CompletionRequest, prompt=prompt)
    assert error.param == param
    assert "needed" in str(error) or "whole number" in str(error)


def test_a_classifier_is_asked_with_its_own_parameters() -> None:
    """Those that say who asks pass, others are named, and so is a text that is none."""
    for body, param in (
        ({"input": "a", "top_k": 3}, "top_k"),
        ({"input": ["a", 5]}, "input.1"),
        ({"input": 5}, "input"),
    ):
        with pytest.raises(RequestError) as caught:
            parse(json.dumps(body).encode(), ClassifyRequest)
        assert caught.value.param == param
    assert parse(b'{"input": ["a"], "user": "someone"}', ClassifyRequest).input == ["a"]


def test_the_limit_is_named_as_it_was_sent() -> None:
    """By the newer name only where that was sent."""
    assert ask(ChatRequest, max_tokens=5).limit == ("max_tokens", 5)
    assert ask(ChatRequest, max_tokens=5, max_completion_tokens=2).limit == ("max_completion_tokens", 2)
    assert refusal(ChatRequest, max_completion_tokens=0).param == "max_completion_tokens"
