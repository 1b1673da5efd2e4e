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

from learner.errors import LearnerError

FORMAT: Final = 1
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


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """The score of one model on one held-out document.

    Attributes:
        id: the sample's id in the store.
        nll: negative log-likelihood in nats, summed over the scored tokens; of the label, for a classifier.
        tokens: how many tokens were scored, >= 0; 1 for a classifier.
        predicted: the label that a classifier gave; None for a language model.
        label: the document's true label; None for a language model.

    Where several labels fit, `predicted` and `label` stand for sets (see `streams.label_sets`), an answer is right
    where they are equal, and the loss is a mean over all labels.
    """

    id: int
    nll: float
    tokens: int
    predicted: str | None = None
    label: str | None = None

    @property
    def correct(self) -> bool | None:
        """Whether a classifier was right; None for a language model."""
        return None if self.predicted is None else self.predicted == self.label

    def to_row(self) -> list[Any]:
        """The score as a JSON array; labels only where there are any."""
        row: list[Any] = [self.id, _number(self.nll), self.tokens]
        return row if self.predicted is None else [*row, self.predicted, self.label]


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
    """

    round: int
    kind: str
    outcome: Outcome
    detail: str
    device: str
    prequential: tuple[PrequentialDocument, ...]
    slices: Mapping[str, SliceScores]
    training: TrainingSummary | None

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
        fields = _Fields(value, "report")
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


def _rows(scores: Iterable[DocumentScore]) -> list[list[Any]]:
    return [score.to_row() for score in scores]


def _slice(value: object, at: str) -> SliceScores:
    fields = _Fields(value, at)
    scores = SliceScores(
        base=tuple(_score(row, where) for where, row in fields.rows("base")),
        parent=tuple(_score(row, where) for where, row in fields.rows("parent")),
        candidates={
            name: tuple(_score(row, place) for place, row in _enumerated(rows, where))
            for name, where, rows in fields.entries("candidates")
        },
    )
    fields.finish()
    return scores


def _score(row: list[Any], at: str) -> DocumentScore:
    if len(row) not in (3, 5):
        raise BadReport(f"{at} has {len(row)} columns, not 3 (or 5, with predicted and true label)")
    fields = _Fields(dict(zip(("id", "nll", "tokens", "predicted", "label"), row, strict=False)), at)
    labels = {} if len(row) == 3 else {name: fields.text(name) for name in ("predicted", "label")}
    return DocumentScore(
        id=fields.integer("id"),
        nll=fields.number("nll"),
        tokens=fields.integer("tokens", at_least=0),
        **labels,
    )


def _prequential(row: list[Any], at: str) -> PrequentialDocument:
    if len(row) != 5:
        raise BadReport(f"{at} has {len(row)} columns, not 5")
    fields = _Fields(dict(zip(("id", "source", "nll", "tokens", "repetition"), row, strict=True)), at)
    return PrequentialDocument(
        id=fields.integer("id"),
        source=fields.text("source"),
        nll=fields.number("nll"),
        tokens=fields.integer("tokens", at_least=0),
        repetition=fields.number("repetition"),
    )


def _training(value: object, at: str) -> TrainingSummary:
    fields = _Fields(value, at)
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
        early_stopped_at=None if stopped is None else _integer(stopped, f"{at}.early_stopped_at", 0),
        phase_seconds=fields.numbers("phase_seconds"),
    )
    fields.finish()
    return summary


class _Fields:
    """A JSON object whose fields are taken one by one, each error naming where it is."""

    def __init__(self, value: object, at: str) -> None:
        if not isinstance(value, dict):
            raise BadReport(f"{at} is {_kind(value)}, not an object")
        self._left: dict[str, Any] = dict(value)
        self._at = at

    def take(self, name: str) -> object:
        if name not in self._left:
            raise BadReport(f"{self._at}.{name} is missing")
        return self._left.pop(name)

    def integer(self, name: str, *, at_least: int | None = None) -> int:
        return _integer(self.take(name), f"{self._at}.{name}", at_least)

    def number(self, name: str) -> float:
        return _finite_or_nan(self.take(name), f"{self._at}.{name}")

    def numbers(self, name: str) -> dict[str, float]:
        return {key: _finite_or_nan(value, at) for key, at, value in self.entries(name)}

    def text(self, name: str) -> str:
        value = self.take(name)
        if not isinstance(value, str):
            raise BadReport(f"{self._at}.{name} is {_kind(value)}, not text")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        if (value := self.text(name)) not in choices:
            raise BadReport(f"{self._at}.{name} is {value!r}, not one of {', '.join(choices)}")
        return value

    def rows(self, name: str) -> list[tuple[str, list[Any]]]:
        return _enumerated(self.take(name), f"{self._at}.{name}")

    def entries(self, name: str) -> list[tuple[str, str, object]]:
        value, at = self.take(name), f"{self._at}.{name}"
        if not isinstance(value, dict):
            raise BadReport(f"{at} is {_kind(value)}, not an object")
        return [(key, f"{at}.{key}", entry) for key, entry in value.items()]

    def finish(self) -> None:
        if self._left:
            raise BadReport(f"{self._at}.{min(self._left)} is not a field that this version of Riverkeep knows")


def _enumerated(value: object, at: str) -> list[tuple[str, list[Any]]]:
    if not isinstance(value, list):
        raise BadReport(f"{at} is {_kind(value)}, not an array")
    for index, row in enumerate(value):
        if not isinstance(row, list):
            raise BadReport(f"{at}[{index}] is {_kind(row)}, not an array")
    return [(f"{at}[{index}]", row) for index, row in enumerate(value)]


def _integer(value: object, at: str, at_least: int | None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadReport(f"{at} is {_kind(value)}, not a whole number")
    if at_least is not None and value < at_least:
        raise BadReport(f"{at} is {value}, less than {at_least}")
    return value


def _finite_or_nan(value: object, at: str) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise BadReport(f"{at} is {_kind(value)}, not a number")
    return float(value)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
