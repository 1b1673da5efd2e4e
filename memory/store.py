"""The durable store: one SQLite file that holds text, offsets, the ledger of rounds and generations.

Every write is one transaction. Threads and processes may use the same file at the same time: writers take turns,
readers see the last committed state and delay nobody.
"""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np

from memory.database import facts
from memory.intake import held_out_share
from memory.intake.records import Appended
from memory.ledger import draw
from memory.samples import ages, counters, offsets, reading
from memory.samples.offsets import TopicPosition
from memory.samples.reading import FreshLabel
from memory.samples.records import AgeCount, Counts, Sample
from memory.settings import MemorySettings
from memory.views.aside import Aside
from memory.views.audit import Audit
from memory.views.canaries import Canaries
from memory.views.dead_letters_and_gaps import Quarantine
from memory.views.feedback import FeedbackView
from memory.views.generations import Generations
from memory.views.people import People
from memory.views.picks import Picks
from memory.views.rounds import Rounds
from memory.views.session import Session
from streams.closing import Closing
from streams.document import Batch, Partition


class Store(Closing):
    """The memory: text that comes in, and a view of each thing that is kept. A context manager.

    Any method, of the views too, may be called from any thread, and raises `StoreBusy` (another process wrote for
    longer than the busy timeout), `StoreFull` (no room on disk; nothing of the write took effect) or `StoreDamaged`.

    Attributes:
        file: the file in use, and whether it can be used.
        rounds: the ledger of rounds.
        generations: the ledger of generations.
        canaries: generations that are watched in traffic before they serve.
        aside: text that was set aside.
        quarantine: dead letters and gaps.
        people: a person's text.
        audit: what served when, and who did what.
        feedback: what was said of answers.
        picks: which of two generations' answers people found the better.
    """

    def __init__(self, file: Session) -> None:
        self.file = file
        self.rounds = Rounds(file)
        self.generations = Generations(file)
        self.canaries = Canaries(file)
        self.aside = Aside(file)
        self.quarantine = Quarantine(file)
        self.people = People(file)
        self.audit = Audit(file)
        self.feedback = FeedbackView(file)
        self.picks = Picks(file)

    @classmethod
    def open(
        cls,
        path: Path,
        settings: MemorySettings,
        *,
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
    ) -> Self:
        """Open the store at `path`, making it where there is none; see `Session.open`."""
        return cls(Session.open(path, settings, clock=clock, read_only=read_only))

    @classmethod
    def unopened(
        cls, path: Path, settings: MemorySettings, *, clock: Callable[[], float] = time.time, make: bool = True
    ) -> Self:
        """A store that is not open yet; see `Session.unopened`."""
        return cls(Session.unopened(path, settings, clock=clock, make=make))

    def close(self) -> None:
        """Close every connection, also those of other threads; idempotent."""
        self.file.close()

    def next_offset(self, topic: str, number: int, incarnation: str = "") -> int | None:
        """The offset to read next in a partition; None for one that the store has never seen."""
        return self.file.read(offsets.next_offset, Partition(topic, number, incarnation))

    def offsets_of(self, topic: str, number: int) -> dict[str, int]:
        """The offset to read next of each incarnation of a topic's partition that the store has seen."""
        return self.file.read(offsets.offsets_of, topic, number)

    def topic_positions(self, limit: int = 10_000) -> list[TopicPosition]:
        """How far each partition of a topic has been read, in the order of their names."""
        return self.file.read(offsets.topic_positions, limit)

    def knows(self, topic: str) -> bool:
        """Whether any partition of a topic was ever seen."""
        return self.file.read(offsets.knows, topic)

    def latest_incarnation(self, topic: str, number: int) -> str | None:
        """The incarnation under which a topic's partition was read last; None for one that was never seen."""
        return self.file.read(offsets.latest_incarnation, topic, number)

    def append(
        self,
        batch: Batch,
        *,
        before_stream: bool = False,
        keep_unpublished: bool = False,
        opened: int | None = None,
    ) -> Appended:
        """Take a batch in: samples, dead letters, gaps and offsets in one transaction.

        When this returns, the batch is durable and may be acknowledged. When it raises, nothing took effect.

        Args:
            batch: what a poll brought. What lies below a partition's stored offset was delivered again and is skipped.
            before_stream: the text is of the kind that the model was built on: it goes straight to replay, its
                held-out part to the anchor slice (until that is frozen).
            keep_unpublished: dead letters wait for a topic: none makes room for another before it is there.
            opened: what `opened` was when the batch's partitions were asked for; None: whatever it was.

        Raises:
            StoreReopened: the file was opened anew since; the batch does not follow on what it holds.
            BadBatch: a document lies at or beyond its partition's `next_offsets`.
        """
        return self.file.intake.append(
            batch, before_stream=before_stream, keep_unpublished=keep_unpublished, opened=opened
        )

    def keep_out(self, texts: Iterable[str]) -> None:
        """Say which text from outside nothing may be trained on, in place of what was said before.

        What arrives and is one of these texts, or nearly, or quotes one, is dropped as a near-duplicate of held-out
        text is, and what was kept already when a round would draw it. It is not written down: whoever opens the store
        says it again.

        Args:
            texts: each about 500 bytes in RAM; of those with less than some 36 bytes only the same text is told.
        """
        self.file.keep_out(texts)

    def is_full(self) -> bool:
        """Whether the fresh buffer has reached a budget, so that consumption should pause."""
        return self.file.read(counters.is_full, self.file.settings)

    def counts(self) -> Counts:
        """How full the memory is; read from counters, so the cost does not grow with the store."""
        return self.file.read(counters.counts, self.file.settings)

    def fill(self, counts: Counts) -> float:
        """How full the fresh buffer is by its fuller budget: 1 where consumption should pause."""
        settings = self.file.settings
        return max(counts.fresh_samples / settings.fresh_samples, counts.fresh_tokens / settings.fresh_tokens)

    def file_bytes(self) -> dict[str, int]:
        """Sizes of the database and of its write-ahead log."""
        return self.file.database.file_bytes()

    def set_bytes_per_token(self, value: float) -> None:
        """Tell how many bytes of UTF-8 the model's tokenizer takes for a token (a report measures it).

        Raises:
            ValueError: not between 0.1 and 100.
        """
        if not 0.1 <= value <= 100:
            raise ValueError(f"{value} bytes per token is not between 0.1 and 100")
        self.file.write(facts.put, "bytes_per_token", float(value))

    def ask_for_held_out(self, keys: int) -> None:
        """Say how many keys each slice needs to be judged by: sources that bring little have a larger share held out.

        Args:
            keys: at least 0, where 0 holds out the same share of everything.

        Raises:
            ValueError: fewer than 0.
        """
        if keys < 0:
            raise ValueError(f"{keys} keys cannot be held out")
        self.file.write(facts.put, held_out_share.KEYS_ASKED, keys)

    def ages(self) -> tuple[AgeCount, ...]:
        """Replay and held-out text by source and by the rounds that it came in, oldest first."""
        return self.file.read(ages.ages)

    def fresh_since(self) -> float | None:
        """When the fresh sample that has waited longest arrived, unix seconds; None where nothing is fresh."""
        return self.file.read(ages.fresh_since)

    def newest_sample(self) -> int:
        """The highest number that a sample has had; 0 before the first."""
        return self.file.read(facts.get_int, "next_sample") - 1

    def next_fresh(self, after: int) -> Sample | None:
        """The fresh sample with the lowest id above `after`; None where there is none."""
        return self.file.read(reading.next_fresh, after)

    def fresh_labels(self) -> list[FreshLabel]:
        """All fresh samples that have a label, without their text: it costs a look at each fresh sample."""
        return self.file.read(reading.fresh_labels)

    def held_out_shares(self) -> dict[str, float]:
        """By source, the share that is held out of its new keys now."""
        return self.file.read(held_out_share.shares_in_force, self.file.settings)

    def held_out_most(self) -> float:
        """The largest share that may be held out of a source's new keys now."""
        return self.file.read(held_out_share.most_in_force, self.file.settings)

    def sample_replay(self, count: int, *, seed: int) -> list[Sample]:
        """Samples drawn uniformly from replay without replacement: `count`, or all where there are fewer."""
        generator = np.random.Generator(np.random.PCG64(seed))
        with self.file.database.read() as tx:
            ids = draw.replay_ids(tx, generator, most_bytes=math.inf, most=count)
            return [placed.sample for placed in reading.read(tx, ids)]
