"""What an engine is asked, and what its answers mean; the engine here is a transport in this process, and so a fake."""

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.answers.body import parse
from serving.answers.openai import CompletionRequest
from serving.engine.completion import Completion, Finished
from serving.engine.defaults import Defaults
from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine
from serving.engine.sampling import Sampling
from serving.errors import EngineBusy, EngineLost, Failed, RequestError
from serving.processes.asking import EnginePiece, answer, body_of, known_models, prompt_body_of


def job(generation: LoadedGeneration, **more: Any) -> Completion:
    """A job as routes make it."""
    wish: dict[str, Any] = {"sampling": Sampling(temperature=0), "stop": (), **more}
    return Completion(generation, [1, 2, 3], 5, on_event=lambda _: None, **wish)


def test_a_plain_request_says_what_engines_could_take_otherwise(first: LoadedGeneration) -> None:
    """Token ids, a temperature, a usage at the end, and no more than that."""
    assert body_of(job(first), an_engine()) == {
        "model": "m@g0001",
        "prompt": [1, 2, 3],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "top_p": 1.0,
    }
    assert body_of(job(first), an_engine(tells_tokens=True))["return_token_ids"] is True


def test_an_answer_that_nobody_looks_at_before_its_end_is_asked_for_whole(first: LoadedGeneration) -> None:
    """Of an engine that tells meanwhile that it works; of any other the pieces do."""
    body = body_of(job(first, whole=True), an_engine(tells_progress=True))
    assert body["stream"] is False
    assert "stream_options" not in body
    assert body_of(job(first, whole=True), an_engine())["stream"] is True
    assert body_of(job(first), an_engine(tells_progress=True))["stream"] is True


def an_engine(**more: Any) -> RunningEngine:
    """One that nobody asks."""
    return RunningEngine("http://engine", "m@g0001", "key", NoProcess(), 60.0, **more)


class NoProcess:
    """A stand-in for an engine's process."""

    ended = ""

    def last_words(self) -> str:
        """It writes nothing."""
        return ""

    def end(self) -> None:
        """There is nothing to end."""


def test_all_that_steers_a_draw_is_sent(first: LoadedGeneration) -> None:
    """By the names that vLLM has for it."""
    sampling = Sampling(0.5, 0.9, 7, 5, 0.1, 1.1, 0.2, 0.3, ((4, 2.0),))
    ends = frozenset({9}) | first.stop_ids
    body = body_of(job(first, sampling=sampling, stop=("x",), stop_ids=ends), an_engine())
    assert {name: body[name] for name in ("top_k", "min_p", "seed", "repetition_penalty")} == {
        "top_k": 5,
        "min_p": 0.1,
        "seed": 7,
        "repetition_penalty": 1.1,
    }
    assert (body["presence_penalty"], body["frequency_penalty"]) == (0.2, 0.3)
    assert (body["logit_bias"], body["stop"], body["stop_token_ids"]) == ({"4": 2.0}, ["x"], [9])
    assert "ignore_eos" not in body
    assert body_of(job(first, stop_ids=frozenset()), an_engine())["ignore_eos"] is True


def test_what_a_model_wants_by_itself_is_said_where_it_is_not_wanted(first: LoadedGeneration) -> None:
    """An engine may take it from the model's files where a request says nothing."""
    wanted = replace(first, defaults=Defaults(top_k=20, min_p=0.1, repetition_penalty=1.1))
    body = body_of(job(wanted), an_engine())
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (-1, 0, 1)
    assert not {"top_k", "min_p", "repetition_penalty"} & set(body_of(job(first), an_engine()))


# Whether there, and then what: null is as good as nothing.
DRAWN = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1) | st.just(0),
        "top_k": st.integers(-1, 2**63 - 1),
        "min_p": st.floats(0, 1),
        "repetition_penalty": st.floats(0.01, 100),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "seed": st.integers(-2, 2) | st.integers(-(2**63) + 1, 2**63 - 1),
    },
)


@given(DRAWN)
@example({"top_p": 0})
@example({"seed": -1})
def test_what_the_door_takes_no_engine_refuses_or_takes_for_something_else(
    first: LoadedGeneration, drawn: dict[str, Any]
) -> None:
    """By vLLM's ranges, which are the narrowest but for SGLang's penalty of repetition."""
    request = parse(orjson.dumps({"prompt": "a", **drawn}), CompletionRequest)
    body = body_of(job(first, sampling=request.sampling(first.defaults)), an_engine())
    assert 0 <= body["temperature"] <= 2
    assert 0 < body["top_p"] <= 1
    assert 0 <= body.get("min_p", 0) <= 1
    assert body.get("top_k", -1) == -1 or 1 <= body["top_k"] < first.tokens
    assert body.get("repetition_penalty", 1) > 0
    # By which it would be drawn anew each time.
    assert body.get("seed") != -1
    assert ("seed" in body) is ("seed" in drawn)
    assert -(2**63) <= body.get("seed", 0) < 2**63
    # No token but the first has a place below it.
    assert body["temperature"] == 0 or drawn.get("top_p") != 0


def ask(respond: Callable[[httpx.Request], httpx.Response], *, whole: bool = False) -> list[EnginePiece | Finished]:
    """All pieces of the answer that an engine gives."""

    async def gather() -> list[EnginePiece | Finished]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond), base_url="http://engine") as client:
            return [piece async for piece in answer(client, {"model": "m", "stream": not whole})]

    return anyio.run(gather)


def stream(*events: dict[str, Any] | str) -> Callable[[httpx.Request], httpx.Response]:
    """An engine that gives these events."""
    lines = [event if isinstance(event, str) else orjson.dumps(event).decode() for event in events]
    # What begins with a colon is a comment, which servers send to keep a connection.
    content = "".join(f"{line}\n\n" if line.startswith(":") else f"data: {line}\n\n" for line in lines).encode()
    return lambda _: httpx.Response(200, content=content)


def at_once(answered: object) -> Callable[[httpx.Request], httpx.Response]:
    """An engine that gives this for an answer."""
    return lambda _: httpx.Response(200, content=orjson.dumps(answered))


def test_an_answer_that_comes_at_once_is_one_piece_and_an_end() -> None:
    """With its tokens and scores as a piece of a stream has them."""
    choice = {"text": "ab", "token_ids": [5, 6], "finish_reason": "stop", "logprobs": {"tokens": ["a", "b"]}}
    answered = {"choices": [choice], "usage": {"completion_tokens": 3}}
    assert ask(at_once(answered), whole=True) == [
        EnginePiece("ab", (5, 6), {"tokens": ["a", "b"]}),
        Finished("stop", 3),
    ]


@pytest.mark.parametrize(
    "answered",
    [
        [],
        {"choices": []},
        {"choices": [{"text": "a", "finish_reason": "stop"}]},
        {"choices": [{"text": "a", "finish_reason": "stop"}] * 2, "usage": {"completion_tokens": 2}},
        {"choices": [{"text": "a", "finish_reason": "stop"}], "usage": {"completion_tokens": None}},
        {"choices": ["a"], "usage": {"completion_tokens": 1}},
    ],
)
def test_an_answer_of_another_shape_is_an_error(answered: object) -> None:
    """None of it passes for an answer."""
    with pytest.raises(Failed, match="another shape"):
        ask(at_once(answered), whole=True)


@pytest.mark.parametrize("reason", [None, "abort"])
def test_an_answer_at_once_that_was_given_up_is_an_error(reason: str | None) -> None:
    """Its engine ends it so when it is ended itself."""
    choice = {"text": "a", "finish_reason": reason}
    with pytest.raises(EngineLost):
        ask(at_once({"choices": [choice], "usage": {"completion_tokens": 1}}), whole=True)


def piece(text: str, finish: str | None = None) -> dict[str, Any]:
    """One event of a stream."""
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}]}


def test_pieces_and_the_end_come_as_they_are() -> None:
    """Tokens by the engine's own count, which knows of those without text; else by its pieces."""
    usage = {"choices": [], "usage": {"completion_tokens": 4}}
    told = piece("b", "length") | {"choices": [{"text": "b", "token_ids": [5, 6], "finish_reason": "length"}]}
    assert ask(stream(piece("a"), told, usage, "[DONE]")) == [
        EnginePiece("a"),
        EnginePiece("b", (5, 6)),
        Finished("length", 4),
    ]
    assert ask(stream(": keep-alive", piece("", "stop"), "[DONE]"))[-1] == Finished("stop", 1)


@pytest.mark.parametrize(
    "events",
    [
        (piece("a"),),
        (piece("a"), "[DONE]"),
        (piece("a", "abort"), "[DONE]"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error(events: tuple[dict[str, Any] | str, ...]) -> None:
    """Cut off, without a reason for its end, or given up: none of it passes for an answer."""
    with pytest.raises(EngineLost):
        ask(stream(*events))


def test_an_error_within_a_stream_is_one() -> None:
    """Whatever it says: the engine's words may hold what a client wrote."""
    with pytest.raises(Failed):
        ask(stream(piece("a"), {"error": {"message": "CUDA"}}, "[DONE]"))


@pytest.mark.parametrize(
    ("status", "content", "kind", "said"),
    [
        (400, b'{"error": {"message": "too long"}}', RequestError, "too long"),
        (422, b'{"message": "no such thing"}', RequestError, "no such thing"),
        (400, b"<html>", RequestError, "<html>"),
        (413, b"too large", RequestError, "too large"),
        (401, b'{"error": {"message": "key"}}', Failed, r"refuses this side \(401\): key"),
        (404, b'{"error": {"message": "model"}}', Failed, r"refuses this side \(404\): model"),
        (307, b"elsewhere", Failed, r"refuses this side \(307\): elsewhere"),
        (407, b"", Failed, "refuses this side"),
        (500, b'{"error": {"message": "secret"}}', Failed, "its log says why"),
        (502, b"<html>", EngineLost, "answers 502"),
        (503, b'{"error": {"message": "secret"}}', EngineLost, "answers 503"),
        (504, b"", EngineLost, "answers 504"),
        (408, b"", EngineLost, "answers 408"),
        (429, b'{"error": {"message": "secret"}}', EngineBusy, "asked more than it answers now"),
    ],
)
def test_a_refusal_is_the_clients_or_this_sides(status: int, content: bytes, kind: type[Exception], said: str) -> None:
    """What the client can mend it is told in the engine's words; the rest is no fault of its own."""
    with pytest.raises(kind, match=said) as caught:
        ask(lambda _: httpx.Response(status, content=content))
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "told", "again_s"),
    [
        (429, None, 1),
        (429, "17", 17),
        (429, "0", 1),
        (429, "9" * 5000, 86_400),
        (429, "soon", 1),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 1),
        (429, "Wed, 21 Oct 2215 07:28:00 GMT", 86_400),
        (503, None, 5),
        (503, "40", 40),
        (413, "40", None),
    ],
)
def test_who_is_to_come_back_is_told_when(status: int, told: str | None, again_s: int | None) -> None:
    """As the engine's gateway says it; clients ask again by that, and not of what comes back as refused for good."""
    headers = {} if told is None else {"retry-after": told}
    with pytest.raises(RequestError) as caught:
        ask(lambda _: httpx.Response(status, headers=headers))
    assert (caught.value.status, caught.value.retry_after_s) == (status, again_s)


def test_an_engine_that_is_not_there_is_lost() -> None:
    """As it is where its process has just ended."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(EngineLost, match="ConnectError"):
        ask(refuse)


CLOSES = None
"""What an engine does that closes a connection where it was to answer."""


@contextmanager
def engine_on(*connections: Sequence[dict[str, Any] | None]) -> Iterator[str]:
    """A fake engine at a real socket: on each connection in turn it answers so many requests, or closes it."""

    def serve(listener: socket.socket) -> None:
        for answers in connections:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as asked:
                for given in answers:
                    head = list(iter(lambda: asked.readline().strip().lower(), b""))
                    length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length"))
                    asked.read(length)
                    if given is CLOSES:
                        break
                    content = orjson.dumps(given)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, listener)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        served.result(timeout=60)


def ask_twice(url: str) -> list[list[EnginePiece | Finished]]:
    """Two answers of an engine, one after the other, with one client."""

    async def gather() -> list[list[EnginePiece | Finished]]:
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            return [[piece async for piece in answer(client, {"model": "m"})] for _ in range(2)]

    return anyio.run(gather)


ANSWERED = {"choices": [{"text": "ab", "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}


def test_a_connection_that_an_engine_closes_while_it_lay_idle_costs_no_answer() -> None:
    """The request that had just been put on it is asked again, on a new one."""
    with engine_on([ANSWERED, CLOSES], [ANSWERED]) as url:
        assert ask_twice(url) == [[EnginePiece("ab"), Finished("stop", 3)]] * 2


@pytest.mark.parametrize("connections", [([CLOSES],), ([ANSWERED, CLOSES], [CLOSES])])
def test_a_connection_that_breaks_at_its_first_request_is_a_lost_engine(
    connections: tuple[list[dict[str, Any] | None], ...],
) -> None:
    """It is not asked again and again: what it is asked may be what ends it."""
    with engine_on(*connections) as url, pytest.raises(EngineLost, match="RemoteProtocolError"):
        ask_twice(url)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"data": 1}', b'{"data": [1]}', b'{"data": [{}]}'])
def test_what_gives_no_list_of_models_is_not_ready(content: bytes) -> None:
    """A program of another kind may have the port."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    with httpx.Client(transport=transport, base_url="http://engine") as client, pytest.raises(httpx.HTTPError):
        known_models(client)


def test_scores_are_asked_for_by_numbers_where_the_engine_tells_them(first: LoadedGeneration) -> None:
    """Else by OpenAI's parameter alone; a prompt's own with `echo` and no answer."""
    asked = body_of(job(first, scored=3), an_engine(tells_tokens=True))
    assert (asked["logprobs"], asked["return_tokens_as_token_ids"]) == (3, True)
    plain = body_of(job(first, scored=0), an_engine())
    assert plain["logprobs"] == 0
    assert "return_tokens_as_token_ids" not in plain
    assert "logprobs" not in body_of(job(first), an_engine())
    assert prompt_body_of(job(first, scored=2, echo="abc"), an_engine()) == {
        "model": "m@g0001",
        "prompt": [1, 2, 3],
        "max_tokens": 0,
        "echo": True,
        "stream": True,
        "temperature": 0,
        "logprobs": 2,
    }
