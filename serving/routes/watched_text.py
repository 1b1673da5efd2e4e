"""How probable the serving generation and the watched one find a text, or what a chat's assistant says in it.

What the daemon judges a canary's loss by.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from learner.errors import UnrenderableChat
from learner.material.chats import encode_chat
from learner.material.plain_text import bare, control_ids
from serving.answers.body import Bodies
from serving.answers.openai import CompletionShape
from serving.answers.prompts import opening_of
from serving.answers.writing import Wish, Writing
from serving.engine.classify import Classifier
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.errors import Failed, RequestError
from serving.routes.parts import Parts, read_body, run_encoding
from serving.routes.responses import json_response
from streams.chats import Message

MOST_TOKENS: Final = 512
"""Of a text are read: as long as a document is on average, and no more than a prompt of others."""
WITHIN_S: Final = 50.0
"""Both: shorter than the daemon waits."""
LONGEST_CHARACTERS: Final = 8_000
MOST_TURNS: Final = 32


class WatchedTurn(BaseModel):
    """A turn of a chat."""

    model_config = ConfigDict(strict=True, extra="forbid")

    role: str
    content: str


class WatchedText(BaseModel):
    """Body of `POST /v1/riverkeep/watched-text`.

    Attributes:
        serving, watched: the pair that is meant, by their numbers.
        text: to be read; or else
        messages: a chat, of which what the assistant says is to be foretold.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    serving: int
    watched: int
    text: str | None = Field(None, max_length=LONGEST_CHARACTERS)
    messages: list[WatchedTurn] = Field([], max_length=MOST_TURNS)

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if (self.text is None) != bool(self.messages):
            raise ValueError("either a text or messages")
        if sum(len(turn.content) for turn in self.messages) > LONGEST_CHARACTERS:
            raise ValueError(f"messages: at most {LONGEST_CHARACTERS} characters")
        return self


@dataclass(frozen=True, slots=True)
class _Read:
    """What one generation is to read.

    Attributes:
        ids: token ids.
        foretold: which of them count; never the first, before which there is nothing.
    """

    ids: list[int]
    foretold: list[bool]


class WatchedTextRoute:
    """Has both generations of a watch read a text, for the daemon alone."""

    def __init__(self, parts: Parts, bodies: Bodies) -> None:
        self._parts = parts
        self._bodies = bodies

    async def read(self, request: Request) -> Response:
        """The sum of what either finds of the text's tokens, in nats, and how many these are."""
        if not request.scope["is_daemon"]:
            raise RequestError("this is for the daemon that started this process", status=403, kind="permission_error")
        body, size = await read_body(self._bodies, request, WatchedText)
        serving, watched = self._parts.current("causal-lm"), self._parts.switch.watched
        numbers = serving.number, None if watched is None else watched.generation.number
        if watched is None or numbers != (body.serving, body.watched):
            why = f"generation {body.watched} is not watched beside {body.serving} here"
            raise RequestError(why, status=409, code="not_watched")
        answer: dict[str, float] = {}
        for name, generation in (("serving", serving), ("watched", watched.generation)):
            # By each one's own tokenizer, which is the same as a rule: of another one nothing is compared.
            read = await self._encoded(generation, body, size)
            tokens = sum(read.foretold)
            if not tokens or answer.setdefault("tokens", tokens) != tokens:
                raise RequestError("nothing in the text can be compared", code="nothing_to_compare", param="text")
            answer[name] = await self._loss(generation, read, is_watched=name == "watched")
        return json_response(answer)

    async def _encoded(self, generation: LoadedGeneration, body: WatchedText, size: int) -> _Read:
        if body.text is not None:
            return await run_encoding(size, partial(_text, generation, body.text))
        # A template writes a chat several times over until it is known who says what of it.
        return await run_in_threadpool(_chat, generation, body.messages)

    async def _loss(self, generation: LoadedGeneration, read: _Read, *, is_watched: bool) -> float:
        """The sum over all tokens that are foretold."""
        wish = Wish(read.ids, 0, Sampling(temperature=0), (), frozenset(), scored=0, echo="")
        writing = Writing(generation, [wish], WITHIN_S / 2, self._parts.metrics, watched=is_watched, shadow=True)
        worker = self._parts.worker
        assert not isinstance(worker, Classifier)
        # Beside the queue, as copies of requests for a shadow: it takes nobody's place.
        worker.submit(*writing.jobs, unlimited=True)
        try:
            shape = CompletionShape(generation, self._parts.settings.model_name, 0, "watched-text")
            told = (await writing.whole(shape))["choices"][0]["logprobs"]["token_logprobs"]
        finally:
            writing.give_up("client_gone")
        values = [value for value, counts in zip(told, read.foretold, strict=False) if counts]
        if len(values) < sum(read.foretold) or None in values or not math.isfinite(loss := -math.fsum(values)):
            raise Failed(f"generation {generation.number} gives no log-probabilities of a text")
        return loss


def _text(generation: LoadedGeneration, text: str) -> _Read:
    """A text as the learner reads it: plain, whatever words of control tokens are in it."""
    (ids,) = bare(generation.tokenizer, [text])
    known = [token for token in [*opening_of(generation.tokenizer), *ids] if token < generation.tokens]
    return _beginning(generation, known, [True] * len(known))


def _chat(generation: LoadedGeneration, turns: Sequence[WatchedTurn]) -> _Read:
    """A chat as the learner reads it: as the model's template writes it, what the assistant says to be foretold."""
    messages = [Message(turn.role, turn.content) for turn in turns]
    try:
        chat = encode_chat(generation.tokenizer, messages, control_ids(generation.tokenizer))
    except UnrenderableChat as error:
        why = f"the chat cannot be read: {error}"
        raise RequestError(why, code="nothing_to_compare", param="messages") from error
    return _beginning(generation, chat.ids.tolist(), chat.learned.tolist())


def _beginning(generation: LoadedGeneration, ids: list[int], foretold: list[bool]) -> _Read:
    most = min(MOST_TOKENS, generation.context)
    return _Read(ids[:most], [False, *foretold[1:most]])
