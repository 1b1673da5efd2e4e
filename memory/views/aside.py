"""Text that was set aside: looked at, released, dropped."""

from collections.abc import Sequence

from memory.ledger import aside, round_endings
from memory.ledger.aside import AsideCount, AsidePage
from memory.ledger.records import AsideGroup
from memory.samples import removal
from memory.views.session import Session


class Aside:
    """What no round draws from until a person releases it. Every method may be called from any thread."""

    def __init__(self, file: Session) -> None:
        self._file = file

    def groups(self) -> list[AsideGroup]:
        """What is set aside, by the round that set it aside, oldest first."""
        return self._file.read(aside.groups)

    def text(self, round_number: int, limit: int = 100, after: int = 0, *, worst_first: bool = False) -> AsidePage:
        """The text that a round set aside: at most `limit` documents that come after `after`, and at most 8 MiB.

        Args:
            round_number: of the round.
            limit: most documents.
            after: the id that the page before ended with; 0 for the first.
            worst_first: by the loss that the round measured, greatest first, then those that it did not look at, by
                id; otherwise all by id.
        """
        return self._file.read(aside.of_round, round_number, limit, after, worst_first=worst_first)

    def release(self, *, round_number: int | None = None, ids: Sequence[int] | None = None) -> int:
        """Let text that was set aside be fresh (or held out) again; its refusals start anew. Returns how many.

        Raises:
            ValueError: neither or both of `round_number` and `ids` are given.
        """
        with self._file.database.write() as tx:
            # In the transaction that acts on it: meanwhile another person may release it, or drop it.
            chosen = aside.choose(tx, round_number, ids)
            return aside.release(tx, chosen, self._file.settings, self._file.intake.salt)

    def drop(self, *, round_number: int | None = None, ids: Sequence[int] | None = None) -> int:
        """Erase text that was set aside; the same content is not taken in again. Returns how many.

        Raises:
            ValueError: neither or both of `round_number` and `ids` are given.
        """
        with self._file.database.write() as tx:
            return removal.remove(tx, aside.choose(tx, round_number, ids))

    def drop_part(self, round_number: int, ids: Sequence[int]) -> tuple[int, int]:
        """Erase a part of what a round set aside; the same content is not taken in again. Of one that waits too.

        What is left stays aside, held out what was held out; a waiting round of which nothing is left is dropped.

        Returns:
            How many samples were erased, and how many are left aside.

        Raises:
            WrongState: the round has not set one of these aside; nothing is erased.
        """
        return self._file.write(round_endings.drop_part, round_number, ids, now=self._file.clock())

    def release_part(self, round_number: int, ids: Sequence[int]) -> tuple[int, int]:
        """Let a part of what a round set aside be fresh (or held out) again; the rest stays aside.

        Returns:
            How many samples are back, and how many are left aside.

        Raises:
            WrongState: the round waits for a person's word, or has not set one of these aside; nothing is released.
        """
        settings, salt = self._file.settings, self._file.intake.salt
        return self._file.write(round_endings.release_part, round_number, ids, settings=settings, salt=salt)

    def count(self, round_number: int, *, source: str | None = None, key: str | None = None) -> AsideCount:
        """How much of what a round set aside is of that source, that key, or both; changes nothing."""
        return self._file.read(aside.count, round_number, source=source, key_hash=self._hash_of(key))

    def drop_of(self, round_number: int, *, source: str | None = None, key: str | None = None) -> tuple[int, int]:
        """Erase what a round set aside of that source, that key, or both; what is left, and returned, as `drop_part`.

        Raises:
            ValueError: neither is given.
        """
        if source is None and key is None:
            raise ValueError("give a source or a key")
        key_hash, now = self._hash_of(key), self._file.clock()
        return self._file.write(round_endings.drop_matching, round_number, source=source, key_hash=key_hash, now=now)

    def _hash_of(self, key: str | None) -> int | None:
        return None if key is None else self._file.intake.key_hash(key)
