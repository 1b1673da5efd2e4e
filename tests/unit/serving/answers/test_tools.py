"""Tools reach the model by its own template; calls that it writes are taken out of its text, whatever the pieces."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers.body import parse
from serving.answers.chats import read_chat
from serving.answers.openai import ChatRequest, ChoicePart
from serving.answers.tool_calls import CallReader, ToolCall
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from tests.unit.serving.conftest import load

HERMES = (
    "{% if tools %}<s>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "call as <tool_call></tool_call></s>{% endif %}"
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}{% for call in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}"
    "</s>{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "of a place",
        "parameters": {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
    },
}
HI = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"where": "Oslo"}'}}
CALLED = [
    HI,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
]
WRITTEN = '<tool_call>\n{"name": "weather", "arguments": {"where": "Oslo"}}\n</tool_call>'


def tool(name: object, **more: object) -> dict[str, Any]:
    """A tool of a request."""
    return {"type": "function", "function": {"name": name, **more}}


def deep(levels: int) -> dict[str, Any]:
    """Objects in objects."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def calling(call: object) -> list[dict[str, Any]]:
    """Messages of which the assistant's has a call."""
    return [HI, {"role": "assistant", "tool_calls": [call]}]


@pytest.fixture(scope="module")
def hermes(paths: dict[str, Path]) -> LoadedGeneration:
    """A generation whose chat template writes tools, and calls as Hermes does."""
    generation = load(paths["first"], 1)
    generation.tokenizer.chat_template = HERMES
    return generation


def request(**body: object) -> ChatRequest:
    """A chat as its route reads it."""
    return parse(json.dumps({"messages": [HI], **body}).encode(), ChatRequest)


def refusal(generation: LoadedGeneration, **body: object) -> RequestError:
    """The error that a chat gets."""
    with pytest.raises(RequestError) as caught:
        read_chat(generation, request(**body))
    assert caught.value.status == 400
    return caught.value


def test_tools_calls_and_results_are_written_by_the_template(hermes: LoadedGeneration) -> None:
    """The words of control tokens in them stay plain text."""
    chat = read_chat(hermes, request(messages=CALLED, tools=[tool("weather", description="</s> of a place")]))
    text = str(hermes.tokenizer.decode(chat.prompt))
    assert '"name": "weather"' in text
    assert "</s> of a place" in text
    assert WRITTEN in text
    assert text.endswith("<s>tool\nrain</s><s>assistant\n")
    (end,) = hermes.tokenizer("</s>", add_special_tokens=False)["input_ids"]
    assert chat.prompt.count(end) == 4
    assert chat.reader is not None


def test_tools_that_are_never_called_are_not_told_of(hermes: LoadedGeneration) -> None:
    """With `tool_choice` none; the answer's text is all text then."""
    chat = read_chat(hermes, request(tools=[WEATHER], tool_choice="none"))
    assert "weather" not in hermes.tokenizer.decode(chat.prompt)
    assert chat.reader is None


def test_a_call_that_has_to_be_made_is_begun_and_held_to_its_parameters(hermes: LoadedGeneration) -> None:
    """Of the tool that is named, or of any."""
    other = tool("time")
    named = read_chat(hermes, request(tools=[WEATHER, other], tool_choice=tool("weather")))
    assert str(hermes.tokenizer.decode(named.prompt)).endswith("<s>assistant\n<tool_call>\n")
    assert named.wanted is not None
    assert named.wanted.param == "tool_choice"
    held = json.loads(named.wanted.schema)
    assert held["properties"]["name"] == {"enum": ["weather"]}
    assert held["properties"]["arguments"]["required"] == ["where"]
    either = read_chat(hermes, request(tools=[WEATHER, other], tool_choice="required"))
    assert either.wanted is not None
    names = [each["properties"]["name"]["enum"] for each in json.loads(either.wanted.schema)["anyOf"]]
    assert names == [["weather"], ["time"]]


def test_one_call_ends_the_answer_where_no_more_are_wanted(hermes: LoadedGeneration) -> None:
    """By a stop."""
    assert read_chat(hermes, request(tools=[WEATHER], parallel_tool_calls=False)).stops == ("</tool_call>",)
    assert read_chat(hermes, request(tools=[WEATHER], parallel_tool_calls=True)).stops == ()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"tools": [tool("a b")]}, "tools.0.function.name"),
        ({"tools": [WEATHER, WEATHER]}, "tools.1.function.name"),
        ({"tools": [tool("a", parameters=5)]}, "tools.0.function.parameters"),
        ({"tools": [tool("a", other=5)]}, "tools.0.function.other"),
        ({"tools": [WEATHER] * 129}, "tools"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": tool("other")}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "required", "response_format": {"type": "json_object"}}, "tool_choice"),
        ({"tools": [tool("a", parameters={"not": {}})], "tool_choice": "required"}, "tools.0.function.parameters.not"),
        ({"tools": [tool("a", parameters={"properties": {"</s>": {}}})]}, "tools"),
        ({"messages": [HI, {"role": "tool", "content": "a"}]}, "messages.1.tool_call_id"),
        ({"messages": [HI, {"role": "user", "content": "a", "tool_calls": [CALL]}]}, "messages.1.tool_calls"),
        ({"messages": [HI, {"role": "assistant", "tool_calls": 5}]}, "messages.1.tool_calls"),
        ({"messages": calling(5)}, "messages.1.tool_calls.0"),
        ({"messages": calling({**CALL, "id": 5})}, "messages.1.tool_calls.0"),
        ({"messages": calling({"id": "a"} | tool("b", arguments="[]"))}, "messages.1.tool_calls.0.function.arguments"),
        ({"messages": calling({"id": "a"} | tool("b", arguments='{"a":' * 900 + "1" + "}" * 900))},
         "messages.1.tool_calls.0.function.arguments"),
        ({"tools": [tool("a", parameters=deep(900))]}, "tools.0.function.parameters"),
        ({"messages": [{"role": "function", "content": "a"}]}, "messages.0.role"),
    ],
)  # fmt: skip
def test_what_is_no_tool_or_call_is_named_by_its_place(
    hermes: LoadedGeneration, body: dict[str, Any], param: str
) -> None:
    """Before anything is queued."""
    assert refusal(hermes, **body).param == param


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "writes no tools"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "writes no tools"),
        ("{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}", "in another way"),
        ("{{ raise_exception('no') }}", "writes no tools"),
    ],
)
def test_a_template_that_cannot_is_refused_by_name(paths: dict[str, Path], template: str | None, said: str) -> None:
    """Also where only the messages have calls."""
    generation = load(paths["first"], 1)
    generation.tokenizer.chat_template = template
    error = refusal(generation, tools=[WEATHER])
    assert (error.param, error.code) == ("tools", "unsupported_parameter")
    assert said in str(error)
    assert refusal(generation, messages=CALLED).param == "messages.1.tool_calls"


def test_a_template_that_leaves_out_results_is_refused(paths: dict[str, Path]) -> None:
    """The model would not know of them."""
    generation = load(paths["first"], 1)
    without = HERMES.replace("{% for m in messages %}", "{% for m in messages if m.role != 'tool' %}")
    generation.tokenizer.chat_template = without
    assert refusal(generation, messages=CALLED, tools=[WEATHER]).param == "messages.2"


def test_a_word_that_no_text_shows_is_no_way_to_call(hermes: LoadedGeneration) -> None:
    """The call would be lost with it."""
    hidden = replace(hermes, unshown={5: "<tool_call>"})
    assert "in another way" in str(refusal(hidden, tools=[WEATHER]))


def told(pieces: list[str], **how: bool) -> tuple[str, list[ToolCall]]:
    """All text and all calls that come of an answer's pieces."""
    reader = CallReader({"weather"}, **how)
    got = [each for piece in pieces for each in reader.push(piece)] + list(reader.end())
    return "".join(each for each in got if isinstance(each, str)), [each for each in got if isinstance(each, ToolCall)]


@given(
    st.lists(st.integers(1, 9)), st.sampled_from(["", "so: ", "a < b <tool"]), st.sampled_from(["", "\n", " done <"])
)
def test_calls_are_taken_out_however_the_text_comes(cuts: list[int], before: str, after: str) -> None:
    """What is no call comes out as it went in."""
    text = before + WRITTEN + WRITTEN + after
    pieces = []
    for cut in cuts:
        pieces.append(text[:cut])
        text = text[cut:]
    said, calls = told([*pieces, text])
    assert said == before + after
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("weather", {"where": "Oslo"})] * 2
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>not json</tool_call>",
        '<tool_call>{"name": "other", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "weather", "arguments": "x"}</tool_call>',
        "<tool_call>[]</tool_call>",
        "<tool_call>{",
        "<tool_cal",
        "</tool_call>",
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    """With the words around it: a client may read more in it than is read here."""
    assert told([text]) == (text, [])


def test_a_call_may_end_with_the_answer() -> None:
    """Where a stop cut its end off, or the prompt began it."""
    assert len(told([WRITTEN.removesuffix("</tool_call>")])[1]) == 1
    body = WRITTEN.removeprefix("<tool_call>").removesuffix("</tool_call>")
    assert len(told([body], begins_within=True)[1]) == 1
    assert told(['{"name": "wea'], begins_within=True) == ('{"name": "wea', [])


def test_calls_have_openais_shape(hermes: LoadedGeneration) -> None:
    """Whole and in a stream, for each choice by itself."""
    shape = read_chat(hermes, request(tools=[WEATHER])).shape(hermes, "m", 0, "1")
    whole = shape.choice(0, ChoicePart(WRITTEN, finish="stop"))
    (call,) = whole["message"]["tool_calls"]
    assert (whole["finish_reason"], whole["message"]["content"]) == ("tool_calls", None)
    assert (call["type"], call["function"]) == ("function", {"name": "weather", "arguments": '{"where":"Oslo"}'})
    plain = shape.choice(0, ChoicePart("hi", finish="stop"))
    assert (plain["finish_reason"], plain["message"]["content"]) == ("stop", "hi")
    assert "tool_calls" not in plain["message"]
    assert shape.choice(0, ChoicePart(WRITTEN + "<tool", finish="length"))["finish_reason"] == "length"
    pieces = (WRITTEN[:20], WRITTEN[20:] + WRITTEN)
    parts = [shape.delta(index, ChoicePart(piece)) for index in (0, 1) for piece in pieces]
    ends = [shape.delta(index, ChoicePart(finish="stop")) for index in (0, 1)]
    assert [each["index"] for each in parts[1]["delta"]["tool_calls"]] == [0, 1]
    assert "tool_calls" not in parts[0]["delta"]
    assert [end["finish_reason"] for end in ends] == ["tool_calls"] * 2
