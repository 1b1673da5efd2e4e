"""What a language model is asked to write: OpenAI's text and chat completions."""

import time
from collections.abc import Iterable, Sequence

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from serving.answers.body import Bodies
from serving.answers.chats import read_chat
from serving.answers.openai import (
    AnswerShape,
    ChatRequest,
    CompletionRequest,
    CompletionShape,
    TextRequest,
    wanted_format,
)
from serving.answers.prompts import (
    ReadPrompt,
    completion_prompt,
    places,
    prompt_text,
    require_known,
    room,
)
from serving.answers.scored import require_few_scores
from serving.answers.writing import Wish, Writing, unless_gone
from serving.askers import Asker
from serving.engine.classify import Classifier
from serving.engine.grammar_state import WantedFormat
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from serving.feedback.register import answer_keeper
from serving.feedback.spool import PROMPT
from serving.guard import GENERATION_HEADER
from serving.routes.answer_formats import AnswerFormats
from serving.routes.callers import Chosen, answered
from serving.routes.parts import Parts, read_body, run_encoding
from serving.routes.responses import json_response, nobody_left


class CompletionRoutes:
    """Each prompt of a request is queued; the answer comes whole, or as it is written."""

    def __init__(self, parts: Parts, bodies: Bodies) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._bodies = bodies
        self._formats = AnswerFormats(parts.settings)
        # More than can wait would be told to come back for ever.
        self._most = min(self._settings.max_inputs, self._settings.max_batch + self._settings.max_queue)

    async def completions(self, request: Request) -> Response:
        """OpenAI's text completions."""
        body, size = await read_body(self._bodies, request, CompletionRequest)
        # Asked for once: prompt, answer and header have to be of one generation, whatever is swapped in meanwhile.
        chosen = self._parts.choose(request, body.user, "causal-lm", "seq2seq")
        self._parts.require_model(body.model)
        if not 1 <= len(body.prompt) <= self._most:
            raise RequestError(f"prompt: 1 to {self._most} prompts", param="prompt")
        named = places("prompt", len(body.prompt))
        pairs = list(zip(body.prompt, named, strict=True))

        async def answer(chosen: Chosen) -> Response:
            generation = chosen.generation
            if body.echo and generation.opening:
                why = "a sequence-to-sequence model does not go on with its prompt; leave it out"
                raise RequestError(f"echo: {why}", param="echo")

            def encode_all() -> list[ReadPrompt]:
                read = [(prompt, completion_prompt(generation, prompt, param), param) for prompt, param in pairs]
                return [
                    ReadPrompt(ids, param, prompt_text(generation, prompt) if body.echo else None)
                    for prompt, ids, param in read
                ]

            asked = await run_encoding(size, encode_all)
            shape = CompletionShape(*self._named(chosen))
            writing = await self._writing(request, chosen, body, asked, body.stop, wanted=wanted_format(body))
            if chosen.is_shadow:
                return await _thrown_away(writing, shape)
            if isinstance(body.prompt[0], str):
                self._keep(writing, shape, [(PROMPT, body.prompt[0])], body.user)
            return await self._write(request, writing, shape, body)

        return await answered(chosen, answer, self._parts.shadows)

    async def chat(self, request: Request) -> Response:
        """OpenAI's chat completions."""
        body, size = await read_body(self._bodies, request, ChatRequest)
        chosen = self._parts.choose(request, body.user, "causal-lm")
        self._parts.require_model(body.model)

        async def answer(chosen: Chosen) -> Response:
            generation = chosen.generation
            chat = await run_encoding(size, lambda: read_chat(generation, body))
            shape = chat.shape(*self._named(chosen))
            asked, stops = [ReadPrompt(chat.prompt, "messages")], (*body.stop, *chat.stops)
            writing = await self._writing(request, chosen, body, asked, stops, wanted=chat.wanted)
            if chosen.is_shadow:
                return await _thrown_away(writing, shape)
            # Nothing is learned of calls.
            if chat.reader is None:
                self._keep(writing, shape, [(message.role, message.content) for message in body.messages], body.user)
            return await self._write(request, writing, shape, body)

        return await answered(chosen, answer, self._parts.shadows)

    def _named(self, chosen: Chosen) -> tuple[LoadedGeneration, str, int, str]:
        """What the shape of an answer is made of."""
        generation = chosen.generation
        unique = self._parts.answers.new_id(generation.number, chosen.group)
        return generation, self._settings.model_name, int(time.time()), unique

    def _keep(self, writing: Writing, shape: AnswerShape, asked: Iterable[tuple[str, str]], user: object) -> None:
        """Have the request and its answer at hand for what is said of it, where that may be."""
        answers = self._parts.answers
        if answers.keeps_text:
            writing.on_whole = answer_keeper(answers, shape.id, tuple(asked), user)

    async def _writing(
        self,
        request: Request,
        chosen: Chosen,
        body: TextRequest,
        questions: Sequence[ReadPrompt],
        stops: Sequence[str],
        *,
        wanted: WantedFormat | None,
    ) -> Writing:
        """Queue the answers to a request's prompts."""
        generation, settings = chosen.generation, self._settings
        defaults = generation.defaults
        name, limit = body.limit
        if limit is not None and limit > settings.max_new_tokens:
            raise RequestError(f"{name}: at most {settings.max_new_tokens} tokens may be asked for", param=name)
        if len(questions) * body.choices > self._most:
            why = f"{self._most} answers are the most of one request: to all prompts together"
            raise RequestError(f"n: {why}", param="n")
        require_known(generation, body)
        default = min(defaults.max_new_tokens or settings.default_new_tokens, settings.max_new_tokens)
        ends = body.stop_ids(generation.stop_ids)
        held_to = await self._formats.of(generation, wanted, ignores_ends=bool(body.ignore_eos))
        wishes = [
            Wish(asked.ids, length, sampling, stops, ends, body.scored, asked.echo, held_to)
            for asked in questions
            for length in [room(generation, asked.ids, limit, default, asked.param)]
            for sampling in body.samplings(defaults)
        ]
        require_few_scores(generation, wishes)
        writing = Writing(
            generation,
            wishes,
            settings.request_timeout_s,
            self._parts.metrics,
            spent_s=chosen.spent_s,
            ticket=chosen.ticket,
            choices=body.choices,
            trace=request.scope["trace"],
            in_pieces=bool(body.stream),
            watched=chosen.is_canary,
            shadow=chosen.is_shadow,
        )
        worker = self._parts.worker
        assert not isinstance(worker, Classifier)
        if chosen.is_shadow:
            # Beside the queue, in which it would take a place; trials have a small share of the time of passes.
            worker.submit(*writing.jobs, unlimited=True)
            return writing
        # All or none: with a part of its prompts in the queue a request could neither go on nor be refused.
        with self._asker(request).admitted(writing.jobs):
            worker.submit(*writing.jobs)
        self._parts.recent.add(questions[0].ids)
        return writing

    def _asker(self, request: Request) -> Asker:
        asker: Asker = request.scope["asker"]
        return asker

    async def _write(self, request: Request, writing: Writing, shape: AnswerShape, body: TextRequest) -> Response:
        if body.stream:
            return StreamingResponse(
                writing.streamed(shape, wants_usage=body.wants_usage),
                media_type="text/event-stream",
                headers={
                    GENERATION_HEADER: str(writing.generation.number),
                    "cache-control": "no-cache",
                    # nginx would gather the pieces of a stream until its buffer is full.
                    "x-accel-buffering": "no",
                },
                # A client may go away before the stream's generator has begun, whose `finally` then never runs.
                background=BackgroundTask(writing.give_up, "client_gone"),
            )
        try:
            answer = await unless_gone(request, writing.whole(shape))
        # Likewise: work that was cancelled before its first step has no `finally` of its own.
        finally:
            writing.give_up("client_gone")
        return nobody_left() if answer is None else json_response(answer, generation=writing.generation)


async def _thrown_away(writing: Writing, shape: AnswerShape) -> Response:
    """Wait for an answer that nobody gets."""
    try:
        await writing.whole(shape)
    finally:
        writing.give_up("client_gone")
    return nobody_left()
