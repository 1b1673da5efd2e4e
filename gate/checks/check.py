"""One comparison of a candidate with its bound, and what is said of it."""

import math
from typing import Final

from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT, Figure
from checkpoints.kinds import KINDS, ModelKind

AGAINST: Final = {
    "learned": "the parent on the newest text",
    "parent": "the parent",
    "best": "the best generation so far",
    "anchor": "the base model",
    "average": "the best so far on average over the older slices",
    "proportion": "the parent",
    "alone": "the parent",
    "majority": "always giving the most frequent answer",
}
MAJORITY: Final = "balanced_majority"
PROPORTION: Final = "proportion"
ALONE: Final = "alone"
BY_PROOF: Final = frozenset({PROPORTION, ALONE})
"""Checks that only what is proven to break the bound fails."""
ALL_TEXT: Final = "fresh text"
OF_TEXT: Final = "plausible_"
"""How the names of checks of the fresh text itself begin."""
FIGURES: Final = {
    "mean_nll": "a mean loss of {:.3f} {}",
    "upper_nll": "a loss of {:.3f} {} in its upper decile",
    "contradicted_share": "a share of {:.3f} documents whose label the parent is sure to be another",
    "contrary_share": "labels that the parent's answers, sure or not, are against to a share of {:.3f} (of all "
    "of it, or of a stretch of arrivals)",
    "incoherent_share": "a share of {:.3f} documents that are incoherent (words in an order that no others share, "
    "broken characters, or read like random tokens)",
    "repetitive_share": "a share of {:.3f} documents that mostly repeat themselves or each other",
}
"""What is measured of the fresh text itself, for a person, by the rest of such a name."""
OF_SKILL: Final = "skill_"
"""How the names of checks of a skill begin."""
DROPS: Final = {"accuracy": "accuracy", "f1": "macro-F1", "skill": "share of right answers"}
LEAST_SHOWN: Final = 0.0005
"""What is less is 0.000 before a person: neither better nor worse."""


def unit_of(check: str, kind: ModelKind) -> str:
    """What a check's figure is in, for a person, by its name and the model's kind."""
    measure = check.rpartition("_")[0]
    units = {
        "accuracy": "of accuracy",
        "f1": "of macro-F1",
        "balanced": "of balanced accuracy",
        "skill": "of the prompts",
    }
    return units.get(measure, KINDS[kind].unit)


@dataclass(frozen=True, slots=True, config=STRICT)
class Check:
    """One comparison and its bound.

    Attributes:
        name: "learned", "parent", "best", "anchor" or "average" for losses; the same after
            "accuracy_" or "f1_" for drops of those; "proportion" for a loss beside the gain on the newest text; "alone"
            for that of a slice that is judged with others, by itself; "balanced_majority" for what a classifier must be
            above before it first serves; after "plausible_" for the fresh text itself, after "skill_" for what is
            answered rightly of a skill, whose name `slice` then is.
        slice: the slice's name; several joined by " + " where small ones were judged together.
        figure: what was measured, so that more is worse.
        bound: the largest that is allowed.
        lower: confidence limit: the true figure is above it.
        upper: confidence limit: the true figure is below it.
        documents: how many the figure rests on.
        passed: whether the bound is kept.
        unit: what figure, bound and limits are in.
        keys: how many keys the documents have, which is what evidence is counted in; 0 of a check of the fresh text,
            and of a skill, whose prompts count each by itself.
        missing: of a skill, about how many more prompts would prove what these could not; 0 where nothing was wanting.
    """

    name: str
    slice: str
    figure: Figure
    bound: Figure
    lower: Figure
    upper: Figure
    documents: int
    passed: bool
    unit: str
    keys: int = 0
    missing: int = 0

    @property
    def is_of_skill(self) -> bool:
        """Whether it is about a skill, not about text."""
        return self.name.startswith(OF_SKILL)

    @property
    def counted(self) -> str:
        """How much text the figure rests on, for a person: keys are named only where they are fewer."""
        if self.is_of_skill:
            return f"{self.documents} prompts"
        return f"{self.documents} documents" + f" of {self.keys} keys" * (0 < self.keys < self.documents)

    @property
    def unproven(self) -> bool:
        """Failed only for want of evidence: the figure keeps the bound, its confidence limit does not."""
        return not self.passed and self.figure <= self.bound

    @property
    def excess(self) -> float:
        """How far beyond the bound the figure is; what cannot be computed is worst."""
        return math.inf if math.isnan(self.figure) else self.figure - self.bound

    def sentence(self) -> str:
        """What was found, for a person: slice, figure, bound."""
        if self.name.startswith(OF_TEXT):
            return self._of_text()
        if not all(map(math.isfinite, (self.figure, self.lower, self.upper))):
            return f"on {self._where} the comparison {self.name} gives no finite figure"
        if self.name == "learned":
            return self._gain(
                f"on the newest text ({self.slice}) it is {_as_loss(self.figure, self.unit, 'the parent')}"
            )
        if self.name == MAJORITY:
            than = f"{'better' if self.figure <= 0 else 'worse'} than {AGAINST['majority']}"
            return self._gain(f"on all held-out text it is {abs(self.figure):.3f} {self.unit} {than}")
        return self._beside_bound(f"on {self._where} {self._compared()}")

    def _of_text(self) -> str:
        figure = FIGURES[self.name.removeprefix(OF_TEXT)].format(self.figure, self.unit)
        held = "within" if self.passed else "more than"
        bound = f"the bound of {self.bound:.3f} that earlier text sets"
        return f"the {self.slice} has {figure}, {held} {bound} ({self.counted})"

    @property
    def _where(self) -> str:
        return f"{'skill' if self.is_of_skill else 'slice'} {self.slice}"

    def _beside_bound(self, figure: str) -> str:
        bound = f"the bound of {self.bound:.3f}" + " that its gain sets" * (self.name == PROPORTION)
        if self.passed and self.figure > self.bound:
            return f"{figure}, which {self.counted} do not prove to be more than {bound}"
        if self.passed:
            return f"{figure}, within {bound}"
        if self.unproven:
            more = f": about {self.missing:,} more may" if self.missing else ""
            return f"{figure}, within {bound}, but {self.counted} cannot rule out {self.upper:.3f}{more}"
        return f"{figure}, more than {bound} ({self.counted})"

    def _gain(self, figure: str) -> str:
        # A gain is stored as a rise below 0, so that more is worse in every check; a person reads it the other way.
        least = -self.bound
        if self.passed:
            return f"{figure}, at least {-self.upper:.3f}"
        if self.unproven:
            doubt = f"{self.counted} prove no more than {-self.upper:.3f}"
            return f"{figure}, but {doubt} where more than {least:.3f} is asked"
        return f"{figure} where more than {least:.3f} is asked ({self.counted})"

    def _compared(self) -> str:
        """What the candidate is, beside the one that it is held to."""
        measure, _, other = self.name.rpartition("_")
        against = AGAINST[other]
        if measure not in DROPS:
            return f"it is {_as_loss(self.figure, self.unit, against)}"
        if abs(self.figure) < LEAST_SHOWN:
            return f"its {DROPS[measure]} is the same as that of {against}"
        way = "lower" if self.figure > 0 else "higher"
        return f"its {DROPS[measure]} is {abs(self.figure):.3f} {way} than that of {against}"


def _as_loss(figure: float, unit: str, against: str) -> str:
    if abs(figure) < LEAST_SHOWN:
        return f"as good as {against}"
    return f"{abs(figure):.3f} {unit} {'worse' if figure > 0 else 'better'} than {against}"
