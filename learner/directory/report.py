"""What a round leaves behind for the gate: scores document by document, and what the training took.

`report.json` is written last and atomically: its presence means that the learner finished. No torch here, so
that the daemon and the store can read it. A number that is not finite is written as `null` and read back as
NaN: the gate refuses it with its reason, and the JSON stays JSON.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, NonNegativeInt, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from checkpoints.card import ModelKind
from checkpoints.json_files import (
    STRICT,
    AsRow,
    EndsAtFirst,
    Figure,
    InOrder,
    explain_json,
    null_for_nan,
    read_json,
    write_json,
)
from learner.directory.round_skills import SkillScores
from learner.errors import LearnerError
from memory.ledger.records import DocumentScore
from memory.ledger.scorings import Scoring

__all__ = [
    "BadReport",
    "DocumentScore",
    "Outcome",
    "PrequentialDocument",
    "Report",
    "SliceScores",
    "StoppedCandidate",
    "TrainingSummary",
    "read_report",
]

FORMAT: Final = 1
WAY_OF_SCORING: Final = 2
"""Raised whenever documents are framed, cut or summed otherwise: no score taken before is compared with one after."""
FILE_NAME: Final = "report.json"


class BadReport(LearnerError):
    """A report cannot be understood; the message names the field."""


class Outcome(StrEnum):
    """How a round ended in the learner. Only `TRAINED` can be accepted by the gate."""

    TRAINED = "trained"
    IMPLAUSIBLE = "implausible"  # the fresh text is beyond the plausibility bounds: nothing was trained
    DIVERGED = "diverged"  # the loss was not finite
    EMPTY = "empty"  # nothing fresh that could be trained on
    NOT_JUDGEABLE = "not_judgeable"  # plausible, but too little is held out to judge a candidate: nothing was trained


@dataclasses.dataclass(frozen=True, slots=True)
class PrequentialDocument:
    """One fresh document under the parent, before it was trained on.

    Attributes:
        id: the sample's number in the store.
        source: where it came from.
        nll: nats, summed over the scored tokens (of the label, for a classifier).
        tokens: how many tokens were scored; 1 for a classifier.
        repetition: share of the document that repeats itself, or one before it, 0 to 1
            (the greater of `learner.evaluation.text_plausibility.repetition_share` and `copied_shares`).
        coherent: whether its words stand in an order that other documents share, its letters are whole, and a causal
            LM reads it better than random tokens; None where it is too short to tell, or a version before this was
            looked at wrote the report.
        strangeness: how unlike remembered text its words are; see `learner.evaluation.familiarity`. None where that
            cannot be told.
        contradicted: a classifier is sure of another label than the document has.
        new_label: a classifier has not learned the document's label yet.
        answer: a classifier's; None of other models, and where any number of labels fits a document.
        label: the one that the document has, beside an answer.
    """

    id: int
    source: str
    nll: float
    tokens: int
    repetition: float
    coherent: bool | None = None
    strangeness: float | None = None
    contradicted: bool = False
    new_label: bool = False
    answer: str | None = None
    label: str | None = None


def _score(id_: int, nll: float | None, tokens: int, predicted: str | None, label: str | None) -> DocumentScore:
    if (predicted is None) is not (label is None):
        raise PydanticCustomError("columns", "has 4 columns, not 3 (or 5, with predicted and true label)")
    return DocumentScore(id_, math.nan if nll is None else nll, tokens, predicted, label)


def _columns_of_score(score: DocumentScore) -> list[Any]:
    """Labels only where there are any."""
    row: list[Any] = [score.id, null_for_nan(score.nll), score.tokens]
    return row if score.predicted is None else [*row, score.predicted, score.label]


def _prequential(*columns: Any) -> PrequentialDocument:
    id_, source, nll, tokens, repetition, coherent, strangeness, contradicted, new_label, answer, label = columns
    return PrequentialDocument(
        id_,
        source,
        math.nan if nll is None else nll,
        tokens,
        math.nan if repetition is None else repetition,
        coherent,
        strangeness,
        bool(contradicted),
        bool(new_label),
        answer,
        label,
    )


def _columns_of_prequential(document: PrequentialDocument) -> list[Any]:
    """Without what nothing is told of, at the end."""
    row = [document.id, document.source, null_for_nan(document.nll), document.tokens, null_for_nan(document.repetition)]
    further = [
        document.coherent,
        document.strangeness,
        document.contradicted,
        document.new_label,
        document.answer,
        document.label,
    ]
    is_told = (
        document.coherent is not None,
        document.strangeness is not None,
        document.contradicted,
        document.new_label,
        document.answer is not None,
        document.label is not None,
    )
    return [*row, *further[: max((at for at, told in enumerate(is_told, 1) if told), default=0)]]


_SCORE = AsRow(
    {"id": int, "nll": float | None, "tokens": NonNegativeInt, "predicted": str, "label": str},
    _score,
    _columns_of_score,
    optional=2,
)
_PREQUENTIAL = AsRow(
    {
        "id": int,
        "source": str,
        "nll": float | None,
        "tokens": NonNegativeInt,
        "repetition": float | None,
        "coherent": bool | None,
        "strangeness": float | None,
        "contradicted": bool | None,
        "new_label": bool | None,
        "answer": str | None,
        "label": str | None,
    },
    _prequential,
    _columns_of_prequential,
    optional=6,
)
Scored = Annotated[tuple[Annotated[DocumentScore, _SCORE], ...], EndsAtFirst]
"""Scores of documents; in JSON each is an array, `[id, nll, tokens]` and for a classifier `predicted` and `label`."""
ScoredBefore = Annotated[tuple[Annotated[PrequentialDocument, _PREQUENTIAL], ...], EndsAtFirst]
"""The same of fresh documents: `[id, source, nll, tokens, repetition]`, and what else is told of them."""
Ids = Annotated[frozenset[int], InOrder]


@dataclass(frozen=True, slots=True, config=STRICT)
class SliceScores:
    """All scores on one slice, document by document.

    Attributes:
        base: of the base model.
        parent: of the generation that the round started from.
        candidates: by the name of the candidate's directory below `candidates/` ("0.00", "0.25", …).
        best: of the earlier generation that the round was given to score again; empty where it was given none.
    """

    base: Scored
    parent: Scored
    candidates: Mapping[str, Scored]
    best: Scored = ()


@dataclass(frozen=True, slots=True, config=STRICT)
class StoppedCandidate:
    """A candidate that was scored no further, as it could not pass any more; see `learner.evaluation.proven_harm`.

    Attributes:
        candidate: its name.
        on: the slices whose scores prove it, joined by " + ".
        unscored: slices that it has no scores on.
        unasked: skills that it was not asked.
    """

    candidate: str
    on: str
    unscored: tuple[str, ...]
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, config=STRICT)
class TrainingSummary:
    """What the training took.

    Attributes:
        steps: optimizer steps taken.
        tokens_new: trained tokens of fresh text, repetitions over epochs counted.
        tokens_replayed: trained tokens from replay.
        seconds: wall clock of the training alone.
        tokens_per_second: (tokens_new + tokens_replayed) / seconds.
        losses: mean of each loss term over the last tenth of the steps taken, nats per token ("new", "replay", …).
        micro_batch: sequences in one forward pass, as it was in the end.
        peak_memory_bytes: of the device; of the process on CPU.
        bytes_per_token: UTF-8 bytes of the fresh text divided by its tokens.
        early_stopped_at: the step whose weights were kept; None where they are the last step's.
        phase_seconds: wall clock of each phase of the learner by its name.
        phase_peak_bytes: the most memory that was held in each phase; of what `peak_memory_bytes` is the largest.
        tokens_touched: tokens of fresh text that the kept weights were trained on, each counted once.
        tokens_drawn: tokens of all fresh text; None for both where the learner does not say.
        replay_note: one sentence where less was replayed than the recipe's ratio asks for; else empty.
        checkpointing_note: one sentence where activations were computed again by itself, or fewer sequences passed at
            once lest they be; else empty.
        compile_note: one sentence where layers that were to be compiled ran as they are; else empty.
        importance_sequences: on which importance was estimated, before the training and after it; 0 where it was not.
        moments_note: one sentence where weights began without the optimizer's moments of the round before, though the
            recipe carries them; else empty.
        merge_note: one sentence where candidates are whole models as their parent's adapter had moved its ground too
            far; else empty.
    """

    steps: NonNegativeInt
    tokens_new: NonNegativeInt
    tokens_replayed: NonNegativeInt
    seconds: Figure
    tokens_per_second: Figure
    losses: Mapping[str, Figure]
    micro_batch: NonNegativeInt
    peak_memory_bytes: NonNegativeInt
    bytes_per_token: Figure
    early_stopped_at: NonNegativeInt | None = None
    phase_seconds: Mapping[str, Figure] = field(default_factory=dict)
    phase_peak_bytes: Mapping[str, NonNegativeInt] = field(default_factory=dict)
    tokens_touched: NonNegativeInt | None = None
    tokens_drawn: NonNegativeInt | None = None
    replay_note: str = ""
    checkpointing_note: str = ""
    importance_sequences: NonNegativeInt = 0
    moments_note: str = ""
    compile_note: str = ""
    merge_note: str = ""


@dataclass(frozen=True, slots=True, config=STRICT)
class Report:
    """The outcome of one round, as the learner saw it.

    Attributes:
        round: the round's number.
        kind: what the model is for.
        outcome: how it ended; `slices` and `training` are empty unless it is "trained".
        detail: one sentence for a person; empty when there is nothing to add.
        device: what it ran on ("cpu", "cuda:0 NVIDIA …").
        prequential: fresh documents (a sample of them) under the parent.
        slices: scores by the slice's name.
        training: what the training took; None where nothing was trained.
        touched: ids of the samples, fresh and replayed, that the kept weights were trained on; None where the
            learner does not say, so that all that was drawn counts as trained on.
        untrainable: ids of fresh samples that no step could ever see.
        scored: how all scores were taken; None where the learner does not say.
        new_labels: of a classifier, labels of the fresh text that the parent has not learned, and how many documents
            have each: the most frequent ones.
        skills: what was answered rightly, by the skill's name.
        stopped: candidates that were scored no further.
        format: of the file.
    """

    round: NonNegativeInt
    kind: ModelKind
    outcome: Outcome
    detail: str
    device: str
    prequential: ScoredBefore
    slices: Mapping[str, SliceScores]
    training: TrainingSummary | None
    touched: Ids | None
    untrainable: Ids
    scored: Scoring | None = None
    new_labels: Mapping[str, NonNegativeInt] = field(default_factory=dict)
    skills: Mapping[str, SkillScores] = field(default_factory=dict)
    stopped: tuple[StoppedCandidate, ...] = ()
    format: Literal[1] = FORMAT

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of the candidates that any slice has scores of, sorted."""
        return tuple(sorted({name for scores in self.slices.values() for name in scores.candidates}))

    def encode(self) -> bytes:
        """The bytes of `report.json`."""
        return write_json(self)

    @classmethod
    def decode(cls, data: bytes) -> "Report":
        """Read the bytes of `report.json`.

        Raises:
            BadReport: it is no JSON, or a field is missing, unknown or of the wrong type; the message names it.
        """
        try:
            # Before the rest: what another version wrote may differ in any field.
            if (written := read_json(_Format, data).format) != FORMAT:
                raise BadReport(f"report.format is {written}, this version of Riverkeep reads {FORMAT}")
            return read_json(cls, data)
        except ValidationError as error:
            raise BadReport(explain_json(error, "report", COLUMNS)) from error


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore", strict=True))
class _Format:
    format: NonNegativeInt


COLUMNS: Final = {"slices": tuple(_SCORE.columns), "prequential": tuple(_PREQUENTIAL.columns)}


def read_report(round_directory: Path) -> Report:
    """Read a round directory's report.

    Raises:
        FileNotFoundError: there is none: the learner did not finish.
        BadReport: it cannot be understood.
    """
    path = round_directory / FILE_NAME
    try:
        return Report.decode(path.read_bytes())
    except BadReport as error:
        raise BadReport(f"{path}: {error}") from error
