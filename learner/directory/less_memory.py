"""What is changed of a round that is to take less memory. It changes no result, and the time. Torch-free."""

from dataclasses import replace
from pathlib import Path

from learner.directory.round_directory import RoundSpec, read_spec, write_spec


def halve_micro_batch(path: Path) -> int | None:
    """Make ready to try a round again that ran out of memory. No pass has more sequences than a batch.

    Returns:
        The new micro-batch, or None where it was 1 already and nothing was changed.
    """
    spec = read_spec(path)
    rows = min(spec.recipe.micro_batch, spec.recipe.batch_sequences)
    if rows == 1:
        return None
    half = rows // 2
    write_spec(path, _with_micro_batch(spec, half))
    return half


def limit_micro_batch(path: Path, most: int) -> bool:
    """Give a round that has not begun a micro-batch of at most `most`; tell whether it had a larger one."""
    spec = read_spec(path)
    if spec.recipe.micro_batch <= most:
        return False
    write_spec(path, _with_micro_batch(spec, most))
    return True


def settle_checkpointing(path: Path, *, on: bool, note: str = "") -> None:
    """Write down whether a round whose recipe leaves it open computes activations again.

    Args:
        path: of the round.
        on: whether it does.
        note: one sentence that says why it does, for the report.
    """
    spec = read_spec(path)
    recipe = spec.recipe.model_copy(update={"gradient_checkpointing": on})
    write_spec(path, replace(spec, recipe=recipe, checkpointing=note))


def _with_micro_batch(spec: RoundSpec, size: int) -> RoundSpec:
    return replace(spec, recipe=spec.recipe.model_copy(update={"micro_batch": size}))
