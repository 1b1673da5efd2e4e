"""What rounds do: sequences, which weights are trained, and how fast, mostly by the model's size. Pure."""

from checkpoints.sequence_length import SequenceLength
from daemon.doctor.proposal import as_lines, with_adapter
from daemon.settings.tree import Settings
from daemon.sizes.checkpointing import Checkpointing
from daemon.sizes.shape import ModelShape
from learner.learning_rates import usual_rate
from learner.settings import ADAPTER_RATE_FACTOR

TITLES = {"lora": "LoRA", "dora": "DoRA"}
MILLIONS_FROM = 100_000
BILLIONS_FROM = 1_000_000_000


def describe_learning(
    settings: Settings, shape: ModelShape, length: SequenceLength, checkpointing: Checkpointing | None = None
) -> str:
    """Return in a line how long sequences are, what is trained and how fast a model learns, each with its reason.

    Args:
        settings: of the service; their recipe names the length.
        shape: of the model.
        length: how that was chosen.
        checkpointing: what was decided of it; None where the recipe says so.
    """
    recipe = settings.learner.recipe
    sequences = f"sequences of {length.tokens:,} tokens, {length.why}; {recipe.batch_sequences:,} of them a step"
    line = f"{sequences}; {_trained(settings, shape)}; {_rate(settings, shape)}"
    return line if checkpointing is None else f"{line}; {checkpointing.sentence()}"


def describe_parameters(number: int) -> str:
    """Return how many parameters a model has, for people."""
    if number < MILLIONS_FROM:
        return f"{number / 1e3:,.1f} thousand parameters"
    if number < BILLIONS_FROM:
        return f"{number / 1e6:,.1f} million parameters"
    return f"{number / 1e9:,.1f} billion parameters"


def _trained(settings: Settings, shape: ModelShape) -> str:
    learner = settings.learner
    recipe = learner.recipe
    if recipe.adapter is not None:
        return f"{TITLES[recipe.adapter]} of rank {recipe.adapter_rank} is trained beside the weights"
    if shape.parameters < BILLIONS_FROM or (change := with_adapter(learner)) is None:
        return "all weights are trained"
    return f"all weights are trained, which of so many takes far more memory than an adapter does: {as_lines(change)}"


def _rate(settings: Settings, shape: ModelShape) -> str:
    recipe, kind = settings.learner.recipe, settings.model.kind
    rate = f"learning rate {recipe.peak_rate(kind, shape.parameters):.2g} at its peak"
    if recipe.learning_rate is not None:
        return f"{rate}, as `learner.recipe.learning_rate` says"
    factor = "" if recipe.adapter is None else f", times {ADAPTER_RATE_FACTOR} for an adapter"
    new_head = ", more in the first round of a new head" if kind == "classifier" else ""
    why = usual_rate(kind, shape.parameters).why
    return f"{rate} for {describe_parameters(shape.parameters)}: {why}{factor}{new_head}"
