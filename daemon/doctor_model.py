"""Loads the model once, in a process of its own: `python -m daemon.doctor_model PATH KIND DEVICE [LABEL…]`.

Prints one JSON object: what it is, or why it cannot be loaded. Imports torch; nothing may import this module.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def examine(path: Path, kind: str, device: str, labels: tuple[str, ...]) -> dict[str, Any]:
    """Load the model as a start would, and say what it needs.

    Returns:
        {"parameters", "stored_bytes", "device", "device_type"}, or {"error"}.
    """
    from checkpoints.errors import CheckpointsError  # noqa: PLC0415
    from checkpoints.load import load_model, prepare_base  # noqa: PLC0415
    from learner.devices import choose  # noqa: PLC0415
    from learner.errors import LearnerError  # noqa: PLC0415

    try:
        chosen = choose(device, "auto")
        with tempfile.TemporaryDirectory() as scratch:
            model = load_model(prepare_base(path, Path(scratch), kind, labels), kind)  # type: ignore[arg-type]
    except (CheckpointsError, LearnerError) as error:
        return {"error": str(error)}
    weights = list(model.parameters())
    return {
        "parameters": sum(weight.numel() for weight in weights),
        "stored_bytes": sum(weight.numel() * weight.element_size() for weight in weights),
        "device": chosen.name,
        "device_type": chosen.where.type,
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    found = examine(Path(arguments[0]), arguments[1], arguments[2], tuple(arguments[3:]))
    sys.stdout.write(json.dumps(found))
