"""What a round finds important to its model: in its first round before training, in each after it.

How many sequences that is estimated on follows from how much the round trains, so that it takes a small share of a
round; see `learner.settings.RecipeSettings.sequences_of_importance`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learner.devices.device import move_to_device
from learner.directory.round_directory import IMPORTANCE, PARENT
from learner.material.encoding import Encoded, Ints
from learner.material.feeds import pair_inputs
from learner.material.masks import Masking, draw_gaps, masked_pieces, write_rows
from learner.material.pairs import pair_of, parts_of, write_pairs
from learner.material.pieces import training_pieces
from learner.objectives.halves import Halves
from learner.objectives.importance import Importance, carry_over, fisher, load_importance
from learner.weights.grown_head import with_rows_of
from learner.weights.sharded import whole_of
from learner.workbench import SEQUENCES, Workbench


class RoundImportance:
    """Estimates importance in a round whose recipe has a pull by it, and counts on what.

    Args:
        bench: of the round.

    Attributes:
        sequences: on which it was estimated so far, both times together.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench, self.sequences = bench, 0

    def before(self, replay: Encoded, planned_tokens: int) -> Importance | None:
        """Return what the rounds before found important; in the first such round, what the replayed text says.

        None where the recipe has no such pull, or nothing is known.

        Args:
            replay: the round's replayed text.
            planned_tokens: that it is to train.
        """
        if not self._bench.given.spec.recipe.ewc:
            return None
        count = self._count(replay, planned_tokens)
        with self._bench.progress.phase("importance", SEQUENCES, count):
            carried = self._carried()
            return self._estimate(replay, count) if carried is None and count else carried

    def after(self, fresh: Encoded, earlier: Importance | None, trained_tokens: int) -> Importance | None:
        """Estimate what matters to the result, for the next round's pull; None where the recipe has no such pull.

        Args:
            fresh: the round's new text.
            earlier: what `before` said.
            trained_tokens: of the round.
        """
        recipe = self._bench.given.spec.recipe
        if not recipe.ewc:
            return None
        count = self._count(fresh, trained_tokens)
        with self._bench.progress.phase("importance", SEQUENCES, count):
            measured = self._estimate(fresh, count)
            carried = None
            if earlier is not None:
                carried = with_new_rows(earlier, dict(self._bench.model.named_parameters()))
            return self._gathered(carry_over(carried, measured, decay=recipe.ewc_decay))

    def _gathered(self, importance: Importance) -> Importance | None:
        """All of it, in main memory where weights are divided, and there of the rank that writes it alone."""
        if not self._bench.is_sharded:
            return importance
        whole: Importance = {}
        for name, value in importance.items():
            gathered = whole_of(value)
            if self._bench.ranks.is_first:
                whole[name] = gathered.cpu()
        return whole or None

    def _count(self, text: Encoded, trained_tokens: int) -> int:
        if not len(text):
            return 0
        tokens_each = float(np.minimum(text.lengths, self._bench.shape.longest).mean())
        wanted = self._bench.given.spec.recipe.sequences_of_importance(trained_tokens, tokens_each)
        return min(len(text), wanted)

    def _carried(self) -> Importance | None:
        shapes = {name: weight.shape for name, weight in self._bench.model.named_parameters()}
        return load_importance(self._bench.given.path / PARENT / IMPORTANCE, shapes)

    def _estimate(self, text: Encoded, count: int) -> Importance:
        bench = self._bench
        self.sequences += count
        importance = fisher(
            bench.model,
            _single_sequences(bench, text, count),
            generator=torch.Generator().manual_seed(bench.given.spec.seed),
            halves=Halves(bench.model) if bench.shape.classes is None else None,
            several=bench.shape.several,
            answered=None if bench.shape.masking is None else partial(_is_gap, bench.shape.masking.mask),
            autocast=bench.device.autocast,
            passed=partial(bench.progress.advance, SEQUENCES),
        )
        if not bench.is_sharded:
            # Each rank looked at all sequences: on GPUs sums come out alike but for their rounding, and must be equal.
            bench.ranks.take_over(importance.values())
        return importance


def with_new_rows(importance: Importance, weights: Mapping[str, Tensor]) -> Importance:
    """Importance of a model's weights as they are now: what they have in addition matters to nothing yet."""
    nothing = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    return with_rows_of({name: importance[name] for name in weights}, nothing)


def _single_sequences(bench: Workbench, text: Encoded, count: int) -> Iterator[dict[str, Any]]:
    """Yield the model's inputs for so many random documents (the beginning of long ones), one at a time."""
    spec = bench.given.spec
    # A stream of its own: another choice here must not change what is replayed, or in which order.
    random = np.random.Generator(np.random.PCG64([spec.seed, 3]))
    for index in random.permutation(len(text))[:count].tolist():
        if bench.shape.start is not None:
            if (pair := pair_of(text, index)) is not None:
                arrays = write_pairs([parts_of(pair, text.tokens)], start=bench.shape.start, pad=bench.shape.pad)
                yield pair_inputs(arrays, bench.device.where)
            continue
        if bench.shape.masking is not None:
            ids = _with_gaps(bench, text, index, bench.shape.masking, random)
        else:
            pieces = training_pieces(text, index, bench.shape.longest)[:1]
            ids = [piece.ids(text.tokens, text.lead).astype(np.int64)[None] for piece in pieces]
        for each in ids:
            yield {"input_ids": move_to_device(each, bench.device.where)}


def _with_gaps(
    bench: Workbench, text: Encoded, index: int, masking: Masking, random: np.random.Generator
) -> list[Ints]:
    """The beginning of a document as a masked LM reads it, shape (1, tokens); nothing of one without gaps."""
    return [
        write_rows(
            [(piece.ids(text.tokens, None), draw_gaps(piece, random))],
            masking,
            pad=bench.shape.pad,
            width=piece.width + masking.framing,
            side=bench.shape.side,
        )[0]
        for piece in masked_pieces(text, index, bench.shape.longest, masking)[:1]
    ]


def _is_gap(mask: int, inputs: Mapping[str, Any]) -> Tensor:
    # No text brings the mask token along; see `learner.material.plain_text`.
    gaps: Tensor = inputs["input_ids"][0] == mask
    return gaps
