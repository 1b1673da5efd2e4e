"""What is scored before a round trains: the new text under the parent, the held-out text under base and parent."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from learner.directory.plausibility_bounds import PlausibilityBounds
from learner.directory.report import PrequentialDocument
from learner.directory.round_directory import BASE, Scores, TextSample
from learner.evaluation.text_plausibility import compare, copied_shares, repetition_share
from learner.material.encoding import Encoded
from learner.workbench import Workbench
from memory.ledger.records import DocumentScore

REMEMBERED = 4
"""Replayed documents whose phrases are known, for each new one: templates that memory holds are no news."""

SliceScored = dict[str, tuple[DocumentScore, ...]]


def prequential(bench: Workbench, fresh: Encoded, replay: Encoded) -> tuple[PrequentialDocument, ...]:
    """Score new documents, or a random sample of them, under the parent before it trains on them."""
    drawn = _drawn(bench, fresh)
    text, count = fresh.take(drawn), len(drawn)
    tokens = [text.document(at).tolist() for at in range(count)]
    remembered = (replay.document(at).tolist() for at in range(min(len(replay), REMEMBERED * count)))
    copied = copied_shares(tokens, remembered)
    return tuple(
        PrequentialDocument(
            id=score.id,
            source=text.samples[at].source,
            nll=score.nll,
            tokens=score.tokens,
            repetition=max(repetition_share(tokens[at]), copied[at]),
        )
        for at, score in enumerate(bench.evaluate(bench.model, text))
    )


def _drawn(bench: Workbench, fresh: Encoded) -> list[int]:
    """Which new documents are looked at: all, or a random sample of them."""
    spec = bench.given.spec
    random = np.random.Generator(np.random.PCG64([spec.seed, 2]))
    count = min(len(fresh), spec.plausibility_documents)
    # In the order of arrival: a document counts as copied where an earlier one has its phrases.
    drawn: list[int] = np.sort(random.choice(len(fresh), count, replace=False)).tolist()
    return drawn


def prequential_tokens(bench: Workbench, fresh: Encoded) -> int:
    """How many tokens `prequential` scores."""
    return int(fresh.lengths[_drawn(bench, fresh)].sum())


def tokens_to_score(bench: Workbench, slices: Mapping[str, Encoded]) -> int:
    """How many tokens `earlier_scores` scores, under parent and base."""
    given = bench.given
    models = [given.known_parent]
    if given.spec.base.digest != given.spec.parent.digest:
        models.append(given.known_base)
    return sum(int(text.lengths[_missing(text, known)].sum()) for known in models for text in slices.values())


def implausible(documents: tuple[PrequentialDocument, ...], bounds: PlausibilityBounds) -> str:
    """Say which figures of the new text are beyond their bounds; empty where none is."""
    return "; ".join(
        f"{each.name} of {each.source or 'all new text'} is {each.figure:.3f}, the bound is {each.bound:.3f}"
        for each in compare(documents, bounds)
        if not each.within
    )


def earlier_scores(bench: Workbench, slices: Mapping[str, Encoded]) -> tuple[SliceScored, SliceScored]:
    """Score base and parent on held-out text, where no earlier round has; return both by slice.

    Called before training: the bench's model still is the parent. The base is loaded only where something is missing.
    """
    given = bench.given
    parent = {name: _complete(bench, text, given.known_parent, lambda: bench.model) for name, text in slices.items()}
    if given.spec.base.digest == given.spec.parent.digest:
        return parent, parent

    @cache
    def base_model() -> Any:
        # As the parent is: two precisions would differ by their rounding.
        return bench.load(BASE, device=bench.device.where, dtype=torch.float32)

    return {name: _complete(bench, text, given.known_base, base_model) for name, text in slices.items()}, parent


def _complete(bench: Workbench, text: Encoded, known: Scores, model: Callable[[], Any]) -> tuple[DocumentScore, ...]:
    missing = _missing(text, known)
    computed = {score.id: score for score in bench.evaluate(model(), text.take(missing))} if missing else {}
    return tuple(computed.get(sample.id) or _from_known(sample, known) for sample in text.samples)


def _missing(text: Encoded, known: Scores) -> list[int]:
    return [at for at, sample in enumerate(text.samples) if sample.id not in known]


def _from_known(sample: TextSample, known: Scores) -> DocumentScore:
    score = known[sample.id]
    label = None if score.predicted is None else sample.label
    return DocumentScore(sample.id, score.nll, score.tokens, score.predicted, label)
