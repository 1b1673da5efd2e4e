"""How probable the serving generation and the watched one find a text: what the daemon judges a canary's loss by."""

import math
from functools import partial
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from learner.material.plain_text import bare
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

MOST_TOKENS: Final = 512
"""Of a text are read: as long as a document is on average, and no more than a prompt of others."""
WITHIN_S: Final = 50.0
"""Both: shorter than the daemon waits."""
LONGEST_CHARACTERS: Final = 8_000


class WatchedText(BaseModel):
    """Body of `POST /v1/riverkeep/watched-text`.

    Attributes:
        serving, watched: the pair that is meant, by their numbers.
        text: to be read.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    serving: int
    watched: int
    text: str = Field(max_length=LONGEST_CHARACTERS)


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
            ids = await run_encoding(size, partial(_ids, generation, body.text))
            if len(ids) < 2 or answer.setdefault("tokens", len(ids) - 1) != len(ids) - 1:
                raise RequestError("nothing in the text can be compared", code="nothing_to_compare", param="text")
            answer[name] = await self._loss(generation, ids, body.text, is_watched=name == "watched")
        return json_response(answer)

    async def _loss(self, generation: LoadedGeneration, ids: list[int], text: str, *, is_watched: bool) -> float:
        """The sum over all tokens but the first."""
        wish = Wish(ids, 0, Sampling(temperature=0), (), frozenset(), scored=0, echo=text)
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
        loss = -math.fsum(value for value in told[1 : len(ids)] if value is not None)
        if not math.isfinite(loss) or None in told[1 : len(ids)]:
            raise Failed(f"generation {generation.number} gives no log-probabilities of a text")
        return loss


def _ids(generation: LoadedGeneration, text: str) -> list[int]:
    """A text as the learner reads it: plain, whatever words of control tokens are in it."""
    (ids,) = bare(generation.tokenizer, [text])
    most = min(MOST_TOKENS, generation.context)
    return [token for token in [*opening_of(generation.tokenizer), *ids] if token < generation.tokens][:most]
