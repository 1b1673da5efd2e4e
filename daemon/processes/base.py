"""The base model becomes generation 0, in another process: converting needs torch, which the daemon never loads."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import BASE, GenerationStore
from checkpoints.quick_imports import quick_imports
from checkpoints.sequence_length import SequenceLength
from daemon.errors import DaemonError
from daemon.lifecycle.shutdown import StoppedEarly
from daemon.processes.children import end_group
from daemon.settings.tree import ModelSettings
from memory.store import Store

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 0.2


class BadBase(DaemonError):
    """The configured model cannot be the base."""


def ensure_base(
    store: Store,
    checkpoints: GenerationStore,
    model: ModelSettings,
    environment: Mapping[str, str],
    *,
    length: Callable[[], SequenceLength],
    must_stop: Callable[[], bool],
) -> None:
    """See that generation 0 is on disk and in the ledger; done once in a state directory's life.

    Args:
        length: chooses how long sequences are from then on; called where the base is imported.

    Raises:
        BadBase: the model cannot be imported; the message says why.
        StoppedEarly: `must_stop` said so.
    """
    if store.generations.serving() is not None:
        return
    if BASE not in checkpoints.numbers():
        chosen = length()
        log.info("importing_base_model", model=str(model.path), kind=model.kind, sequence_length=chosen.tokens)
        _import_in_a_process(checkpoints.root, model, chosen, environment, must_stop)
    # Cut off before this line, the next start finds the files there and only enters them.
    store.generations.register_base(digest=checkpoints.digest(BASE), source_path=str(model.path))


def _import_in_a_process(
    root: Path,
    model: ModelSettings,
    length: SequenceLength,
    environment: Mapping[str, str],
    must_stop: Callable[[], bool],
) -> None:
    arguments = json.dumps([str(root), str(model.path), model.kind, list(model.labels), length.tokens, length.why])
    with subprocess.Popen(
        [sys.executable, "-m", "daemon.processes.base", arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A group of its own, which can be killed whole, and which Ctrl-C at a terminal does not reach.
        start_new_session=True,
    ) as process:
        try:
            errors = _await_its_end(process, must_stop)
        finally:
            end_group(process)
    if process.returncode:
        reason = errors.strip().rpartition("\n")[2] or f"status {process.returncode}"
        raise BadBase(f"The model at {model.path} cannot be the base: {reason}")


def _await_its_end(process: "subprocess.Popen[bytes]", must_stop: Callable[[], bool]) -> str:
    """Wait for the process's end; returns what it wrote to standard error."""
    while True:
        try:
            # Called again after its timeout it has lost nothing of what was written.
            return process.communicate(timeout=LOOK_EVERY_SECONDS)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            if must_stop():
                raise StoppedEarly from None


def main(arguments: str) -> None:
    """Import, in the process that may load torch; an error is the last line of standard error."""
    with quick_imports():
        from checkpoints.base.prepare import import_base  # noqa: PLC0415 - torch, which the daemon never loads

    root, model, kind, labels, tokens, why = json.loads(arguments)
    length = SequenceLength(tokens, why)
    try:
        import_base(GenerationStore(Path(root)), Path(model), kind=kind, labels=tuple(labels), length=length)
    except CheckpointsError as error:
        # In one line: the daemon reads the last one.
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main(sys.argv[1])
