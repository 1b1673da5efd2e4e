"""How much memory a round and a swap will need: an estimate from the model's shape and the recipe. Pure."""

from dataclasses import dataclass

from learner.objectives.part_sizes import places_of_part
from learner.settings import ADAPTER_PARTS, RecipeSettings

MIB, GIB = 2**20, 2**30

PROCESS_BYTES = {"cpu": 800 * MIB, "cuda": 600 * MIB}
"""Of a process that has loaded torch and transformers: resident memory, or on a GPU its context and workspaces."""
FLOAT_BYTES = 4
"""A weight in float32, as models are trained; its gradient, and each of AdamW's two moments, takes as much."""
COPIES_AT_ONCE = 3
"""In float32, of the weight of a candidate that is computed: the parent's, the result's, and what lies between them."""
LOGITS_ARRAYS = {"cpu": 3, "cuda": 5}
"""Float32 arrays of logits at once, of the places that a part of them has: the logits, the model's distribution and the
parent's. Where the forward pass is in bfloat16 logits and gradient have arrays of their own."""
ADAPTER_ARRAYS = {"lora": 1, "dora": 5}
"""What an adapter keeps of each token, in outputs of the linear maps that it changes."""
SHORTEST = 64
"""Tokens of a sequence below which nothing is proposed: too little is learned from such text."""
HIDDEN_ARRAYS = 13
INNER_ARRAYS = 6
"""What a layer keeps of each token for the backward pass, in widths of the model and of its feed-forward part."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a model tells how much memory it takes.

    Attributes:
        parameters: how many weights.
        stored_bytes: of the weights as they are stored, and answer.
        outputs: logits at each place of a sequence (the vocabulary), or of each document (a classifier's labels).
        by_token: whether each token has its logits.
        hidden, inner, heads, layers: the width of the model, that of its feed-forward part, attention's heads, and how
            many layers it has.
        positions: the longest sequence that the model allows.
        compute_bytes: of a number in the forward pass.
        device_type: `cpu`, `cuda` or `mps`.
    """

    parameters: int
    stored_bytes: int
    outputs: int
    by_token: bool
    hidden: int
    inner: int
    heads: int
    layers: int
    positions: int
    compute_bytes: int
    device_type: str

    @property
    def memory_name(self) -> str:
        """What the memory is called that it takes while it is trained."""
        return "GPU memory" if self.device_type == "cuda" else "memory"


def training_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """What a round takes at its highest: the process, weights with their optimizer, one micro-batch.

    A guide for where no round can be rehearsed. The counts of arrays are fitted to what rounds of a small Llama took on
    a CPU, and right within a tenth there.
    """
    return max(sum(training_parts(shape, recipe).values()), _candidates_bytes(shape, recipe))


def training_parts(shape: ModelShape, recipe: RecipeSettings) -> dict[str, int]:
    """What lies in memory while a micro-batch is passed, in bytes by name; an adapter's parent is the model itself."""
    activations = rows_at_once(recipe) * row_bytes(shape, recipe)
    return _at_rest(shape, recipe) | {"activations": activations, "logits": _logits_bytes(shape)}


def describe_parts(shape: ModelShape, recipe: RecipeSettings) -> str:
    """Return in words what memory holds while a round trains, part by part, in GiB."""
    parts = training_parts(shape, recipe)
    told = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items() if size)
    return f"while it trains, in GiB by the model's shape: {told}"


def rows_at_once(recipe: RecipeSettings) -> int:
    """Sequences in a micro-batch, of which no step has more than it trains on."""
    return min(recipe.micro_batch, recipe.batch_sequences)


def least_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """What a round takes whatever its micro-batch: the process, weights with their optimizer, a part of the logits."""
    at_rest = sum(_at_rest(shape, recipe).values())
    return max(at_rest + _logits_bytes(shape), _candidates_bytes(shape, recipe))


def _at_rest(shape: ModelShape, recipe: RecipeSettings) -> dict[str, int]:
    """Between two passes of the training."""
    all_weights = FLOAT_BYTES * shape.parameters
    trained = all_weights
    if recipe.adapter is not None:
        widths = shape.layers * sum(maps.sides for maps in _adapted(shape, recipe))
        trained = FLOAT_BYTES * recipe.adapter_rank * widths
    return {
        "process": _process(shape),
        "weights": all_weights if recipe.adapter is None else all_weights + trained,
        "gradients": trained,
        "optimizer": 2 * trained,
        "parent": all_weights if recipe.adapter is None else 0,
    }


def _candidates_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """When candidates are made, weight by weight; on a GPU lies the model alone, which is the least of it."""
    if shape.device_type == "cuda":
        return 0
    weights = FLOAT_BYTES * shape.parameters
    # Of the parent; and of a single candidate, which is written at once, its own.
    cut_off = (
        0 if shape.stored_bytes >= weights else shape.parameters * (2 if len(set(recipe.interpolation)) == 1 else 1)
    )
    largest = shape.hidden * max(shape.outputs, shape.inner)
    return _process(shape) + weights + shape.stored_bytes + cut_off + COPIES_AT_ONCE * FLOAT_BYTES * largest


@dataclass(frozen=True, slots=True)
class _Maps:
    """Linear maps of a part of a layer: their inputs and outputs together, their outputs, their weights."""

    sides: int
    outputs: int
    weights: int


def _adapted(shape: ModelShape, recipe: RecipeSettings) -> list[_Maps]:
    """What an adapter changes in each layer; names of modules are counted as all of both parts."""
    named = any(word not in ADAPTER_PARTS for word in recipe.adapter_modules)
    parts = ADAPTER_PARTS if named else set(recipe.adapter_modules)
    hidden, inner = shape.hidden, shape.inner
    maps = {
        "mlp": _Maps(3 * (hidden + inner), 2 * inner + hidden, 3 * hidden * inner),
        "attention": _Maps(8 * hidden, 4 * hidden, 4 * hidden**2),
    }
    return [maps[part] for part in parts]


def row_bytes(shape: ModelShape, recipe: RecipeSettings) -> int:
    """What each sequence of a micro-batch takes. CUDA's kernels keep no scores of attention."""
    width = min(recipe.sequence_length, shape.positions)
    scores = 0 if shape.device_type == "cuda" else shape.heads * width
    by_layer = HIDDEN_ARRAYS * shape.hidden + INNER_ARRAYS * shape.inner + scores
    if recipe.adapter is not None:
        by_layer += ADAPTER_ARRAYS[recipe.adapter] * sum(maps.outputs for maps in _adapted(shape, recipe))
    by_token = by_layer + shape.layers * shape.hidden if recipe.gradient_checkpointing else shape.layers * by_layer
    return width * by_token * shape.compute_bytes


def serving_bytes(shape: ModelShape) -> int:
    """What answering takes at the moment of a swap: the process, and two generations."""
    return _process(shape) + 2 * shape.stored_bytes


def _logits_bytes(shape: ModelShape) -> int:
    """Of a classifier they are few."""
    if not shape.by_token:
        return 0
    places = places_of_part(shape.device_type, vocabulary=shape.outputs, width=shape.hidden)
    arrays = LOGITS_ARRAYS["cuda" if shape.device_type == "cuda" else "cpu"]
    return places * shape.outputs * 4 * arrays


def _process(shape: ModelShape) -> int:
    return PROCESS_BYTES["cuda" if shape.device_type == "cuda" else "cpu"]
