"""Scores of a model on held-out text: those of earlier rounds are taken over, only what is missing is computed."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from learner.directory.known_scores import Scores
from learner.directory.report import SliceScores
from learner.directory.round_directory import TextSample
from learner.material.encoding import Encoded
from learner.workbench import Workbench
from memory.ledger.records import DocumentScore

SliceScored = dict[str, tuple[DocumentScore, ...]]
"""Scores of one model, by slice."""


def complete_scores(
    bench: Workbench, slices: Mapping[str, Encoded], known: Scores, load: Callable[[], Any]
) -> SliceScored:
    """Give every document of the slices a score: the known one, else what the model gives it.

    Args:
        bench: scores documents.
        slices: the held-out text by name.
        known: scores of that model by sample id, taken as the bench takes them.
        load: gives the model; called once at most, and only where a score is missing.
    """
    load_once = cache(load)
    return {name: _complete_slice(bench, text, known, load_once) for name, text in slices.items()}


def join_scores(
    base: SliceScored, parent: SliceScored, best: SliceScored, candidates: Mapping[str, SliceScored]
) -> dict[str, SliceScores]:
    """What each model scored, by slice: as a report has it. Of the best so far there may be nothing.

    A candidate that was scored no further has nothing on some slices.
    """
    return {
        name: SliceScores(
            base[name],
            parent[name],
            {share: scored[name] for share, scored in candidates.items() if name in scored},
            best.get(name, ()),
        )
        for name in parent
    }


def missing_tokens(slices: Mapping[str, Encoded], known: Scores) -> int:
    """How many tokens `complete_scores` has to score."""
    return sum(int(text.lengths[_missing(text, known)].sum()) for text in slices.values())


def _complete_slice(
    bench: Workbench, text: Encoded, known: Scores, load: Callable[[], Any]
) -> tuple[DocumentScore, ...]:
    missing = _missing(text, known)
    computed = {score.id: score for score in bench.evaluate(load(), text.take(missing))} if missing else {}
    return tuple(computed.get(sample.id) or _from_known(sample, known) for sample in text.samples)


def _missing(text: Encoded, known: Scores) -> list[int]:
    return [index for index, sample in enumerate(text.samples) if sample.id not in known]


def _from_known(sample: TextSample, known: Scores) -> DocumentScore:
    score = known[sample.id]
    # The ledger keeps no true labels, and a report holds no answer without one: it is the sample's own.
    label = None if score.predicted is None else sample.label
    return DocumentScore(sample.id, score.nll, score.tokens, score.predicted, label)
