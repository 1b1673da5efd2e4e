"""What a round will take, told from rehearsals of it: memory by the size of a micro-batch, time by phase. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from checkpoints.card import ModelKind
from daemon.doctor.estimate import SHORTEST
from daemon.doctor.rehearsal import Rehearsed
from learner.settings import LearnerSettings


@dataclass(frozen=True, slots=True)
class RoundWork:
    """What a round has to do.

    Attributes:
        new_tokens: of text to train on.
        tokens_per_document: in the mean.
        held_out_new: tokens of held-out text that no generation was scored on before.
        held_out: tokens of all held-out text, on which each candidate is scored.
        held_out_most: tokens of as much held-out text as a round may be judged on.
    """

    new_tokens: int
    tokens_per_document: float
    held_out_new: int
    held_out: int
    held_out_most: int = 0


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long a round takes.

    Attributes:
        starting: until the model is there and the text read.
        training: optimizer steps.
        looking: at samples that may stop them early.
        scoring: held-out text under the parent, and new text before it is trained on.
        candidates: written and scored.
        importance: estimated for the next round.
        steps: how many optimizer steps.
        evaluation: what of it goes into scoring held-out text, under the parent and each candidate.
        evaluation_most: the same, were there as much held-out text as a round may be judged on.
    """

    starting: float
    training: float
    looking: float
    scoring: float
    candidates: float
    importance: float
    steps: int
    evaluation: float = 0.0
    evaluation_most: float = 0.0

    @property
    def all(self) -> float:
        """The whole round."""
        return self.starting + self.training + self.looking + self.scoring + self.candidates + self.importance


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a round takes at its highest, by rows in a micro-batch: a line for each phase.

    Attributes:
        lines: of each phase the bytes that it takes in any case, and those of each row.
        width: tokens in a row.
    """

    lines: tuple[tuple[float, float], ...]
    width: int

    def of(self, rows: int) -> int:
        """Bytes with micro-batches of so many rows."""
        return math.ceil(max(fixed + each * rows for fixed, each in self.lines))

    def most_rows(self, available: int) -> int:
        """The largest micro-batch for which so many bytes suffice; 0 where none does."""
        return min((self._rows_on(fixed, each, available) for fixed, each in self.lines), default=0)

    @staticmethod
    def _rows_on(fixed: float, each: float, available: int) -> int:
        if available < fixed:
            return 0
        return 2**16 if each < 1 else min(2**16, int((available - fixed) / each))

    def longest(self, available: int) -> int:
        """The longest sequence, a power of two, for which so many bytes suffice one at a time; 0 where none does."""
        widths = [2**power for power in range(int(math.log2(SHORTEST)), int(math.log2(max(self.width, 1))) + 1)]
        fitting = [
            width
            for width in widths
            if max(fixed + each * width / self.width for fixed, each in self.lines) <= available
        ]
        return max(fitting, default=0)


def memory(rehearsed: Sequence[Rehearsed], row_bytes: float) -> Memory:
    """Put a line through what was measured.

    Args:
        rehearsed: one rehearsal, or two with micro-batches of different sizes.
        row_bytes: of each row, by the model's shape, where there is but one rehearsal.
    """
    last = max(rehearsed, key=lambda one: one.rows)
    first = min(rehearsed, key=lambda one: one.rows)
    lines = []
    for phase, peak in last.peaks.items():
        each = row_bytes
        if first.rows < last.rows:
            each = max(0.0, (peak - first.peaks.get(phase, peak)) / (last.rows - first.rows))
        lines.append((peak - each * last.rows, each))
    return Memory(tuple(lines), last.width)


def seconds(measured: Rehearsed, settings: LearnerSettings, kind: ModelKind, work: RoundWork) -> Seconds:
    """How long a round takes at the speed of a rehearsal."""
    recipe = settings.recipe
    batch_tokens = recipe.batch_sequences * (measured.width if kind == "causal-lm" else _document(measured, work))
    tokens = work.new_tokens * recipe.epochs / (1 - recipe.replay_share(kind))
    tokens = min(tokens, recipe.max_tokens or math.inf, (recipe.max_steps or math.inf) * batch_tokens)
    training = min(tokens / measured.trained_per_second, recipe.max_seconds or math.inf)
    documents = work.new_tokens / work.tokens_per_document
    looked_at = min(recipe.early_stop_documents, documents * recipe.early_stop_share) * work.tokens_per_document
    plausible = min(settings.plausibility_documents, documents) * work.tokens_per_document
    candidates = len(set(recipe.interpolation))
    important = 0.0
    if measured.important_per_second is not None:
        important = min(recipe.importance_sequences, documents) / measured.important_per_second
    return Seconds(
        starting=measured.load_seconds,
        training=training,
        looking=recipe.early_stop_checks * looked_at / measured.scored_per_second,
        scoring=(plausible + work.held_out_new) / measured.scored_per_second,
        candidates=candidates * (measured.written_seconds + work.held_out / measured.scored_per_second),
        importance=important,
        steps=max(1, math.ceil(tokens / batch_tokens)),
        evaluation=(work.held_out_new + candidates * work.held_out) / measured.scored_per_second,
        evaluation_most=(work.held_out_new + candidates * work.held_out_most) / measured.scored_per_second,
    )


def _document(measured: Rehearsed, work: RoundWork) -> float:
    return min(measured.width, work.tokens_per_document)


def steps_within(whole: Seconds, limit: float) -> int:
    """How many optimizer steps a round of at most so many seconds has room for; 0 where none is left."""
    left = limit - (whole.all - whole.training)
    return max(0, int(whole.steps * left / whole.training)) if whole.training else whole.steps
