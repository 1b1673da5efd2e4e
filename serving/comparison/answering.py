"""One generation after the other answers a prompt: the builtin engine's own code, on the CPU, one model in memory."""

import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Final

from prometheus_client import CollectorRegistry

from checkpoints.generation_store import GenerationStore
from serving.answers.prompts import chat_prompt, completion_prompt, cut, room
from serving.comparison.exchange import MOST_LABELS, AnswerEvent, ComparisonPrompt, LabelShare, PromptAnswer
from serving.engine.classify import probabilities
from serving.engine.completion import Completion, Delta, Event
from serving.engine.completions import Engine
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.generations.loading import Loader
from serving.metrics import ServingMetrics
from streams.chats import Message

TELL_EVERY_S: Final = 0.5
"""Between two words on how far an answer is."""

Load = Callable[[int], LoadedGeneration]
Tell = Callable[[AnswerEvent], None]


def loads(asked: ComparisonPrompt) -> Load:
    """What brings a generation into memory, as serving does: its files verified first."""
    store, metrics = GenerationStore(asked.checkpoints), ServingMetrics(CollectorRegistry())
    loader = Loader(store, asked.kind, "cpu", metrics, asked.recipe_length)
    # Nothing is shared with the one before, which is let go by then.
    return lambda number: loader.load(number, None, None)


def answer_all(asked: ComparisonPrompt, load: Load, tell: Tell) -> None:
    """Let each generation answer, and tell of it.

    Args:
        asked: the prompt.
        load: brings a generation into memory.
        tell: takes what happens.

    Raises:
        CheckpointsError: a generation's files are not there, or cannot be loaded.
        ServingError: it cannot answer.
    """
    for number in asked.generations:
        tell(AnswerEvent(event="loading", generation=number))
        answer = _answer(asked, number, load, tell)
        # Here no name holds the model any more: the next one finds its room.
        _give_back()
        tell(AnswerEvent(event="answered", generation=number, answer=answer))


def _answer(asked: ComparisonPrompt, number: int, load: Load, tell: Tell) -> PromptAnswer:
    began = time.monotonic()
    generation = load(number)
    loaded = time.monotonic()
    tell(AnswerEvent(event="answering", generation=number))
    answer = _classify(generation, asked) if asked.kind == "classifier" else _write(generation, asked, tell)
    return answer.model_copy(
        update={"seconds_loading": loaded - began, "seconds_answering": time.monotonic() - loaded},
    )


def _classify(generation: LoadedGeneration, asked: ComparisonPrompt) -> PromptAnswer:
    text = cut(generation, asked.prompt, "prompt")
    (row,) = probabilities(generation, [text.ids])
    shares = sorted(zip(generation.labels, row, strict=True), key=lambda pair: -pair[1])
    return PromptAnswer(
        labels=tuple(LabelShare(label=label, probability=share) for label, share in shares[:MOST_LABELS]),
        prompt_tokens=len(text.ids),
        truncated=text.truncated,
    )


def _write(generation: LoadedGeneration, asked: ComparisonPrompt, tell: Tell) -> PromptAnswer:
    ids, stops = _read(generation, asked)
    events: SimpleQueue[Event] = SimpleQueue()
    job = Completion(
        generation,
        ids,
        room(generation, ids, None, asked.max_tokens, "prompt"),
        Sampling(temperature=asked.temperature, seed=asked.seed),
        stops,
        events.put,
    )
    with _engine() as engine:
        engine.submit(job)
        return _listen(job, events, tell)


def _read(generation: LoadedGeneration, asked: ComparisonPrompt) -> tuple[list[int], tuple[str, ...]]:
    """The prompt's token ids, and texts that end the answer."""
    if asked.chat:
        return chat_prompt(generation, [Message("user", asked.prompt)])
    return completion_prompt(generation, asked.prompt), ()


def _listen(job: Completion, events: "SimpleQueue[Event]", tell: Tell) -> PromptAnswer:
    text, told_at, number = "", time.monotonic(), job.generation.number
    # Whoever started this process ends it where it takes too long: here nothing gives up.
    while True:
        event = events.get()
        if isinstance(event, Exception):
            raise event
        if not isinstance(event, Delta):
            return PromptAnswer(text=text, finish=event.reason, tokens=event.tokens, prompt_tokens=len(job.prompt))
        text += event.text
        if time.monotonic() - told_at >= TELL_EVERY_S:
            told_at = time.monotonic()
            tell(AnswerEvent(event="answering", generation=number, tokens=job.written))


@contextmanager
def _engine() -> Iterator[Engine]:
    engine = Engine(at_once=1, queue=1, metrics=ServingMetrics(CollectorRegistry()))
    engine.start()
    try:
        yield engine
    finally:
        engine.close()


def _give_back() -> None:
    """Give freed memory back to the system: the C library keeps blocks of a model's size for later, and none comes."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
