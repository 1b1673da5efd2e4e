"""What is asked of an engine over HTTP: the models that it knows, and answers, piece by piece."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson

from serving.engine.completion import Completion, Finish, Finished
from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine
from serving.engine.sampling import Sampling
from serving.engine.traces import NO_REQUEST, RequestTrace
from serving.errors import EngineLost, Failed, RequestError
from serving.outbound import in_words
from serving.processes.refusals import LONGEST_ECHO, refusal

ENDS_WITHIN_S: Final = 0.5
"""An answer that has all that is wanted of it; its connection cannot carry the next one before its end."""
UNSEEDED: Final = -1
"""Engines draw anew each time by it, where others are a seed; vLLM among them."""
SEED_IN_ITS_PLACE: Final = 7_349_251
"""Any other: the same answer comes again by it."""
NEUTRAL: Final = Sampling(temperature=1.0)
"""What OpenAI's defaults are; what differs from it is named in a request."""


@dataclass(frozen=True, slots=True)
class EnginePiece:
    """A further piece of an answer, as an engine gives it.

    Attributes:
        text: as the engine writes it.
        tokens: which made it, where the engine says so.
        logprobs: of them, as the engine gives them; None: it does not.
    """

    text: str
    tokens: tuple[int, ...] | None = None
    logprobs: object = None


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that an engine says it has.

    Attributes:
        name: of it.
        longest: most tokens of prompt and answer; None: it does not say.
    """

    name: str
    longest: int | None


def known_models(client: httpx.Client) -> list[KnownModel]:
    """The models that an engine says it has.

    Raises:
        httpx.HTTPError: it does not answer yet, or not with a list of models.
    """
    answer = client.get("/v1/models").raise_for_status()
    try:
        listed = orjson.loads(answer.content)["data"]
        return [KnownModel(str(each["id"]), _length(each.get("max_model_len"))) for each in listed]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise httpx.DecodingError(f"its /v1/models gives no list: {answer.text[:LONGEST_ECHO]}") from error


def _length(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def body_of(job: Completion, engine: RunningEngine) -> dict[str, Any]:
    """The request for one answer, in OpenAI's terms and those that vLLM and SGLang share beyond them.

    The prompt is given as token ids, which this side made: the words of control tokens in it stay what they are, and
    every engine reads the same.
    """
    ignored, beyond = job.generation.stop_ids - job.ends, job.ends - job.generation.stop_ids
    return {
        "model": engine.name,
        "prompt": list(job.prompt),
        "max_tokens": job.max_tokens,
        **_manner(job, engine),
        **({"return_token_ids": True} if engine.tells_tokens else {}),
        **_sampling(job.sampling, job.generation),
        **({"stop": list(job.stop)} if job.stop else {}),
        **({"stop_token_ids": sorted(beyond)} if beyond else {}),
        **({"ignore_eos": True} if ignored else {}),
        **_scoring(job, engine),
        **_format(job),
    }


def prompt_body_of(job: Completion, engine: RunningEngine) -> dict[str, Any]:
    """The request for the log-probabilities of a prompt's own tokens, and for nothing else."""
    return {
        "model": engine.name,
        "prompt": list(job.prompt),
        "max_tokens": 0,
        "echo": True,
        "stream": True,
        "temperature": 0,
        **({"return_token_ids": True} if engine.tells_tokens else {}),
        **_scoring(job, engine),
    }


def _manner(job: Completion, engine: RunningEngine) -> dict[str, Any]:
    """In pieces but where nobody looks at them: each costs the engine and this side a third of a millisecond."""
    if job.whole and engine.tells_progress:
        return {"stream": False}
    return {"stream": True, "stream_options": {"include_usage": True}}


def _format(job: Completion) -> dict[str, Any]:
    if job.held_to is None:
        return {}
    named = {"name": "answer", "schema": orjson.loads(job.held_to.schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _scoring(job: Completion, engine: RunningEngine) -> dict[str, Any]:
    if job.scored is None:
        return {}
    # By their numbers where that can be had: the names of tokens are this side's, whatever the engine.
    return {"logprobs": job.scored, **({"return_tokens_as_token_ids": True} if engine.tells_tokens else {})}


def _sampling(sampling: Sampling, generation: LoadedGeneration) -> dict[str, Any]:
    """What differs from OpenAI's defaults, or from the model's own: an engine may take either where it is told nothing.

    Temperature and top_p always, as engines have defaults of their own.
    """
    named: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    for field in ("seed", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
        neutral = getattr(NEUTRAL, field)
        if (value := getattr(sampling, field)) != neutral or getattr(generation.defaults, field, neutral) != neutral:
            named[field] = value
    if sampling.seed == UNSEEDED:
        named["seed"] = SEED_IN_ITS_PLACE
    # Beyond all tokens it means all, and may be more than an engine can count to.
    among_some = 0 < sampling.top_k < generation.tokens
    if among_some or generation.defaults.top_k > 0:
        # Of all tokens, as vLLM and SGLang say it.
        named["top_k"] = sampling.top_k if among_some else -1
    if sampling.bias:
        named["logit_bias"] = {str(token): bias for token, bias in sampling.bias}
    return named


async def answer(
    client: httpx.AsyncClient, body: Mapping[str, Any], trace: RequestTrace = NO_REQUEST
) -> AsyncGenerator[EnginePiece | Finished, None]:
    """The pieces of an answer, and its end.

    Args:
        client: of the engine.
        body: what is asked; without its field `stream` there is one piece.
        trace: of the request that it is asked for.

    Raises:
        RequestError: the engine refuses the request, or fails on it.
        EngineLost: it is gone, or breaks off.
    """
    try:
        async with _response(client, orjson.dumps(body), trace.to_engine()) as response:
            if response.status_code != httpx.codes.OK:
                raise refusal(response.status_code, await response.aread(), response.headers.get("retry-after"))
            events = _pieces(response) if body.get("stream") else _whole(await response.aread())
            async with aclosing(events):
                async for piece in events:
                    yield piece
    except httpx.HTTPError as error:
        raise EngineLost(in_words(error, str(client.base_url))) from error


@asynccontextmanager
async def _response(
    client: httpx.AsyncClient, content: bytes, headers: Mapping[str, str]
) -> AsyncIterator[httpx.Response]:
    """The beginning of an answer to what is asked; asked again where the connection had lain idle and was closed.

    An engine closes idle connections after a time of its own, and may do so in the moment in which one is taken for the
    next request: that says nothing of the engine. A connection made for the request that breaks does.
    """
    response = None
    while response is None:
        steps = _Steps()
        asked = client.build_request(
            "POST", "/v1/completions", content=content, headers=headers, extensions={"trace": steps.note}
        )
        try:
            response = await client.send(asked, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if not steps.on_an_old_connection:
                raise
    async with aclosing(response):
        yield response


@dataclass(slots=True)
class _Steps:
    """What the HTTP client did for a request, as far as it says so."""

    connected: bool = False
    sent: bool = False

    async def note(self, step: str, _: Mapping[str, object]) -> None:
        self.connected |= step == "connection.connect_tcp.started"
        self.sent |= step == "http11.send_request_headers.started"

    @property
    def on_an_old_connection(self) -> bool:
        """Whether it was sent on a connection that had carried another."""
        return self.sent and not self.connected


async def _pieces(response: httpx.Response) -> AsyncGenerator[EnginePiece | Finished, None]:
    finish: Finish | None = None
    counted = tokens = 0
    lines = response.aiter_lines()
    async for line in lines:
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            if finish is None:
                raise EngineLost("it ended an answer without a reason")
            yield Finished(finish, tokens or counted)
            await let_end(lines)
            return
        event = orjson.loads(data)
        if "error" in event:
            raise Failed("the engine failed on this request; its log says why")
        if usage := event.get("usage"):
            tokens = int(usage.get("completion_tokens") or 0)
        for choice in event.get("choices", ()):
            counted += 1
            yield _piece(choice)
            finish = _finish(choice.get("finish_reason")) or finish
    raise EngineLost("it broke off in the middle of an answer")


async def let_end(rest: AsyncIterator[object]) -> None:
    """Read what is left of an answer of which all has been told, for a short time.

    Left before its end it closes its connection; what fails meanwhile costs no more than that.
    """
    with suppress(TimeoutError, httpx.HTTPError, RequestError):
        async with asyncio.timeout(ENDS_WITHIN_S):
            async for _ in rest:
                pass


async def _whole(content: bytes) -> AsyncGenerator[EnginePiece | Finished, None]:
    """An answer that came at once."""
    try:
        answered = orjson.loads(content)
        (choice,) = answered["choices"]
        piece, reason = _piece(choice), choice.get("finish_reason")
        tokens = int(answered["usage"]["completion_tokens"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failed("the engine gives an answer in another shape than OpenAI's completions have") from error
    finish = _finish(reason)
    if finish is None:
        raise EngineLost("it ended an answer without a reason")
    yield piece
    yield Finished(finish, tokens)


def _piece(choice: Mapping[str, Any]) -> EnginePiece:
    return EnginePiece(choice.get("text") or "", _tokens(choice.get("token_ids")), choice.get("logprobs"))


def _tokens(value: object) -> tuple[int, ...] | None:
    return tuple(value) if isinstance(value, list) else None


def _finish(reason: object) -> Finish | None:
    if reason == "abort":
        raise EngineLost("it gave the answer up")
    if reason is None:
        return None
    return "length" if reason == "length" else "stop"
