"""From a round's report, and from the ledger, to what is known of knowledge: R and its measures. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final

from pydantic_core import to_jsonable_python

from checkpoints.kinds import KINDS
from gate import forgetting, measures
from gate.kept_knowledge import ScoredDocuments, average, forgotten_by_slice, transferred_by_slice
from gate.statistics.bootstrap import Interval
from learner.directory.report import Report
from learner.evaluation.text_plausibility import summarise
from memory.ledger import records
from memory.ledger.aside import MEASURED
from memory.ledger.records import DocumentScore, Generation, ScoreRow, SliceScore
from memory.ledger.scorings import Scoring, most_common
from memory.ledger.skills.skill_scores import SkillScore
from memory.samples.slice_names import ANCHOR, first_round, last_round, source_of

ROWS_SHOWN = 8
SLICES_SHOWN = 64
"""With 9 rows and a classifier's 3 figures fewer than 2,000 series, however many sources there are."""


def slice_score(scores: Sequence[DocumentScore]) -> SliceScore:
    """One generation's score on one slice."""
    return SliceScore(
        mean_nll=measures.mean_nll(scores),
        tokens=sum(score.tokens for score in scores),
        documents=len(scores),
        accuracy=measures.accuracy(scores),
        macro_f1=measures.macro_f1(scores),
    )


def slice_scores(by_slice: Mapping[str, Sequence[DocumentScore]]) -> dict[str, SliceScore]:
    """One generation's row of R; slices on which nothing finite was scored are left out."""
    scores = {name: slice_score(documents) for name, documents in by_slice.items() if documents}
    return {name: score for name, score in scores.items() if math.isfinite(score.mean_nll)}


def document_scores(by_slice: Mapping[str, Sequence[DocumentScore]]) -> list[DocumentScore]:
    """The same scores document by document: those that are finite."""
    return [score for documents in by_slice.values() for score in documents if math.isfinite(score.nll)]


def of_model(report: Report, model: str) -> dict[str, tuple[DocumentScore, ...]]:
    """Scores by slice of `base`, `parent`, `best`, or the candidate of that name."""
    if model == "base":
        return {name: scores.base for name, scores in report.slices.items()}
    if model == "parent":
        return {name: scores.parent for name, scores in report.slices.items()}
    if model == "best":
        return {name: scores.best for name, scores in report.slices.items()}
    return {name: scores.candidates.get(model, ()) for name, scores in report.slices.items()}


def skills_of(report: Report, model: str) -> dict[str, SkillScore]:
    """What `base`, `parent` or the candidate of that name answers rightly, by skill; of others nothing is known."""
    rights = {
        name: {"base": scores.base, "parent": scores.parent, **scores.candidates}.get(model)
        for name, scores in report.skills.items()
    }
    return {name: SkillScore(report.skills[name].version, each) for name, each in rights.items() if each is not None}


def summary(report: Report, flips: Mapping[str, forgetting.Flips]) -> dict[str, Any]:
    """The report without its documents, by slice and model; JSON values only.

    Args:
        report: the learner's.
        flips: of each candidate against the parent.
    """
    facts = {
        "outcome": report.outcome.value,
        "detail": report.detail,
        "device": report.device,
        "prequential": summarise(report.prequential).to_json(),
        "training": None if report.training is None else to_jsonable_python(report.training),
        "slices": _by_slice(report, _mean),
        "flips": {candidate: asdict(each) for candidate, each in flips.items()},
    }
    if report.skills:
        facts["skills"] = _skills(report)
    if KINDS[report.kind].by_token:
        return facts
    return facts | {"accuracy": _by_slice(report, measures.accuracy), "macro_f1": _by_slice(report, measures.macro_f1)}


def _skills(report: Report) -> dict[str, Any]:
    """By skill its version, how many prompts it has, and the share of them that each model answers rightly."""
    models = ("base", "parent", *report.candidates)
    by_model = {model: skills_of(report, model) for model in models}
    return {
        name: {
            "version": scores.version,
            "prompts": len(scores.parent),
            "right": {model: by_model[model][name].share for model in models if name in by_model[model]},
        }
        for name, scores in report.skills.items()
    }


def measured(report: Report) -> dict[str, Any]:
    """What the round measured of single documents before training, for a person who parts what it sets aside.

    As many as `learner.plausibility_documents`; those whose loss is not finite are left out.
    """
    rows = [
        # Rounded, as a ledger keeps hundreds of them for each round that sets text aside.
        [document.id, round(document.nll, 4), document.tokens, round(document.repetition, 3)]
        for document in report.prequential
        if math.isfinite(document.nll) and math.isfinite(document.repetition)
    ]
    return {MEASURED: rows}


def flips(report: Report, candidate: str) -> forgetting.Flips:
    """What a candidate has better or worse than the parent, over all slices."""
    before, after = of_model(report, "parent"), of_model(report, candidate)
    return forgetting.flip_rate(chain(*before.values()), chain(*after.values()))


def held_out_labels(report: Report) -> dict[str, dict[str, int]]:
    """How a classifier's held-out documents are spread over the labels, by slice."""
    spread = {name: Counter(score.label or "" for score in scores.parent) for name, scores in report.slices.items()}
    return {name: dict(sorted(labels.items())) for name, labels in spread.items()}


def _by_slice(
    report: Report, measure: Callable[[Sequence[DocumentScore]], float | None]
) -> dict[str, dict[str, float | None]]:
    scores = {model: of_model(report, model) for model in ("base", "parent", *report.candidates)}
    return {name: {model: measure(scores[model][name]) for model in scores} for name in report.slices}


def _mean(scores: Sequence[DocumentScore]) -> float | None:
    mean = measures.mean_nll(scores)
    return mean if math.isfinite(mean) else None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the serving generation knows, in nats per token; None where it cannot be told yet.

    Attributes:
        forgetting: mean over the slices that were trained past of how much worse it is than the best before it, on the
            documents that both have scored, with limits of 95 % each.
        backward_transfer: the same against the generation that learned the slice's last part; positive is good.
        forward_transfer: what was known of text before it was trained on.
        plasticity: how well new text was learned.
    """

    forgetting: Interval | None
    backward_transfer: Interval | None
    forward_transfer: float | None
    plasticity: float | None


NOTHING_KNOWN: Final = Knowledge(None, None, None, None)


def knowledge(
    rows: Iterable[ScoreRow], generations: Iterable[Generation], serving: int, documents: ScoredDocuments
) -> Knowledge:
    """The measures of the serving generation, over the generations that led to it.

    Args:
        rows: of R, for what can be told of whole slices alone.
        generations: of the ledger.
        serving: the serving one.
        documents: what the generations scored document by document, for what is a difference between two of them.
    """
    accepted = lineage(generations, serving)
    if not accepted:
        return NOTHING_KNOWN
    numbers, last = [generation.number for generation in accepted], len(accepted) - 1

    def learned_at(name: str) -> int | None:
        return _find_learning_row(name, accepted)

    listed = list(rows)
    unmerged = [row for row in listed if not is_merged(row.slice, accepted)]
    return Knowledge(
        average(forgotten_by_slice(documents, numbers, learned_at)),
        average(transferred_by_slice(documents, numbers, learned_at)),
        # Before the last part of a merged slice was trained on, its first part was: that is no transfer.
        forgetting.forward_transfer(score_matrix(unmerged, accepted), last),
        forgetting.plasticity(score_matrix(listed, accepted), last),
    )


@dataclass(frozen=True, slots=True)
class LearnedText:
    """What one generation learned of the text that it was trained on last; losses in nats per token.

    Attributes:
        generation: its number.
        round: that made it.
        before: loss of its parent on the slices that it learned; None where that is not known.
        after: its own, the mean of R[j,j] over the slices j that it learned.
        plasticity: mean of R[j,j] over all slices that were learned up to it.
    """

    generation: int
    round: int
    before: float | None
    after: float
    plasticity: float


def learned_by_generation(
    rows: Iterable[ScoreRow], generations: Iterable[Generation], serving: int, most: int
) -> list[LearnedText]:
    """The diagonal of R along the line that led to the serving generation: the latest `most` generations, oldest first.

    Those without a score on what they learned are left out.
    """
    accepted = lineage(generations, serving)
    if not accepted:
        return []
    matrix = score_matrix(rows, accepted)
    found = []
    for row, generation in list(enumerate(accepted))[1:][-most:]:
        learned = [column for column, at in enumerate(matrix.learned_at) if at == row]
        after = _mean_of(matrix.scores[row][column] for column in learned)
        mean = forgetting.plasticity(matrix, row)
        if generation.round is None or after is None or mean is None:
            continue
        before = _mean_of(matrix.scores[row - 1][column] for column in learned)
        found.append(LearnedText(generation.number, generation.round, before, after, mean))
    return found


def _mean_of(losses: Iterable[float]) -> float | None:
    known = [loss for loss in losses if not math.isnan(loss)]
    return sum(known) / len(known) if known else None


def is_merged(slice_name: str, generations: Sequence[Generation]) -> bool:
    """Whether a slice's text was learned by more than one of these generations."""
    if slice_name == ANCHOR:
        return False
    return _first_trained_in(first_round(slice_name), generations) != _find_learning_row(slice_name, generations)


def alike(rows: Sequence[ScoreRow], serving: int) -> list[ScoreRow]:
    """The rows of R that were taken in the way in which the serving generation's were: only those can be compared."""
    how = way_of(rows, serving)
    return [row for row in rows if row.scored == how]


def way_of(rows: Iterable[ScoreRow], generation: int) -> Scoring | None:
    """How a generation's row of R was taken, most of it where that differs; None where that is not known."""
    return most_common(row.scored for row in rows if row.generation == generation)


def lineage(generations: Iterable[Generation], serving: int) -> list[Generation]:
    """The generations that led to the serving one, oldest first: its parent, that one's parent, and so on."""
    by_number = {generation.number: generation for generation in generations}
    parents = {number: generation.parent for number, generation in by_number.items()}
    return [by_number[number] for number in records.lineage(parents, serving)]


def generations_shown(generations: Iterable[Generation], serving: int) -> list[Generation]:
    """The generations whose row of R is shown as metrics: the base and the latest few of the lineage."""
    led_here = lineage(generations, serving)
    return [*led_here[:1], *led_here[1:][-ROWS_SHOWN:]]


def shown_slices(rows: Iterable[ScoreRow]) -> frozenset[str]:
    """The slices whose column of R is shown as metrics: the anchor, then all of one source after another.

    The sources with the most held-out documents come first; of the last one that has room, its latest slices.
    """
    documents: dict[str, int] = {}
    for row in rows:
        documents[row.slice] = max(row.score.documents, documents.get(row.slice, 0))
    of_source: Counter[str] = Counter()
    for name, number in documents.items():
        of_source[source_of(name)] += number

    def rank(name: str) -> tuple[bool, int, str, int]:
        return name != ANCHOR, -of_source[source_of(name)], source_of(name), -first_round(name)

    return frozenset(sorted(documents, key=rank)[:SLICES_SHOWN])


def score_matrix(rows: Iterable[ScoreRow], generations: Sequence[Generation]) -> forgetting.ScoreMatrix:
    """R over these generations (rows, in their order) and all slices that any has a score of (columns)."""
    row_of = {generation.number: index for index, generation in enumerate(generations)}
    known = {(row.generation, row.slice): row.score.mean_nll for row in rows if row.generation in row_of}
    names = sorted({name for _, name in known})
    scores = tuple(
        tuple(known.get((generation.number, name), math.nan) for name in names) for generation in generations
    )
    learned = [_find_learning_row(name, generations) for name in names]
    # A slice that no generation has been trained on yet has been neither learned nor forgotten.
    kept = [column for column, row in enumerate(learned) if row is not None]
    return forgetting.ScoreMatrix(
        scores=tuple(tuple(row[column] for column in kept) for row in scores),
        learned_at=tuple(row for row in learned if row is not None),
        higher_is_better=False,
    )


def _find_learning_row(slice_name: str, generations: Sequence[Generation]) -> int | None:
    """The generation that learned the last part of a slice: those before it had not seen all of a merged one."""
    return 0 if slice_name == ANCHOR else _first_trained_in(last_round(slice_name), generations)


def _first_trained_in(round_number: int, generations: Sequence[Generation]) -> int | None:
    """The first of these that a round of this number, or a later one, made."""
    return next(
        (
            index
            for index, generation in enumerate(generations)
            if generation.round is not None and generation.round >= round_number
        ),
        None,
    )
