"""Whether the memory can be used now: found out again and again, so that a damaged database ends nothing else."""

import time
from collections.abc import Callable

import structlog

from checkpoints.errors import CheckpointsError
from daemon.errors import DaemonError
from daemon.lifecycle.supervised_threads import Part, State
from memory.errors import StoreBusy, StoreError, WrongState
from memory.store import Store
from streams.backoff import Backoff

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
DEEP_EVERY_SECONDS = 10.0
DEEP_SHARE = 0.005
"""Of the time that may go into looks through the whole file: what is damaged where nobody reads is found so."""
WAITS = "waits for the memory, which cannot be used now"


class MemoryWatch:
    """Looks at the database and suspends the store while it cannot be used; opens it again when it can.

    Files that a person put in its place are taken up as soon as they stay as they are from one look to the next; a
    fault that passes by itself is over at the next try, after a minute at most. `run` is the target of a part.

    Args:
        store: not open yet.
        take_up: what is to be done with a database that was opened, before anybody uses it.
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(
        self, store: Store, take_up: Callable[[], None], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._take_up = take_up
        self._monotonic = monotonic
        self._backoff = Backoff(LOOK_EVERY_SECONDS, LONGEST_WAIT_SECONDS)
        self._failures = 0
        self._retry_at = float("-inf")
        self._seen = self._tried = store.file.signature()
        self._deep_at = float("-inf")
        self._serving: int | None = None

    @property
    def serving(self) -> int | None:
        """The generation that should serve, as the ledger said when it could last be read; never blocks."""
        return self._serving

    @property
    def trouble(self) -> str:
        """Why the memory cannot be used, and what to do; empty while it can. Never blocks."""
        fault = self._store.file.fault
        return "" if fault is None else str(fault)

    def begin(self, *, may_wait: bool) -> None:
        """Open the database for the first time.

        Args:
            may_wait: something can serve without it, so that what is wrong with it is borne until it is mended.

        Raises:
            StoreError, DaemonError, CheckpointsError: it cannot be opened, and nothing may wait for it.
        """
        try:
            self._store.file.reopen()
            self._take_up()
            self._serving = self._store.generations.serving()
        except StoreError as error:
            if not may_wait:
                raise
            self._give_up(error)

    def run(self, part: Part) -> None:
        """The loop."""
        while not part.stop.is_set():
            part.beat()
            self.turn()
            part.says(State.BROKEN if self.trouble else State.RUNNING, self.trouble)
            part.stop.wait(LOOK_EVERY_SECONDS)

    def turn(self) -> None:
        """Look once, and do what follows."""
        if self._store.file.fault is None:
            self._look()
        elif self._due():
            self._try_again()

    def waits(self, target: Callable[[Part], None]) -> Callable[[Part], None]:
        """The target of a part that needs the memory: begun only while that can be used."""

        def run(part: Part) -> None:
            while self.trouble and not part.stop.is_set():
                part.beat()
                part.says(State.WAITING, WAITS)
                part.stop.wait(LOOK_EVERY_SECONDS / 2)
            if not part.stop.is_set():
                target(part)

        return run

    def _look(self) -> None:
        try:
            if (
                fault := self._look_deep() if self._monotonic() >= self._deep_at else self._store.file.look()
            ) is not None:
                raise fault
            self._serving = self._store.generations.serving()
        except StoreError as error:
            self._give_up(error)

    def _look_deep(self) -> StoreError | None:
        began = self._monotonic()
        fault = self._store.file.look(deep=True)
        ended = self._monotonic()
        self._deep_at = ended + max(DEEP_EVERY_SECONDS, (ended - began) / DEEP_SHARE)
        return fault

    def _due(self) -> bool:
        """Whether the files are others than were tried, and no longer being written, or it is time to try anyway."""
        signature = self._store.file.signature()
        settled, self._seen = signature == self._seen, signature
        # Whoever holds the lock may let go of it without a change of any file.
        if isinstance(self._store.file.fault, StoreBusy):
            return True
        return (settled and signature != self._tried) or self._monotonic() >= self._retry_at

    def _try_again(self) -> None:
        try:
            if (fault := self._store.file.look()) is not None:
                raise fault
            self._store.file.reopen()
            self._take_up()
            self._serving = self._store.generations.serving()
        except StoreError as error:
            self._give_up(error)
        except (DaemonError, CheckpointsError) as error:
            # It can be read, but nothing can serve by it: for the parts that wait it cannot be used.
            self._give_up(WrongState(str(error)))
        else:
            self._failures = 0
            log.info("memory_usable_again", generation=self._serving)

    def _give_up(self, fault: StoreError) -> None:
        """Suspend the store; told once, and again where it is another fault."""
        before = self.trouble
        self._store.file.suspend(fault)
        self._failures += 1
        self._retry_at = self._monotonic() + self._backoff.wait(self._failures)
        self._seen = self._tried = self._store.file.signature()
        if str(fault) != before:
            log.critical("memory_unusable", kind=type(fault).__name__, reason=str(fault))
