"""A round that teaches a classifier labels which its head lacks: rows for them, before the first step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from torch import Tensor

from learner.material.encoding import Encoded
from learner.material.feeds import pad_documents
from learner.weights.grown_head import GrownRows, grow, head_inputs, imprint
from learner.workbench import Workbench
from streams.decoding.several_labels import members

LOOKED_AT: Final = 32
"""Documents of each new label, and of the others, that tell where its row begins."""


def grow_for_new_labels(bench: Workbench, fresh: Encoded, replay: Encoded) -> GrownRows | None:
    """Give the model's head a row for each of the round's new labels, in place; None where there are none.

    Raises:
        HeadCannotGrow: its head is none that rows can be added to.
    """
    new = bench.given.spec.new_labels
    if not new:
        return None
    of_each = [[at for at, sample in enumerate(fresh.samples) if label in members(sample.label)] for label in new]
    others = [at for at, sample in enumerate(fresh.samples) if not members(sample.label) & set(new)]
    remembered = replay if len(replay) else fresh.take(others)
    given = [head_inputs(bench.model, _alone(bench, fresh, chosen)) for chosen in of_each]
    rows = imprint(bench.model, new, given, head_inputs(bench.model, _alone(bench, remembered, range(len(remembered)))))
    grow(bench.model, rows)
    bench.progress.say("grown", labels=list(new))
    return rows


def _alone(bench: Workbench, text: Encoded, chosen: Sequence[int]) -> Iterator[Mapping[str, Tensor]]:
    """A model's inputs of some documents, spread over those chosen, one at a time."""
    for at in np.linspace(0, len(chosen) - 1, min(len(chosen), LOOKED_AT), dtype=int).tolist():
        yield pad_documents([text.document(chosen[at])], bench.shape.pad, bench.device.where, bench.shape.side)
