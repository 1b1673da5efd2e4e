"""Answers that are held to a format keep to it, whatever the model would rather say."""

import asyncio
import copy
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import jsonschema
import pytest

from serving.answers.json_schemas import holdable
from serving.engine.grammar import GrammarCompiler
from serving.engine.grammar_state import AnswerFormat, WantedFormat
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from serving.processes.asking import body_of
from serving.routes import answer_formats
from serving.settings import ServingSettings
from tests.unit.serving.answers.test_tools import HERMES
from tests.unit.serving.conftest import Served, load
from tests.unit.serving.processes.test_asking import an_engine, job
from tests.unit.serving.test_app import CHAT, PROMPT, chunks
from tests.unit.serving.test_scored_answers import asked

Serve = Callable[..., Served]
CITY = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1, "maximum": 9}, "kind": {"enum": ["old", "new"]}},
    "required": ["size", "kind"],
}
DRAWN = {"max_tokens": 200, "temperature": 1, "seed": 3}


def held(schema: object) -> dict[str, Any]:
    """A request's field."""
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}


@pytest.mark.parametrize(
    "schema",
    [
        CITY,
        {"items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "minItems": 1, "maxItems": 3},
        {"type": ["string", "null"], "minLength": 2, "maxLength": 4},
        {"type": "string", "pattern": "^[a-c]{2}-\\d$"},
        {"type": "string", "format": "date"},
        {"prefixItems": [{"type": "integer", "maximum": 5}, {"type": "boolean"}], "minItems": 2},
        {"oneOf": [{"const": {"a": [1]}}, {"enum": [None, 2]}]},
        {"$defs": {"n": {"type": "object", "properties": {"n": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}},
         "required": ["n"]}}, "$ref": "#/$defs/n"},
    ],
)  # fmt: skip
def test_answers_keep_to_the_schema(serve: Serve, first: LoadedGeneration, schema: dict[str, Any]) -> None:
    """Drawn from a model that knows nothing; one that reaches no end is a beginning, and says so."""
    served = serve(first, max_batch=8)
    body = asked(served, prompt="the state", response_format=held(schema), n=8, **DRAWN)
    whole = [choice["text"] for choice in body["choices"] if choice["finish_reason"] == "stop"]
    assert whole
    for text in whole:
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_a_json_object_is_one(serve: Serve, first: LoadedGeneration) -> None:
    """In chats too; what steers the draw, and the model's own probabilities, go with it."""
    body = {**CHAT, "max_tokens": 300, "temperature": 1, "seed": 9, "logprobs": True, "frequency_penalty": 0.5, "n": 4}
    choices = asked(serve(first, max_batch=4), "chat", "completions", **body, response_format={"type": "json_object"})[
        "choices"
    ]
    ended = [json.loads(each["message"]["content"]) for each in choices if each["finish_reason"] == "stop"]
    assert all(isinstance(each, dict) for each in ended)
    assert all(each["message"]["content"].startswith("{") for each in choices)
    assert choices[0]["logprobs"]["content"][0]["token"] == "{"
    assert choices[0]["logprobs"]["content"][0]["logprob"] < -0.5


def test_a_stream_says_the_same(serve: Serve, first: LoadedGeneration) -> None:
    """Piece by piece; greedy, beside an answer that is held to nothing."""
    served = serve(first)
    body = {**PROMPT, "max_tokens": 200, "response_format": held(CITY)}
    whole = asked(served, **body)["choices"][0]
    assert json.loads(whole["text"])["kind"] in ("old", "new")
    assert whole["finish_reason"] == "stop"
    events = chunks(served.client.post("/v1/completions", json={**body, "stream": True}).text)[:-1]
    assert "".join(event["choices"][0]["text"] for event in events) == whole["text"]


def test_limits_and_stops_end_such_answers_as_others(serve: Serve, first: LoadedGeneration) -> None:
    """With the same reasons."""
    served = serve(first)
    cut = asked(served, **{**PROMPT, "max_tokens": 2}, response_format=held(CITY))["choices"][0]
    assert cut["finish_reason"] == "length"
    stopped = asked(served, **{**PROMPT, "max_tokens": 200}, response_format=held(CITY), stop='"kind"')["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert "kind" not in stopped["text"]
    refused = served.client.post("/v1/completions", json={**PROMPT, "response_format": held(CITY), "ignore_eos": True})
    assert refused.json()["error"]["param"] == "ignore_eos"


def test_a_model_without_ends_ends_with_its_answer(serve: Serve, first: LoadedGeneration) -> None:
    """Where nothing more may come."""
    endless = replace(first, stop_ids=frozenset(), tokenizer=load_anew(first))
    choice = asked(serve(endless), **{**PROMPT, "max_tokens": 200}, response_format=held(CITY))["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert json.loads(choice["text"])["kind"] in ("old", "new")


def load_anew(generation: LoadedGeneration) -> Any:
    """The same tokenizer as another object."""
    return copy.deepcopy(generation.tokenizer)


def test_a_sequence_to_sequence_model_keeps_to_it_too(serve: Serve, paths: dict[str, Any]) -> None:
    """It begins with what its decoder writes."""
    served = serve(load(paths["t5"], 1), kind="seq2seq")
    choice = asked(served, **{**PROMPT, "max_tokens": 200}, response_format=held(CITY))["choices"][0]
    assert choice["text"].startswith("{")


def test_generations_of_one_tokenizer_share_what_was_compiled(
    first: LoadedGeneration, second: LoadedGeneration
) -> None:
    """Each answer has a state of its own."""
    compiler = GrammarCompiler()
    schema = json.dumps(holdable(CITY, "schema"))
    compiler.compile(first, WantedFormat(schema))
    compiler.compile(replace(second, tokenizer=first.tokenizer), WantedFormat(schema))
    assert len(compiler._of) == 1
    grammar = compiler.compile(first, WantedFormat(schema))
    one, other = grammar.begin(), grammar.begin()
    (brace,) = first.tokenizer("{", add_special_tokens=False)["input_ids"]
    one.accept(brace)
    other.accept(brace)


def test_a_schema_that_the_compiler_refuses_is_a_400(serve: Serve, first: LoadedGeneration) -> None:
    """In its words, without where they stand in its source."""
    response = serve(first).client.post(
        "/v1/completions", json={**PROMPT, "response_format": held({"type": "integer", "minimum": 5, "maximum": 1})}
    )
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "response_format")
    assert ".cc" not in error["message"]
    assert "minimum" in error["message"]


def test_without_the_extra_it_is_refused_with_the_remedy(
    serve: Serve, first: LoadedGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name."""
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    error = serve(first).client.post("/v1/completions", json={**PROMPT, "response_format": held(CITY)}).json()["error"]
    assert (error["param"], error["code"]) == ("response_format", "unsupported_parameter")
    assert ".[structured]" in error["message"]


def test_a_schema_that_takes_too_long_is_refused_and_bounds_what_goes_on(
    serve: Serve, first: LoadedGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it; while too many go on, others are told when to come back."""
    ended = threading.Event()
    monkeypatch.setattr(GrammarCompiler, "compile", lambda *_: ended.wait(30))
    monkeypatch.setattr(answer_formats.AnswerFormats.__init__, "__kwdefaults__", {"timeout_s": 0.01})
    served = serve(first)
    body = {**PROMPT, "response_format": held(CITY)}
    codes = [served.client.post("/v1/completions", json=body).json()["error"]["code"] for _ in range(5)]
    assert codes == [None] * 4 + ["too_many_schemas"]
    ended.set()


def test_vllm_is_asked_in_its_own_terms(first: LoadedGeneration) -> None:
    """With the schema as it can be held."""
    asked_for = body_of(job(first, held_to=AnswerFormat('{"type":"object"}')), an_engine(tells_tokens=True))
    assert asked_for["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    }


def test_a_call_that_has_to_be_made_is_made(serve: Serve, paths: dict[str, Any]) -> None:
    """With arguments of its tool's parameters, whole and in a stream; beside it what is no call stays text."""
    generation = load(paths["first"], 1)
    generation.tokenizer.chat_template = HERMES
    served = serve(generation)
    tool = {"type": "function", "function": {"name": "size_of", "parameters": CITY}}
    body = {**CHAT, "max_tokens": 200, "tools": [tool], "tool_choice": "required"}
    choice = asked(served, "chat", "completions", **body)["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "size_of"
    jsonschema.Draft202012Validator(CITY).validate(json.loads(call["function"]["arguments"]))
    events = chunks(served.client.post("/v1/chat/completions", json={**body, "stream": True}).text)[:-1]
    deltas = [event["choices"][0]["delta"] for event in events]
    (streamed,) = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert streamed["function"] == call["function"]
    assert not any(delta.get("content") for delta in deltas)
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    plain = asked(served, "chat", "completions", **{**body, "tool_choice": "auto", "max_tokens": 4})["choices"][0]
    assert plain["message"]["content"]
    assert "tool_calls" not in plain["message"]


def test_a_call_that_cannot_be_held_is_refused_by_its_own_name(
    serve: Serve, paths: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client has asked for no `response_format`."""
    generation = load(paths["first"], 1)
    generation.tokenizer.chat_template = HERMES
    never = {"type": "integer", "minimum": 5, "maximum": 1}
    tool = {"function": {"name": "f", "parameters": {"properties": {"a": never}, "required": ["a"]}}}
    body = {**CHAT, "tools": [{"type": "function", **tool}], "tool_choice": "required"}
    client = serve(generation).client
    errors = [client.post("/v1/chat/completions", json=body).json()["error"]]
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    errors.append(client.post("/v1/chat/completions", json=body).json()["error"])
    for error in errors:
        assert error["param"] == "tool_choice"
        assert error["message"].startswith("tool_choice: ")


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_that_holds_to_schemas_is_asked_to(paths: dict[str, Any], engine: Literal["vllm", "sglang"]) -> None:
    """By OpenAI's field, which both take for completions; for a call that has to be made as well."""
    generation = replace(load(paths["first"], 1), engine=an_engine())
    formats = answer_formats.AnswerFormats(ServingSettings.model_construct(engine=engine))
    for param in ("tool_choice", "response_format"):
        wanted = WantedFormat(json.dumps(CITY), param)
        held_to = asyncio.run(formats.of(generation, wanted, ignores_ends=False))
        named = body_of(job(generation, held_to=held_to), an_engine())["response_format"]
        assert (named["type"], named["json_schema"]["schema"]) == ("json_schema", CITY)


@pytest.mark.parametrize("engine", ["command", "remote"])
def test_an_engine_that_holds_to_nothing_is_named_with_what_was_asked_of_it(
    paths: dict[str, Any], engine: Literal["command", "remote"]
) -> None:
    """A call by `tool_choice`, and what to say in its place; a format by `response_format`."""
    generation = replace(load(paths["first"], 1), engine=an_engine())
    formats = answer_formats.AnswerFormats(ServingSettings.model_construct(engine=engine))
    for param, remedy in (("tool_choice", '"auto"'), ("response_format", "leave it out")):
        with pytest.raises(RequestError, match=remedy) as refused:
            asyncio.run(formats.of(generation, WantedFormat("{}", param), ignores_ends=False))
        assert (refused.value.param, refused.value.code) == (param, "unsupported_parameter")
        assert f"{param}: an engine of kind {engine}" in str(refused.value)
