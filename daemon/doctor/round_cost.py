"""What a round will take, foretold from rehearsals of it: memory by the size of a micro-batch, time by phase. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from checkpoints.kinds import KINDS, ModelKind
from daemon.doctor.rehearsal import RehearsalFigures
from daemon.doctor.scoring_reads import times_read
from daemon.sizes.estimate import SHORTEST
from learner.evaluation.text_plausibility import RANDOM_DOCUMENTS, RANDOM_LENGTH, USUAL_DOCUMENTS
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings

MOST_ROWS: Final = 2**16
"""No micro-batch is proposed beyond it, however little a row takes."""


@dataclass(frozen=True, slots=True)
class RoundWork:
    """What a round has to do.

    Attributes:
        new_tokens: of text to train on.
        tokens_per_document: in the mean.
        held_out_new: tokens of held-out text that no generation was scored on before.
        held_out: tokens of all held-out text, on which each candidate is scored.
        held_out_most: tokens of as much held-out text as a round may be judged on.
        prompts: of all skills, which the parent, once, and each candidate are asked.
    """

    new_tokens: int
    tokens_per_document: float
    held_out_new: int
    held_out: int
    held_out_most: int = 0
    prompts: int = 0


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long a round takes.

    Attributes:
        starting: until the model is there and the text read.
        training: optimizer steps.
        early_stopping: scoring the samples that may stop them early.
        scoring: held-out text under the parent, new text before it is trained on, and what that is compared with.
        candidates: written and scored.
        importance: estimated for the next round.
        steps: how many optimizer steps.
        evaluation: what of it goes into scoring held-out text, under the parent and each candidate.
        evaluation_most: the same, were there as much held-out text as a round may be judged on.
        skills: asking the parent and each candidate the prompts of skills.
    """

    starting: float
    training: float
    early_stopping: float
    scoring: float
    candidates: float
    importance: float
    steps: int
    evaluation: float = 0.0
    evaluation_most: float = 0.0
    skills: float = 0.0

    @property
    def total(self) -> float:
        """The whole round."""
        trained = self.training + self.early_stopping + self.importance
        return self.starting + trained + self.scoring + self.candidates + self.skills


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
        return math.ceil(max(fixed + row_bytes * rows for fixed, row_bytes in self.lines))

    def most_rows(self, available: int) -> int:
        """The largest micro-batch for which so many bytes suffice; 0 where none does."""
        return min((_rows_on(fixed, row_bytes, available) for fixed, row_bytes in self.lines), default=0)

    def longest(self, available: int) -> int:
        """The longest sequence, a power of two, for which so many bytes suffice one at a time; 0 where none does."""
        widths = [2**power for power in range(int(math.log2(SHORTEST)), int(math.log2(max(self.width, 1))) + 1)]
        fitting = [
            width
            for width in widths
            if max(fixed + row_bytes * width / self.width for fixed, row_bytes in self.lines) <= available
        ]
        return max(fitting, default=0)


def _rows_on(fixed: float, row_bytes: float, available: int) -> int:
    if available < fixed:
        return 0
    return MOST_ROWS if row_bytes < 1 else min(MOST_ROWS, int((available - fixed) / row_bytes))


def fit_memory(rehearsals: Sequence[RehearsalFigures], row_bytes: float) -> Memory:
    """Put a line through what rehearsals measured.

    Args:
        rehearsals: one, or two with micro-batches of different sizes.
        row_bytes: of each row, by the model's shape, where there is but one rehearsal.
    """
    largest = max(rehearsals, key=lambda rehearsal: rehearsal.rows)
    smallest = min(rehearsals, key=lambda rehearsal: rehearsal.rows)
    lines = []
    for phase, peak in largest.peaks.items():
        slope = row_bytes
        if smallest.rows < largest.rows:
            slope = max(0.0, (peak - smallest.peaks.get(phase, peak)) / (largest.rows - smallest.rows))
        lines.append((peak - slope * largest.rows, slope))
    return Memory(tuple(lines), largest.width)


def estimate_seconds(
    rehearsal: RehearsalFigures, settings: LearnerSettings, kind: ModelKind, work: RoundWork
) -> Seconds:
    """How long a round takes at the speed of a rehearsal."""
    recipe = settings.recipe
    # Causal models fill their sequences with several documents, the others take one in each.
    row_tokens = 2 * rehearsal.width if kind == "seq2seq" else rehearsal.width
    sequence_tokens = row_tokens if kind == "causal-lm" else min(row_tokens, work.tokens_per_document)
    batch_tokens = recipe.batch_sequences * sequence_tokens
    tokens = work.new_tokens * recipe.epochs / (1 - recipe.replay_ratio)
    tokens = min(tokens, recipe.max_tokens or math.inf, (recipe.max_steps or math.inf) * batch_tokens)
    training = min(tokens / rehearsal.trained_per_second, recipe.max_seconds or math.inf)
    documents = work.new_tokens / work.tokens_per_document
    early_stop_tokens = min(recipe.early_stop_documents, documents * recipe.early_stop_share) * work.tokens_per_document
    plausible = min(settings.plausibility_documents, documents) + usual_documents(recipe, kind, documents)
    at_random = RANDOM_DOCUMENTS * min(RANDOM_LENGTH, rehearsal.width) if KINDS[kind].by_token else 0
    candidates = len(set(recipe.interpolation))
    times = times_read(kind, work.tokens_per_document, rehearsal.width)
    scored_per_second = rehearsal.scored_per_second / times
    importance_seconds = 0.0
    if rehearsal.important_per_second is not None:
        trained = training * rehearsal.trained_per_second
        wanted = recipe.sequences_of_importance(trained, min(work.tokens_per_document, rehearsal.width))
        importance_seconds = min(wanted, documents) / rehearsal.important_per_second
    return Seconds(
        starting=rehearsal.load_seconds,
        training=training,
        early_stopping=recipe.early_stop_checks * early_stop_tokens / scored_per_second,
        scoring=(plausible * work.tokens_per_document + work.held_out_new) / scored_per_second
        + at_random / rehearsal.scored_per_second,
        candidates=candidates * (rehearsal.written_seconds + work.held_out / scored_per_second),
        importance=importance_seconds,
        steps=max(1, math.ceil(tokens / batch_tokens)),
        evaluation=(work.held_out_new + candidates * work.held_out) / scored_per_second,
        evaluation_most=(work.held_out_new + candidates * work.held_out_most) / scored_per_second,
        skills=(1 + candidates) * work.prompts / (rehearsal.asked_per_second or math.inf),
    )


def usual_documents(recipe: RecipeSettings, kind: ModelKind, documents: float) -> float:
    """How many replayed documents tell how well a model reads, beside so many new ones; none of a classifier's."""
    replayed = documents * recipe.replay_ratio / (1 - recipe.replay_ratio)
    return min(USUAL_DOCUMENTS, replayed) if KINDS[kind].by_token else 0.0


def steps_within(whole: Seconds, limit: float) -> int:
    """How many optimizer steps a round of at most so many seconds has room for; 0 where none is left."""
    training_limit = limit - (whole.total - whole.training)
    return max(0, int(whole.steps * training_limit / whole.training)) if whole.training else whole.steps
