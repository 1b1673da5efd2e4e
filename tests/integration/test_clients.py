"""The clients that people use, against a serving process: OpenAI's own, LangChain's and litellm's.

The model knows nothing: what comes right is the server's doing. Answers keep to their schemas, and calls are made.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from checkpoints.base.prepare import import_base
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_tokenizer
from tests.integration.test_serving import KEY, Server
from tests.models import make_causal
from tests.unit.serving.answers.test_tools import HERMES

# Their libraries warn of one another.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ASKED = "how large is it?"
MESSAGES: Any = [{"role": "user", "content": ASKED}]


class Town(BaseModel):
    """What a town is like."""

    size: int = Field(ge=1, le=9)
    kind: Literal["old", "new"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a model answers whose chat template writes tools."""
    root = tmp_path_factory.mktemp("clients")
    model = make_causal(root / "0", context=4096)
    tokenizer = load_tokenizer(model)
    tokenizer.chat_template = HERMES
    tokenizer.save_pretrained(model)
    store = GenerationStore(root / "checkpoints")
    import_base(store, model)
    store.point_to(0)
    (root / "key").write_text(KEY)
    with Server(store.root, api_key_file=str(root / "key"), default_new_tokens=300) as server:
        yield f"{server.url}/v1"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """They tell nobody what they do, and fetch nothing."""
    for name, value in {
        "LANGSMITH_TRACING": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def _event_loop() -> Iterator[None]:
    """For a client that makes this thread a loop where it has none, and leaves it open to the garbage collector."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield
        asyncio.set_event_loop(None)


def test_openais_client_is_given_what_it_parses(url: str) -> None:
    """A schema of a pydantic model, a call that has to be made, several answers with their probabilities, an id."""
    tools: Any = [openai.pydantic_function_tool(Town)]
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        parsed = client.chat.completions.parse(
            model="riverkeep", messages=MESSAGES, response_format=Town, temperature=0
        )
        assert parsed.choices[0].message.parsed is not None
        assert parsed.choices[0].message.parsed.kind in ("old", "new")
        called = client.chat.completions.parse(
            model="riverkeep", messages=MESSAGES, tools=tools, tool_choice="required", temperature=0
        )
        (call,) = called.choices[0].message.tool_calls or []
        assert isinstance(call.function.parsed_arguments, Town)
        drawn = client.chat.completions.create(
            model="riverkeep", messages=MESSAGES, n=2, max_tokens=4, logprobs=True, top_logprobs=2,
            extra_headers={"x-request-id": "mine"},
        )  # fmt: skip
        assert drawn._request_id == "mine"
        assert [len(choice.logprobs.content or ()) for choice in drawn.choices if choice.logprobs] == [4, 4]
        echoed = client.completions.create(model="riverkeep", prompt=ASKED, max_tokens=0, echo=True, logprobs=1)
        assert echoed.choices[0].text == ASKED
        assert echoed.choices[0].logprobs is not None
        with client.chat.completions.stream(model="riverkeep", messages=MESSAGES, response_format=Town) as stream:
            assert stream.get_final_completion().choices[0].message.parsed is not None


def test_langchains_client_has_structured_output(url: str) -> None:
    """By a schema, as it does by itself, and by a call; plain answers and streams too."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="riverkeep", base_url=url, api_key=KEY, temperature=0, max_retries=0)
    assert isinstance(model.with_structured_output(Town).invoke(ASKED), Town)
    assert isinstance(model.with_structured_output(Town, method="function_calling").invoke(ASKED), Town)
    (call,) = model.bind_tools([Town], tool_choice="Town").invoke(ASKED).tool_calls
    Town(**call["args"])
    short = model.bind(max_tokens=5)
    assert "".join(str(piece.content) for piece in short.stream(ASKED)) == short.invoke(ASKED).content


@pytest.mark.usefixtures("_event_loop")
def test_litellms_client_is_answered(url: str) -> None:
    """As it asks any server of OpenAI's API."""
    import litellm

    usual: Any = {"model": "openai/riverkeep", "messages": MESSAGES, "api_base": url, "api_key": KEY, "temperature": 0}
    schema = {"name": "town", "schema": Town.model_json_schema(), "strict": True}
    held: Any = litellm.completion(**usual, response_format={"type": "json_schema", "json_schema": schema})
    Town.model_validate_json(held.choices[0].message.content)
    tool = {"type": "function", "function": {"name": "town", "parameters": Town.model_json_schema()}}
    called: Any = litellm.completion(
        **usual, tools=[tool], tool_choice={"type": "function", "function": {"name": "town"}}
    )
    (call,) = called.choices[0].message.tool_calls
    Town(**json.loads(call.function.arguments))
    whole: Any = litellm.completion(**usual, max_tokens=5)
    pieces: Any = litellm.completion(**usual, max_tokens=5, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole.choices[0].message.content
    with pytest.raises(litellm.exceptions.BadRequestError):
        litellm.completion(**usual, max_tokens=0)
