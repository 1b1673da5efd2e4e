"""An engine that answers for one generation: where it is reached, who is being answered, whether it still lives."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from serving.errors import NotReady


class Ending(Protocol):
    """What ends with an engine: its process."""

    @property
    def ended(self) -> str:
        """How it ended; empty while it runs."""

    def last_words(self) -> str:
        """The end of what it wrote, as the end of a sentence; empty where it wrote nothing."""

    def end(self) -> None:
        """End it; returns when it is gone."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class RunningEngine:
    """An engine, from its first answer to its end.

    Attributes:
        url: its address.
        name: which it knows the generation by.
        key: that it asks for.
        process: that it runs in.
        silence_s: how long it may give nothing while it owes answers.
        tells_tokens: whether it knows vLLM's `return_token_ids`, and can be asked for them.
        tells_progress: whether it counts the tokens that it has written, so that answers can be waited for as a whole.
        clock: monotonic seconds.
    """

    url: str
    name: str
    key: str
    process: Ending
    silence_s: float
    tells_tokens: bool = False
    tells_progress: bool = False
    clock: Callable[[], float] = time.monotonic
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _answers: int = 0
    _retired: bool = False
    _heard: float = 0.0

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Keep the engine for the time of one answer.

        Raises:
            NotReady: it has ended, or takes no more.
        """
        with self._changed:
            if self._retired:
                raise NotReady("the engine of this generation has ended; ask again")
            if not self._answers:
                self._heard = self.clock()
            self._answers += 1
        try:
            yield
        finally:
            with self._changed:
                self._answers -= 1
                self._changed.notify_all()

    def heard(self) -> None:
        """Say that it gave something."""
        self._heard = self.clock()

    @property
    def silent_s(self) -> float:
        """Seconds since it gave anything; 0 while it owes no answer."""
        return self.clock() - self._heard if self._answers else 0.0

    @property
    def lost(self) -> str:
        """Why it will give no more answers; empty while it may."""
        if ended := self.process.ended:
            return ended
        if (silent := self.silent_s) > self.silence_s:
            return f"it has given nothing for {silent:.0f} s, more than serving.pass_timeout_s ({self.silence_s:g})"
        return ""

    def retire(self, within_s: float) -> None:
        """Take no new answers, wait for those under way, for so long at most, and end. Blocks."""
        with self._changed:
            self._retired = True
            self._changed.wait_for(lambda: not self._answers or bool(self.process.ended), timeout=within_s)
        self.process.end()
