"""The ingest loop: text from the stream into the store, one transaction at a time."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from daemon.ingestion.arrivals import ArrivalCounter, ArrivedSoFar
from daemon.ingestion.flood_sentence import flood_sentence, flooded
from daemon.lifecycle.supervised_threads import Part, State
from memory.intake.records import Appended
from memory.store import Store
from streams.document import Batch, DeadLetter, Partition, Pause, partition_name

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
REBALANCE_SECONDS = 15.0
"""For so long a group that shares its partitions out anew may leave this member without any, and all is well."""
NO_PARTITIONS = "waiting for partitions: its group has given it none yet"
UNREAD = frozenset({Pause.DEAD_LETTER_FLOOD, Pause.SCHEMA_REGISTRY_AWAY})
"""Why a partition pauses by itself while the others are read on."""
EVICTIONS_TOLD_SECONDS = 600.0
"""How often the log tells, at most, that dead letters make room."""


@dataclass(frozen=True, slots=True)
class Full:
    """Why nothing more may be taken in: for metrics, and in a sentence."""

    pause: Pause
    sentence: str


class Source(Protocol):
    """Where batches come from. From other threads than the ingest loop's: `lag`, `paused_partitions`, `trouble`."""

    def poll(self, timeout_s: float) -> Batch | None:
        """Wait at most `timeout_s` seconds for records; keeps the group membership alive while paused too."""

    def acknowledge(self, batch: Batch) -> None:
        """Tell the group how far the stream has been kept; the store is the truth, so a failure is no error."""

    def pause_all(self, why: Pause) -> None:
        """Let `poll` bring nothing; called again where the reason changes."""

    def resume_all(self) -> None:
        """Let `poll` bring records again."""

    def resume(self, partition: Partition) -> None:
        """Read on where a flood of dead letters paused."""

    @property
    def trouble(self) -> str:
        """Why nothing can come; empty while all is well."""

    @property
    def schemas_missing(self) -> str:
        """Why partitions wait for their schemas; empty where none does."""

    def missing_topics(self) -> tuple[str, ...]:
        """Topics that should be read and do not exist; text of the others comes."""

    def unanswered(self) -> Mapping[tuple[str, int], str]:
        """Partitions (topic and number) that are not read as no broker tells where they stand; what came instead."""

    def lag(self) -> Mapping[Partition, int]:
        """Records not yet read in each partition that is read; empty while there is none, or no broker answers."""

    def paused_partitions(self) -> Mapping[Partition, str]:
        """Partitions that paused by themselves, and why."""


class Keeper(Protocol):
    """What takes batches in; see `Store.append`."""

    def append(self, batch: Batch, *, keep_unpublished: bool) -> Appended:
        """Take a batch in, durably when it returns."""


class SameStore:
    """A store for who reads on from where it said: once its file was opened anew it takes in nothing more.

    What was put in its place may be an older copy, whose offsets the batches that come would leave a gap behind.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._opened = store.file.opened

    def begin(self) -> None:
        """From now on the store is asked where to read on."""
        self._opened = self._store.file.opened

    def append(self, batch: Batch, *, keep_unpublished: bool) -> Appended:
        """See `Store.append`.

        Raises:
            StoreReopened: the file was opened anew since `begin`.
        """
        return self._store.append(batch, keep_unpublished=keep_unpublished, opened=self._opened)


class Ingest:
    """Moves batches from a source into the store; the offset is durable before it is acknowledged.

    Whatever the store or the source raises ends the loop: its part is begun again with a new source, which reads
    from the store's offsets. So nothing is lost, and nothing is kept twice. `run` is the target of a part.

    Args:
        open_source: makes a source; entered when the loop begins.
        why_full: why nothing more may be taken in now; None when it may.
        keep_unpublished: dead letters wait for a topic, and none makes room before it is there.
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(
        self,
        *,
        open_source: Callable[[], AbstractContextManager[Source]],
        store: Keeper,
        why_full: Callable[[], Full | None],
        keep_unpublished: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_source = open_source
        self._store = store
        self._why_full = why_full
        self._keep_unpublished = keep_unpublished
        self._monotonic = monotonic
        self._arrivals = ArrivalCounter(monotonic=monotonic)
        self._full: Full | None = None
        self._evicted = 0
        self._evictions_told_at = float("-inf")
        self._refusals = Refusals()
        self._assigned_at = float("-inf")
        self._source: Source | None = None
        self._lock = threading.Lock()
        self._to_resume: set[Partition] = set()

    @property
    def paused(self) -> str:
        """Why all consumption pauses; empty while it does not."""
        # Into a local: the loop may set it to None, in its own thread, between two looks.
        full = self._full
        return "" if full is None else full.sentence

    def lag(self) -> Mapping[Partition, int]:
        """Records not yet read in each partition that is read; empty while that is not known, which is no lag of 0."""
        source = self._source
        return {} if source is None else source.lag()

    @property
    def trouble(self) -> str:
        """Why nothing can come: no broker answers, or no topic is there; empty while all is well."""
        source = self._source
        return "" if source is None else source.trouble

    @property
    def unread(self) -> list[str]:
        """What is not read though the rest is, and what to do, a sentence each."""
        source = self._source
        return [] if source is None or source.trouble else _unread(source)

    def paused_partitions(self) -> Mapping[Partition, str]:
        """Partitions that are paused by themselves, and why."""
        source = self._source
        return {} if source is None else source.paused_partitions()

    def arrived(self) -> ArrivedSoFar:
        """What this process has stored since it began, and lately, whichever source brought it."""
        return self._arrivals.so_far()

    def resume(self, partition: str | None) -> list[str]:
        """Let the loop read on in a partition (`topic/number`) that paused by itself, or in all of them.

        Returns:
            Those that this concerns.
        """
        # Only noted: the source belongs to the loop's thread, and Kafka's consumer bears no other.
        partitions = {paused for paused in self.paused_partitions() if partition in (None, partition_name(paused))}
        with self._lock:
            self._to_resume |= partitions
        return sorted(partition_name(paused) for paused in partitions)

    def run(self, part: Part) -> None:
        """The loop."""
        with self._open_source() as source:
            # A new source reads on, whatever the last one was told: where memory is still full it is told again.
            self._full = None
            self._assigned_at = float("-inf")
            self._source = source
            try:
                self._loop(part, source)
            finally:
                self._source = None

    def _loop(self, part: Part, source: Source) -> None:
        while not part.stop.is_set():
            part.beat()
            self._say_how_it_is(part, source)
            # Before each batch, so that at most one goes over the bound.
            self._pause_while_full(source)
            self._resume_what_was_asked(source)
            self._move_one_batch(source)

    def _say_how_it_is(self, part: Part, source: Source) -> None:
        paused = source.paused_partitions()
        lags, floods = source.lag().keys(), flooded_names(paused)
        unread = {where for where, why in paused.items() if why in UNREAD}
        now = self._monotonic()
        if lags:
            self._assigned_at = now
        if trouble := source.trouble:
            part.says(State.WAITING, trouble)
        elif not lags and not source.unanswered():
            settling = now - self._assigned_at <= REBALANCE_SECONDS
            part.says(State.RUNNING if settling else State.WAITING, NO_PARTITIONS)
        else:
            sentences = [*_unread(source), *([flood_sentence(floods)] if floods else [])]
            part.says(State.WAITING if len(unread) == len(lags) else State.RUNNING, "; ".join(sentences))

    def _pause_while_full(self, source: Source) -> None:
        full = self._why_full()
        if full == self._full:
            return
        self._full = full
        if full is not None:
            source.pause_all(full.pause)
            log.warning("consumption_paused", reason=full.sentence)
        else:
            source.resume_all()
            log.info("consumption_resumed")

    def _resume_what_was_asked(self, source: Source) -> None:
        with self._lock:
            partitions, self._to_resume = self._to_resume, set()
        for partition in partitions:
            source.resume(partition)
            log.info("partition_resumed", topic=partition.topic, partition=partition.number)

    def _move_one_batch(self, source: Source) -> None:
        batch = source.poll(POLL_SECONDS)
        if batch is None:
            return
        appended = self._store.append(batch, keep_unpublished=self._keep_unpublished)
        self._arrivals.count(batch, appended)
        # After the store has it: who goes by the group's offsets must not count what could still be lost.
        source.acknowledge(batch)
        self._tell_of_evictions(appended.dead_letters_evicted)
        self._refusals.tell(batch.dead_letters, self._monotonic())

    def _tell_of_evictions(self, letters: int) -> None:
        self._evicted += letters
        now = self._monotonic()
        if self._evicted and now - self._evictions_told_at >= EVICTIONS_TOLD_SECONDS:
            log.warning(
                "dead_letters_evicted",
                letters=self._evicted,
                remedy="`riverkeep memory` tells the reasons: mend them, or name a streams.dead_letter_topic, or raise "
                "memory.quarantine_rows or memory.quarantine_bytes",
            )
            self._evicted, self._evictions_told_at = 0, now


def _unread(source: Source) -> list[str]:
    """Of topics and partitions that are not read though the others are; a flood is told of where it is decided on."""
    missing = source.missing_topics()
    sentences = [f"{', '.join(missing)} cannot be read: there is no such topic"] if missing else []
    sentences += _unanswered_sentences(source.unanswered())
    return sentences + ([source.schemas_missing] if source.schemas_missing else [])


def _unanswered_sentences(unanswered: Mapping[tuple[str, int], str]) -> list[str]:
    if not unanswered:
        return []
    (topic, number), why = next(iter(unanswered.items()))
    shown = f"{topic}/{number}" + (f" and {len(unanswered) - 1} more" if len(unanswered) > 1 else "")
    return [f"{shown} cannot be read, as no broker tells where reading is to go on ({why}): see that there is a leader"]


def flooded_names(paused: Mapping[Partition, str]) -> list[str]:
    """`topic/number` of the partitions that a flood of dead letters paused."""
    return sorted(partition_name(partition) for partition in flooded(paused))


def why_full(store: Store, *, keep_unpublished: bool) -> Full | None:
    """Why nothing more may be taken in; None when it may.

    Args:
        keep_unpublished: dead letters wait for a topic, and none makes room before it is there.
    """
    if store.is_full():
        return Full(Pause.MEMORY_FULL, "the fresh buffer is full: an accepted round makes room")
    if keep_unpublished and store.quarantine.is_full():
        return Full(
            Pause.DEAD_LETTERS_WAIT,
            "the quarantine is full of dead letters that wait for streams.dead_letter_topic: see that it is there and "
            "takes them (`riverkeep doctor`), or drop them (`riverkeep memory dead-letters drop`)",
        )
    return None


TOLD_SECONDS = 600.0
"""How often the log tells, at most, of one topic's dead letters."""


class Refusals:
    """Counts each topic's dead letters by reason from one line in the log to the next."""

    def __init__(self) -> None:
        self._since: dict[str, Counter[str]] = {}
        self._told_at: dict[str, float] = {}

    def tell(self, letters: Iterable[DeadLetter], now: float) -> None:
        """Count these, and tell of each topic that has some untold and was not told of lately.

        Args:
            letters: of one batch. What is in them stays out of the log, their details too.
            now: seconds, of a clock that never goes back.
        """
        for letter in letters:
            self._since.setdefault(letter.partition.topic, Counter())[letter.reason.value] += 1
        # A list, as the loop takes topics out of what it goes over.
        for topic in [name for name in self._since if now - self._told_at.get(name, float("-inf")) >= TOLD_SECONDS]:
            reasons = self._since.pop(topic)
            self._told_at[topic] = now
            log.warning(
                "records_refused",
                topic=topic,
                records=reasons.total(),
                reasons=dict(reasons.most_common()),
                look="riverkeep memory dead-letters",
            )
