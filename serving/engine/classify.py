"""Classification: texts of however many requests share a forward pass."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from checkpoints.probe.padded import pad_texts
from serving.engine.loaded import LoadedGeneration
from serving.engine.traces import NO_REQUEST, RequestTrace
from serving.engine.worker import PASS_TIMEOUT_S, JobGroup, Worker, answers
from serving.errors import BrokenGeneration
from serving.metrics import ServingMetrics

Probabilities = list[list[float]]


# By identity: requests are kept in sets, and two that ask the same are two.
@dataclass(eq=False, slots=True)
class Classification:
    """Texts of one request.

    Attributes:
        generation: what classifies all of them.
        texts: token ids of each, none empty.
        on_end: takes each text's probabilities in the order of the labels, or an error, on the worker's thread; must
            not block.
        cancelled: nobody waits for it any more.
        trial: it tries a generation that does not serve yet.
        owner: whose it is; owners take turns.
        trace: of the request that it is for.
        submitted: when, on the monotonic clock.
        watched: the generation is a canary.
        done: probabilities of the first texts.
        ended: `on_end` has been called.
        charged: tokens that count as written: none are.
    """

    generation: LoadedGeneration
    texts: Sequence[Sequence[int]]
    on_end: Callable[[Probabilities | Exception], None]
    cancelled: bool = False
    trial: bool = False
    trace: RequestTrace = NO_REQUEST
    owner: str = ""
    submitted: float = field(default_factory=time.monotonic)
    watched: bool = False
    done: Probabilities = field(default_factory=list)
    ended: bool = False
    charged: int = 0

    @property
    def read(self) -> Sequence[Sequence[int]]:
        """What it reads."""
        return self.texts

    @property
    def most(self) -> int:
        """Most tokens that may be written of it."""
        return 0

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self._end(error)

    def add(self, probabilities: Sequence[float]) -> None:
        """Take the next text's result; the last ends it."""
        self.done.append(list(probabilities))
        if len(self.done) == len(self.texts):
            self._end(self.done)

    def _end(self, outcome: Probabilities | Exception) -> None:
        if not (self.ended or self.cancelled):
            self.ended = True
            self.on_end(outcome)


class _Texts:
    """The requests that wait for one generation, in order.

    Where a pass of several failed, each of them has passes of its own from then on.
    """

    def __init__(self, generation: LoadedGeneration, batch: int, metrics: ServingMetrics) -> None:
        self._generation = generation
        # Where neither side of padding leaves the answers as they are alone, no text may have company.
        self._batch = batch if generation.conduct.padding else 1
        self._metrics = metrics
        self._running: list[Classification] = []
        self._apart: set[Classification] = set()
        self._jobs: deque[Classification] = deque()

    def add(self, job: Classification) -> None:
        self._jobs.append(job)

    def jobs(self) -> Sequence[Classification]:
        return [job for job in self._jobs if not (job.ended or job.cancelled)]

    def run(self) -> None:
        """One forward pass over the oldest texts."""
        self._jobs = deque(self.jobs())
        # A request's texts may take several passes: those beyond the first `done` of each are still to come.
        picked = [(job, text) for job in self._company() for text in job.texts[len(job.done) :]][: self._batch]
        if not picked:
            return
        # Before the pass: if it raises, these are the suspects.
        self._running = list(dict.fromkeys(job for job, _ in picked))
        results = probabilities(self._generation, [text for _, text in picked])
        self._metrics.passes.inc()
        self._metrics.classified.inc(len(picked))
        for (job, _), row in zip(picked, results, strict=True):
            job.add(row)

    def _company(self) -> list[Classification]:
        """Those whose texts may share the next pass."""
        # Only when it is the oldest, so that nobody overtakes, and one that fails alone is known to be at fault.
        if self._jobs and self._jobs[0] in self._apart:
            return [self._jobs[0]]
        return [job for job in self._jobs if job not in self._apart]

    def suspects(self) -> Sequence[Classification]:
        """Those that shared the last pass."""
        return self._running

    def separate(self) -> None:
        """Let each of them have passes of its own."""
        # Those that ended are let go: each holds its texts and its generation.
        self._apart = {job for job in (*self._apart, *self._running) if not job.ended}

    def answers(self) -> bool:
        """Whether the generation still classifies what it classified when it was loaded."""
        return answers(lambda: probabilities(self._generation, [self._generation.conduct.answered]))


def probabilities(generation: LoadedGeneration, texts: Sequence[Sequence[int]]) -> Probabilities:
    """Each text's probability of each label.

    Args:
        generation: a classifier.
        texts: token ids, padded here to the longest; one alone where the model cannot be asked otherwise.

    Returns:
        shape (texts, labels).

    Raises:
        BrokenGeneration: the model gives no finite numbers.
    """
    model = generation.model
    # Loading has given every model a padding token, whatever its configuration says.
    ids, mask = pad_texts(texts, int(model.config.pad_token_id), generation.conduct.padding or "right")
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits.float()
    if not bool(torch.isfinite(logits).all()):
        raise BrokenGeneration(f"generation {generation.number} gives no finite probabilities")
    # Of several labels that may fit each has a probability of its own; else they share one.
    shares = torch.sigmoid(logits) if generation.several else torch.softmax(logits, dim=-1)
    rows: Probabilities = shares.tolist()
    return rows


class Classifier(Worker[Classification]):
    """The thread that classifies.

    Args:
        at_once: requests whose texts may share passes.
        queue: requests that may wait beyond those.
        batch: texts in one pass.
        metrics: where to count.
        pass_timeout_s: see `Worker`.
    """

    def __init__(
        self,
        *,
        at_once: int,
        queue: int,
        batch: int,
        metrics: ServingMetrics,
        pass_timeout_s: float = PASS_TIMEOUT_S,
    ) -> None:
        super().__init__("classifier", at_once=at_once, queue=queue, metrics=metrics, pass_timeout_s=pass_timeout_s)
        self._batch = batch
        self._groups: dict[LoadedGeneration, _Texts] = {}

    def _admit(self, jobs: list[Classification]) -> None:
        for job in jobs:
            if job.generation not in self._groups:
                self._groups[job.generation] = _Texts(job.generation, self._batch, self._metrics)
            self._metrics.left_queue(job)
            self._groups[job.generation].add(job)

    def _parts(self) -> list[JobGroup[Classification]]:
        # A group holds its model: that of a generation which was swapped out goes with its last request.
        self._groups = {generation: group for generation, group in self._groups.items() if group.jobs()}
        return list(self._groups.values())

    def _drop(self, part: JobGroup[Classification]) -> None:
        self._groups = {generation: group for generation, group in self._groups.items() if group is not part}
