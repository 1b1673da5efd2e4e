"""The formats that requests ask for, made ready beside the event loop, within bounds."""

import asyncio
import threading
from concurrent.futures import Future
from typing import Final

from checkpoints.installing import pip_install
from serving.engine.grammar import GrammarCompiler
from serving.engine.grammar_state import AnswerFormat, Grammar, WantedFormat
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from serving.settings import ServingSettings

HOLD_TO_SCHEMAS: Final = ("vllm", "sglang")
"""Engines that take `response_format` of OpenAI's for completions too; of others it is not known."""
COMPILE_TIMEOUT_S: Final = 10.0
MOST_COMPILING: Final = 4
"""Schemas at once; one that takes too long goes on without anybody waiting, as nothing can stop it."""


class AnswerFormats:
    """Makes a schema that answers are held to into what the engine needs.

    Args:
        settings: which engine.
        timeout_s: how long a schema may take.
    """

    def __init__(self, settings: ServingSettings, *, timeout_s: float = COMPILE_TIMEOUT_S) -> None:
        self._engine = settings.engine
        self._timeout_s = timeout_s
        self._compiler = GrammarCompiler()
        # Threads end on their own; the event loop begins them.
        self._room = threading.Semaphore(MOST_COMPILING)

    async def of(
        self, generation: LoadedGeneration, wanted: WantedFormat | None, *, ignores_ends: bool
    ) -> AnswerFormat | None:
        """The format of answers; None: they are held to none.

        Args:
            generation: that is to answer.
            wanted: what is asked for; None: nothing.
            ignores_ends: whether the model's own ends do not end an answer.

        Raises:
            RequestError: the engine cannot hold it, or it takes too long to make ready.
        """
        if wanted is None:
            return None
        if ignores_ends:
            why = "an answer that is held to a format ends with it; leave ignore_eos out"
            raise RequestError(f"ignore_eos: {why}", param="ignore_eos")
        if generation.engine is None:
            return AnswerFormat(wanted.schema, await self._compiled(generation, wanted))
        if self._engine not in HOLD_TO_SCHEMAS:
            raise _unsupported(wanted, f"an engine of kind {self._engine} is not asked for {_what(wanted)}")
        return AnswerFormat(wanted.schema)

    async def _compiled(self, generation: LoadedGeneration, wanted: WantedFormat) -> Grammar:
        if not self._room.acquire(blocking=False):
            why = "too many schemas are made ready at once; try again in 1 s"
            raise RequestError(why, status=503, kind="server_error", code="too_many_schemas", retry_after_s=1)
        made: Future[Grammar] = Future()
        # A daemon thread: what cannot be stopped must not keep the process from ending.
        threading.Thread(target=self._compile, args=(generation, wanted, made), name="grammar", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(made)), self._timeout_s)
        except TimeoutError:
            why = f"the schema took longer than {self._timeout_s:g} s to make ready; make it smaller"
            raise RequestError(f"{wanted.param}: {why}", param=wanted.param) from None
        except ImportError as error:
            raise _unsupported(wanted, f"xgrammar is not installed here: {pip_install('.[structured]')}") from error

    def _compile(self, generation: LoadedGeneration, wanted: WantedFormat, made: "Future[Grammar]") -> None:
        try:
            grammar = self._compiler.compile(generation, wanted)
        except BaseException as error:  # noqa: BLE001 - it is told to the one who waits
            made.set_exception(error)
        else:
            made.set_result(grammar)
        finally:
            self._room.release()


def _what(wanted: WantedFormat) -> str:
    if wanted.param == "tool_choice":
        return 'a call that has to be made; "auto" leaves it to the model'
    return "it; leave it out"


def _unsupported(wanted: WantedFormat, why: str) -> RequestError:
    return RequestError(f"{wanted.param}: {why}", code="unsupported_parameter", param=wanted.param)
