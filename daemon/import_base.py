"""The base model becomes generation 0, in another process: converting needs torch, which the daemon never loads."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog

from checkpoints.generation import BASE, GenerationStore
from daemon.errors import DaemonError
from daemon.settings import ModelSettings
from memory.store import Store

log = structlog.get_logger(__name__)


class BadBase(DaemonError):
    """The configured model cannot be the base."""


def ensure_base(
    store: Store, checkpoints: GenerationStore, model: ModelSettings, environment: Mapping[str, str]
) -> None:
    """See that generation 0 is on disk and in the ledger; done once in a state directory's life.

    Raises:
        BadBase: the model cannot be imported; the message says why.
    """
    if store.serving() is not None:
        return
    if BASE not in checkpoints.numbers():
        log.info("base_model_imported", model=str(model.path), kind=model.kind)
        _import_in_a_process(checkpoints.root, model, environment)
    store.register_base(digest=checkpoints.digest(BASE), source_path=str(model.path))


def _import_in_a_process(root: Path, model: ModelSettings, environment: Mapping[str, str]) -> None:
    arguments = json.dumps([str(root), str(model.path), model.kind, list(model.labels)])
    done = subprocess.run(
        [sys.executable, "-m", "daemon.import_base", arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise BadBase(f"The model at {model.path} cannot be the base: {said or f'status {done.returncode}'}")


def main(arguments: str) -> None:
    """Import, in the process that may load torch; an error is the last line of standard error."""
    root, model, kind, labels = json.loads(arguments)
    GenerationStore(Path(root)).import_base(Path(model), kind=kind, labels=tuple(labels))


if __name__ == "__main__":
    main(sys.argv[1])
