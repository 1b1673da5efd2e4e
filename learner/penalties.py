"""What a round's penalty on weights is made of: what it pulls toward, and what the rounds so far found important."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learner.directory.round_directory import BASE, IMPORTANCE, PARENT
from learner.material.encoding import Encoded, Ints
from learner.material.feeds import move_to_device, pair_inputs
from learner.material.masks import Masking, draw_gaps, masked_pieces, write_rows
from learner.material.pairs import pair_of, parts_of, write_pairs
from learner.material.pieces import training_pieces
from learner.objectives.change_pull import ChangePull, PullsTogether
from learner.objectives.importance import Importance, carry_over, fisher, load_importance
from learner.objectives.weight_pull import Pull, QuadraticPull
from learner.weights.adapter import Adapter
from learner.weights.grown_head import GrownRows, with_rows_of
from learner.workbench import SEQUENCES, Workbench


def pull_of(
    bench: Workbench, matters: Importance | None, rows: GrownRows | None = None, adapter: Adapter | None = None
) -> Pull | None:
    """Return the pull on the model's weights as they stand; None where the recipe has none.

    Args:
        bench: of the round, before a step was taken.
        matters: what `importance_before` said.
        rows: what the head has grown, which nothing pulls on; None where it has not.
        adapter: of the model: what it changes is pulled on, and what it trains whole; None where all weights train.
    """
    recipe = bench.given.spec.recipe
    if not recipe.l2_sp and matters is None:
        return None
    parameters = dict(bench.model.named_parameters())
    weights: Mapping[str, Tensor] = parameters if adapter is None else adapter.weights
    terms: dict[str, Any] = {
        "l2_sp": recipe.l2_sp,
        "base": _weights_of_base(bench, weights) if recipe.l2_sp and recipe.l2_sp_anchor == "base" else None,
        "ewc": recipe.ewc,
        "importance": None if matters is None else _with_new_rows(matters, weights),
    }
    free_rows = {} if rows is None else dict.fromkeys(rows.weights, rows.first)
    if adapter is None:
        return QuadraticPull(parameters, free_rows=free_rows, **terms)
    whole = QuadraticPull(adapter.whole, free_rows=free_rows, **terms)
    return PullsTogether(ChangePull(adapter.adapted, **terms), whole)


def _with_new_rows(importance: Importance, weights: Mapping[str, Tensor]) -> Importance:
    """Importance of a model's weights as they are now: what they have in addition matters to nothing yet."""
    nothing = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    return with_rows_of({name: importance[name] for name in weights}, nothing)


def _weights_of_base(bench: Workbench, weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The base's weights by name; None where the round starts from the base itself."""
    spec = bench.given.spec
    if spec.base.digest == spec.parent.digest:
        return None
    base = dict(bench.load_master(BASE).named_parameters())
    # Of a label that the base never had it says nothing: such a row is held to what it was before the round.
    return with_rows_of(
        {name: base[name].detach() for name in weights}, {name: weight.detach() for name, weight in weights.items()}
    )


def importance_before(bench: Workbench, replay: Encoded) -> Importance | None:
    """Return what the rounds before found important; in the first such round, what the replayed text says.

    None where the recipe has no such pull, or nothing is known.
    """
    if not bench.given.spec.recipe.ewc:
        return None
    with bench.progress.phase("importance", SEQUENCES, _most_sequences(bench, replay)):
        carried = _carry_importance(bench)
        return _fisher(bench, replay) if carried is None and len(replay) else carried


def _carry_importance(bench: Workbench) -> Importance | None:
    shapes = {name: weight.shape for name, weight in bench.model.named_parameters()}
    return load_importance(bench.given.path / PARENT / IMPORTANCE, shapes)


def importance_after(bench: Workbench, fresh: Encoded, earlier: Importance | None) -> Importance | None:
    """Estimate what matters to the result, for the next round's pull; None where the recipe has no such pull."""
    recipe = bench.given.spec.recipe
    if not recipe.ewc:
        return None
    with bench.progress.phase("importance", SEQUENCES, _most_sequences(bench, fresh)):
        measured = _fisher(bench, fresh)
        carried = None if earlier is None else _with_new_rows(earlier, dict(bench.model.named_parameters()))
        return carry_over(carried, measured, decay=recipe.ewc_decay)


def _fisher(bench: Workbench, text: Encoded) -> Importance:
    return fisher(
        bench.model,
        _single_sequences(bench, text),
        generator=torch.Generator().manual_seed(bench.given.spec.seed),
        several=bench.shape.several,
        answered=None if bench.shape.masking is None else partial(_is_gap, bench.shape.masking.mask),
        passed=partial(bench.progress.advance, SEQUENCES),
    )


def _most_sequences(bench: Workbench, text: Encoded) -> int:
    return min(len(text), bench.given.spec.recipe.importance_sequences)


def _single_sequences(bench: Workbench, text: Encoded) -> Iterator[dict[str, Any]]:
    """Yield the model's inputs for random documents (the beginning of long ones), one at a time."""
    spec = bench.given.spec
    # A stream of its own: another choice here must not change what is replayed, or in which order.
    random = np.random.Generator(np.random.PCG64([spec.seed, 3]))
    for index in random.permutation(len(text))[: spec.recipe.importance_sequences].tolist():
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
