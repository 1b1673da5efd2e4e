"""What a round leaves behind for the gate: scores document by document, and what the training took.

`report.json` is written last and atomically: its presence means that the learner finished. No torch here, so
that the daemon and the store can read it. A number that is not finite is written as `null` and read back as
NaN: the gate refuses it with its reason, and the JSON stays JSON.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from learner.directory.report_fields import BadReport, Fields, enumerated, whole_number
from memory.ledger.records import DocumentScore

__all__ = [
    "BadReport",
    "DocumentScore",
    "Outcome",
    "PrequentialDocument",
    "Report",
    "SliceScores",
    "TrainingSummary",
    "read_report",
]

FORMAT: Final = 1
FILE_NAME: Final = "report.json"


class Outcome(StrEnum):
    """How a round ended in the learner. Only `TRAINED` can be accepted by the gate."""

    TRAINED = "trained"
    IMPLAUSIBLE = "implausible"  # the fresh text is beyond the plausibility bounds: nothing was trained
    DIVERGED = "diverged"  # the loss was not finite
    EMPTY = "empty"  # nothing fresh that could be trained on
    NOT_JUDGEABLE = "not_judgeable"  # plausible, but too little is held out to judge a candidate: nothing was trained


@dataclass(frozen=True, slots=True)
class PrequentialDocument:
    """One fresh document under the parent, before it was trained on.

    Attributes:
        nll: nats, summed over the scored tokens (of the label, for a classifier).
        tokens: how many tokens were scored; 1 for a classifier.
        repetition: share of the document that repeats itself, or one before it, 0 to 1
            (the greater of `learner.plausibility.repetition_share` and `copied_shares`).
    """

    id: int
    source: str
    nll: float
    tokens: int
    repetition: float

    def to_row(self) -> list[Any]:
        """The document as a JSON array."""
        return [self.id, self.source, _number(self.nll), self.tokens, _number(self.repetition)]


@dataclass(frozen=True, slots=True)
class SliceScores:
    """All scores on one slice, document by document.

    Attributes:
        base: of the base model.
        parent: of the generation that the round started from.
        candidates: by the name of the candidate's directory below `candidates/` ("0.00", "0.25", …).
    """

    base: tuple[DocumentScore, ...]
    parent: tuple[DocumentScore, ...]
    candidates: Mapping[str, tuple[DocumentScore, ...]]

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return {
            "base": _rows(self.base),
            "parent": _rows(self.parent),
            "candidates": {name: _rows(scores) for name, scores in self.candidates.items()},
        }


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What the training took.

    Attributes:
        steps: optimizer steps taken.
        tokens_new: trained tokens of fresh text, repetitions over epochs counted.
        tokens_replayed: trained tokens from replay.
        seconds: wall clock of the training alone.
        tokens_per_second: (tokens_new + tokens_replayed) / seconds.
        losses: mean of each loss term over the last steps, nats per token ("new", "replay", "kl", …).
        micro_batch: sequences in one forward pass, as it was in the end.
        peak_memory_bytes: of the device; of the process on CPU.
        bytes_per_token: UTF-8 bytes of the fresh text divided by its tokens.
        early_stopped_at: the step whose weights were kept, when training stopped early.
        phase_seconds: wall clock of each phase of the learner by its name.
        phase_peak_bytes: the most memory that was held in each phase; of what `peak_memory_bytes` is the largest.
        tokens_touched: tokens of fresh text that the kept weights were trained on, each counted once.
        tokens_drawn: tokens of all fresh text; None for both where the learner does not say.
    """

    steps: int
    tokens_new: int
    tokens_replayed: int
    seconds: float
    tokens_per_second: float
    losses: Mapping[str, float]
    micro_batch: int
    peak_memory_bytes: int
    bytes_per_token: float
    early_stopped_at: int | None = None
    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    phase_peak_bytes: Mapping[str, int] = field(default_factory=dict)
    tokens_touched: int | None = None
    tokens_drawn: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return {
            "steps": self.steps,
            "tokens_new": self.tokens_new,
            "tokens_replayed": self.tokens_replayed,
            "seconds": _number(self.seconds),
            "tokens_per_second": _number(self.tokens_per_second),
            "losses": {name: _number(loss) for name, loss in self.losses.items()},
            "micro_batch": self.micro_batch,
            "peak_memory_bytes": self.peak_memory_bytes,
            "bytes_per_token": _number(self.bytes_per_token),
            "early_stopped_at": self.early_stopped_at,
            "phase_seconds": {name: _number(seconds) for name, seconds in self.phase_seconds.items()},
            "phase_peak_bytes": dict(self.phase_peak_bytes),
            "tokens_touched": self.tokens_touched,
            "tokens_drawn": self.tokens_drawn,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one round, as the learner saw it.

    Attributes:
        round: the round's number.
        kind: "causal-lm" or "classifier".
        outcome: how it ended; `slices` and `training` are empty unless it is `TRAINED`.
        detail: one sentence for a person; empty when there is nothing to add.
        device: what it ran on ("cpu", "cuda:0 NVIDIA …").
        prequential: fresh documents (a sample of them) under the parent.
        slices: scores by the slice's name.
        training: what the training took; None where nothing was trained.
        touched: ids of the samples, fresh and replayed, that the kept weights were trained on; None where the
            learner does not say, so that all that was drawn counts as trained on.
        untrainable: ids of fresh samples that no step could ever see.
    """

    round: int
    kind: str
    outcome: Outcome
    detail: str
    device: str
    prequential: tuple[PrequentialDocument, ...]
    slices: Mapping[str, SliceScores]
    training: TrainingSummary | None
    touched: frozenset[int] | None = None
    untrainable: frozenset[int] = frozenset()

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of the candidates that any slice has scores of, sorted."""
        return tuple(sorted({name for scores in self.slices.values() for name in scores.candidates}))

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "format": FORMAT,
            "round": self.round,
            "kind": self.kind,
            "outcome": self.outcome.value,
            "detail": self.detail,
            "device": self.device,
            "prequential": [document.to_row() for document in self.prequential],
            "slices": {name: scores.to_json() for name, scores in self.slices.items()},
            "training": None if self.training is None else self.training.to_json(),
            "touched": None if self.touched is None else sorted(self.touched),
            "untrainable": sorted(self.untrainable),
        }

    def encode(self) -> bytes:
        """The bytes of `report.json`."""
        return orjson.dumps(self.to_json())

    @classmethod
    def from_json(cls, value: object) -> "Report":
        """Read back what `to_json` gave.

        Raises:
            BadReport: a field is missing, unknown or of the wrong type; the message names it.
        """
        fields = Fields(value, "report")
        if (written := fields.integer("format", at_least=0)) != FORMAT:
            raise BadReport(f"report.format is {written}, this version of Riverkeep reads {FORMAT}")
        training = fields.take("training")
        report = cls(
            round=fields.integer("round", at_least=0),
            kind=fields.choice("kind", ("causal-lm", "classifier")),
            outcome=Outcome(fields.choice("outcome", tuple(Outcome))),
            detail=fields.text("detail"),
            device=fields.text("device"),
            prequential=tuple(_prequential(row, at) for at, row in fields.rows("prequential")),
            slices={name: _slice(scores, at) for name, at, scores in fields.entries("slices")},
            training=None if training is None else _training(training, "report.training"),
            touched=_ids(fields.take("touched"), "report.touched"),
            untrainable=_ids(fields.take("untrainable"), "report.untrainable") or frozenset(),
        )
        fields.finish()
        return report

    @classmethod
    def decode(cls, data: bytes) -> "Report":
        """Read the bytes of `report.json`.

        Raises:
            BadReport: it is no JSON, or a field is missing, unknown or of the wrong type.
        """
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise BadReport(f"the report is not JSON: {error}") from error
        return cls.from_json(value)


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


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _row(score: DocumentScore) -> list[Any]:
    """A score as a JSON array; labels only where there are any."""
    row: list[Any] = [score.id, _number(score.nll), score.tokens]
    return row if score.predicted is None else [*row, score.predicted, score.label]


def _rows(scores: Iterable[DocumentScore]) -> list[list[Any]]:
    return [_row(score) for score in scores]


def _count(value: object, at: str) -> int | None:
    return None if value is None else whole_number(value, at, 0)


def _ids(value: object, at: str) -> frozenset[int] | None:
    """Ids in an array; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise BadReport(f"{at} is not an array")
    return frozenset(whole_number(each, f"{at}[{index}]", None) for index, each in enumerate(value))


def _slice(value: object, at: str) -> SliceScores:
    fields = Fields(value, at)
    scores = SliceScores(
        base=tuple(_score(row, where) for where, row in fields.rows("base")),
        parent=tuple(_score(row, where) for where, row in fields.rows("parent")),
        candidates={
            name: tuple(_score(row, place) for place, row in enumerated(rows, where))
            for name, where, rows in fields.entries("candidates")
        },
    )
    fields.finish()
    return scores


def _score(row: list[Any], at: str) -> DocumentScore:
    if len(row) not in (3, 5):
        raise BadReport(f"{at} has {len(row)} columns, not 3 (or 5, with predicted and true label)")
    fields = Fields(dict(zip(("id", "nll", "tokens", "predicted", "label"), row, strict=False)), at)
    labelled = len(row) > 3
    return DocumentScore(
        id=fields.integer("id"),
        nll=fields.number("nll"),
        tokens=fields.integer("tokens", at_least=0),
        predicted=fields.text("predicted") if labelled else None,
        label=fields.text("label") if labelled else None,
    )


def _prequential(row: list[Any], at: str) -> PrequentialDocument:
    if len(row) != 5:
        raise BadReport(f"{at} has {len(row)} columns, not 5")
    fields = Fields(dict(zip(("id", "source", "nll", "tokens", "repetition"), row, strict=True)), at)
    return PrequentialDocument(
        id=fields.integer("id"),
        source=fields.text("source"),
        nll=fields.number("nll"),
        tokens=fields.integer("tokens", at_least=0),
        repetition=fields.number("repetition"),
    )


def _training(value: object, at: str) -> TrainingSummary:
    fields = Fields(value, at)
    stopped = fields.take("early_stopped_at")
    summary = TrainingSummary(
        steps=fields.integer("steps", at_least=0),
        tokens_new=fields.integer("tokens_new", at_least=0),
        tokens_replayed=fields.integer("tokens_replayed", at_least=0),
        seconds=fields.number("seconds"),
        tokens_per_second=fields.number("tokens_per_second"),
        losses=fields.numbers("losses"),
        micro_batch=fields.integer("micro_batch", at_least=0),
        peak_memory_bytes=fields.integer("peak_memory_bytes", at_least=0),
        bytes_per_token=fields.number("bytes_per_token"),
        early_stopped_at=None if stopped is None else whole_number(stopped, f"{at}.early_stopped_at", 0),
        phase_seconds=fields.numbers("phase_seconds"),
        phase_peak_bytes={
            name: whole_number(value, where, 0) for name, where, value in fields.entries("phase_peak_bytes")
        },
        tokens_touched=_count(fields.take("tokens_touched"), f"{at}.tokens_touched"),
        tokens_drawn=_count(fields.take("tokens_drawn"), f"{at}.tokens_drawn"),
    )
    fields.finish()
    return summary
