"""Dead letters on their way to their topic: sent, acknowledged, and only then marked."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from daemon.lifecycle.supervised_threads import Part, State
from memory.store import Store
from streams.document import DeadLetter

AT_ONCE = 200
LOOK_EVERY_SECONDS = 1.0
ANSWER_WITHIN_SECONDS = 10.0


class Publisher(Protocol):
    """Who sends dead letters; see `streams.kafka.publisher.DeadLetterPublisher`."""

    def publish(self, letters: Iterable[tuple[int, DeadLetter]], timeout_s: float = 10.0) -> list[int]:
        """Send letters and return the numbers of those that the broker has acknowledged."""


class DeadLetterDesk:
    """Sends what lies unpublished in the quarantine; a broker that is away delays it and loses nothing.

    Published letters make room for others, so that a quarantine full of what waits empties by itself. `run` is the
    target of a part.
    """

    def __init__(self, store: Store, open_publisher: Callable[[], AbstractContextManager[Publisher]]) -> None:
        self._store = store
        self._open_publisher = open_publisher

    def run(self, part: Part) -> None:
        """The loop."""
        with self._open_publisher() as publisher:
            part.says(State.RUNNING)
            while not part.stop.is_set():
                part.beat()
                if not self._send_some(publisher, part):
                    part.stop.wait(LOOK_EVERY_SECONDS)

    def _send_some(self, publisher: Publisher, part: Part) -> bool:
        """Send the oldest; True when more may wait."""
        letters = self._store.quarantine.unpublished(AT_ONCE)
        if not letters:
            return False
        arrived = publisher.publish(((letter.id, letter) for letter in letters), ANSWER_WITHIN_SECONDS)
        # After the broker's word: a crash between sends them twice, which is better than never.
        self._store.quarantine.mark_published(arrived)
        if len(arrived) < len(letters):
            part.says(State.BROKEN, f"{len(letters) - len(arrived)} dead letters were not acknowledged by their topic")
            return False
        part.says(State.RUNNING)
        return True
