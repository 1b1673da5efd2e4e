"""The evidence that a report holds: checked against the slices that were drawn.

The gate knows from the round's own draw which documents must have been scored. Whatever is missing, doubled,
not finite or of another length makes the evidence insufficient, never the verdict milder.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gate.best_so_far import KnownScores, advantage, covers, scored_rows
from gate.held_out import Group, HeldOut, InsufficientEvidence
from gate.measures import accuracy, macro_f1, mean_nll
from learner.directory.report import Report, SliceScores
from memory.ledger.records import DocumentScore

Scores = tuple[DocumentScore, ...]

# A loss near 0 may come out of a sum in float32 a little below it: so much a token is rounding, more is damage.
NEGATIVE_LOSS = -1e-6


@dataclass(frozen=True, slots=True)
class Evidence:
    """A report's scores that were checked against the draw, with the best earlier score of each slice.

    Attributes:
        best: by slice, document scores of the generation that was best on it: of those documents that it has scored.
        best_answers: of a classifier by measure, `accuracy` and `f1`, and by slice, the same of the best by it.
        candidates: those whose scores are complete.
        rejected: the other candidates, with the reason.
        stopped: those of them that were scored no further, as they could not pass.
    """

    slices: Mapping[str, SliceScores]
    best: Mapping[str, Scores]
    candidates: tuple[str, ...]
    rejected: Mapping[str, str]
    best_answers: Mapping[str, Mapping[str, Scores]]
    stopped: tuple[str, ...] = ()

    @property
    def parent_is_base(self) -> bool:
        """Whether the round started from the base model, as nothing that was trained serves yet."""
        return all(scores.base == scores.parent for scores in self.slices.values())

    def of(self, group: Group, model: str) -> Scores:
        """Scores of "base", "parent", "best", "best_accuracy", "best_f1" or a candidate; without empty documents."""
        scores = {
            score.id: score for member in group.members for score in self._on(member.name, model) if score.tokens > 0
        }
        return tuple(scores[id_] for id_ in sorted(scores))

    def scored(self, candidate: str) -> frozenset[str]:
        """The slices that a candidate has scores on."""
        return frozenset(name for name, scores in self.slices.items() if candidate in scores.candidates)

    def mean_over_slices(self, candidate: str) -> float:
        """The candidate's loss, each slice weighing the same, in nats; slices without tokens left out."""
        scored = [scores.candidates[candidate] for scores in self.slices.values()]
        means = [mean_nll(scores) for scores in scored if any(score.tokens for score in scores)]
        return math.fsum(means) / len(means)

    def _on(self, name: str, model: str) -> Scores:
        if model == "best":
            return self.best[name]
        if model.startswith(BEST_BY):
            return self.best_answers[model.removeprefix(BEST_BY)][name]
        scores = self.slices[name]
        named = {"base": scores.base, "parent": scores.parent}
        return named[model] if model in named else scores.candidates[model]


def always_the_most_frequent(scores: Scores) -> Scores:
    """What one would score who gave every document the label that most of them have, the first by name of equals.

    Where several labels fit a document it is the set of them that most documents have.
    """
    labels = [score.label or "" for score in scores]
    most = max(sorted(set(labels)), key=labels.count)
    return tuple(replace(score, predicted=most) for score in scores)


def gather(report: Report, slices: Sequence[HeldOut], known: KnownScores, minimum: int) -> Evidence:
    """Check the report's scores against the slices that were drawn.

    Args:
        report: the learner's.
        slices: as drawn.
        known: scores of earlier generations.
        minimum: keys that a comparison with one of them needs.

    Raises:
        InsufficientEvidence: a slice, or a base's or parent's score, is missing or damaged, or there is no
            candidate.
    """
    names = [each.name for each in slices]
    if len(set(names)) < len(names):
        raise InsufficientEvidence("two drawn slices have the same name")
    # Of another round, or somebody wrote into the report: then nothing else in it can be believed either.
    if stray := sorted(set(report.slices) - set(names)):
        raise InsufficientEvidence(f"the report has a slice {stray[0]} that was not drawn")
    for each in slices:
        _check_references(report, each)
    # A damaged candidate is left out, a damaged reference ends it all: without one nobody can be judged.
    stopped = {each.candidate: f"candidate {each.candidate} was scored no further" for each in report.stopped}
    flaws = {name: stopped.get(name) or _flaw(report, slices, name) for name in report.candidates}
    rejected = {name: reason for name, reason in flaws.items() if reason}
    if not report.candidates:
        raise InsufficientEvidence("the report has no candidates")
    best = {each.name: _best(each, report.slices[each.name], known, minimum) for each in slices}
    good = tuple(name for name in report.candidates if name not in rejected)
    # What was scored of it may be damaged too, and then tells nothing.
    told = tuple(name for name in stopped if (on := _scored_on(report, slices, name)) and not _flaw(report, on, name))
    measures = ANSWER_MEASURES if report.kind == "classifier" else {}
    best_answers = {
        measure: {each.name: _best_answers(each, report.slices[each.name], known, minimum, figure) for each in slices}
        for measure, figure in measures.items()
    }
    return Evidence(report.slices, best, good, rejected, best_answers, told)


def _scored_on(report: Report, slices: Sequence[HeldOut], candidate: str) -> list[HeldOut]:
    return [drawn for drawn in slices if candidate in report.slices[drawn.name].candidates]


def _check_references(report: Report, drawn: HeldOut) -> None:
    scores = report.slices.get(drawn.name)
    if scores is None:
        raise InsufficientEvidence(f"slice {drawn.name} was not scored")
    for model, rows in (("parent", scores.parent), ("base", scores.base)):
        if flaw := _incomplete(rows, drawn, report.kind) or _unlike(rows, scores.parent):
            raise InsufficientEvidence(f"on slice {drawn.name} the {model}'s scores {flaw}")


def _flaw(report: Report, slices: Sequence[HeldOut], candidate: str) -> str | None:
    """What is wrong with a candidate's scores, or None."""
    for drawn in slices:
        scores = report.slices[drawn.name]
        rows = scores.candidates.get(candidate, ())
        if flaw := _incomplete(rows, drawn, report.kind) or _unlike(rows, scores.parent):
            return f"on slice {drawn.name} the scores of candidate {candidate} {flaw}"
    return None


def _incomplete(rows: Scores, drawn: HeldOut, kind: str) -> str | None:
    """What is missing or damaged in the scores of one model on one slice, or None."""
    ids = [row.id for row in rows]
    if missing := len(drawn.documents.difference(ids)):
        return f"lack {missing} of {len(drawn.documents)} documents"
    if len(ids) != len(drawn.documents):
        return "have documents that were not drawn, or one of them twice"
    for row in rows:
        if not math.isfinite(row.nll):
            return f"have a loss that is not finite (document {row.id})"
        if row.nll < NEGATIVE_LOSS * (row.tokens + 1):
            return f"have a negative loss (document {row.id})"
    if kind == "classifier" and any(row.predicted is None for row in rows):
        return "lack a classifier's answers"
    return None


def _unlike(rows: Scores, parent: Scores) -> str | None:
    tokens = {row.id: (row.tokens, row.label) for row in parent}
    if any(tokens.get(row.id) != (row.tokens, row.label) for row in rows):
        return "are of other token counts or labels than the parent's"
    return None


def _best(drawn: HeldOut, scores: SliceScores, known: KnownScores, minimum: int) -> Scores:
    """Scores of the generation that was best on a slice, among those that were scored on enough of it."""
    choices: list[Scores] = [scores.base, scores.parent]
    parent, tokens = {row.id: row for row in scores.parent}, {row.id: row.tokens for row in scores.parent}
    for generation in sorted(known):
        rows = scored_rows(drawn, known[generation], tokens)
        if covers(drawn, rows, minimum):
            choices.append(tuple(rows))
    ahead = [advantage(rows, parent) for rows in choices]
    return min(zip(ahead, range(len(choices)), choices, strict=True), key=_nan_last)[2]


def _best_answers(
    drawn: HeldOut, scores: SliceScores, known: KnownScores, minimum: int, figure: Callable[[Scores], float | None]
) -> Scores:
    """The same by a measure of answers, of which more is better: what is best by loss may answer worse."""
    parent, tokens = {row.id: row for row in scores.parent}, {row.id: row.tokens for row in scores.parent}
    choices: list[Scores] = [scores.base, scores.parent]
    for generation in sorted(known):
        rows = scored_rows(drawn, known[generation], tokens)
        # The ledger keeps no true labels: those are the documents', the same for every generation.
        labelled = tuple(replace(row, label=parent[row.id].label) for row in rows if row.id in parent)
        if covers(drawn, labelled, minimum) and figure(labelled) is not None:
            choices.append(labelled)
    behind = [_gain(figure(tuple(parent[row.id] for row in rows)), figure(rows)) for rows in choices]
    return min(zip(behind, range(len(choices)), choices, strict=True), key=_nan_last)[2]


def _gain(of_parent: float | None, of_other: float | None) -> float:
    return math.nan if of_parent is None or of_other is None else of_parent - of_other


def _macro_f1(scores: Scores) -> float | None:
    # Of what a version before answers were kept has scored nobody can tell.
    return None if any(score.predicted is None for score in scores) else macro_f1(scores)


BEST_BY: Final = "best_"
ANSWER_MEASURES: Final[Mapping[str, Callable[[Scores], float | None]]] = {"accuracy": accuracy, "f1": _macro_f1}


def _nan_last(choice: tuple[float, int, Scores]) -> tuple[bool, float, int]:
    return math.isnan(choice[0]), choice[0], choice[1]
