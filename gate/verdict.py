"""What the gate says: checks with figure, bound and confidence limits, and one sentence for a person."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Final, Literal

from pydantic.dataclasses import dataclass
from pydantic_core import to_jsonable_python

from checkpoints.files.config_fields import shorten
from checkpoints.json_files import STRICT, Figure
from checkpoints.kinds import KINDS, ModelKind
from learner.directory.round_skills import BrokenAnswer

Decision = Literal["accept", "refuse", "wait"]

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
LEAST_MORE: Final = 1.25
MOST_MORE: Final = 2.0
"""Times the documents that could not prove a candidate are asked for before another round begins by itself."""
OF_SKILL: Final = "skill_"
"""How the names of checks of a skill begin."""
DROPS: Final = {"accuracy": "accuracy", "f1": "macro-F1", "skill": "share of right answers"}
NAMES_TOLD: Final = 5
"""New labels that a verdict's sentence names."""
SOURCES_TOLD: Final = 20
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


@dataclass(frozen=True, slots=True, config=STRICT)
class NotHeld:
    """A bound that no candidate could be held to, as too little is known of the generation that set it.

    Attributes:
        slice: the slice's name.
        generation: the one that was best on it.
    """

    slice: str
    generation: int

    def sentence(self) -> str:
        """What could not be told, for a person."""
        return (
            f"Not every bound against generation {self.generation}, the best so far on slice {self.slice}, could be "
            "held: too little is known of it on what is judged now, and it was not scored again."
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class Verdict:
    """What the gate decided about a round.

    Attributes:
        decision: accept a candidate, refuse them all, or wait for a person's word on the fresh text.
        candidate: the accepted one; where refused, the one that came nearest; None where none was judged.
        checks: of the fresh text where a person has not approved it, then of that candidate.
        sentence: why, for a person.
        unproven: refused for want of evidence alone: more text, or another recipe, may change the verdict.
        evidence: keys of the newest held-out text (documents, where each has its own) from which on another round may
            tell more; 0 where that is not what was wanting.
        too_few: sources of fresh text with too few documents to judge whether each is plausible by itself, and how many
            of each were looked at.
        not_held: bounds against the best so far that could not be looked at.
        look: how often the candidates have been judged with this time: see `gate.looks`.
        new_labels: labels of fresh text that the parent has not learned, and how many documents have each.
        new_kinds: sources whose fresh text is of another kind than what memory holds.
        broken: by skill, some prompts that the parent answers rightly and the candidate does not.
    """

    decision: Decision
    candidate: str | None
    checks: tuple[Check, ...]
    sentence: str
    unproven: bool = False
    evidence: int = 0
    too_few: Mapping[str, int] = field(default_factory=dict)
    not_held: tuple[NotHeld, ...] = ()
    look: int = 1
    new_labels: Mapping[str, int] = field(default_factory=dict)
    new_kinds: tuple[str, ...] = ()
    broken: Mapping[str, tuple[BrokenAnswer, ...]] = field(default_factory=dict)

    def and_broken(self, broken: Mapping[str, tuple[BrokenAnswer, ...]]) -> "Verdict":
        """The verdict that also tells what the candidate broke; its sentence, where that decided."""
        worst = None if self.decision == "accept" else worst_failure(self.checks)
        examples = broken.get(worst.slice, ()) if worst is not None and worst.is_of_skill else ()
        said = f" Broken, for one: {examples[0].prompt} (expected {examples[0].expected})." if examples else ""
        return replace(self, broken=dict(broken), sentence=self.sentence + said)

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values, for the ledger; figures that are not finite become None."""
        values: dict[str, Any] = to_jsonable_python(self)
        return values


def accepted(candidate: str, checks: Sequence[Check]) -> Verdict:
    """The verdict on a candidate that passed every check: the gain, and the narrowest other margin."""
    learned = next(check for check in checks if check.name == "learned")
    narrowest = narrowest_of(checks)
    assert narrowest is not None
    sentence = f"Candidate {candidate} accepted: {learned.sentence()}; {narrowest.sentence()}, the narrowest."
    return Verdict("accept", candidate, tuple(checks), sentence)


def narrowest_of(checks: Sequence[Check]) -> Check | None:
    """The check, the gain apart, that was passed by the least; None where there is none."""
    # By the limit, which decides, and not by the figure: the margin that the next round may use up.
    others = [check for check in checks if check.name not in {"learned", *BY_PROOF}]
    return min(others, key=lambda check: check.bound - check.upper, default=None)


def deciding(checks: Sequence[Check]) -> list[Check]:
    """The checks that decided, the most telling first.

    Where some failed it is those, what is proven before what could not be ruled out; else the gain on the newest text,
    and the check that was passed by the least.
    """
    failed = [check for check in checks if not check.passed]
    if failed:
        return sorted(failed, key=lambda check: (check.unproven, -check.excess))
    candidates = [check for check in checks if not check.name.startswith(OF_TEXT)]
    learned = [check for check in candidates if check.name == "learned"]
    narrowest = narrowest_of(candidates)
    return learned + ([] if narrowest is None else [narrowest])


def refused(candidate: str, checks: Sequence[Check]) -> Verdict:
    """The verdict on a candidate that failed: the check that failed by most, and how many others did."""
    failed = [check for check in checks if not check.passed]
    proven = [check for check in failed if not check.unproven]
    worst = worst_failure(checks)
    assert worst is not None
    others = f" ({len(failed) - 1} more checks failed)" if len(failed) > 1 else ""
    what = "refused" if proven else "unproven"
    sentence = f"Candidate {candidate} {what}: {worst.sentence()}{others}."
    # More text proves nothing about a skill.
    in_vain = proven or any(check.is_of_skill for check in failed)
    evidence = 0 if in_vain else evidence_wanted(checks)
    return Verdict("refuse", candidate, tuple(checks), sentence, unproven=not proven, evidence=evidence)


def worst_failure(checks: Sequence[Check]) -> Check | None:
    """The check that failed by most; None where none did."""
    failed = [check for check in checks if not check.passed]
    # One proven failure is enough: no evidence that may come can make up for it.
    proven = [check for check in failed if not check.unproven]
    return max(proven or failed, key=lambda check: check.excess, default=None)


def with_what_is_new(verdict: Verdict, labels: Mapping[str, int], kinds: Sequence[str]) -> Verdict:
    """The verdict that also says what the parent does not know yet, and was not judged for that.

    Args:
        labels: with their documents, the most frequent first.
        kinds: sources whose text is of a new kind.
    """
    told = [f"{shorten(name)} ({documents:,} documents)" for name, documents in list(labels.items())[:NAMES_TOLD]]
    more = f" and {len(labels) - len(told)} more" if len(labels) > len(told) else ""
    said = f" New labels: {', '.join(told)}{more}." if told else ""
    return replace(
        verdict,
        sentence=verdict.sentence + said,
        new_labels=dict(labels),
        new_kinds=tuple(sorted(kinds)[:SOURCES_TOLD]),
    )


def with_bounds_not_held(verdict: Verdict, best: Mapping[str, int]) -> Verdict:
    """The verdict that also says which bounds against the best so far nobody could look at.

    Args:
        verdict: on a candidate.
        best: by slice, the generation that set such a bound.
    """
    if not best:
        return verdict
    not_held = tuple(NotHeld(name, generation) for name, generation in sorted(best.items()))
    more = f" ({len(not_held) - 1} more slices alike)" if len(not_held) > 1 else ""
    sentence = f"{verdict.sentence} {not_held[0].sentence().removesuffix('.')}{more}."
    return replace(verdict, sentence=sentence, not_held=not_held)


def evidence_wanted(checks: Sequence[Check], more: Sequence[float] = ()) -> int:
    """How many keys of the newest text may prove what these checks could not.

    A limit draws near to its figure with the square root of the keys. Figures move too, and older slices do not
    grow, so no more is asked for than twice as many; and a little more at least, for something to have changed.

    Args:
        checks: of a candidate that failed for want of evidence.
        more: of each check, times the keys that prove as much at the look to come; 1 where left out.
    """
    keys = next(check.keys or check.documents for check in checks if check.name == "learned")
    factors = more or [1.0] * len(checks)
    times = max(times_more(check) * each for check, each in zip(checks, factors, strict=True) if not check.passed)
    return math.ceil(keys * min(max(times, LEAST_MORE), MOST_MORE))


def times_more(check: Check) -> float:
    """How many times its documents a check would need, were its figure the true one."""
    room, doubt = check.bound - check.figure, check.upper - check.figure
    return (doubt / room) ** 2 if room > 0 and math.isfinite(doubt) else math.inf


def unproven(why: str, *, newest: int = 0) -> Verdict:
    """Refused because the evidence is missing or damaged: nothing is accepted on trust.

    Args:
        why: what is missing.
        newest: keys of the newest held-out text that was drawn, where other text may tell more.
    """
    evidence = math.ceil(newest * MOST_MORE)
    return Verdict("refuse", None, (), f"Unproven: {why}.", unproven=True, evidence=evidence)


def not_judgeable(why: str) -> Verdict:
    """Refused before anything was trained, as no gate could have judged it."""
    return Verdict("refuse", None, (), f"Nothing was trained: {why}.", unproven=True)
