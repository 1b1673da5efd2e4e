"""Loads the model once, in a process of its own: `python -m daemon.doctor.load_model JSON`, the arguments of `examine`.

Makes it generation 0 of the checkpoint store, where that has none yet. Prints one JSON object: what it is, or why it
cannot be loaded. Imports torch; nothing may import this module.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checkpoints.document_frame import read_frame
from checkpoints.files.weight_files import is_mostly_bfloat16
from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import KINDS, ModelKind
from checkpoints.quick_imports import quick_imports
from daemon.doctor.rehearsal import filler
from daemon.sizes.estimate import FLOAT_BYTES, WHOLE
from daemon.sizes.free_memory import free_bytes
from daemon.sizes.kept import Kept
from daemon.sizes.shape import ModelShape
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings

with quick_imports():
    from checkpoints.base.prepare import import_base

if TYPE_CHECKING:
    from checkpoints.probe.conduct import Conduct
    from learner.devices.device import Device

UNLIMITED = 2**20
SAMPLE_CHARACTERS = 4_000
ROOM_TO_COUNT = 2
"""What is kept is counted in float32 where main memory is free for the weights so many times."""


def examine(
    store: Path, path: Path, kind: ModelKind, labels: tuple[str, ...], learner: LearnerSettings
) -> dict[str, Any]:
    """Load the model as a start would, and say what it needs.

    Returns:
        {"device", "gpus", "served", "cost", "documents", "characters_per_token"} and what `ModelShape` has, or
        {"error"}.
    """
    from checkpoints.errors import CheckpointsError  # noqa: PLC0415 - torch, and only in this process
    from checkpoints.load import load_model, load_tokenizer  # noqa: PLC0415 - the same
    from checkpoints.probe.ask import conduct_of  # noqa: PLC0415 - the same
    from checkpoints.probe.separators import frame_of  # noqa: PLC0415 - the same
    from learner.devices.device import choose, gpus_there  # noqa: PLC0415 - the same
    from learner.errors import LearnerError  # noqa: PLC0415 - the same
    from learner.processes.bare_process import bytes_of_adapters, bytes_of_bare_process  # noqa: PLC0415 - the same

    # Before a model is there.
    process_bytes, adapter_bytes = bytes_of_bare_process(), bytes_of_adapters()
    try:
        device_found = choose(learner.device, learner.recipe.precision)
        base = import_base(GenerationStore(store), path, kind=kind, labels=labels).path
        model, tokenizer = load_model(base, kind), load_tokenizer(base)
        conduct = conduct_of(model, kind, tokenizer)
        frame = read_frame(base) or frame_of(model, tokenizer) if kind == "causal-lm" else None
    except LearnerError as error:
        return {"error": str(error), "remedy": "Set `learner.device` to one that is here, or to auto."}
    except CheckpointsError as error:
        return {"error": str(error)}
    text = filler(SAMPLE_CHARACTERS, 0)
    answer: dict[str, Any] = {
        "device": device_found.name,
        "served": conduct.description(kind),
        "cost": conduct.cost(kind),
        "gpus": gpus_there(),
    }
    answer["documents"] = "" if frame is None else frame.describe(tokenizer)
    answer["characters_per_token"] = len(text) / len(tokenizer(text)["input_ids"])
    shape = _shape(model, base, kind, device_found, conduct)
    if device_found.where.type != "cuda":
        shape = replace(shape, process_bytes=process_bytes, adapter_bytes=adapter_bytes)
    # Last, as it changes the model.
    kept = _kept(model, kind, device_found, conduct, learner.recipe)
    return answer | asdict(replace(shape, kept=kept))


def _shape(model: Any, base: Path, kind: ModelKind, device: "Device", conduct: "Conduct") -> ModelShape:
    from checkpoints.matching import rows_of  # noqa: PLC0415 - torch, and only in this process

    weights = list(model.parameters())
    config = model.config.get_text_config()
    hidden = _number(config, "hidden_size", "d_model") or model.get_input_embeddings().weight.shape[-1]
    longest = conduct.longest or 0
    by_token = KINDS[kind].by_token
    return ModelShape(
        parameters=sum(weight.numel() for weight in weights),
        stored_bytes=sum(weight.numel() * weight.element_size() for weight in weights),
        outputs=rows_of(model) or 1 if by_token else model.config.num_labels,
        by_token=by_token,
        hidden=hidden,
        inner=_number(config, "intermediate_size", "d_ff", "decoder_ffn_dim") or 4 * hidden,
        # Without attention there are no scores of it.
        heads=_number(config, "num_attention_heads") or 0,
        layers=_layers(model, config),
        positions=longest if longest > 0 else UNLIMITED,
        compute_bytes=device.compute.itemsize,
        device_type=device.where.type,
        largest_bytes=FLOAT_BYTES * max(weight.numel() for weight in weights),
        is_bfloat16=is_mostly_bfloat16(base),
    )


def _layers(model: Any, config: Any) -> int:
    """How many layers there are, of encoder and decoder together."""
    written = _number(config, "num_decoder_layers", "decoder_layers") if config.is_encoder_decoder else 0
    return (_number(config, "num_hidden_layers") or _deepest_list(model)) + (written or 0)


def _kept(
    model: Any, kind: ModelKind, device: "Device", conduct: "Conduct", recipe: RecipeSettings
) -> Mapping[str, Kept]:
    """What a pass keeps, with all weights trained and with an adapter; empty where main memory has no room to try it.

    An adapter is tried also where the recipe has none, as one may be proposed.
    """
    from learner.adapter_library import has_adapters  # noqa: PLC0415 - torch, and only in this process
    from learner.objectives.kept_activations import ROWS, count_kept  # noqa: PLC0415 - the same

    if free_bytes() < ROOM_TO_COUNT * FLOAT_BYTES * sum(weight.numel() for weight in model.parameters()):
        return {}
    adapters = [None, recipe.model_copy(update={"adapter": recipe.adapter or "lora"})] if has_adapters() else [None]
    packed = conduct.packed and conduct.rows_together
    found = {}
    for adapted in adapters:
        counted = count_kept(model, kind, packed=packed, compute=device.compute, adapted=adapted)
        if counted is not None:
            found[WHOLE if adapted is None else str(adapted.adapter)] = Kept.through(counted, ROWS)
    return found


def _number(config: Any, *names: str) -> int | None:
    """A size that a configuration tells under one of these names; the largest where layers differ in it."""
    for name in names:
        value = None
        with suppress(Exception):  # Some refuse what differs from layer to layer, each with an error of its own.
            value = getattr(config, name, None)
        sizes = value if isinstance(value, list) else [value]
        numbers = [size for size in sizes if isinstance(size, int)]
        if numbers:
            return max(numbers)
    return None


def _deepest_list(model: Any) -> int:
    """How many layers there are, where the configuration does not say so: the longest list of equal parts."""
    lists = [len(part) for part in model.modules() if type(part).__name__ == "ModuleList"]
    return max(lists, default=1)


if __name__ == "__main__":
    where, what, model_kind, known_labels, settings = json.loads(sys.argv[1])
    found = examine(Path(where), Path(what), model_kind, tuple(known_labels), LearnerSettings.model_validate(settings))
    sys.stdout.write(json.dumps(found))
