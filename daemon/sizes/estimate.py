"""How much memory a round and a swap will need: what is allocated by the model's shape and the recipe. Pure."""

import math
from collections.abc import Iterator

from daemon.sizes.kept import Kept
from daemon.sizes.layer_maps import adapted_maps, maps_of_layer
from daemon.sizes.shape import ModelShape
from learner.objectives.part_sizes import places_of_part
from learner.settings import RecipeSettings
from learner.training.moment_sizes import BLOCK, PART_BYTES, PART_WEIGHTS

MIB, GIB = 2**20, 2**30

PROCESS_BYTES = {"cpu": 800 * MIB, "cuda": 600 * MIB}
"""Of a process that has loaded torch and transformers: resident memory, or on a GPU its context and workspaces. Where
the model was loaded, the process that did it says what it is here."""
FOUR_BITS_BYTES = 0.57
"""A code, and a float32 of each block of 64."""
BFLOAT_BYTES = 2
FLOAT_BYTES = 4
"""A weight in float32, as models are trained; its gradient, and each of AdamW's two moments, takes as much."""
LOGITS_ARRAYS = {"cpu": 3, "cuda": 5}
"""Float32 arrays of logits at once, of the places that a part of them has: the logits, the model's distribution and the
parent's. Where the forward pass is in bfloat16 logits and gradient have arrays of their own."""
IMPORTANCE_ARRAYS = {"cpu": 2, "cuda": 3}
"""The same of importance: the logits, where the cumulated probabilities lie afterwards, and the probabilities."""
COPIES_AT_ONCE = 3
"""In float32, of the weight of a candidate that is computed: the parent's, the result's, and what lies between them."""
ROUNDING_WEIGHTS, ROUNDING_ARRAYS = 1 << 24, 6
"""So many weights are rounded at a time, in so many arrays of four bytes: their exponents in two halves, their last
places, and three on the way to a power of two."""
PULL_WEIGHTS = 1 << 26
"""Differences from an anchor are made for so many weights at a time, or for a single weight that has more."""
ADAPTER_ARRAYS = {"lora": 1, "dora": 5}
"""What an adapter keeps of each token, in outputs of the linear maps that it changes, where the model was not asked."""
SHORTEST = 64
"""Tokens of a sequence below which nothing is proposed: too little is learned from such text."""
HIDDEN_ARRAYS = 13
INNER_ARRAYS = 6
"""What a layer keeps of each token for the backward pass, in widths of the model and of its feed-forward part, where
the model was not asked: counted in Llama, whose layers have three linear maps in that part."""
GATHERED_OUTSIDE, GATHERED_LAYERS = 3, 6
"""What a device holds whole while divided weights are passed: outside of the layers the weights, their gradients and
what these travel in; of the layers that of two, as one is gathered ahead of the other."""
PASSING_HIDDEN, PASSING_INNER = 4, 3
"""What passes through a layer at once, forward or backward, and is let go of behind it."""

TRAIN, SCORE, IMPORTANCE, CANDIDATES = "train", "score", "importance", "candidates"
"""Phases of a round, as the learner names them."""
MERGED = "candidates that are whole models again"
"""The last one in a round behind `adapter_rounds` others, of which the candidates are adapters."""
WHOLE = "whole"
"""Stands for no adapter: all weights are trained."""

Parts = dict[str, int]
"""Bytes by what they are of."""


def training_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """What a round takes at its highest."""
    return max(sum(parts.values()) for parts in round_parts(shape, recipe).values())


def round_parts(shape: ModelShape, recipe: RecipeSettings, *, is_first: bool = False) -> dict[str, Parts]:
    """What lies in memory in each phase of a round, when it takes most, in bytes by part.

    An adapter's parent is the model itself. On a GPU candidates are made in main memory. Of rounds whose candidates are
    adapters, what those take that merge them is told beside (`MERGED`).

    Args:
        shape: of the model.
        recipe: of the round.
        is_first: whether its parent is the base, which is then not scored by itself.
    """
    phases = {TRAIN: _training(shape, recipe), SCORE: _scoring(shape, recipe, is_first=is_first)}
    if recipe.ewc:
        phases[IMPORTANCE] = _estimating_importance(shape, recipe)
    if shape.device_type != "cuda":
        keeps_adapter = recipe.adapter == "lora" and recipe.adapter_rounds > 0
        if keeps_adapter:
            phases[CANDIDATES] = _making_adapters(shape, recipe)
        phases[MERGED if keeps_adapter else CANDIDATES] = _making_candidates(shape, recipe, is_first=is_first)
    return phases


def describe_parts(shape: ModelShape, recipe: RecipeSettings) -> str:
    """Return in words what memory holds when a round takes most, part by part, and what its other phases take."""
    phases = round_parts(shape, recipe)
    highest = max(phases, key=lambda phase: sum(phases[phase].values()))
    parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in phases[highest].items() if size)
    others = ", ".join(f"{phase} {sum(phases[phase].values()) / GIB:.2f}" for phase in phases if phase != highest)
    return f"by the model's shape, in GiB: {parts} (in its phase {highest}); all of its phases {others}"


def rows_at_once(recipe: RecipeSettings) -> int:
    """Sequences in a micro-batch, of which no step has more than it trains on."""
    return min(recipe.micro_batch, recipe.batch_sequences)


def halves(number: int, least: int) -> Iterator[int]:
    """Half of a number, half of that, and so on, down to `least`."""
    while number // 2 >= least:
        number //= 2
        yield number


def least_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """What a round takes whatever its micro-batch: what lies in memory between two passes, and a part of the logits."""
    phases = round_parts(shape, recipe)
    at_rest = sum(_at_rest(shape, recipe).values()) + _logits_bytes(shape)
    # However many share what training holds, each has the whole model to score it.
    scored = _process(shape) + FLOAT_BYTES * shape.parameters if shape.divided_by > 1 else 0
    candidates = max(sum(phases.get(phase, {}).values()) for phase in (CANDIDATES, MERGED))
    return max(at_rest, candidates, scored)


def _at_rest(shape: ModelShape, recipe: RecipeSettings) -> Parts:
    """Between two passes of the training."""
    trained, has_parent = _trained_bytes(shape, recipe), recipe.adapter is None and _needs_parent(shape, recipe)
    parts = {
        "weights": trained + (0 if recipe.adapter is None else _still_bytes(shape, recipe)),
        "gradients": trained,
        "optimizer": _moments_bytes(shape, recipe),
        "parent": shape.parameters * _parents_bytes(shape, recipe) if has_parent else 0,
        # In main memory, while it looks whether later ones are better.
        "best so far": trained if recipe.early_stop_checks and shape.device_type != "cuda" else 0,
        "importance": _penalty_bytes(shape, recipe),
    }
    shares = {name: math.ceil(size / shape.divided_by) for name, size in parts.items()}
    gathered = _gathered(shape, recipe, has_parent=has_parent)
    return {"process": _process(shape), "adapter's library": _library(shape, recipe), **shares, **gathered}


def _parents_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """Of each of the parent's weights, as the passes resolve it."""
    return BFLOAT_BYTES if _is_short(shape, recipe) else FLOAT_BYTES


def _gathered(shape: ModelShape, recipe: RecipeSettings, *, has_parent: bool) -> Parts:
    """What each device holds whole of divided weights, when most is gathered; nothing of such as are not divided."""
    if shape.divided_by == 1:
        return {}
    largest = shape.largest_bytes // FLOAT_BYTES
    # Embeddings and a head of the same size.
    outside = min(shape.parameters, 2 * largest if shape.by_token else largest)
    layer = (shape.parameters - outside) // max(shape.layers, 1)
    trained = FLOAT_BYTES * (GATHERED_OUTSIDE * outside + GATHERED_LAYERS * layer)
    # Autocast's copy of every layer, which a backward pass keeps.
    short = BFLOAT_BYTES * (shape.parameters - outside) if shape.compute_bytes == BFLOAT_BYTES else 0
    return {"gathered": trained + short + (_parents_bytes(shape, recipe) * outside if has_parent else 0)}


def _training(shape: ModelShape, recipe: RecipeSettings) -> Parts:
    trained = _trained_bytes(shape, recipe)
    passing = {"activations": _activations(shape, recipe), "logits": _logits_bytes(shape)}
    if recipe.batch_sequences <= recipe.micro_batch:
        # Of a single pass: as gradients come, what they are made of goes.
        passing["activations"] = max(0, passing["activations"] - trained // shape.divided_by)
    alternatives = [passing, {"one weight's gradient": _largest(shape, recipe)}]
    if recipe.optimizer == "adamw-8bit":
        part = PART_WEIGHTS["cuda" if shape.device_type == "cuda" else "cpu"]
        alternatives.append({"one part's step": PART_BYTES * min(part, shape.largest_bytes // FLOAT_BYTES)})
    if _pulls(recipe):
        pulled = min(trained, max(FLOAT_BYTES * PULL_WEIGHTS, shape.largest_bytes))
        alternatives.append({"pull": math.ceil(pulled / shape.divided_by)})
    return _at_rest(shape, recipe) | _most(*alternatives)


def _scoring(shape: ModelShape, recipe: RecipeSettings, *, is_first: bool) -> Parts:
    weights = FLOAT_BYTES * shape.parameters
    return {
        "process": _process(shape),
        "weights": weights,
        # A device that shares the model with others holds none beside it.
        "base": 0 if is_first or shape.divided_by > 1 else weights,
        "evaluation": _evaluation(shape, recipe),
    }


def _estimating_importance(shape: ModelShape, recipe: RecipeSettings) -> Parts:
    """After training: that of the rounds before, and the sum of this one's squares, beside a pass."""
    weights = FLOAT_BYTES * shape.parameters
    width = min(recipe.length, shape.positions)
    share = math.ceil(weights / shape.divided_by)
    return {
        "process": _process(shape),
        "adapter's library": _library(shape, recipe),
        "weights": share,
        "importance": 2 * share,
        **_gathered(shape, recipe, has_parent=False),
        "activations": math.ceil(_kept(shape, recipe.model_copy(update={"adapter": None})).of(1, width)),
        # Of the head, the largest in many a model, while what it is made of is still there.
        "gradients": share,
        "logits": _logits_bytes(shape, IMPORTANCE_ARRAYS),
    }


def _making_candidates(shape: ModelShape, recipe: RecipeSettings, *, is_first: bool) -> Parts:
    """In main memory, weight by weight: beside the model's the parent's, as they are stored."""
    weights = FLOAT_BYTES * shape.parameters
    is_rounded, is_alone = shape.stored_bytes < weights, len(set(recipe.interpolation)) == 1
    # A byte of a weight for what rounding cut off: of the parent since the first round, and of one that is written.
    cut_off = shape.parameters * ((not is_first) + is_alone) if is_rounded else 0
    return {
        "process": _process(shape),
        "adapter's library": _library(shape, recipe),
        "weights": weights,
        "parent": shape.stored_bytes,
        "what rounding cut off": cut_off,
        "candidate": _candidate_bytes(shape, recipe, is_alone=is_alone, is_rounded=is_rounded),
        "importance": weights if recipe.ewc else 0,
    }


def _candidate_bytes(shape: ModelShape, recipe: RecipeSettings, *, is_alone: bool, is_rounded: bool) -> int:
    """What computing a candidate takes, and writing it: a single one is written at once, and its writer copies it."""
    computing = _computing_bytes(shape.largest_bytes, is_rounded=is_rounded)
    if not is_alone:
        return computing
    if not is_rounded or recipe.gradient_checkpointing:
        return max(computing, shape.stored_bytes)
    # Between the blocks that each weight's rounding is computed in, which are let go of, those of what it cuts off
    # stay: the heap is not given back. A round that computes activations again keeps large blocks apart.
    return computing + shape.stored_bytes + max(0, FLOAT_BYTES * shape.parameters - shape.largest_bytes)


def _making_adapters(shape: ModelShape, recipe: RecipeSettings) -> Parts:
    """Scoring candidates that are adapters, each put into the model: beside it what they lie on, as it is stored."""
    map_bytes = FLOAT_BYTES * shape.hidden * shape.inner
    return {
        "process": _process(shape),
        "adapter's library": _library(shape, recipe),
        "weights": FLOAT_BYTES * shape.parameters,
        "parent": shape.stored_bytes,
        "adapter": _trained_bytes(shape, recipe),
        "importance": FLOAT_BYTES * shape.parameters if recipe.ewc else 0,
        **_most(
            {"evaluation": _evaluation(shape, recipe)}, {"candidate": _computing_bytes(map_bytes, is_rounded=False)}
        ),
    }


def _computing_bytes(largest_bytes: int, *, is_rounded: bool) -> int:
    """Of a single weight of a candidate, the largest: see `learner.weights.candidates` and `residual`."""
    rounding = ROUNDING_ARRAYS * min(FLOAT_BYTES * ROUNDING_WEIGHTS, largest_bytes) if is_rounded else 0
    return COPIES_AT_ONCE * largest_bytes + rounding


def _most(*alternatives: Parts) -> Parts:
    """What takes most of what is never there together."""
    return max(alternatives, key=lambda parts: sum(parts.values()))


def _needs_parent(shape: ModelShape, recipe: RecipeSettings) -> bool:
    return bool(recipe.replay_ratio != 0 and (recipe.kl if shape.by_token else recipe.der_alpha))


def _pulls(recipe: RecipeSettings) -> bool:
    return bool(recipe.l2_sp or recipe.ewc)


def _penalty_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """Anchors of what is trained; with EWC what each of them matters, and the rounds' sum of all."""
    weights = FLOAT_BYTES * shape.parameters
    whole = _weight_bytes(shape, recipe) * shape.parameters
    changed = (
        whole
        if recipe.adapter is None
        else FLOAT_BYTES
        * min(
            shape.parameters,
            shape.layers * sum(maps.weights for maps in adapted_maps(shape.hidden, shape.inner, recipe)),
        )
    )
    anchors = whole if _pulls(recipe) and recipe.adapter is None else 0
    return anchors + (changed + weights if recipe.ewc else 0)


def _still_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """Of the weights beside an adapter, which stand still."""
    if recipe.adapter_base is None:
        return FLOAT_BYTES * shape.parameters
    short = shape.layers * sum(maps.weights for maps in maps_of_layer(shape.hidden, shape.inner).values())
    return round(FOUR_BITS_BYTES * short) + FLOAT_BYTES * max(0, shape.parameters - short)


def _weight_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """Of a weight that is trained, and of its gradient."""
    return BFLOAT_BYTES if recipe.trains_as_stored and shape.is_bfloat16 else FLOAT_BYTES


def _is_short(shape: ModelShape, recipe: RecipeSettings) -> bool:
    """Whether passes of the training are in bfloat16."""
    return BFLOAT_BYTES in (shape.compute_bytes, _weight_bytes(shape, recipe))


def _moments_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    trained = _trained_bytes(shape, recipe)
    if recipe.optimizer == "adamw":
        return 2 * trained
    # A byte each, and a float of each block.
    return 2 * (trained // _weight_bytes(shape, recipe)) * (BLOCK + FLOAT_BYTES) // BLOCK


def _trained_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    if recipe.adapter is None:
        return _weight_bytes(shape, recipe) * shape.parameters
    return (
        FLOAT_BYTES
        * recipe.adapter_rank
        * shape.layers
        * sum(maps.sides for maps in adapted_maps(shape.hidden, shape.inner, recipe))
    )


def _largest(shape: ModelShape, recipe: RecipeSettings) -> int:
    """A weight's gradient of this pass, before it is added to what it has."""
    return shape.largest_bytes * _weight_bytes(shape, recipe) // FLOAT_BYTES if recipe.adapter is None else 0


def row_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """What each sequence of a micro-batch takes."""
    two, one = (_activations(shape, recipe.model_copy(update={"micro_batch": rows})) for rows in (2, 1))
    return two - one


def _activations(shape: ModelShape, recipe: RecipeSettings) -> int:
    """What a pass keeps, and what passes through a layer beside it: of scores that it keeps their gradients."""
    rows, width = rows_at_once(recipe), min(recipe.length, shape.positions)
    found = _kept(shape, recipe)
    shortened = BFLOAT_BYTES / shape.compute_bytes if _is_short(shape, recipe) else 1
    kept, scores = found.of(rows, width), rows * width**2 * found.by_pair / shape.layers
    if recipe.gradient_checkpointing:
        # What goes into each layer; the layer that is computed again keeps the rest.
        kept = rows * width * shape.layers * shape.hidden * shape.compute_bytes + kept / shape.layers
    return math.ceil(shortened * (kept + scores + rows * width * _passing(shape)))


def _kept(shape: ModelShape, recipe: RecipeSettings) -> Kept:
    """As the model was found to, or by its widths. CUDA's kernels keep no scores of attention."""
    if (found := shape.kept.get(recipe.adapter or WHOLE)) is not None:
        return found
    arrays = HIDDEN_ARRAYS * shape.hidden + INNER_ARRAYS * shape.inner
    if recipe.adapter is not None:
        arrays += ADAPTER_ARRAYS[recipe.adapter] * sum(
            maps.outputs for maps in adapted_maps(shape.hidden, shape.inner, recipe)
        )
    scores = 0 if shape.device_type == "cuda" else shape.heads
    size = shape.layers * shape.compute_bytes
    return Kept(0, size * arrays, size * scores)


def _passing(shape: ModelShape) -> int:
    """What passes through a layer of each token, in bytes."""
    return (PASSING_HIDDEN * shape.hidden + PASSING_INNER * shape.inner) * shape.compute_bytes


def _evaluation(shape: ModelShape, recipe: RecipeSettings) -> int:
    """A pass that keeps nothing, of as many tokens as one that is trained has at most."""
    return recipe.micro_batch * min(recipe.length, shape.positions) * _passing(shape) + _logits_bytes(shape)


def serving_bytes(shape: ModelShape) -> int:
    """What answering takes at the moment of a swap: the process, and two generations."""
    return _process(shape) + 2 * shape.stored_bytes


def _logits_bytes(shape: ModelShape, arrays_of: dict[str, int] = LOGITS_ARRAYS) -> int:
    """Of a part of them; of a classifier they are few."""
    if not shape.by_token:
        return 0
    places = places_of_part(shape.device_type, vocabulary=shape.outputs, width=shape.hidden)
    arrays = arrays_of["cuda" if shape.device_type == "cuda" else "cpu"]
    return places * shape.outputs * FLOAT_BYTES * arrays


def _library(shape: ModelShape, recipe: RecipeSettings) -> int:
    return shape.adapter_bytes if recipe.adapter is not None else 0


def _process(shape: ModelShape) -> int:
    return shape.process_bytes or PROCESS_BYTES["cuda" if shape.device_type == "cuda" else "cpu"]
