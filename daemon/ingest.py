"""The ingest loop: text from the stream into the store, one transaction at a time."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

from daemon.supervisor import Part, State
from memory.store import Store
from streams.document import Batch, Partition

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5


class Source(Protocol):
    """Where batches come from. All but `lag` and `paused_partitions` are called from the ingest loop's thread alone."""

    def poll(self, timeout_s: float) -> Batch | None:
        """Wait at most `timeout_s` seconds for records; keeps the group membership alive while paused too."""

    def acknowledge(self, batch: Batch) -> None:
        """Tell the group how far the stream has been kept; the store is the truth, so a failure is no error."""

    def pause_all(self) -> None:
        """Let `poll` bring nothing."""

    def resume_all(self) -> None:
        """Let `poll` bring records again."""

    def resume(self, partition: Partition) -> None:
        """Read on where a flood of dead letters paused."""

    @property
    def trouble(self) -> str:
        """Why nothing can come; empty while all is well."""

    def lag(self) -> Mapping[Partition, int]:
        """Records in each partition that are not yet read."""

    def paused_partitions(self) -> Mapping[Partition, str]:
        """Partitions that paused by themselves, and why."""


class Ingest:
    """Moves batches from a source into the store; the offset is durable before it is acknowledged.

    Whatever the store or the source raises ends the loop: its part is begun again with a new source, which reads
    from the store's offsets. So nothing is lost, and nothing is kept twice. `run` is the target of a part.

    Args:
        open_source: makes a source; entered when the loop begins.
        why_full: why nothing more may be taken in now; an empty sentence when it may.
    """

    def __init__(
        self,
        *,
        open_source: Callable[[], AbstractContextManager[Source]],
        store: Store,
        why_full: Callable[[], str],
    ) -> None:
        self._open_source = open_source
        self._store = store
        self._why_full = why_full
        self._paused = ""
        self._source: Source | None = None
        self._lock = threading.Lock()
        self._to_resume: set[Partition] = set()

    @property
    def paused(self) -> str:
        """Why all consumption pauses; empty while it does not."""
        return self._paused

    def lag(self) -> Mapping[Partition, int]:
        """Records in each partition that are not yet read; empty while there is no source."""
        source = self._source
        return {} if source is None else source.lag()

    def paused_partitions(self) -> Mapping[Partition, str]:
        """Partitions that are paused by themselves, and why."""
        source = self._source
        return {} if source is None else source.paused_partitions()

    def resume(self, partition: str | None) -> list[str]:
        """Let the loop read on in a partition (`topic/number`) that paused by itself, or in all of them.

        Returns:
            Those that this concerns.
        """
        chosen = {
            each for each in self.paused_partitions() if partition is None or partition == f"{each.topic}/{each.number}"
        }
        with self._lock:
            self._to_resume |= chosen
        return sorted(f"{each.topic}/{each.number}" for each in chosen)

    def run(self, part: Part) -> None:
        """The loop."""
        with self._open_source() as source:
            self._paused = ""
            self._source = source
            try:
                self._loop(part, source)
            finally:
                self._source = None

    def _loop(self, part: Part, source: Source) -> None:
        while not part.stop.is_set():
            part.beat()
            trouble = source.trouble
            part.says(State.BROKEN if trouble else State.RUNNING, trouble)
            self._pause_while_full(source)
            self._resume_what_was_asked(source)
            self._move_one_batch(source)

    def _pause_while_full(self, source: Source) -> None:
        why = self._why_full()
        if why == self._paused:
            return
        self._paused = why
        if why:
            source.pause_all()
            log.warning("consumption_paused", reason=why)
        else:
            source.resume_all()
            log.info("consumption_resumed")

    def _resume_what_was_asked(self, source: Source) -> None:
        with self._lock:
            chosen, self._to_resume = self._to_resume, set()
        for partition in chosen:
            source.resume(partition)
            log.info("partition_resumed", topic=partition.topic, partition=partition.number)

    def _move_one_batch(self, source: Source) -> None:
        batch = source.poll(POLL_SECONDS)
        if batch is None:
            return
        self._store.append(batch)
        source.acknowledge(batch)


def why_full(store: Store) -> str:
    """Why nothing more may be taken in; empty when it may."""
    if store.is_full():
        return "the fresh buffer is full: an accepted round makes room"
    if store.quarantine_is_full():
        return (
            "the quarantine of dead letters is full: replay or drop them (`riverkeep memory --help`),"
            " or name a `streams.dead_letter_topic`"
        )
    return ""
