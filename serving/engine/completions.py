"""Completions: every answer comes whole from the generation that its request began on.

Requests are decoded together, one token a turn, and join and leave at any turn. While two generations answer (after
a swap, until the last request of the old one ends) each has its own batch.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from checkpoints.probe.conduct import ANEW
from checkpoints.probe.decoding import Alone, CachedRows, TokenDecoder
from checkpoints.probe.pair_decoding import Decoder, PairDecoder
from serving.engine.answer import Answer
from serving.engine.cache_use import CacheUse
from serving.engine.completion import Completion
from serving.engine.loaded import LoadedGeneration
from serving.engine.worker import PASS_TIMEOUT_S, JobGroup, Worker, answers
from serving.metrics import ServingMetrics

# Prompt tokens read in one turn, so that a long prompt does not hold up the answers under way.
PROMPT_TOKENS_A_TURN: Final = 512
# A trial's turn is as short as a token of an answer, or nearly.
TRIAL_TOKENS_A_TURN: Final = 16
# With the logits of each, of which a vocabulary may have hundreds of thousands: 64 MiB of them at the most.
SCORED_TOKENS_A_TURN: Final = 64


class _Group:
    """The answers that one generation is giving."""

    def __init__(
        self, generation: LoadedGeneration, metrics: ServingMetrics, beat: Callable[[], None], at_once: int
    ) -> None:
        self._generation = generation
        self._cache = CacheUse(generation, metrics, at_once)
        decoder = PairDecoder if generation.opening else TokenDecoder
        self._cached = decoder(generation.model, generation.conduct.way)
        # For answers that outgrow what a cache holds rightly, and to see whether the model itself is sound.
        self._anew = decoder(generation.model, ANEW)
        self._metrics = metrics
        self._beat = beat
        self._reading: deque[_Reading] = deque()
        self._writing: list[_Writing] = []
        self._running: list[Answer] = []

    def add(self, answer: Answer) -> None:
        decoder = self._cached if self._caches(answer) else self._anew
        self._reading.append(_Reading(answer, decoder, decoder.begin(answer.job.prompt)))

    def _caches(self, answer: Answer) -> bool:
        """Whether what is cached stays right up to the answer's end."""
        # By the most it may become: keys in the cache would turn wrong in the middle of the answer.
        most = self._generation.conduct.cached_up_to
        return most is None or len(answer.job.prompt) + answer.job.max_tokens <= most

    def jobs(self) -> list[Completion]:
        written = [answer.job for writing in self._writing for answer in writing.answers]
        return [reading.answer.job for reading in self._reading] + written

    def run(self) -> None:
        """One token for each answer whose prompt is read, then a stretch of the prompts that are not."""
        # Before the pass: who went away, or was failed after the last pass, is not paid for again.
        self._keep(lambda answer: not (answer.job.cancelled or answer.job.ended))
        for writing in self._writing:
            logits = self._advance(writing.decoder, writing.batch, writing.answers, 1)
            for answer, row in zip(writing.answers, logits, strict=True):
                answer.take(row[-1])
        # Before prompts are read: who joins pads to the longest row, and rows that ended would be padded for nothing.
        self._keep(lambda answer: not answer.job.ended)
        trial = all(job.trial for job in self.jobs())
        self._read(TRIAL_TOKENS_A_TURN if trial else PROMPT_TOKENS_A_TURN)
        batches = [*(each.batch for each in self._reading), *(each.batch for each in self._writing)]
        self._cache.show(sum(batch.held for batch in batches))

    def close(self) -> None:
        """Nothing of it is under way any more."""
        self._cache.show(0)

    def _read(self, budget: int) -> None:
        while self._reading and budget > 0:
            reading = self._reading[0]
            answer = reading.answer
            unread = len(answer.tokens) - answer.fed
            # A model whose state survives no cut reads the whole prompt at once, however long it holds up others.
            most = SCORED_TOKENS_A_TURN if answer.scores_prompt else budget
            count = min(unread, budget, most) if reading.decoder.reads_in_stretches else unread
            logits = self._advance(reading.decoder, reading.batch, [answer], count, each=answer.scores_prompt)
            budget -= count
            if answer.scores_prompt:
                answer.read(logits[0])
            if answer.job.ended:
                self._reading.popleft()
            elif count == unread:
                # An answer that is read anew after a failed pass has had its first token before.
                if not answer.written and answer.job.max_tokens:
                    answer.job.first_token_at = time.monotonic()
                    self._metrics.first_token(answer.job)
                answer.take(logits[0, -1])
                # Not before the pass: if that raises, the job has to be among those that can be failed.
                self._reading.popleft()
                self._join(reading)

    def _advance(
        self, decoder: Decoder, batch: CachedRows | Alone, answers: list[Answer], count: int, *, each: bool = False
    ) -> Tensor:
        """Feed each answer the next `count` tokens that it has seen.

        Returns:
            the logits after the last of them, or after each; shape (answers, 1 or count, vocabulary).
        """
        # Before the pass: if it raises, these are the suspects.
        self._running = answers
        self._metrics.passes.inc()
        # For each pass, not each turn: a turn of many prompts may take long without one pass that hangs.
        self._beat()
        tokens = torch.tensor([answer.tokens[answer.fed : answer.fed + count] for answer in answers])
        logits = decoder.read(batch, tokens) if each else decoder.advance(batch, tokens)[:, None]
        for answer in answers:
            answer.fed += count
        return logits

    def _join(self, reading: "_Reading") -> None:
        if reading.answer.job.ended:
            return
        shared = next((each for each in self._writing if each.takes(reading)), None)
        if shared is None:
            self._writing.append(_Writing([reading.answer], reading.decoder, reading.batch))
        else:
            assert isinstance(shared.batch, CachedRows)
            assert isinstance(reading.batch, CachedRows)
            shared.batch.join(reading.batch)
            shared.answers.append(reading.answer)

    def _keep(self, stays: Callable[[Answer], bool]) -> None:
        self._reading = deque(reading for reading in self._reading if stays(reading.answer))
        self._writing = [kept for kept in (writing.keep(stays) for writing in self._writing) if kept.answers]

    def suspects(self) -> list[Completion]:
        """Those that shared the last pass."""
        return [answer.job for answer in self._running]

    def separate(self) -> None:
        """Let each of them be read again, from its beginning and by itself: their cache may be half written."""
        suspects, self._running = self._running, []
        # By identity: only rows that are written share a pass, and the suspects are the very list of their batch.
        self._writing = [writing for writing in self._writing if writing.answers is not suspects]
        for answer in suspects:
            answer.begin_again()
            self.add(answer)

    def answers(self) -> bool:
        """Whether the generation still reads what it read when it was loaded."""
        read = self._generation.conduct.answered
        text = torch.tensor([self._generation.opening or read])
        # Without a cache: a failed pass may have left one half written.
        return answers(lambda: self._anew.advance(self._anew.begin(read), text))


@dataclass(slots=True)
class _Reading:
    """An answer whose prompt is being read."""

    answer: Answer
    decoder: Decoder
    batch: CachedRows | Alone


@dataclass(slots=True)
class _Writing:
    """Answers that are written in one pass."""

    answers: list[Answer]
    decoder: Decoder
    batch: CachedRows | Alone

    def takes(self, reading: _Reading) -> bool:
        """Whether another may join."""
        if self.decoder is not reading.decoder or any(answer.apart for answer in (*self.answers, reading.answer)):
            return False
        ours, theirs = self.batch, reading.batch
        return isinstance(ours, CachedRows) and isinstance(theirs, CachedRows) and ours.takes(theirs)

    def keep(self, stays: Callable[[Answer], bool]) -> "_Writing":
        """Without those that are not wanted."""
        rows = [row for row, answer in enumerate(self.answers) if stays(answer)]
        if len(rows) == len(self.answers):
            return self
        if rows:
            assert isinstance(self.batch, CachedRows)
            self.batch.keep(rows)
        return _Writing([self.answers[row] for row in rows], self.decoder, self.batch)


class Writer(Protocol):
    """What writes completions, here or in another program."""

    @property
    def trouble(self) -> str:
        """Why it is time for a new process; empty while it is not."""

    def start(self) -> None:
        """Begin to work."""

    def close(self) -> None:
        """Fail what is left, and end."""

    @property
    def waiting(self) -> int:
        """How many jobs wait for those that are worked at."""

    def submit(self, *jobs: Completion, unlimited: bool = False) -> None:
        """Take in jobs, all or none. From any thread; never blocks for long.

        Raises:
            QueueFull: they do not fit, unless `unlimited`.
            NotReady: it has ended.
        """


class Engine(Worker[Completion]):
    """The thread that writes completions.

    Args:
        at_once: answers that are written together.
        queue: requests that may wait beyond those.
        metrics: where to count.
        pass_timeout_s: see `Worker`.
    """

    def __init__(
        self, *, at_once: int, queue: int, metrics: ServingMetrics, pass_timeout_s: float = PASS_TIMEOUT_S
    ) -> None:
        super().__init__("engine", at_once=at_once, queue=queue, metrics=metrics, pass_timeout_s=pass_timeout_s)
        self._groups: dict[LoadedGeneration, _Group] = {}

    def _admit(self, jobs: list[Completion]) -> None:
        for job in jobs:
            if job.generation not in self._groups:
                self._groups[job.generation] = _Group(job.generation, self._metrics, self.beat, self._at_once)
            self._metrics.left_queue(job)
            self._groups[job.generation].add(Answer(job))

    def _parts(self) -> list[JobGroup[Completion]]:
        # A group holds its model: that of a generation which was swapped out goes with its last answer.
        for group in [each for each in self._groups.values() if not each.jobs()]:
            self._drop(group)
        return list(self._groups.values())

    def _drop(self, part: JobGroup[Completion]) -> None:
        assert isinstance(part, _Group)
        part.close()
        self._groups = {generation: group for generation, group in self._groups.items() if group is not part}
