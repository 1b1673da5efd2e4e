"""What the memory costs as it grows: taking text in at 10,000 and at 1,000,000 samples, and drawing from a million.

`python -m benchmarks.memory [--json FILE] [--samples N]`

Documents are 400 bytes of random words, arriving 1,000 at a time. The large store is filled as it fills in life: a
hundred thousand documents at a time, each settled by an accepted round, until so many are replay (a twentieth is held
out and comes on top). Both stores then take batches in turn, so that what else the machine does meets both; the ratio
is of the median rates.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import structlog

from benchmarks.report import Bar, arguments, report
from memory.ledger.records import DrawSpec, SliceScore
from memory.ledger.states import RoundState
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch, Document, Partition

BATCH = 1_000
SMALL = 10_000
ROUND = 100_000
TEXT_BYTES = 400
PARTITION = Partition("benchmark", 0)
# Bounds out of reach, so that nothing is dropped and the store grows to the size that is asked for.
SETTINGS = MemorySettings(
    fresh_samples=10**7, replay_samples=10**7, replay_tokens=10**10, duplicate_window=10**7, round_tokens=10**10
)
EVERYTHING = DrawSpec(replay_ratio=0.0)


def batches(seed: int) -> Iterator[Batch]:
    """Batches without end, of texts that differ from each other."""
    random_numbers = random.Random(seed)
    words = [f"{random_numbers.randrange(36**4):x}" for _ in range(20_000)]
    offset = 0
    while True:
        texts = (" ".join(random_numbers.choices(words, k=90))[:TEXT_BYTES] for _ in range(BATCH))
        yield Batch(
            tuple(
                Document(text, f"source {n % 4}", None, None, None, time.time(), PARTITION, offset + n)
                for n, text in enumerate(texts)
            ),
            (),
            (),
            {PARTITION: offset + BATCH},
        )
        offset += BATCH


def accept_a_round(store: Store, number: int) -> float:
    """Begin and accept a round on everything fresh; returns how long that took in seconds."""
    started = time.perf_counter()
    draw = store.rounds.begin(trigger="benchmark", recipe={}, seed=number, spec=EVERYTHING)
    if draw is None:
        raise RuntimeError("nothing was fresh")
    store.rounds.advance(draw.number, RoundState.TRAINING)
    store.rounds.advance(draw.number, RoundState.JUDGED)
    store.rounds.accept(
        draw.number,
        generation=store.generations.reserve(draw.number),
        digest=str(number),
        scores={part.name: SliceScore(1.0, 1, 1) for part in draw.slices},
        verdict={},
        report={},
    )
    return time.perf_counter() - started


def take_in(store: Store, stream: Iterator[Batch], documents: int) -> None:
    """Take in so many documents."""
    for _ in range(0, documents, BATCH):
        store.append(next(stream))


def fill(store: Store, stream: Iterator[Batch], samples: int) -> list[float]:
    """Take text in until so many samples are replay, with a round for each hundred thousand documents.

    Returns:
        How long each round took, in seconds.
    """
    store.generations.register_base(digest="base", source_path="none")
    rounds: list[float] = []
    while (held := store.counts().replay_samples) < samples or not rounds:
        print(f"{held:,} samples", file=sys.stderr)
        take_in(store, stream, ROUND)
        rounds.append(accept_a_round(store, len(rounds)))
    return rounds


def seconds_of(function: Callable[[], object]) -> float:
    """How long a call took, in seconds."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(folder: Path, large: Store, stream: Iterator[Batch], blocks: int = 8) -> tuple[float, float]:
    """Median rates of a store at 10,000 samples and of the large one, in documents a second."""
    small_rates, large_rates = [], []
    for block in range(blocks):
        # A new one for each block, as it would not stay small.
        with Store.open(folder / f"small-{block}.db", SETTINGS) as small:
            # Another seed for each: the same texts again would be duplicates.
            small_stream = batches(seed=1_000 + block)
            take_in(small, small_stream, SMALL)
            for _ in range(10):
                # Made before the clock starts.
                pair = next(small_stream), next(stream)
                small_rates.append(BATCH / seconds_of(partial(small.append, pair[0])))
                large_rates.append(BATCH / seconds_of(partial(large.append, pair[1])))
    return statistics.median(small_rates), statistics.median(large_rates)


def main() -> int:
    """Measure, print the table, write the file."""
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000, help="replay in the large store")
    options = parser.parse_args()
    # Errors alone: every round that is accepted would log a line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as name, Store.open(Path(name) / "large.db", SETTINGS) as large:
        stream = batches(seed=0)
        rounds = fill(large, stream, options.samples)
        small_rate, large_rate = compare(Path(name), large, stream)
        draws = [seconds_of(partial(large.sample_replay, 1_000, seed=seed)) for seed in range(20)]
        held = large.counts()
        bars = [
            Bar(name="insert rate at the large size ÷ at 10,000", value=large_rate / small_rate, at_least=0.8),
            Bar(name=f"drawing 1,000 of {held.replay_samples:,} (s)", value=statistics.median(draws), at_most=0.1),
            Bar(name="documents/s at 10,000", value=small_rate),
            Bar(name=f"documents/s at {options.samples:,}", value=large_rate),
            Bar(name=f"settling {ROUND:,} documents, last round (s)", value=rounds[-1]),
            Bar(name="bytes on disk ÷ bytes of text", value=_overhead(large)),
        ]
    return report("memory", bars, options.json)


def _overhead(store: Store) -> float:
    counts = store.counts()
    text = sum(entry.tokens for entry in counts.by_role_and_source) * counts.bytes_per_token
    return sum(store.file_bytes().values()) / text


if __name__ == "__main__":
    sys.exit(main())
