"""A store's file while it is in use: opening and closing it, and one call as one transaction."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from memory.database import Database
from memory.intake import Intake
from memory.settings import MemorySettings
from memory.sqlite import Connection
from streams.closing import Closing

P = ParamSpec("P")
T = TypeVar("T")


class Session(Closing):
    """An open file with the settings and the clock that it is used with. A context manager."""

    def __init__(self, database: Database, settings: MemorySettings, clock: Callable[[], float]) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._intake = Intake(database, settings, clock)

    @classmethod
    def open(
        cls,
        path: Path,
        settings: MemorySettings,
        *,
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
    ) -> Self:
        """Open the store at `path`, making it where there is none and bringing its schema up to date.

        Args:
            path: the database file; its folder must exist.
            settings: budgets and policies.
            clock: unix seconds.
            read_only: only read: nothing is made or migrated, and writing methods raise `WrongState`.

        Raises:
            SqliteTooOld, StoreMissing, NotAStore, StoreTooNew, StoreTooOld, StoreDamaged: see `memory.errors`.
        """
        with ExitStack() as undo:
            database = undo.enter_context(Database.open(path, settings, read_only=read_only))
            store = cls(database, settings, clock)
            undo.pop_all()
        return store

    def _read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._database.read() as tx:
            return function(tx, *args, **kwargs)

    def _write(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._database.write() as tx:
            return function(tx, *args, **kwargs)

    def close(self) -> None:
        """Close every connection, also those of other threads; idempotent."""
        self._database.close()
