"""What a classifier is asked: the labels of texts."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.answers.body import Bodies
from serving.answers.openai import ClassifyRequest, usage
from serving.answers.prompts import CutText, cut, places
from serving.answers.writing import as_request_error, unless_gone
from serving.askers import Asker
from serving.engine.classify import Classification, Classifier, Probabilities
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError, TimedOut
from serving.feedback.register import answer_keeper
from serving.feedback.spool import PROMPT
from serving.listener import Listener
from serving.routes.callers import Chosen, answered
from serving.routes.parts import Parts, read_body, run_encoding
from serving.routes.responses import json_response, nobody_left

# What is more probable than not.
EVEN: Final = 0.5


class ClassifyRoute:
    """All texts of a request are one job; who goes away takes theirs back."""

    def __init__(self, parts: Parts, bodies: Bodies) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._bodies = bodies

    async def classify(self, request: Request) -> Response:
        """The labels of texts, with their probabilities; a text beyond the context is cut, and that is said."""
        body, size = await read_body(self._bodies, request, ClassifyRequest)
        chosen = self._parts.choose(request, body.user, "classifier")
        self._parts.require_model(body.model)
        if not 1 <= len(body.input) <= self._settings.max_inputs:
            raise RequestError(f"input: 1 to {self._settings.max_inputs} texts", param="input")
        pairs = list(zip(body.input, places("input", len(body.input)), strict=True))

        async def answer(chosen: Chosen) -> Response:
            generation = chosen.generation
            texts = await run_encoding(size, lambda: [cut(generation, *pair) for pair in pairs])
            ids = [text.ids for text in texts]
            if chosen.is_shadow:
                await self._classify_counted(request, chosen, ids)
                return nobody_left()
            rows = await unless_gone(request, self._classify_counted(request, chosen, ids))
            return nobody_left() if rows is None else self._respond(chosen, rows, texts, body)

        return await answered(chosen, answer, self._parts.shadows)

    def _respond(
        self, chosen: Chosen, rows: Probabilities, texts: Sequence[CutText], body: ClassifyRequest
    ) -> Response:
        generation = chosen.generation
        tokens = sum(len(text.ids) for text in texts)
        number = str(generation.number)
        self._parts.metrics.tokens.labels("read", number).inc(tokens)
        self._parts.metrics.prompt_tokens.labels(number).observe(tokens)
        labels = [_answer(generation, row) for row in rows]
        data = [
            {
                "id": self._named(chosen, asked, label, body.user),
                "index": index,
                **label,
                "probabilities": dict(zip(generation.labels, row, strict=True)),
                "truncated": text.truncated,
            }
            for index, (row, text, asked, label) in enumerate(zip(rows, texts, body.input, labels, strict=True))
        ]
        answer = {
            "object": "list",
            "model": self._settings.model_name,
            "system_fingerprint": generation.fingerprint,
            "data": data,
            "usage": usage(tokens, 0),
        }
        return json_response(answer, generation=generation)

    def _named(self, chosen: Chosen, asked: str, label: Mapping[str, object], user: object) -> str:
        """An id for one text's answer, which is kept at hand for what is said of it, where that may be."""
        answers = self._parts.answers
        unique = f"clf-{answers.new_id(chosen.generation.number, chosen.group)}"
        if answers.keeps_text:
            (said,) = label.values()
            text = said if isinstance(said, str) else orjson.dumps(said).decode()
            answer_keeper(answers, unique, ((PROMPT, asked),), user)([text])
        return unique

    async def _classify_counted(
        self, request: Request, chosen: Chosen, texts: Sequence[Sequence[int]]
    ) -> Probabilities:
        """What `_classify_all` returns, counted while a generation is watched."""
        asked = time.monotonic()
        try:
            rows = await self._classify_all(request, chosen, texts)
        except RequestError as error:
            if chosen.ticket is not None:
                chosen.ticket.failed(error)
            raise
        if chosen.ticket is not None:
            chosen.ticket.answered(time.monotonic() - asked)
        return rows

    async def _classify_all(self, request: Request, chosen: Chosen, texts: Sequence[Sequence[int]]) -> Probabilities:
        listener: Listener[Probabilities | Exception] = Listener()
        job = Classification(
            chosen.generation,
            texts,
            listener.put,
            watched=chosen.is_canary,
            trial=chosen.is_shadow,
            trace=request.scope["trace"],
        )
        worker = self._parts.worker
        assert isinstance(worker, Classifier)
        asker: Asker = request.scope["asker"]
        if chosen.is_shadow:
            worker.submit(job, unlimited=True)
        else:
            with asker.admitted([job]):
                worker.submit(job)
            # One of each request is enough: what is warmed is the model, not the text.
            self._parts.recent.add(texts[0])
        try:
            left_s = self._settings.request_timeout_s - chosen.spent_s
            outcome = await asyncio.wait_for(listener.get(), left_s)
        except TimeoutError:
            job.cancelled = True
            self._parts.metrics.cancelled.labels("timeout").inc()
            raise TimedOut(self._settings.request_timeout_s) from None
        # Also when the route is cancelled from outside, as it is when the client goes away.
        finally:
            self._give_up(job)
        if isinstance(outcome, Exception):
            raise as_request_error(outcome)
        return outcome

    def _give_up(self, job: Classification) -> None:
        if not (job.ended or job.cancelled):
            job.cancelled = True
            # Nobody has gone away from a copy that gives way to others.
            if job.trial:
                return
            self._parts.metrics.cancelled.labels("client_gone").inc()


def _answer(generation: LoadedGeneration, row: Sequence[float]) -> Mapping[str, object]:
    """The label of a text; where several may fit, all that are more probable than not."""
    if generation.several:
        return {"labels": [label for label, share in zip(generation.labels, row, strict=True) if share > EVEN]}
    return {"label": generation.labels[max(range(len(row)), key=row.__getitem__)]}
