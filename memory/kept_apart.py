"""What a store keeps apart from the river: text set aside, dead letters, gaps; and the erasure of a person's text."""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from memory import aside, erasure, finding, outcome, quarantine, removal, similar_keys, tombstones
from memory.aside import AsideCount, AsidePage
from memory.finding import Found
from memory.records import AsideGroup, Forgotten, KeyHash, StoredDeadLetter, StoredGap
from memory.session import Session
from memory.similar_keys import SimilarKey
from streams.document import Reason

log = structlog.get_logger(__name__)


class KeptApart(Session):
    """The part of a store that no round draws from. Every method may be called from any thread."""

    def aside(self) -> list[AsideGroup]:
        """What is set aside, by the round that set it aside, oldest first."""
        return self._read(aside.groups)

    def aside_text(
        self, round_number: int, limit: int = 100, after: int = 0, *, worst_first: bool = False
    ) -> AsidePage:
        """The text that a round set aside: at most `limit` documents that come after `after`, and at most 8 MiB.

        Args:
            round_number: of the round.
            limit: most documents.
            after: the id that the page before ended with; 0 for the first.
            worst_first: by the loss that the round measured, greatest first, then those that it did not look at, by
                id; otherwise all by id.
        """
        return self._read(aside.of_round, round_number, limit, after, worst_first=worst_first)

    def release_aside(self, *, round_number: int | None = None, ids: Sequence[int] | None = None) -> int:
        """Let text that was set aside be fresh (or held out) again; its refusals start anew. Returns how many.

        Raises:
            ValueError: neither or both of `round_number` and `ids` are given.
        """
        with self._database.write() as tx:
            chosen = aside.choose(tx, round_number, ids)
            return aside.release(tx, chosen, self._settings, self._intake.salt)

    def drop_aside(self, *, round_number: int | None = None, ids: Sequence[int] | None = None) -> int:
        """Erase text that was set aside; the same content is not taken in again. Returns how many.

        Raises:
            ValueError: neither or both of `round_number` and `ids` are given.
        """
        with self._database.write() as tx:
            return removal.remove(tx, aside.choose(tx, round_number, ids))

    def drop_part(self, round_number: int, ids: Sequence[int]) -> tuple[int, int]:
        """Erase a part of what a round set aside; the same content is not taken in again. Of one that waits too.

        What is left stays aside, held out what was held out; a waiting round of which nothing is left is dropped.

        Returns:
            How many samples were erased, and how many are left aside.

        Raises:
            WrongState: the round has not set one of these aside; nothing is erased.
        """
        return self._write(outcome.drop_part, round_number, ids, now=self._clock())

    def count_aside(self, round_number: int, *, source: str | None = None, key: str | None = None) -> AsideCount:
        """How much of what a round set aside is of that source, that key, or both; changes nothing."""
        return self._read(aside.count, round_number, source=source, key_hash=self._hash_of(key))

    def drop_aside_of(self, round_number: int, *, source: str | None = None, key: str | None = None) -> tuple[int, int]:
        """Erase what a round set aside of that source, that key, or both; what is left, and returned, as `drop_part`.

        Raises:
            ValueError: neither is given.
        """
        if source is None and key is None:
            raise ValueError("give a source or a key")
        key_hash, now = self._hash_of(key), self._clock()
        return self._write(outcome.drop_matching, round_number, source=source, key_hash=key_hash, now=now)

    def _hash_of(self, key: str | None) -> int | None:
        return None if key is None else self._intake.key_hash(key)

    def quarantine_is_full(self) -> bool:
        """Whether letters that wait for their topic fill the quarantine: consumption should pause, to lose none."""
        return self._read(quarantine.is_full, self._settings)

    def dead_letters(self, limit: int = 100, after: int = 0) -> list[StoredDeadLetter]:
        """Dead letters in the quarantine with ids above `after`, oldest first."""
        return self._read(quarantine.listed, limit, after)

    def latest_dead_letters(self, limit: int = 100, before: int | None = None) -> list[StoredDeadLetter]:
        """Dead letters in the quarantine with ids below `before`, newest first."""
        return self._read(quarantine.latest, limit, before)

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """The dead letter of that id; None where the quarantine has it not, or no longer."""
        return self._read(quarantine.one, number)

    def unpublished_dead_letters(self, limit: int = 100) -> list[StoredDeadLetter]:
        """Dead letters that the dead-letter topic has not acknowledged, oldest first."""
        return self._read(quarantine.listed, limit, 0, unpublished=True)

    def mark_published(self, ids: Iterable[int]) -> None:
        """Note that the dead-letter topic has acknowledged these."""
        self._write(quarantine.mark_published, ids)

    def note_reasons(self, reasons: Mapping[int, tuple[Reason, str]]) -> None:
        """Note why these dead letters (by id) are dead today, and the particulars; what was counted stays."""
        self._write(quarantine.note_reasons, reasons)

    def drop_dead_letters(self, ids: Iterable[int] | None = None) -> int:
        """Remove dead letters from the quarantine: these ids, or all. Returns how many."""
        return self._write(quarantine.drop, ids)

    def gaps(self, limit: int = 100, before: int | None = None) -> list[StoredGap]:
        """The latest gaps in offsets, those with smaller ids than `before`; newest first."""
        return self._read(quarantine.latest_gaps, limit, before)

    def key_hash(self, key: str | KeyHash) -> int:
        """The keyed hash by which a key is known here: signed, 64 bits."""
        return key.value if isinstance(key, KeyHash) else self._intake.key_hash(key)

    def similar_keys(self, key: str | KeyHash) -> tuple[SimilarKey, ...]:
        """Other keys of which something is kept, and that may name the same person in another dress."""
        return self._read(similar_keys.find, _typed(key), self.key_hash(key), self._intake.key_hash)

    def find(self, key: str | KeyHash, *, limit: int = 100, after: int = 0) -> Found:
        """What is known of a person: what is kept, where it came from, and what had seen it. Changes nothing.

        Args:
            key: of the person's documents.
            limit: most samples to return.
            after: return those with greater ids.
        """
        return self._read(finding.find, _typed(key), self.key_hash(key), limit=limit, after=after)

    def saw_erased_text(self) -> dict[int, bool]:
        """Generations that saw text which was erased since, whoever's: whether each was trained on it itself.

        The others among them started from one that was. Of rounds before `lineage_from` at the time of an erasure it is
        not known what they were given.
        """
        return self._read(erasure.saw_erased_text)

    def tombstones_wait(self) -> bool:
        """Whether the stream has asked for erasures that are not done yet."""
        return self._read(tombstones.wait)

    def apply_tombstones(self, *, scrub: bool) -> Forgotten:
        """Erase the text that came before the stream's tombstones, all that wait at once, and name what had seen it.

        Args:
            scrub: rewrite the file too, as `forget` does; else what is deleted is overwritten where it lies.

        Raises:
            StoreBusy, StoreFull: the text is erased from every table, and the file could not be rewritten.
        """
        forgotten = self._write(tombstones.apply)
        if scrub:
            erasure.scrub(self._database)
        log.info("tombstones_applied", samples=forgotten.samples, dead_letters=forgotten.dead_letters)
        return forgotten

    def forget(self, key: str | KeyHash) -> Forgotten:
        """Erase all text of a key, for good, and name what had seen it.

        Samples and dead letters go; the file is compacted and the write-ahead log truncated, so that no copy stays
        in free space; a keyed hash of the key stays, so that a redelivery is not stored again. Takes seconds a
        gigabyte, in which other writers wait. Nothing is unlearned: see the generations named.
        """
        with self._intake.paused():
            with self._database.write() as tx:
                forgotten = erasure.erase(tx, _typed(key), self.key_hash(key), self._clock())
            erasure.scrub(self._database)
        log.info("key_forgotten", samples=forgotten.samples, dead_letters=forgotten.dead_letters)
        return forgotten


def _typed(key: str | KeyHash) -> str | None:
    return None if isinstance(key, KeyHash) else key
