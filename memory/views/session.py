"""A store's file while it is in use: opening and closing it, and one call as one transaction."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from memory.database.connection import Database
from memory.database.sqlite import Connection
from memory.errors import StoreClosed, StoreError
from memory.intake.intake import Intake
from memory.settings import MemorySettings
from streams.closing import Closing

P = ParamSpec("P")
T = TypeVar("T")


class Session(Closing):
    """An open file with the settings and the clock that it is used with. A context manager."""

    def __init__(self, database: Database, settings: MemorySettings, clock: Callable[[], float]) -> None:
        self.database = database
        self.settings = settings
        self.clock = clock
        # It reads the store's secret, which a file that is not open does not give.
        self._intake = Intake(database, settings, clock) if database.fault is None else None
        self._kept_out: tuple[str, ...] = ()

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
        # Where the intake cannot be made the database is closed again.
        with ExitStack() as undo:
            database = undo.enter_context(Database.open(path, settings, read_only=read_only))
            store = cls(database, settings, clock)
            undo.pop_all()
        return store

    @classmethod
    def unopened(
        cls, path: Path, settings: MemorySettings, *, clock: Callable[[], float] = time.time, make: bool = True
    ) -> Self:
        """A store that is not open yet: `reopen` opens it, and until then every method says that it is not.

        Args:
            path, settings, clock: as `open` has them.
            make: whether a file that is missing, or empty, may be made a new store.
        """
        return cls(Database(path, settings, read_only=False, make=make), settings, clock)

    @property
    def fault(self) -> StoreError | None:
        """Why nothing can be read or written now; None where it can."""
        return self.database.fault

    @property
    def opened(self) -> int:
        """Changes whenever the file is opened anew: what was asked before is then to be asked again."""
        return self.database.opened

    def reopen(self) -> None:
        """Open the file as it lies there now, whatever was open before.

        Raises:
            StoreError: it cannot be used, and why.
        """
        self.database.reopen()
        # The intake reads the store's secret: a file that does not give it is of no use.
        try:
            self._intake = Intake(self.database, self.settings, self.clock)
            self._intake.keep_out(self._kept_out)
        except StoreError as error:
            self.database.suspend(error)
            raise

    def keep_out(self, texts: Iterable[str]) -> None:
        """See `Store.keep_out`."""
        self._kept_out = tuple(texts)
        if self._intake is not None:
            self._intake.keep_out(self._kept_out)

    def look(self, *, deep: bool = False) -> StoreError | None:
        """What is wrong with the file, noticed in use or by a look at it; None where nothing is.

        Args:
            deep: look through all of it, about a second a gigabyte.
        """
        return self.database.look(deep=deep)

    def suspend(self, fault: StoreError) -> None:
        """Let every method raise `fault` from now on, until `reopen`; the file is closed."""
        self.database.suspend(fault)

    def signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Inode, size and time of change of the files: what changes when a person puts others there."""
        return self.database.signature()

    @property
    def intake(self) -> Intake:
        """The way in, with what it keeps in RAM.

        Raises:
            StoreError: the file cannot be used, and why.
        """
        if self._intake is None:
            fault = self.database.fault
            # A new error each time, as `Database` raises it: many threads would hang their traces on the same one.
            raise StoreClosed("The store is not open yet.") if fault is None else type(fault)(*fault.args)
        return self._intake

    def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function on the last committed state."""
        with self.database.read() as tx:
            return function(tx, *args, **kwargs)

    def write(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function within one transaction: all that it does is there afterwards, or nothing."""
        with self.database.write() as tx:
            return function(tx, *args, **kwargs)

    def close(self) -> None:
        """Close every connection, also those of other threads; idempotent."""
        self.database.close()
