"""What the gate says: checks with figure, bound and confidence limits, and one sentence for a person."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Final, Literal

from pydantic.dataclasses import dataclass
from pydantic_core import to_jsonable_python

from checkpoints.files.config_fields import shorten
from checkpoints.json_files import STRICT
from gate.checks.check import BY_PROOF, OF_TEXT, Check
from gate.checks.stopped_scoring import StoppedScoring
from learner.directory.round_skills import BrokenAnswer

Decision = Literal["accept", "refuse", "wait"]

LEAST_MORE: Final = 1.25
MOST_MORE: Final = 2.0
"""Times the documents that could not prove a candidate are asked for before another round begins by itself."""
NAMES_TOLD: Final = 5
"""New labels that a verdict's sentence names."""
SOURCES_TOLD: Final = 20


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
        stopped: other candidates that were refused before they were scored whole.
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
    stopped: tuple[StoppedScoring, ...] = ()

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
