"""Whether a round computes activations again in the backward pass, where the recipe leaves that open.

That is less memory for a third more of the training's time, and the same result. So it is done where a round would not
fit without into the memory that is free when it begins. On a CPU fewer sequences in a pass are tried before: as long as
a pass has some hundreds of tokens, more of them cost it nothing. A GPU may be idle then, which is not yet measured.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from checkpoints.kinds import ModelKind
from daemon.sizes.estimate import GIB, halves, rows_at_once, training_bytes
from daemon.sizes.job_resources import memory_of_job
from daemon.sizes.model_shape import shape_of_files
from daemon.sizes.round_memory import bytes_computed_in, memory_of_round
from daemon.sizes.shape import ModelShape
from learner.devices.gpus import RunsOn, count_shares
from learner.settings import RecipeSettings

LEAST_TOKENS_OF_A_PASS: Final = 512
"""On a CPU, of a pass that has fewer sequences so that activations need not be computed again."""


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """What was decided.

    Attributes:
        on: whether activations are computed again.
        why: that, in words that follow "on" or "off".
        micro_batch: sequences in a pass, fewer than the recipe has, with which a round fits without; None: as many as
            the recipe has.
    """

    on: bool
    why: str
    micro_batch: int | None = None

    def sentence(self) -> str:
        """For a person."""
        return f"gradient checkpointing is {'on' if self.on else 'off'} by itself: {self.why}"

    @property
    def changes(self) -> dict[str, bool | int]:
        """Of the recipe."""
        return {
            "gradient_checkpointing": self.on,
            **({} if self.micro_batch is None else {"micro_batch": self.micro_batch}),
        }


UNTOLD: Final = Checkpointing(on=False, why="the model's files do not tell what a round needs")


def checkpointing_now(model: Path, kind: ModelKind, recipe: RecipeSettings, runs_on: RunsOn) -> Checkpointing:
    """Decide by a model's files and the memory that is free now; see `decide_checkpointing`.

    Args:
        model: its directory.
        kind: what it is for.
        recipe: of the round.
        runs_on: the round, or the settings of its learner.
    """
    memory = memory_of_round(runs_on)
    if memory.free is None:
        return Checkpointing(on=False, why="nvidia-smi does not tell how much memory is free on the GPU of the round")
    computed = bytes_computed_in(recipe.precision, native_bfloat16=memory.native_bfloat16)
    shape = shape_of_files(model, kind, device_type=memory.device_type, compute_bytes=computed)
    if shape is None:
        return UNTOLD
    return decide_checkpointing(replace(shape, divided_by=count_shares(runs_on)), recipe, memory.free // memory.ranks)


def checkpointing_in_job(
    template_file: Path,
) -> Callable[[Path, ModelKind, RecipeSettings, RunsOn], Checkpointing]:
    """What decides for rounds that are Jobs of Kubernetes: what their template asks for, as `checkpointing_now` else.

    Args:
        template_file: of the Jobs.
    """

    def decide(model: Path, kind: ModelKind, recipe: RecipeSettings, runs_on: RunsOn) -> Checkpointing:
        memory = memory_of_job(template_file, runs_on.device)
        if memory.bytes is None:
            # Half the micro-batch, down to one sequence, is tried before it is: see `daemon.rounds.out_of_memory`.
            return Checkpointing(on=False, why=f"how much memory {memory.name} has is known when the round runs")
        # Of a GPU nobody can tell: what a Job's template tells is main memory.
        computed = bytes_computed_in(recipe.precision, native_bfloat16=False)
        shape = shape_of_files(model, kind, device_type="cpu", compute_bytes=computed)
        if shape is None:
            return UNTOLD
        ranks = runs_on.devices if isinstance(runs_on.devices, int) else 1
        return decide_checkpointing(replace(shape, divided_by=count_shares(runs_on)), recipe, memory.bytes // ranks)

    return decide


def decide_checkpointing(shape: ModelShape, recipe: RecipeSettings, free: int) -> Checkpointing:
    """Decide by what a round needs without and with it. Pure.

    Args:
        shape: of the model.
        recipe: of the round, with as many sequences in a pass as it begins with.
        free: bytes for the round.
    """
    without, with_it = (_needed(shape, recipe, gradient_checkpointing=on) for on in (False, True))
    # Where something else takes most, a third more time would buy nothing.
    on = without > free and with_it < without
    if on and (fewer := _fewer(shape, recipe, free)) is not None:
        needed = _needed(shape, recipe, gradient_checkpointing=False, micro_batch=fewer)
        return Checkpointing(
            on=False,
            why=f"with {fewer} in a pass of {rows_at_once(recipe)} sequences a round needs about "
            f"{needed / GIB:.1f} GiB without, else {without / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free",
            micro_batch=fewer,
        )
    less = f" and {with_it / GIB:.1f} GiB with it" if on else ""
    return Checkpointing(
        on=on, why=f"a round needs about {without / GIB:.1f} GiB without{less}, and {free / GIB:.1f} GiB are free"
    )


def _fewer(shape: ModelShape, recipe: RecipeSettings, free: int) -> int | None:
    """The most sequences in a pass with which a round fits without, on a CPU; None where there are none."""
    if shape.device_type != "cpu":
        return None
    for rows in halves(rows_at_once(recipe), 1):
        if rows * recipe.length < LEAST_TOKENS_OF_A_PASS:
            return None
        if _needed(shape, recipe, gradient_checkpointing=False, micro_batch=rows) <= free:
            return rows
    return None


def _needed(shape: ModelShape, recipe: RecipeSettings, **changes: bool | int) -> int:
    return training_bytes(shape, recipe.model_copy(update=changes))
