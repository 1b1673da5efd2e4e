"""What rounds do where the recipe leaves it to the model's size: sequences, and the learning rate. Pure."""

from checkpoints.sequence_length import SequenceLength
from daemon.settings.tree import Settings
from daemon.sizes.checkpointing import Checkpointing
from daemon.sizes.shape import ModelShape
from learner.learning_rates import usual_rate
from learner.settings import ADAPTER_RATE_FACTOR

MILLIONS_FROM = 100_000
BILLIONS_FROM = 1_000_000_000


def describe_learning(
    settings: Settings, shape: ModelShape, length: SequenceLength, checkpointing: Checkpointing | None = None
) -> str:
    """Return in a line how long sequences are and how fast a model learns, each with its reason.

    Args:
        settings: of the service; their recipe names the length.
        shape: of the model.
        length: how that was chosen.
        checkpointing: what was decided of it; None where the recipe says so.
    """
    recipe = settings.learner.recipe
    sequences = f"sequences of {length.tokens:,} tokens, {length.why}; {recipe.batch_sequences:,} of them a step"
    line = f"{sequences}; {_rate(settings, shape)}"
    return line if checkpointing is None else f"{line}; {checkpointing.sentence()}"


def describe_parameters(number: int) -> str:
    """Return how many parameters a model has, for people."""
    if number < MILLIONS_FROM:
        return f"{number / 1e3:,.1f} thousand parameters"
    if number < BILLIONS_FROM:
        return f"{number / 1e6:,.1f} million parameters"
    return f"{number / 1e9:,.1f} billion parameters"


def _rate(settings: Settings, shape: ModelShape) -> str:
    recipe, kind = settings.learner.recipe, settings.model.kind
    rate = f"learning rate {recipe.peak_rate(kind, shape.parameters):.2g} at its peak"
    if recipe.learning_rate is not None:
        return f"{rate}, as `learner.recipe.learning_rate` says"
    factor = "" if recipe.adapter is None else f", times {ADAPTER_RATE_FACTOR} for an adapter"
    new_head = ", more in the first round of a new head" if kind == "classifier" else ""
    why = usual_rate(kind, shape.parameters).why
    return f"{rate} for {describe_parameters(shape.parameters)}: {why}{factor}{new_head}"
