"""Completions: every answer comes whole from the generation that its request began on.

Requests are decoded together, one token a turn, and join and leave at any turn. While two generations answer (after
a swap, until the last request of the old one ends) each has its own batch.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor

from serving.decoding import Batch, Decoder
from serving.errors import BrokenGeneration
from serving.loaded import LoadedGeneration
from serving.metrics import ServingMetrics
from serving.sampling import Drawing, Sampling
from serving.text import TextStream
from serving.worker import Part, Worker

# Prompt tokens read in one turn, so that a long prompt does not hold up the answers under way.
PROMPT_TOKENS_A_TURN: Final = 512
# A trial's turn is as short as a token of an answer, or nearly.
TRIAL_TOKENS_A_TURN: Final = 16

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Delta:
    """A further piece of an answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer's end: why, and how many tokens it took."""

    reason: Finish
    tokens: int


Event = Delta | Finished | Exception


@dataclass(eq=False, slots=True)
class Completion:
    """One answer to be written.

    Attributes:
        generation: where it comes from, from beginning to end.
        prompt: token ids, at least one.
        max_tokens: most tokens of the answer.
        sampling: how tokens are drawn.
        stop: texts before which it ends.
        on_event: takes its pieces and its end, on the worker's thread; must not block.
        stop_ids: tokens before which it ends; None: those that end the generation's answers.
        cancelled: set by whoever no longer wants it; it then ends without an event.
        trial: it tries a generation that does not serve yet.
        submitted: when, on the monotonic clock.
        ended: it has had its last event.
    """

    generation: LoadedGeneration
    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling
    stop: Sequence[str]
    on_event: Callable[[Event], None]
    stop_ids: frozenset[int] | None = None
    cancelled: bool = False
    trial: bool = False
    submitted: float = field(default_factory=time.monotonic)
    ended: bool = False

    def emit(self, event: Event) -> None:
        """Tell the one who waits, unless it ended or nobody does."""
        if self.ended or self.cancelled:
            return
        self.ended = not isinstance(event, Delta)
        self.on_event(event)

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self.emit(error)


class _Answer:
    """A completion under way: its prompt until that is read, then its tokens."""

    def __init__(self, job: Completion) -> None:
        self.job = job
        self.read = 0
        self.last = 0
        self._tokens = 0
        self._drawing = Drawing(job.sampling, job.prompt)
        self._ends = job.generation.stop_ids if job.stop_ids is None else job.stop_ids
        decode = job.generation.tokenizer.decode
        self._text = TextStream(
            lambda ids: str(decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)),
            job.prompt,
            job.stop,
            job.generation.unshown,
        )

    def take(self, logits: Tensor) -> None:
        """Draw the next token from its logits, shape (vocabulary,), and tell what it adds or that it ends."""
        if not bool(torch.isfinite(logits).all()):
            number = self.job.generation.number
            self.job.fail(BrokenGeneration(f"generation {number} gives no finite probabilities"))
            return
        self.last = self._drawing.next(logits)
        self._tokens += 1
        ends = self.last in self._ends
        text = self._text.end() if ends else self._text.push(self.last)
        full = self._tokens >= self.job.max_tokens and not ends and not self._text.stopped
        if full:
            text += self._text.end()
        if text:
            self.job.emit(Delta(text))
        if ends or self._text.stopped or full:
            self.job.emit(Finished("length" if full and not self._text.stopped else "stop", self._tokens))


class _Group:
    """The answers that one generation is giving."""

    def __init__(self, generation: LoadedGeneration, metrics: ServingMetrics) -> None:
        self._decoder = Decoder(generation.model)
        self._metrics = metrics
        self._reading: deque[tuple[_Answer, Batch]] = deque()
        self._writing: list[tuple[list[_Answer], Batch]] = []

    def add(self, answer: _Answer) -> None:
        self._reading.append((answer, self._decoder.begin()))

    def jobs(self) -> list[Completion]:
        written = [answer.job for answers, _ in self._writing for answer in answers]
        return [answer.job for answer, _ in self._reading] + written

    def run(self) -> None:
        """One token for each answer whose prompt is read, then a stretch of the prompts that are not."""
        self._keep(lambda answer: not answer.job.cancelled)
        for answers, batch in self._writing:
            logits = self._advance(batch, [[answer.last] for answer in answers])
            for answer, row in zip(answers, logits, strict=True):
                answer.take(row)
        self._keep(lambda answer: not answer.job.ended)
        trial = all(job.trial for job in self.jobs())
        self._read(TRIAL_TOKENS_A_TURN if trial else PROMPT_TOKENS_A_TURN)

    def _read(self, budget: int) -> None:
        while self._reading and budget > 0:
            answer, batch = self._reading[0]
            chunk = answer.job.prompt[answer.read : answer.read + budget]
            logits = self._advance(batch, [chunk])
            answer.read += len(chunk)
            budget -= len(chunk)
            if answer.read == len(answer.job.prompt):
                answer.take(logits[0])
                if not answer.job.trial:
                    self._metrics.first_token_seconds.observe(time.monotonic() - answer.job.submitted)
                self._reading.popleft()
                self._join(answer, batch)

    def _advance(self, batch: Batch, tokens: list[Sequence[int]] | list[list[int]]) -> Tensor:
        self._metrics.passes.inc()
        return self._decoder.advance(batch, torch.tensor(tokens))

    def _join(self, answer: _Answer, batch: Batch) -> None:
        if answer.job.ended:
            return
        if self._writing and self._decoder.can_batch:
            answers, joined = self._writing[0]
            joined.join(batch)
            answers.append(answer)
        else:
            self._writing.append(([answer], batch))

    def _keep(self, wanted: Callable[[_Answer], bool]) -> None:
        self._reading = deque(pair for pair in self._reading if wanted(pair[0]))
        kept = []
        for answers, batch in self._writing:
            rows = [row for row, answer in enumerate(answers) if wanted(answer)]
            if rows and len(rows) < len(answers):
                batch.keep(rows)
            if rows:
                kept.append(([answers[row] for row in rows], batch))
        self._writing = kept


class Engine(Worker[Completion]):
    """The thread that writes completions.

    Args:
        at_once: answers that are written together.
        queue: requests that may wait beyond those.
        metrics: where to count.
    """

    def __init__(self, *, at_once: int, queue: int, metrics: ServingMetrics) -> None:
        super().__init__("engine", at_once=at_once, queue=queue, metrics=metrics)
        self._groups: dict[LoadedGeneration, _Group] = {}

    def _admit(self, jobs: list[Completion]) -> None:
        for job in jobs:
            if job.generation not in self._groups:
                self._groups[job.generation] = _Group(job.generation, self._metrics)
            self._groups[job.generation].add(_Answer(job))

    def _parts(self) -> list[Part[Completion]]:
        self._groups = {generation: group for generation, group in self._groups.items() if group.jobs()}
        return list(self._groups.values())

    def _drop(self, part: Part[Completion]) -> None:
        self._groups = {generation: group for generation, group in self._groups.items() if group is not part}
