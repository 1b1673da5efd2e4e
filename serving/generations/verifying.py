"""What is asked of a generation's files before it is brought to answer, whatever answers from it."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from checkpoints.generation_store import GenerationStore

NICENESS: Final = 10
# Files of a generation that its tokenizer is not made of.
NOT_TOKENIZER: Final = (".safetensors", ".safetensors.index.json", "card.json")


def verify(store: GenerationStore, number: int, digest: str | None) -> None:
    """See that a generation's files are whole, on what answering leaves over of the processor.

    Raises:
        CheckpointsError: it is missing or damaged, or its manifest is not `digest`.
    """
    _at_low_priority(lambda: store.verify(number, digest=digest))


def tokenizer_files(store: GenerationStore, number: int) -> frozenset[tuple[str, str]]:
    """What tells whether two generations share a tokenizer: parsing a large one stops the interpreter for long."""
    ground = store.ground(number)
    manifest = store.manifest(number if ground is None else ground.generation)
    return frozenset((name, entry.sha256) for name, entry in manifest.files.items() if not name.endswith(NOT_TOKENIZER))


def _at_low_priority(work: Callable[[], None]) -> None:
    """Do work that hardly needs the interpreter on what answering leaves over of the processor.

    On a thread of its own: a niced thread that held the interpreter's lock would hold up answers whenever the
    machine is busy. Linux has a niceness for each thread; elsewhere this changes nothing.
    """
    with ThreadPoolExecutor(1, initializer=_be_nice) as pool:
        pool.submit(work).result()


def _be_nice() -> None:
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
