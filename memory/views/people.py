"""What is kept of a person, and its erasure."""

from collections.abc import Collection

import structlog

from memory.identity import similar_keys
from memory.identity.similar_keys import SimilarKey
from memory.people import erasure, finding, pending_erasures, scored_text, tracing
from memory.people.erasure import Forgotten
from memory.people.finding import Found
from memory.people.scored_text import ScoredText
from memory.people.tracing import Traced, TracedPage
from memory.samples.reading import FoundSample
from memory.samples.records import KeyHash
from memory.views.session import Session

log = structlog.get_logger(__name__)


class People:
    """A person's text, found and erased by key. Every method may be called from any thread."""

    def __init__(self, file: Session) -> None:
        self._file = file

    def key_hash(self, key: str | KeyHash) -> int:
        """The keyed hash by which a key is known here: signed, 64 bits."""
        return key.value if isinstance(key, KeyHash) else self._file.intake.key_hash(key)

    def similar_keys(self, key: str | KeyHash) -> tuple[SimilarKey, ...]:
        """Other keys of which something is kept, and that may name the same person in another dress."""
        return self._file.read(similar_keys.find, _plain_key(key), self.key_hash(key), self._file.intake.key_hash)

    def find(self, key: str | KeyHash, *, limit: int = 100, after: int = 0) -> Found:
        """What is known of a person: what is kept, where it came from, and what had seen it. Changes nothing.

        Args:
            key: of the person's documents.
            limit: most samples to return.
            after: return those with greater ids.
        """
        return self._file.read(finding.find, _plain_key(key), self.key_hash(key), limit=limit, after=after)

    def trace(self, key: str | KeyHash, *, limit: int = 50, after: int = 0) -> TracedPage:
        """A person's records one by one, also those whose text has left memory while the ledger knows them.

        Args:
            key: of the person's documents.
            limit: most records of samples to return, and on the first page as many dead letters.
            after: return those with greater ids.
        """
        return self._file.read(tracing.of_key, _plain_key(key), self.key_hash(key), limit=limit, after=after)

    def trace_record(self, topic: str, number: int, offset: int) -> tuple[Traced, ...]:
        """What is known of one record, whoever's; several where the topic was made anew, the latest first.

        Empty where the partition was never read.
        """
        return self._file.read(tracing.of_offset, topic, number, offset)

    def partitions_read(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions that were ever read."""
        return self._file.read(tracing.partitions_read, topic)

    def scored_text(self, number: int) -> ScoredText:
        """Of the held-out text that a round judged its candidates by what is kept, and what was erased since."""
        return self._file.read(scored_text.of_round, number)

    def read_scored(self, samples: Collection[int]) -> dict[int, tuple[FoundSample, str | None]]:
        """Those of these samples that are kept, each with the slice that it is held out in now, by id."""
        return self._file.read(scored_text.read, samples)

    def erased_of_training(self, number: int) -> int:
        """How many of the samples that a round had to train on are gone, and of a key that was erased since."""
        return self._file.read(scored_text.erased_of_training, number)

    def saw_erased_text(self) -> dict[int, bool]:
        """Generations that saw text which was erased since, whoever's: whether each was trained on it itself.

        The others among them started from one that was. Of rounds before `lineage_from` at the time of an erasure it is
        not known what they were given.
        """
        return self._file.read(erasure.saw_erased_text)

    def tombstones_wait(self) -> bool:
        """Whether the stream has asked for erasures that are not done yet."""
        return self._file.read(pending_erasures.wait)

    def apply_tombstones(self, *, scrub: bool) -> Forgotten:
        """Erase the text that came before the stream's tombstones, all that wait at once, and name what had seen it.

        Args:
            scrub: rewrite the file too, as `forget` does; else what is deleted is overwritten where it lies.

        Raises:
            StoreBusy, StoreFull: the text is erased from every table, and the file could not be rewritten.
        """
        # Intake goes on meanwhile: what arrives now came after the tombstones, and their keys are not barred.
        forgotten = self._file.write(pending_erasures.apply)
        if scrub:
            erasure.scrub(self._file.database)
        log.info("tombstones_applied", samples=forgotten.samples, dead_letters=forgotten.dead_letters)
        return forgotten

    def forget(self, key: str | KeyHash) -> Forgotten:
        """Erase all text of a key, for good, and name what had seen it.

        Samples and dead letters go; the file is compacted and the write-ahead log truncated, so that no copy stays
        in free space; a keyed hash of the key stays, so that a redelivery is not stored again. Takes seconds a
        gigabyte, in which other writers wait. Nothing is unlearned: see the generations named.
        """
        # No batch comes between the erasure and the scrubbing, and the caches learn afterwards that the key is erased.
        with self._file.intake.paused():
            with self._file.database.write() as tx:
                forgotten = erasure.erase(tx, _plain_key(key), self.key_hash(key), self._file.clock())
            erasure.scrub(self._file.database)
        log.info("key_forgotten", samples=forgotten.samples, dead_letters=forgotten.dead_letters)
        return forgotten


def _plain_key(key: str | KeyHash) -> str | None:
    return None if isinstance(key, KeyHash) else key
