"""Rounds as a learner would report them, drawn from a true harm and gain that are known: what a gate accepts of them.

Each document's difference to the parent follows the line from the parent (0) to the trained result (1). Its mean is
quadratic and convex, as those of the demo's slices were (anchor +0.005, +0.036 and +0.087 at a half, three quarters and
the whole way, newest text -0.318, -0.404 and -0.448). It spreads by 0.625 at a half and 0.34 at a quarter of what it
spreads by at the end, and hardly otherwise from candidate to candidate (correlations of 0.96 to 0.99).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gate.judge import GateSettings, HeldOut, judge
from gate.statistics.comparisons import Floats
from learner.directory.report import Outcome, PrequentialDocument, Report, SliceScores, TrainingSummary
from memory.ledger.records import DocumentScore

LEVEL = 5.0
BENDING = 0.15
"""What each document's course has of its own beside the line, as a share of its spread."""
RIGHT = 0.8
SHARES = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Course:
    """What the way from parent to result does to a slice: mean (linear * x + square * x²), and spread at the end."""

    linear: float
    square: float
    spread: float

    def mean(self, way: float) -> float:
        """True difference to the parent, in nats."""
        return self.linear * way + self.square * way**2


@dataclass(frozen=True)
class Round:
    """A round whose truth is known.

    Attributes:
        older: of the anchor first, then of each older slice.
        flipped: share of a classifier's answers that become right on the whole way, and as many that become wrong.
    """

    kind: str
    newest: Course
    older: tuple[Course, ...]
    shares: Sequence[float] = SHARES
    flipped: float = 0.05
    settings: GateSettings = field(default_factory=lambda: GateSettings(resamples=400))

    def slices(self, keys: int) -> list[HeldOut]:
        """What was drawn: as many documents of each slice."""
        names = ["anchor", *(f"domain-{number}@{number}-{number}" for number in range(1, len(self.older)))]
        held = [
            HeldOut(name, "period" if at else "anchor", name.partition("@")[0] if at else "", _documents(at, keys))
            for at, name in enumerate(names)
        ]
        last = len(self.older)
        return [*held, HeldOut(f"new@{last}-{last}", "newest", "new", _documents(last, keys))]

    def report(self, random: np.random.Generator, keys: int) -> Report:
        """What a learner says of it, of as many documents of each slice."""
        courses = [*self.older, self.newest]
        scored = {
            held.name: self._scores(random, sorted(held.documents), course)
            for held, course in zip(self.slices(keys), courses, strict=True)
        }
        fresh = tuple(PrequentialDocument(10**9 + at, "new", LEVEL, 1, 0.0) for at in range(40))
        training = TrainingSummary(60, 1000, 1000, 1.0, 2000.0, {}, 8, 1, 3.2)
        what = (len(self.older), self.kind, Outcome.TRAINED, "", "cpu", fresh, scored, training, None, frozenset[int]())
        return Report(*what)  # type: ignore[arg-type]  # a kind is one of two words

    def decision(self, random: np.random.Generator, keys: int) -> tuple[str, str | None]:
        """What the gate says, and of which candidate."""
        verdict = judge(self.report(random, keys), self.slices(keys), known={}, history=[], settings=self.settings)
        return verdict.decision, verdict.candidate

    def _scores(self, random: np.random.Generator, documents: Sequence[int], course: Course) -> SliceScores:
        size = len(documents)
        along, bent, chance = random.normal(size=size), random.normal(size=size), random.random(size)
        knows = random.random(size) < RIGHT
        parent = self._rows(documents, np.full(size, LEVEL), knows)
        candidates = {}
        for share in self.shares:
            way = 1 - share
            moved = (1.5 * way - 0.5 * way**2) * along + BENDING * way**2 * bent
            learned, lost = chance < self.flipped * way / (1 - RIGHT), chance < self.flipped * way / RIGHT
            right = np.where(knows, ~lost, learned)
            nll = LEVEL + course.mean(way) + course.spread * moved
            candidates[f"{share:.2f}"] = self._rows(documents, nll, right)
        return SliceScores(base=parent, parent=parent, candidates=candidates)

    def _rows(self, documents: Sequence[int], nll: Floats, right: NDArray[np.bool_]) -> tuple[DocumentScore, ...]:
        if self.kind == "causal-lm":
            return tuple(DocumentScore(id_, float(loss), 1) for id_, loss in zip(documents, nll, strict=True))
        return tuple(
            DocumentScore(id_, float(loss), 1, _label(id_) if correct else _label(id_ + 1), _label(id_))
            for id_, loss, correct in zip(documents, nll, right, strict=True)
        )


def _documents(slice_number: int, keys: int) -> frozenset[int]:
    return frozenset(range(slice_number * 100_000, slice_number * 100_000 + keys))


def _label(number: int) -> str:
    return ("up", "down", "flat")[number % 3]


def of_a_language_model(random: np.random.Generator, step: float = 1.0) -> Round:
    """The fourth round of a stream, of which each older slice is moved a little otherwise.

    Args:
        random: draws what the round does to each slice.
        step: as a share of the demo's, which gains 0.45 nats.
    """
    newest = Course(-0.82 * step, 0.376 * step**2, 0.2 * step**0.5)
    return Round("causal-lm", newest, tuple(_moved(random, step, 0.05, random.uniform(0.05, 0.12)) for _ in range(4)))


def of_a_classifier(random: np.random.Generator, step: float = 1.0) -> Round:
    """The fourth domain of a classifier, whose documents differ by half a nat from one to the next."""
    newest = Course(-0.5 * step, 0.2 * step**2, 0.5)
    return Round("classifier", newest, tuple(_moved(random, step, 0.03, 0.5) for _ in range(4)))


def _moved(random: np.random.Generator, step: float, learned: float, spread: float) -> Course:
    """An older slice: at first it is learned too, then the way bends upwards."""
    return Course(random.normal(-learned, learned) * step, random.uniform(0, 3 * learned) * step**2, spread * step**0.5)
