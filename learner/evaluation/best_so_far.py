"""The scores of an earlier generation that was best on older text, where no earlier round has taken them."""

from collections.abc import Mapping

import numpy as np
import torch

from learner.directory.round_directory import BEST
from learner.material.encoding import Encoded
from learner.workbench import Workbench
from memory.ledger.records import DocumentScore


def tokens_to_score_again(bench: Workbench, slices: Mapping[str, Encoded]) -> int:
    """How many tokens `best_scores` scores."""
    if bench.given.spec.best is None:
        return 0
    return sum(int(text.lengths[_missing(bench, text)].sum()) for text in slices.values())


def best_scores(bench: Workbench, slices: Mapping[str, Encoded]) -> dict[str, tuple[DocumentScore, ...]]:
    """Score the generation that the round was given for that; by slice, what was known of it among it.

    Nothing where the round was given none. It is held in memory beside the parent for as long, as the base is.
    """
    if bench.given.spec.best is None:
        return {}
    model = bench.load(BEST, device=bench.device.where, dtype=torch.float32)
    return {name: _complete(bench, model, text) for name, text in slices.items()}


def _complete(bench: Workbench, model: object, text: Encoded) -> tuple[DocumentScore, ...]:
    missing, known = _missing(bench, text), bench.given.known_best
    computed = {score.id: score for score in bench.evaluate(model, text.take(missing))} if missing else {}
    return tuple(computed.get(sample.id) or known[sample.id] for sample in text.samples)


def _missing(bench: Workbench, text: Encoded) -> list[int]:
    known = bench.given.known_best
    return np.flatnonzero([sample.id not in known for sample in text.samples]).tolist()
