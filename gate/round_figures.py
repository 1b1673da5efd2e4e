"""A round's report, read once: what the end of a round needs of it, whichever way it ends. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkpoints.card import DataRange
from checkpoints.kinds import KINDS
from gate import scores
from gate.forgetting import Flips
from learner.directory.report import Outcome, Report, TrainingSummary
from memory.ledger.records import DocumentScore, SliceScore, Trained
from memory.ledger.scorings import Scoring
from memory.ledger.skills.skill_scores import SkillScore

LEAST_BYTES_PER_TOKEN, MOST_BYTES_PER_TOKEN = 0.1, 100.0
"""What lies outside is no text that the memory could count its tokens by."""


@dataclass(frozen=True, slots=True)
class ModelScores:
    """What one model scored in a round.

    Attributes:
        slices: its row of R.
        documents: its scores document by document, those that are finite.
        skills: what it answers rightly, by the skill's name.
    """

    slices: Mapping[str, SliceScore]
    documents: tuple[DocumentScore, ...]
    skills: Mapping[str, SkillScore] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """What a round's report says, and what follows from it about the candidate that the gate named.

    Attributes:
        device: what the learner ran on.
        scored: how it took all scores; None where it does not say.
        training: what the training took; None where nothing was trained.
        trained: what was trained on, of what was drawn; None where the learner does not say.
        parent, base: what they scored: R's earlier rows on the new slices, and the next round's cache.
        best: the same of an earlier generation that was scored again; empty where none was.
        candidate: what the named candidate scored; None where none was judged.
        flips: what that candidate has better or worse than the parent.
        measured: of single documents before training, for a person who parts what is set aside.
        bytes_per_token: of the fresh text; None where it is not known or cannot be.
        means: the report without its documents, by slice and model; JSON values.
        held_out_labels: a classifier's documents by slice and label; None of a language model.
    """

    outcome: Outcome
    device: str
    scored: Scoring | None
    training: TrainingSummary | None
    trained: Trained | None
    parent: ModelScores
    base: ModelScores
    best: ModelScores
    candidate: ModelScores | None
    flips: Flips | None
    measured: Mapping[str, Any]
    bytes_per_token: float | None
    means: Mapping[str, Any]
    held_out_labels: Mapping[str, Mapping[str, int]] | None

    def summary(self, data: DataRange) -> dict[str, Any]:
        """The report without its documents, for the ledger; JSON values only.

        Args:
            data: what the round was trained on, or was to be.
        """
        if self.held_out_labels is None:
            return dict(self.means)
        labels = {
            "fresh": dict(data.labels),
            "replay": dict(data.replayed_labels),
            "holdout": {name: dict(each) for name, each in self.held_out_labels.items()},
        }
        return {**self.means, "labels": labels}


def read_figures(report: Report, candidate: str | None) -> RoundFigures:
    """Read a report into the figures that a round's end needs.

    Args:
        report: the learner's.
        candidate: that the gate accepted, or that came nearest; None where none was judged.
    """
    # Of one that was scored no further, a few of its documents would pass for all.
    stopped = {each.candidate for each in report.stopped}
    flips = {name: scores.flips(report, name) for name in report.candidates if name not in stopped}
    return RoundFigures(
        outcome=report.outcome,
        device=report.device,
        scored=report.scored,
        training=report.training,
        trained=None if report.touched is None else Trained(report.touched, report.untrainable),
        parent=_of_model(report, "parent"),
        base=_of_model(report, "base"),
        best=_of_model(report, "best"),
        candidate=None if candidate is None else _of_model(report, candidate),
        flips=None if candidate is None else flips[candidate],
        measured=scores.measured(report),
        bytes_per_token=_bytes_per_token(report),
        means=scores.summary(report, flips),
        held_out_labels=None if KINDS[report.kind].by_token else scores.held_out_labels(report),
    )


def _of_model(report: Report, model: str) -> ModelScores:
    by_slice = scores.of_model(report, model)
    skills = scores.skills_of(report, model)
    return ModelScores(scores.slice_scores(by_slice), tuple(scores.document_scores(by_slice)), skills)


def _bytes_per_token(report: Report) -> float | None:
    if report.training is None:
        return None
    figure = report.training.bytes_per_token
    return figure if LEAST_BYTES_PER_TOKEN <= figure <= MOST_BYTES_PER_TOKEN else None
