"""Loads the model once, in a process of its own: `python -m daemon.doctor_model PATH KIND DEVICE PRECISION [LABEL…]`.

Prints one JSON object: what it is, or why it cannot be loaded. Imports torch; nothing may import this module.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from daemon.doctor_memory import Shape
from learner.settings import ModelKind, Precision

if TYPE_CHECKING:
    from checkpoints.probe.conduct import Conduct
    from learner.devices import Device

UNLIMITED = 2**20


def examine(path: Path, kind: ModelKind, device: str, precision: Precision, labels: tuple[str, ...]) -> dict[str, Any]:
    """Load the model as a start would, and say what it needs.

    Returns:
        {"device", "served", "cost"} and what `daemon.doctor_memory.Shape` has, or {"error"}.
    """
    from checkpoints.errors import CheckpointsError  # noqa: PLC0415 - torch, and only in this process
    from checkpoints.load import load_model, load_tokenizer, prepare_base  # noqa: PLC0415 - the same
    from checkpoints.probe.ask import conduct_of  # noqa: PLC0415 - the same
    from learner.devices import choose  # noqa: PLC0415 - the same
    from learner.errors import LearnerError  # noqa: PLC0415 - the same

    try:
        chosen = choose(device, precision)
        with tempfile.TemporaryDirectory() as scratch:
            prepared = prepare_base(path, Path(scratch), kind, labels)
            model = load_model(prepared, kind)
            conduct = conduct_of(model, kind, load_tokenizer(prepared))
    except (CheckpointsError, LearnerError) as error:
        return {"error": str(error)}
    said = {"device": chosen.name, "served": conduct.told(kind), "cost": conduct.cost(kind)}
    return said | asdict(_shape(model, kind, chosen, conduct))


def _shape(model: Any, kind: str, device: "Device", conduct: "Conduct") -> Shape:
    weights = list(model.parameters())
    text = model.config.get_text_config()
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    longest = conduct.longest or 0
    by_token = kind == "causal-lm"
    return Shape(
        parameters=sum(weight.numel() for weight in weights),
        stored_bytes=sum(weight.numel() * weight.element_size() for weight in weights),
        outputs=text.vocab_size if by_token else model.config.num_labels,
        by_token=by_token,
        hidden=text.hidden_size,
        inner=inner,
        heads=text.num_attention_heads,
        layers=text.num_hidden_layers,
        positions=longest if longest > 0 else UNLIMITED,
        compute_bytes=device.compute.itemsize,
        device_type=device.where.type,
    )


if __name__ == "__main__":
    model_path, model_kind, device_name, computed_in, *known_labels = sys.argv[1:]
    found = examine(
        Path(model_path),
        # Both come from settings, which allow no other words.
        cast("ModelKind", model_kind),
        device_name,
        cast("Precision", computed_in),
        tuple(known_labels),
    )
    sys.stdout.write(json.dumps(found))
