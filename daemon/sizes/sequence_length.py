"""How long sequences are to be where the recipe does not say so: chosen once, when the base is imported."""

import math
import sys
from dataclasses import replace
from typing import Final

from checkpoints.sequence_length import SequenceLength
from daemon.settings.tree import Settings, kept_length, with_length
from daemon.sizes.estimate import GIB, SHORTEST, training_bytes
from daemon.sizes.job_resources import memory_of_job
from daemon.sizes.model_shape import shape_of_files
from daemon.sizes.round_memory import RoundMemory, bytes_computed_in, left_to_round, memory_of_round
from daemon.sizes.shape import ModelShape
from learner.devices.gpus import count_shares
from learner.settings import USUAL_LENGTH, RecipeSettings
from memory.samples.records import Counts

WANTED: Final = {"cuda": 2048, "cpu": 1024}
"""Tokens of a sequence where nothing is known of the documents: what small models were pre-trained with. On a CPU,
where attention over a row takes time and masks by the square of its tokens, half of it."""
MEANS: Final = 2
"""A sequence holds documents of so many times the mean length: of lengths that are exponential six in seven."""
LONGEST: Final = 4096
SET: Final = "as `learner.recipe.sequence_length` says"


def length_of(settings: Settings, counts: Counts | None) -> SequenceLength:
    """How long sequences are, and why: as is set, as was chosen, or as a first start would choose now.

    Args:
        settings: of the service.
        counts: of the memory; None where there is none.

    Raises:
        checkpoints.errors.UnusableModel: what was chosen cannot be read.
    """
    kept, named = kept_length(settings), settings.learner.recipe.sequence_length
    if kept is not None and named in (None, kept.tokens):
        return kept
    return choose_length(settings, counts) if named is None else SequenceLength(named, SET)


def choose_length(settings: Settings, counts: Counts | None) -> SequenceLength:
    """What model, documents and the memory that is free now ask for; see `decide_length`."""
    learner = settings.learner
    memory = None if settings.jobs.template_file is not None else memory_of_round(learner)
    shape = _shape(settings, memory)
    if shape is None:
        return SequenceLength(USUAL_LENGTH, "as the model's files do not tell its size")
    shape = replace(shape, divided_by=count_shares(learner))
    left = _left_in_job(settings) if memory is None else left_to_round(settings.serving, memory, shape)
    # As many bytes as any where nobody can tell.
    return decide_length(shape, learner.recipe, sys.maxsize if left is None else left, tokens_per_document(counts))


def _shape(settings: Settings, memory: RoundMemory | None) -> ModelShape | None:
    """The model's, where its rounds run: in a Job, where there is no memory to look at here."""
    if memory is not None:
        on_gpu, native = bool(memory.gpus), memory.native_bfloat16
    else:
        assert settings.jobs.template_file is not None
        on_gpu = native = memory_of_job(settings.jobs.template_file, settings.learner.device).on_gpu
    return shape_of_files(
        settings.model.path,
        settings.model.kind,
        device_type="cuda" if on_gpu else "cpu",
        compute_bytes=bytes_computed_in(settings.learner.recipe.precision, native_bfloat16=native),
    )


def _left_in_job(settings: Settings) -> int | None:
    assert settings.jobs.template_file is not None
    bytes_ = memory_of_job(settings.jobs.template_file, settings.learner.device).bytes
    devices = settings.learner.devices
    return None if bytes_ is None else bytes_ // (devices if isinstance(devices, int) else 1)


def with_chosen_length(settings: Settings, chosen: SequenceLength) -> Settings:
    """Settings whose recipe names the length that `length_of` told; one that is set stands."""
    is_set = settings.learner.recipe.sequence_length is not None
    return settings if is_set else with_length(settings, chosen.tokens)


def tokens_per_document(counts: Counts | None) -> float | None:
    """In the mean; None where no text is there."""
    if counts is None or not (samples := counts.fresh_samples + counts.replay_samples):
        return None
    return max(1.0, (counts.fresh_tokens + counts.replay_tokens) / samples)


def decide_length(
    shape: ModelShape, recipe: RecipeSettings, free: int, tokens_per_document: float | None
) -> SequenceLength:
    """Choose how long sequences are: as long as the documents ask for, the model allows and memory holds. Pure.

    Memory holds a length where a round fits with a single row a pass. Where none fits it is not the length that is too
    large, and it is chosen as if there were room.

    Args:
        shape: of the model.
        recipe: of rounds.
        free: bytes for a round.
        tokens_per_document: in the mean; None where no text is there.
    """
    if tokens_per_document is None:
        wanted = WANTED["cuda" if shape.device_type == "cuda" else "cpu"]
        why = f"which is usual for documents of which nothing is known yet, on {_place(shape)}"
    else:
        # A whole power of two, so that few lengths are seen.
        wanted = 2 ** math.ceil(math.log2(MEANS * tokens_per_document))
        wanted = min(LONGEST, max(USUAL_LENGTH, wanted))
        why = f"so that most documents, of {tokens_per_document:,.0f} tokens in the mean, are read whole"
    if shape.positions <= wanted:
        wanted, why = shape.positions, "which is the most that the model allows"
    fitting = next((length for length in _halve(wanted) if _fits(shape, recipe, length, free)), wanted)
    if fitting < wanted:
        why = f"as a round with {2 * fitting:,} does not fit into {free / GIB:.1f} GiB of {shape.memory_name}"
    return SequenceLength(fitting, why)


def _place(shape: ModelShape) -> str:
    return "a GPU" if shape.device_type == "cuda" else "a CPU"


def _halve(length: int) -> list[int]:
    lengths = [length]
    while lengths[-1] // 2 >= SHORTEST:
        lengths.append(lengths[-1] // 2)
    return lengths


def _fits(shape: ModelShape, recipe: RecipeSettings, length: int, free: int) -> bool:
    return training_bytes(shape, recipe.of_length(length).model_copy(update={"micro_batch": 1})) <= free
