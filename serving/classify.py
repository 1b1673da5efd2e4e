"""Classification: texts of however many requests share a forward pass."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from serving.errors import BrokenGeneration
from serving.loaded import LoadedGeneration
from serving.metrics import ServingMetrics
from serving.worker import Part, Worker

Probabilities = list[list[float]]


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
        done: probabilities of the first texts.
        ended: `on_end` has been called.
    """

    generation: LoadedGeneration
    texts: Sequence[Sequence[int]]
    on_end: Callable[[Probabilities | Exception], None]
    cancelled: bool = False
    trial: bool = False
    done: Probabilities = field(default_factory=list)
    ended: bool = False

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
    """The requests that wait for one generation, in order."""

    def __init__(self, generation: LoadedGeneration, batch: int, metrics: ServingMetrics) -> None:
        self._generation = generation
        self._batch = batch
        self._metrics = metrics
        self._jobs: deque[Classification] = deque()

    def add(self, job: Classification) -> None:
        self._jobs.append(job)

    def jobs(self) -> Sequence[Classification]:
        return [job for job in self._jobs if not (job.ended or job.cancelled)]

    def run(self) -> None:
        """One forward pass over the oldest texts."""
        self._jobs = deque(self.jobs())
        picked = [(job, text) for job in self._jobs for text in job.texts[len(job.done) :]][: self._batch]
        if not picked:
            return
        results = probabilities(self._generation, [text for _, text in picked])
        self._metrics.passes.inc()
        self._metrics.classified.inc(len(picked))
        for (job, _), row in zip(picked, results, strict=True):
            job.add(row)


def probabilities(generation: LoadedGeneration, texts: Sequence[Sequence[int]]) -> Probabilities:
    """Each text's probability of each label.

    Args:
        generation: a classifier.
        texts: token ids, padded here to the longest.

    Returns:
        shape (texts, labels).

    Raises:
        BrokenGeneration: the model gives no finite numbers.
    """
    model = generation.model
    ids, mask = _padded(texts, int(model.config.pad_token_id))
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits.float()
    if not bool(torch.isfinite(logits).all()):
        raise BrokenGeneration(f"generation {generation.number} gives no finite probabilities")
    rows: Probabilities = torch.softmax(logits, dim=-1).tolist()
    return rows


def _padded(texts: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, texts))
    ids = torch.full((len(texts), longest), pad)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    return ids, mask


class Classifier(Worker[Classification]):
    """The thread that classifies.

    Args:
        at_once: requests whose texts may share passes.
        queue: requests that may wait beyond those.
        batch: texts in one pass.
        metrics: where to count.
    """

    def __init__(self, *, at_once: int, queue: int, batch: int, metrics: ServingMetrics) -> None:
        super().__init__("classifier", at_once=at_once, queue=queue, metrics=metrics)
        self._batch = batch
        self._groups: dict[LoadedGeneration, _Texts] = {}

    def _admit(self, jobs: list[Classification]) -> None:
        for job in jobs:
            if job.generation not in self._groups:
                self._groups[job.generation] = _Texts(job.generation, self._batch, self._metrics)
            self._groups[job.generation].add(job)

    def _parts(self) -> list[Part[Classification]]:
        self._groups = {generation: group for generation, group in self._groups.items() if group.jobs()}
        return list(self._groups.values())

    def _drop(self, part: Part[Classification]) -> None:
        self._groups = {generation: group for generation, group in self._groups.items() if group is not part}
