"""What flipped in a round, document by document: from its report, or from what the ledger keeps of the scores."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from daemon.control.answers.flips import FlippedDocument, FlipsAnswer
from daemon.control.facts.records import sample_line, sample_with_text
from gate.forgetting import MARGIN, ChangedDocument, changed_documents
from gate.scores import of_model
from learner.directory.report import BadReport, Report, read_report
from memory.ledger.records import DocumentScore, Round
from memory.people.scored_text import ScoredText
from memory.samples.reading import FoundSample
from memory.store import Store

log = structlog.get_logger(__name__)

WORSE: Final = -1
BETTER: Final = 1
NOTHING_JUDGED: Final = "No candidate of this round was scored, so there is nothing to compare."
NOT_KEPT: Final = (
    "Its scores are not kept document by document any more: the directories of the latest rounds are "
    "(`lifecycle.rounds_kept`), and the ledger keeps those of generations whose files are there."
)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Documents under both, and where that is from.

    Attributes:
        slices: of the documents, as the round had them; empty where that is not known.
    """

    source: str
    documents: list[ChangedDocument]
    slices: Mapping[int, str]


def flips(store: Store, round_: Round, directory: Path, *, limit: int, text: bool) -> FlipsAnswer:
    """What flipped in a round.

    Args:
        store: of the ledger, and of the text.
        round_: that it is of.
        directory: the round's, whether it is there or not.
        limit: most documents in each direction.
        text: whether their text goes along.
    """
    candidate = round_.verdict.get("candidate") or None
    given = store.people.scored_text(round_.number)
    compared = None if candidate is None else _by_report(directory, round_, candidate)
    if compared is None and candidate is not None:
        compared = _by_ledger(store, round_, given)
    documents = [] if compared is None else compared.documents
    worse, better = _of(documents, WORSE), _of(documents, BETTER)
    shown = [*worse[:limit], *better[:limit]]
    found = store.people.read_scored([each.after.id for each in shown])
    lines = [_line(each, found.get(each.after.id), compared, given, text=text) for each in shown]
    counted = (round_.report.get("flips") or {}).get(candidate) or {}
    by_answers = any(each.after.correct is not None for each in documents)
    return {
        "round": round_.number,
        "parent": round_.parent_generation,
        "generation": round_.generation,
        "candidate": candidate,
        "scores": None if compared is None else compared.source,
        "unit": "nats per document" if by_answers else "nats per token",
        "margin": None if by_answers else MARGIN,
        "documents": len(documents),
        "documents_then": counted.get("documents"),
        "worse": len(worse),
        "better": len(better),
        "worst": lines[: len(worse[:limit])],
        "best": lines[len(worse[:limit]) :],
        "erased": len(given.erased),
        "left": len(given.left),
        "note": _note(candidate, compared, counted.get("documents")),
    }


def _by_report(directory: Path, round_: Round, candidate: str) -> _Compared | None:
    """By the round's own report; None where there is none that can be read."""
    try:
        report = read_report(directory)
    except (OSError, BadReport) as error:
        if directory.is_dir():
            log.warning("report_not_read", round=round_.number, reason=str(error))
        return None
    if report.round != round_.number or candidate not in report.candidates:
        return None
    return _Compared("report", _changed(report, candidate), _slices(report, candidate))


def _changed(report: Report, candidate: str) -> list[ChangedDocument]:
    before, after = of_model(report, "parent"), of_model(report, candidate)
    return changed_documents(_flat(before), _flat(after))


def _slices(report: Report, candidate: str) -> dict[int, str]:
    by_slice = of_model(report, candidate)
    return {score.id: name for name, scores in by_slice.items() for score in scores}


def _flat(by_slice: Mapping[str, tuple[DocumentScore, ...]]) -> Iterable[DocumentScore]:
    return (score for scores in by_slice.values() for score in scores)


def _by_ledger(store: Store, round_: Round, given: ScoredText) -> _Compared | None:
    """By the scores of parent and generation that the ledger keeps, as far as they were taken in one way."""
    if round_.generation is None:
        return None
    parent = store.generations.scores_by_way(round_.parent_generation)
    made = store.generations.scores_by_way(round_.generation)
    documents = [
        changed
        # In a way that is not known nothing can be compared with anything.
        for way in parent.keys() & made.keys() - {None}
        for changed in changed_documents(parent[way].values(), made[way].values())
        # A later round may have scored both on other text.
        if changed.after.id in given.kept
    ]
    return _Compared("ledger", documents, {}) if documents else None


def _of(documents: Iterable[ChangedDocument], direction: int) -> list[ChangedDocument]:
    """Those that flipped so, the greatest change first."""

    def rank(each: ChangedDocument) -> tuple[float, int]:
        before, after = _loss(each.before), _loss(each.after)
        # A loss that is no number any more is as far from it as can be.
        return (-math.inf if before is None or after is None else (after - before) * direction), each.after.id

    return sorted((each for each in documents if each.direction == direction), key=rank)


def _loss(score: DocumentScore) -> float | None:
    """Nats per token; None where that is no finite number."""
    return score.nll / score.tokens if score.tokens and math.isfinite(score.nll) else None


def _line(
    each: ChangedDocument,
    found: tuple[FoundSample, str | None] | None,
    compared: _Compared | None,
    given: ScoredText,
    *,
    text: bool,
) -> FlippedDocument:
    entry, slice_now = (None, None) if found is None else found
    slices = {} if compared is None else compared.slices
    return {
        "id": each.after.id,
        "slice": slices.get(each.after.id, slice_now),
        "before": _loss(each.before),
        "after": _loss(each.after),
        "tokens": each.after.tokens,
        "answer_before": each.before.predicted,
        "answer_after": each.after.predicted,
        "sample": None if entry is None else (sample_with_text(entry) if text else sample_line(entry)),
        "characters": None if entry is None else len(entry.sample.text),
        "erased_at": given.erased.get(each.after.id),
    }


def _note(candidate: str | None, compared: _Compared | None, then: int | None) -> str:
    if candidate is None:
        return NOTHING_JUDGED
    if compared is None:
        return NOT_KEPT
    if compared.source == "ledger" and then is not None and len(compared.documents) < then:
        return (
            f"The round's directory is gone: of the {then:,} documents that were compared then, the ledger still has "
            f"{len(compared.documents):,}."
        )
    return ""
