"""The daemon has both generations of a watch read a text, and nobody else does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from checkpoints.serving_pointer import Canary
from learner.material.chats import encode_chat
from learner.material.plain_text import control_ids
from serving.engine.completion import Completion
from serving.engine.loaded import LoadedGeneration
from serving.errors import NotGivenByEngine
from serving.generations.switch import Watched
from serving.guard import PROBES
from streams.chats import Message
from tests.unit.learner.material.test_chats import CHATML
from tests.unit.serving.conftest import Served

Serve = Callable[..., Served]
ROUTE = "/v1/riverkeep/watched-text"
KEY = "d" * 32
TEXT = "the state of the union is strong </s> and the river is long"


@pytest.fixture
def models(first: LoadedGeneration, second: LoadedGeneration) -> tuple[LoadedGeneration, LoadedGeneration]:
    """The serving generation, and the watched one."""
    return first, second


def by_probes(app: ASGIApp) -> ASGIApp:
    """The application as it is reached by the entrance that is for probes."""

    async def entered(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"entrance": PROBES}}, receive, send)

    return entered


def read(served: Served, text: str = TEXT, pair: tuple[int, int] = (1, 2), *, key: str = KEY) -> Any:
    """What the daemon is answered."""
    body = {"serving": pair[0], "watched": pair[1], "text": text}
    client = TestClient(by_probes(served.app), raise_server_exceptions=False)
    return client.post(ROUTE, json=body, headers={"authorization": f"Bearer {key}"})


def watching(serve: Serve, first: LoadedGeneration, second: LoadedGeneration) -> Served:
    """A server that watches the second beside the first."""
    served = serve(first, daemon_key=KEY)
    served.switch.watch(Watched(second, Canary(second.number, 0.5, "canary", since=0.0)))
    return served


def loss_of(generation: LoadedGeneration, text: str) -> tuple[int, float]:
    """As torch has it; no word of a text is a control token."""
    ids = list(generation.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    framed = list(generation.tokenizer(text)["input_ids"])
    seen = torch.tensor([[framed[0], *ids] if framed[0] != ids[0] else ids])
    with torch.inference_mode():
        logits = generation.model(input_ids=seen, use_cache=False).logits[0]
    return seen.shape[1] - 1, float(torch.nn.functional.cross_entropy(logits[:-1], seen[0, 1:], reduction="sum"))


def test_both_read_the_same_tokens(serve: Serve, first: LoadedGeneration, second: LoadedGeneration) -> None:
    """Losses are the models' own, summed in nats; what a text says steers nothing, and no answer is counted."""
    served = watching(serve, first, second)
    answer = read(served).json()
    tokens, of_first = loss_of(first, TEXT)
    assert answer["tokens"] == tokens
    assert answer["serving"] == pytest.approx(of_first, rel=1e-4)
    assert answer["watched"] == pytest.approx(loss_of(second, TEXT)[1], rel=1e-4)
    assert answer["serving"] != pytest.approx(answer["watched"], rel=1e-3)
    assert served.count("watched_answers_total", role="canary", outcome="answered") == 0
    long = read(served, "river " * 1_200).json()
    assert long["tokens"] == 511


CHAT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "how long is the river </s> then"},
    {"role": "assistant", "content": "it is long"},
    {"role": "user", "content": "and the state"},
    {"role": "assistant", "content": "it is strong"},
]


def read_chat(served: Served, messages: list[dict[str, str]], **more: Any) -> Any:
    """What the daemon is answered of a chat."""
    client = TestClient(by_probes(served.app), raise_server_exceptions=False)
    body = {"serving": 1, "watched": 2, "messages": messages, **more}
    return client.post(ROUTE, json=body, headers={"authorization": f"Bearer {KEY}"})


@pytest.fixture
def chat_models(
    models: tuple[LoadedGeneration, LoadedGeneration], monkeypatch: pytest.MonkeyPatch
) -> tuple[LoadedGeneration, LoadedGeneration]:
    """Both, as models that have a chat template."""
    for generation in models:
        monkeypatch.setattr(generation.tokenizer, "chat_template", CHATML)
    return models


def test_of_a_chat_what_the_assistant_says_is_foretold(
    serve: Serve, chat_models: tuple[LoadedGeneration, LoadedGeneration]
) -> None:
    """By the learner's own rule, with what ends its turns; what the others say is read, and counts for nothing."""
    answer = read_chat(watching(serve, *chat_models), CHAT).json()
    for name, generation in zip(("serving", "watched"), chat_models, strict=True):
        messages = [Message(**turn) for turn in CHAT]
        chat = encode_chat(generation.tokenizer, messages, control_ids(generation.tokenizer))
        with torch.inference_mode():
            ids = torch.tensor(chat.ids.tolist())
            logits = generation.model(input_ids=ids[None], use_cache=False).logits[0]
        losses = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
        learned = torch.from_numpy(chat.learned)[1:]
        assert answer["tokens"] == int(learned.sum()) < len(ids) - 1
        assert answer[name] == pytest.approx(float(losses[learned].sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("messages", "more", "code"),
    [
        (CHAT[:2], {}, "nothing_to_compare"),
        ([{"role": "user", "content": "long " * 700}, *CHAT[2:3]], {}, "nothing_to_compare"),
        ([{"role": "input", "content": "a"}, {"role": "target", "content": "b"}], {}, "nothing_to_compare"),
        (CHAT, {"text": "both"}, None),
        ([], {}, None),
        (CHAT * 7, {}, None),
        ([{"role": "user", "content": "a" * 8_001}], {}, None),
    ],
)
def test_a_chat_that_cannot_be_compared_is_an_error(
    serve: Serve,
    chat_models: tuple[LoadedGeneration, LoadedGeneration],
    messages: list[dict[str, str]],
    more: dict[str, Any],
    code: str | None,
) -> None:
    """One without an answer in what is read, one of roles that no chat has, and one that is too much."""
    response = read_chat(watching(serve, *chat_models), messages, **more)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("text", "pair", "refused"),
    [
        (TEXT, (1, 3), (409, "not_watched")),
        (TEXT, (2, 2), (409, "not_watched")),
        ("", (1, 2), (400, "nothing_to_compare")),
        ("a" * 8_001, (1, 2), (400, None)),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    serve: Serve,
    models: tuple[LoadedGeneration, LoadedGeneration],
    text: str,
    pair: tuple[int, int],
    refused: tuple[int, str],
) -> None:
    """With its reason for a program."""
    response = read(watching(serve, *models), text, pair)
    assert (response.status_code, response.json()["error"]["code"]) == refused


def test_with_nothing_watched_there_is_nothing_to_read(serve: Serve, first: LoadedGeneration) -> None:
    """The daemon may ask a moment after a watch has ended."""
    assert read(serve(first, daemon_key=KEY)).json()["error"]["code"] == "not_watched"


def test_only_the_daemon_may_ask(serve: Serve, first: LoadedGeneration, second: LoadedGeneration) -> None:
    """Neither a client by the front door, nor whoever reaches the probes' without the key."""
    served = watching(serve, first, second)
    assert read(served, key="another").status_code == 403
    body = {"serving": 1, "watched": 2, "text": TEXT}
    assert served.client.post(ROUTE, json=body, headers={"authorization": f"Bearer {KEY}"}).status_code == 403


def test_an_engine_that_tells_none_says_so_by_its_code(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By which the daemon knows not to ask again."""
    served = watching(serve, first, second)

    def refuse(*jobs: Completion, unlimited: bool) -> None:
        assert unlimited, "it would take a place in the queue"
        for job in jobs:
            job.fail(NotGivenByEngine("echo", "log-probabilities of a prompt's own tokens"))

    monkeypatch.setattr(served.worker, "submit", refuse)
    response = read(served)
    assert (response.status_code, response.json()["error"]["code"]) == (501, "not_given_by_engine")
