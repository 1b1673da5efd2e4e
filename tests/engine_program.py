"""An engine that is a program of its own, for tests: the builtin one behind OpenAI's API, over one model directory.

    python -m tests.engine_program MODEL NAME PORT [FILE]

Its key is in RIVERKEEP_ENGINE_KEY. How it behaves FILE says: `dies` ends with words of its own, `silent` listens and
never answers, `other` calls itself otherwise than it was told; empty, or without FILE, it answers.
"""

import os
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from checkpoints.quick_imports import quick_imports
from serving.processes.launch import KEY_VARIABLE
from serving.settings import ServingSettings

NUMBER: Final = 7
"""Of the generation that it thinks it is, which says nothing."""


def main(model: Path, name: str, port: int, file: str = "") -> None:
    """Answer until the end."""
    manner = Path(file).read_text(encoding="utf-8") if file else ""
    if manner == "dies":
        sys.exit("no room on the device")
    if manner == "silent":
        with socket.create_server(("127.0.0.1", port)):
            signal.pause()
    with TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text(os.environ[KEY_VARIABLE])
        keys.chmod(0o600)
        settings = ServingSettings(
            port=port, model_name="another" if manner == "other" else name, api_key_file=keys, max_new_tokens=4000
        )
        serve(settings, model)


def serve(settings: ServingSettings, model: Path) -> None:
    """Answer from a model directory."""
    # Not before: one that does not answer needs none of it.
    with quick_imports():
        import torch
        import uvicorn
        from prometheus_client import CollectorRegistry

        from checkpoints.load import load_model, load_tokenizer
        from serving.answers.prompts import RecentPrompts
        from serving.api_keys import ApiKeys
        from serving.app import build_app
        from serving.engine.completions import Engine
        from serving.engine.loaded import LoadedGeneration
        from serving.generations.switch import Switch
        from serving.metrics import ServingMetrics
        from serving.routes.parts import Parts

    torch.set_num_threads(1)
    metrics = ServingMetrics(CollectorRegistry())
    switch = Switch(metrics)
    loaded = LoadedGeneration.of(
        NUMBER,
        "0" * 64,
        "causal-lm",
        load_model(model, "causal-lm", dtype=torch.float32),
        load_tokenizer(model),
        loaded_at=0.0,
    )
    switch.turn(loaded)
    worker = Engine(at_once=8, queue=64, metrics=metrics)
    worker.start()
    parts = Parts(settings, "causal-lm", switch, worker, RecentPrompts(4), metrics, lambda: "", lambda: False)
    app = build_app(parts, ApiKeys(settings.api_key_file))
    uvicorn.run(app, host="127.0.0.1", port=settings.port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
