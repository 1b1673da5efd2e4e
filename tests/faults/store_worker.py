"""A process that writes to a store until it is killed: `python -m tests.faults.store_worker PATH WHAT [STEPS]`.

It prints a line for each step that the store has confirmed. With STEPS it kills itself after so many steps of SQLite's
virtual machine, which may be anywhere inside a transaction.
"""

import os
import random
import signal
import sys
from pathlib import Path

import structlog

from memory.ledger.records import SliceScore
from memory.ledger.states import RoundState
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch, DeadLetter, Document, Partition, Reason

PARTITION = Partition("faults", 0)
BATCH = 40
SETTINGS = MemorySettings(replay_samples=300, slice_documents=16)


def text(number: int) -> str:
    """A text that no other number gives."""
    words = ["river", "stone", "light", "cloud", "grain", "field", "house"]
    return " ".join(random.Random(number).choices(words, k=30)) + f" {number}"


def batch(start: int) -> Batch:
    """The records from this offset on: every tenth cannot be understood."""
    good = [n for n in range(start, start + BATCH) if n % 10]
    bad = [n for n in range(start, start + BATCH) if n % 10 == 0]
    return Batch(
        tuple(Document(text(n), "news", None, None, None, 0.0, PARTITION, n) for n in good),
        tuple(DeadLetter(PARTITION, n, Reason.NOT_JSON, "", None, b"{", 1, 0.0) for n in bad),
        (),
        {PARTITION: start + BATCH},
    )


def append(store: Store) -> None:
    """Take in the next batch."""
    start = store.next_offset("faults", 0) or 0
    store.append(batch(start))
    print(start + BATCH, flush=True)


def finish_rounds(store: Store) -> None:
    """Accept what was judged, abandon what was not: what recovery does."""
    for line in store.rounds.unfinished():
        if line.state is RoundState.JUDGED:
            accept(store, line.number)
        else:
            store.rounds.advance(line.number, RoundState.ABANDONED)


def accept(store: Store, number: int) -> None:
    """Accept a judged round."""
    generation = store.generations.reserve(number)
    scores = {"anchor": SliceScore(1.0, 1, 1)}
    store.rounds.accept(number, generation=generation, digest="d", scores=scores, verdict={}, report={})
    print(number, flush=True)


def round_(store: Store) -> None:
    """Text in, and a round from begin to acceptance."""
    finish_rounds(store)
    store.append(batch(store.next_offset("faults", 0) or 0))
    draw = store.rounds.begin(trigger="test", recipe={}, seed=1)
    if draw is not None:
        store.rounds.advance(draw.number, RoundState.TRAINING)
        store.rounds.advance(draw.number, RoundState.JUDGED)
        accept(store, draw.number)


def die_after(store: Store, steps: int) -> None:
    """Kill this process once SQLite's writer has taken so many hundred steps."""
    left = [steps]

    def count() -> int:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    with store.file.database.exclusive() as connection:
        connection.set_progress_handler(count, 100)


def main() -> None:
    """Write until killed."""
    path, what, *steps = sys.argv[1:]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with Store.open(Path(path), SETTINGS) as store:
        store.generations.register_base(digest="base", source_path="")
        if steps:
            die_after(store, int(steps[0]))
        while True:
            {"append": append, "round": round_}[what](store)


if __name__ == "__main__":
    main()
