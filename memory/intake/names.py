"""Sources and labels as small numbers, with a bound on how many are told apart."""

from collections.abc import Iterable

from memory.database.sqlite import Connection

OTHER = "other"
NO_LABEL = 0


class Names:
    """The numbers of the names in one table, remembered once looked up."""

    def __init__(self, table: str, most: int) -> None:
        self._table = table
        self._most = most
        self._numbers: dict[str, int] = {}

    def forget(self) -> None:
        """Look everything up anew: another process, or an undone transaction, may have made a difference."""
        self._numbers.clear()

    def numbers(self, tx: Connection, names: Iterable[str]) -> dict[str, int]:
        """The number of each name; new names get one, those beyond the bound that of `other`."""
        for name in names:
            if name not in self._numbers:
                self._numbers[name] = self._find_or_make(tx, name)
        if len(self._numbers) > 2 * self._most:  # Names beyond the bound are remembered too, but not without end.
            requested = {name: self._numbers[name] for name in names}
            self._numbers = dict(requested)
            return requested
        return self._numbers

    def _find_or_make(self, tx: Connection, name: str) -> int:
        if (number := self._find(tx, name)) is not None:
            return number
        count = int(tx.execute(f"SELECT count(*) FROM {self._table}").fetchone()[0])
        # `other` is always let in, as the one beyond the bound: nothing would stand for the rest else.
        if count >= self._most and name != OTHER:
            return self._find_or_make(tx, OTHER)
        return int(tx.execute(f"INSERT INTO {self._table}(name) VALUES (?)", (name,)).lastrowid or 0)

    def _find(self, tx: Connection, name: str) -> int | None:
        row = tx.execute(f"SELECT id FROM {self._table} WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])
