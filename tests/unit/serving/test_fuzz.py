"""Whatever a client asks for is answered, or refused in words: it never fails the server or the model's thread."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.answers.openai import ChatRequest, CompletionRequest
from serving.answers.parameters import PASSED_OVER, REFUSED
from serving.engine.loaded import LoadedGeneration
from tests.unit.serving.answers.test_tools import HERMES
from tests.unit.serving.conftest import Served, load

# Each asks a running model some hundred times.
pytestmark = pytest.mark.slow

HONOURED = sorted({*CompletionRequest.model_fields, *ChatRequest.model_fields} - {"model"})
# Texts as JSON can carry them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EDGES = st.sampled_from(
    [0, 1, -1, 2, 5, 64, 319, 320, 2**31, 2**63 - 1, 1e-300, 5e-324, 0.01, 0.5, 1.0, 1.5, 2.0, 100.0, -100, 1e300]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | EDGES | TEXTS | st.integers(-5, 400) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "</s>"}'}}
# Mostly what may be asked for, at its edges, so that it comes as far as the draw.
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "prompt": TEXTS | st.lists(st.integers(0, 319), max_size=5) | st.lists(TEXTS, max_size=3),
    "max_tokens": st.integers(0, 4),
    "max_completion_tokens": st.integers(1, 4),
    "temperature": st.sampled_from([0, 5e-324, 1e-300, 1e-10, 0.5, 1, 2]),
    "top_p": st.sampled_from([0, 1e-300, 0.5, 1]),
    "top_k": st.sampled_from([-1, 0, 1, 2, 319, 320, 321, 2**62]),
    "min_p": st.sampled_from([0, 1e-300, 0.5, 1]),
    "repetition_penalty": st.sampled_from([0.01, 1, 1.5, 100]),
    "presence_penalty": st.sampled_from([-2, 0, 2]),
    "frequency_penalty": st.sampled_from([-2, 0, 2]),
    "logit_bias": st.dictionaries(st.integers(0, 321).map(str), st.sampled_from([-100, -0.5, 100]), max_size=4),
    "seed": st.integers(-(2**63), 2**63),
    "stop": st.sampled_from(["</s>", "\n", " "]) | st.lists(TEXTS, max_size=3),
    "stop_token_ids": st.lists(st.integers(0, 321), max_size=4),
    "ignore_eos": st.booleans(),
    "n": st.integers(1, 3),
    "echo": st.booleans(),
    "logprobs": st.booleans() | st.integers(0, 20),
    "top_logprobs": st.integers(0, 20),
    "user": TEXTS,
    "response_format": st.sampled_from(
        [
            {"type": "json_object"},
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": ["日本", 5, None]}}},
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string", "maxLength": 2}}},
        ]
    )
    | st.fixed_dictionaries({"type": st.just("json_schema")}, optional={"json_schema": ANYTHING}),
    "tools": st.lists(st.sampled_from([{"type": "function", "function": {"name": "f"}}]), max_size=1),
    "tool_choice": st.sampled_from(["none", "auto", "required", {"type": "function", "function": {"name": "f"}}]),
    "parallel_tool_calls": st.booleans(),
    "stream": st.booleans(),
    "stream_options": st.fixed_dictionaries({}, optional={"include_usage": st.booleans()}),
    "messages": st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "assistant", "developer", "tool"])},
            optional={
                "tool_call_id": TEXTS,
                "tool_calls": st.sampled_from([[], [CALL], 5]),
                "content": TEXTS
                | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=2),
            },
        ),
        max_size=4,
    ),
}
FIELDS = {name: FITTING[name] | FITTING[name] | FITTING[name] | ANYTHING for name in HONOURED}
OTHERS = dict.fromkeys([*REFUSED, *sorted(PASSED_OVER), "model", "of_nobody"], ANYTHING)
PARAMETERS = st.fixed_dictionaries({}, optional=FIELDS) | st.fixed_dictionaries({}, optional=FIELDS | OTHERS)
COMPLETION = {"prompt": "the state"}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
TEMPLATES = [
    None,
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}",
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ '' + m.content | trim }}{% endfor %}",
    "{{ messages[0].content[0].text }}{{ messages[1].content + 1 }}",
    "{{ raise_exception('no') }}",
    HERMES,
]


def require_answer(served: Served, route: str, body: object) -> None:
    """An answer, or a refusal in OpenAI's shape; and nothing that counts as a failed pass."""
    response = served.client.post(route, content=orjson.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code in (200, 400, 404), (response.status_code, response.text)
    if response.status_code != 200:
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert 0 < len(error["message"]) < 1000
    # In a stream it would come after the 200.
    assert '"type":"server_error"' not in response.text
    assert served.count("failures_total") == 0


@pytest.mark.parametrize(("route", "usual"), [("/v1/completions", COMPLETION), ("/v1/chat/completions", CHAT)])
def test_no_parameter_fails_the_server(
    serve: Callable[..., Served], paths: dict[str, Path], route: str, usual: dict[str, Any]
) -> None:
    """Known and unknown, fitting and not, alone and together."""
    generation = load(paths["first"], 1)
    generation.tokenizer.chat_template = HERMES
    served = serve(generation, max_new_tokens=8, default_new_tokens=3)

    @settings(max_examples=150, deadline=None)
    @given(parameters=PARAMETERS)
    def ask(parameters: dict[str, Any]) -> None:
        require_answer(served, route, usual | parameters)

    ask()


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_conversation_fails_the_server(
    serve: Callable[..., Served], paths: dict[str, Path], template: str | None
) -> None:
    """Whatever the template makes of it."""
    generation = load(paths["first"], 1)
    generation.tokenizer.chat_template = template
    served = serve(generation, max_new_tokens=8, default_new_tokens=2)

    @settings(max_examples=40, deadline=None)
    @given(messages=FITTING["messages"] | ANYTHING)
    def ask(messages: object) -> None:
        require_answer(served, "/v1/chat/completions", {"messages": messages})

    ask()


@pytest.mark.parametrize("route", ["/v1/completions", "/v1/chat/completions"])
def test_no_body_fails_the_server(serve: Callable[..., Served], first: LoadedGeneration, route: str) -> None:
    """JSON that is no object."""
    served = serve(first, max_new_tokens=8, default_new_tokens=2)

    @settings(max_examples=40, deadline=None)
    @given(body=ANYTHING)
    def ask(body: object) -> None:
        require_answer(served, route, body)

    ask()
