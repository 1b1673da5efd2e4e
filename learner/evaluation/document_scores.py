"""How likely a model finds each document: sums of negative log-likelihoods, document by document.

A mean over documents would weigh a short one's tokens more than a long one's, and a mean over batches depends on
how they were cut; sums with their counts let every later mean be made rightly, and candidate and parent be compared
document by document.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from checkpoints.probe.conduct import Side
from learner.devices.device import Device, move_to_device
from learner.devices.ranks import ALONE, Ranks
from learner.evaluation.score_by_share import score_by_share
from learner.material.encoding import Encoded, Ints
from learner.material.feeds import pad_documents, pair_inputs
from learner.material.masks import Masking, scoring_readings, write_rows
from learner.material.pairs import pairs_of, parts_of, write_pairs
from learner.material.pieces import Piece, scoring_windows
from learner.objectives.forward_pass import IGNORED
from learner.objectives.halves import Halves
from learner.objectives.losses import token_losses
from learner.objectives.part_sizes import parts
from memory.ledger.records import DocumentScore
from streams.decoding.several_labels import members, write_set

UNANSWERED: Final = 1e-3
"""What counts as the probability of a label that a model has no answer for: a loss of 6.9 nats. See `at_chance`."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores documents under a model.

    Attributes:
        device: where it runs.
        longest: tokens in a sequence; longer documents of a causal LM are scored in windows that slide by half of it,
            of a masked LM in equal pieces.
        rows: sequences of full length in one forward pass; of shorter ones, more.
        pad: the token that fills a row.
        labels: a classifier's classes by number; None for a language model.
        passed: told after each pass how many tokens were in it.
        rows_together: whether sequences of several lengths may share a pass; where not, each is read alone.
        side: on which rows are padded; those of a causal LM always on the right.
        several: whether any number of its labels fits a document.
        unanswered: what counts as the probability of a label that a model has no answer for.
        masking: how a masked LM's text is written; None for other models.
        start: what the decoder of a sequence-to-sequence model begins with; None for other models.
        ranks: that score together: each its share of the documents, and all have the scores of all.
    """

    device: Device
    longest: int
    rows: int
    pad: int
    labels: Mapping[int, str] | None = None
    passed: Callable[[int], None] = lambda _: None
    rows_together: bool = True
    side: Side = "right"
    several: bool = False
    unanswered: float = UNANSWERED
    masking: Masking | None = None
    start: int | None = None
    ranks: Ranks = ALONE

    def __call__(self, model: Any, text: Encoded) -> tuple[DocumentScore, ...]:
        """Score each document; those in which there is nothing to predict come with 0 tokens.

        The model is left in the mode (training or not) that it came in.
        """
        return tuple(score for score, _ in self.with_sureness(model, text))

    def with_sureness(self, model: Any, text: Encoded) -> tuple[tuple[DocumentScore, float], ...]:
        """Score each document, and say how sure a classifier is of its answer, by its own word: 0 to 1.

        A language model, which gives none, is sure.
        """
        with self._reading(model):
            return score_by_share(self.ranks, text, partial(self._scored, model))

    def _scored(self, model: Any, text: Encoded) -> tuple[tuple[DocumentScore, float], ...]:
        if self.labels is None:
            return tuple((score, 1.0) for score in self._by_token(model, text))
        return self._classified(model, text)

    def at_chance(self) -> "Evaluator":
        """One that gives a model which has no answer for a label what a guess among all labels gives it.

        A candidate that learns the label has to do better; better than next to nothing is any. Where any number of
        labels fits a document each is a question by itself, and it stays as it is.
        """
        return self if self.several or not self.labels else replace(self, unanswered=1 / len(self.labels))

    @contextmanager
    def _reading(self, model: Any) -> Iterator[None]:
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad(), self.device.autocast():
                yield
        finally:
            model.train(was_training)

    def _by_token(self, model: Any, text: Encoded) -> tuple[DocumentScore, ...]:
        if self.masking is not None:
            return self._masked(model, text, self.masking)
        return self._causal(model, text) if self.start is None else self._paired(model, text, self.start)

    def _paired(self, model: Any, text: Encoded, start: int) -> tuple[DocumentScore, ...]:
        halves, pairs = Halves(model), list(pairs_of(text))
        scores = {sample.id: DocumentScore(sample.id, 0.0, 0) for sample in text.samples}
        for part in self._by_length([pair.width for _, pair in pairs]):
            chosen = [pairs[index] for index in part]
            arrays = write_pairs([parts_of(pair, text.tokens) for _, pair in chosen], start=start, pad=self.pad)
            losses = self._losses(halves, pair_inputs(arrays, self.device.where), arrays.targets)
            for (owner, pair), loss in zip(chosen, losses, strict=True):
                number = text.samples[owner].id
                scores[number] = DocumentScore(number, loss, pair.targets)
            self.passed(sum(pair.width for _, pair in chosen))
        return tuple(scores.values())

    def _causal(self, model: Any, text: Encoded) -> tuple[DocumentScore, ...]:
        windows = [(owner, each) for owner in range(len(text)) for each in scoring_windows(text, owner, self.longest)]
        halves, nll, tokens = Halves(model), np.zeros(len(text)), np.zeros(len(text), dtype=np.int64)
        for part in self._by_length([window.width for _, window in windows]):
            owners, chosen = zip(*(windows[index] for index in part), strict=True)
            losses = self._window_losses(halves, text, chosen)
            for owner, window, loss in zip(owners, chosen, losses, strict=True):
                nll[owner] += loss
                tokens[owner] += window.targets
            # What windows share is told of once, so that what is done adds up to what there is.
            begun = sum(
                window.first == int(text.bounds[owner]) + 1 for owner, window in zip(owners, chosen, strict=True)
            )
            self.passed(sum(window.stop - window.first for window in chosen) + begun)
        return tuple(
            DocumentScore(sample.id, float(nll[index]), int(tokens[index])) for index, sample in enumerate(text.samples)
        )

    def _window_losses(self, model: Halves, text: Encoded, windows: Sequence[Piece]) -> list[float]:
        shape = (len(windows), max(window.width for window in windows))
        ids, targets = np.full(shape, self.pad, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
        for at, window in enumerate(windows):
            ids[at, : window.width] = window.ids(text.tokens, text.lead)
            window.write_targets(targets[at], text.tokens, text.learned)
        # Padding stands to the right, where causal attention cannot see it: no mask, and the fastest kernel.
        return self._losses(model, {"input_ids": move_to_device(ids, self.device.where), "use_cache": False}, targets)

    def _masked(self, model: Any, text: Encoded, masking: Masking) -> tuple[DocumentScore, ...]:
        readings = list(scoring_readings(text, self.longest, masking))
        halves, nll, tokens = Halves(model), np.zeros(len(text)), np.zeros(len(text), dtype=np.int64)
        for part in self._by_length([reading.piece.width + masking.framing for reading in readings]):
            chosen = [readings[index] for index in part]
            rows = [(reading.piece.ids(text.tokens, None), reading.gaps) for reading in chosen]
            width = max(len(held) for held, _ in rows) + masking.framing
            ids, seen, targets = write_rows(rows, masking, pad=self.pad, width=width, side=self.side)
            where = self.device.where
            inputs = {"input_ids": move_to_device(ids, where), "attention_mask": move_to_device(seen, where)}
            for reading, loss in zip(chosen, self._losses(halves, inputs, targets), strict=True):
                nll[reading.owner] += loss
                tokens[reading.owner] += len(reading.gaps)
            # What is read several times is told of once, so that what is done adds up to what there is.
            self.passed(sum(reading.piece.width for reading in chosen if reading.is_first))
        return tuple(
            DocumentScore(sample.id, float(nll[index]), int(tokens[index])) for index, sample in enumerate(text.samples)
        )

    def _losses(self, model: Halves, inputs: Mapping[str, Any], targets: Ints) -> list[float]:
        """Each row's loss, summed over what it predicts, in nats."""
        where = self.device.where
        read = model.read(inputs)
        counted, wanted = move_to_device(np.flatnonzero(targets != IGNORED), where), move_to_device(targets, where)
        losses = torch.zeros(wanted.shape, dtype=torch.float32, device=where).flatten()
        for part in parts(len(counted), model.places_of_part(read.hidden)):
            places = counted[part]
            losses[places] = token_losses(model.head.logits(read.hidden[places]), wanted.flatten()[places])
        summed: list[float] = losses.view(targets.shape).sum(1).tolist()
        return summed

    def _classified(self, model: Any, text: Encoded) -> tuple[tuple[DocumentScore, float], ...]:
        assert self.labels is not None
        scores: list[tuple[DocumentScore, float] | None] = [None] * len(text)
        for part in self._by_length(text.lengths.tolist()):
            inputs = pad_documents([text.document(index) for index in part], self.pad, self.device.where, self.side)
            logits = self._for_labels(model, model(**inputs).logits.float())
            targets = move_to_device(text.labels[part], self.device.where)
            losses, answers = self._sets(logits, targets) if self.several else self._classes(logits, targets)
            sureness = self._sureness(logits).tolist()
            for index, loss, answer, sure in zip(part, losses.tolist(), answers, sureness, strict=True):
                sample = text.samples[index]
                label = write_set(members(sample.label)) if self.several else sample.label
                scores[index] = DocumentScore(sample.id, loss, 1, answer, label), sure
            self.passed(int(text.lengths[part].sum()))
        return tuple(score for score in scores if score is not None)

    def _for_labels(self, model: Any, logits: Tensor) -> Tensor:
        """A model's logits by the labels that are scored, which may be more than it has, or others.

        One that lacks a label cannot answer it, and its other answers stay what they were.
        """
        assert self.labels is not None
        named = {str(name): int(number) for number, name in model.config.id2label.items()}
        columns = [named.get(label) for _, label in sorted(self.labels.items())]
        if columns == list(range(logits.shape[-1])):
            return logits
        share = math.log(UNANSWERED) if self.several else torch.finfo(logits.dtype).min
        missing = logits.new_full((len(logits), 1), share)
        return torch.cat([missing if column is None else logits[:, column, None] for column in columns], -1)

    def _sureness(self, logits: Tensor) -> Tensor:
        """The probability of each document's answer; of a set of labels, that each of them is right."""
        if not self.several:
            return logits.softmax(-1).amax(-1)
        return functional.logsigmoid(logits.abs()).sum(-1).exp()

    def _classes(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, list[str]]:
        """Each document's loss, and the most probable of its labels."""
        assert self.labels is not None
        lacking = logits.gather(-1, targets[:, None])[:, 0] == torch.finfo(logits.dtype).min
        # No infinity: a label that cannot be answered is one that is given a small probability.
        losses = functional.cross_entropy(logits, targets, reduction="none").masked_fill(
            lacking, -math.log(self.unanswered)
        )
        return losses, [self.labels[answer] for answer in logits.argmax(-1).tolist()]

    def _sets(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, list[str]]:
        """Each document's loss, a mean over the labels, and all labels that are more probable than not."""
        assert self.labels is not None
        losses = functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none").mean(-1)
        fitting = [[self.labels[at] for at, z in enumerate(row) if z > 0] for row in logits.tolist()]
        return losses, list(map(write_set, fitting))

    def _by_length(self, lengths: list[int]) -> Iterator[list[int]]:
        """Yield indices, longest first, as many at a time as keep the padded tokens of a pass within bounds."""
        order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
        at = 0
        while at < len(order):
            fitting = max(1, self.rows * self.longest // max(lengths[order[at]], 1))
            count = fitting if self.rows_together else 1
            yield order[at : at + count]
            at += count


def mean_nll(scores: tuple[DocumentScore, ...]) -> float:
    """Return nats per token over all documents; infinity where there is none, so that nothing seems better."""
    tokens = sum(score.tokens for score in scores)
    return math.fsum(score.nll for score in scores) / tokens if tokens else math.inf
