"""How both generations foretell what arrives while one is watched: the serving process has them read it, in pairs."""

import hashlib
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from daemon.rounds.watched.observed import GROUPS, Observed
from memory.ledger.history.canaries import CanaryRecord
from memory.samples.records import Sample
from memory.store import Store
from streams.chats import split

log = structlog.get_logger(__name__)

MOST_DOCUMENTS: Final = 512
"""Of one watch: enough to tell a hundredth of a nat, and it bounds what they cost those who ask."""
LONGEST_CHARACTERS: Final = 8_000
"""Of a document are read; serving reads no more than some hundred tokens of it."""
MOST_TURNS: Final = 32
"""Of a chat, likewise."""
NOT_GIVEN: Final[Mapping[str, str]] = {
    "not_given_by_engine": "the engine tells no log-probabilities of what it reads",
    "wrong_model_kind": "only causal language models are asked how they foretell what arrives",
    "answered_elsewhere": "answers are given by engines that others run",
}
"""By the error's code, why a serving process never tells a loss."""

ReadPair = Callable[[int, int, Mapping[str, Any]], Mapping[str, Any] | None]
"""Has the serving generation and the watched one read a `text`, or the `messages` of a chat; what the serving process
answers, None where nothing."""


def _beside(work: Callable[[], None]) -> None:
    # A daemon thread: the end of the service waits for no engine.
    threading.Thread(target=work, name="watched-text", daemon=True).start()


class ArrivingText:
    """Has one document read at a time while whoever looks goes on. `look` is for one thread alone.

    Args:
        store: where text arrives.
        read: asks the serving process, may block for as long as it waits for an answer; None: there is none.
        beside: runs what blocks.
    """

    def __init__(
        self, store: Store, read: ReadPair | None, beside: Callable[[Callable[[], None]], None] = _beside
    ) -> None:
        self._store = store
        self._read = read
        self._beside = beside
        self._reading: _Reading | None = None
        self._not_given_by: int | None = None
        self._why_not = ""

    def why_not(self, observed: Observed) -> str:
        """Why the serving process never tells a loss; empty where it does, or was not asked yet."""
        return self._why_not if observed.pid is not None and observed.pid == self._not_given_by else ""

    def look(self, canary: CanaryRecord, observed: Observed) -> Observed:
        """Take in what was read since the last look, and have the next document read, where there is one.

        Args:
            canary: that is watched.
            observed: what is known of it.
        """
        if observed.read_to is None:
            # What lay here before the watch began: the generation may have been trained on it, or was judged by it.
            observed = replace(observed, read_to=self._store.newest_sample())
        reading = self._reading
        if reading is not None:
            if not reading.ended.is_set():
                return observed
            self._reading = None
            if reading.pair == (canary.beside, canary.generation):
                observed = self._taken(reading, observed)
        if self._read is not None and observed.answers and observed.pid != self._not_given_by:
            return self._begun(self._read, canary, observed)
        return observed

    def _taken(self, reading: "_Reading", observed: Observed) -> Observed:
        # Also of one that could not be read: it would not be the next time.
        observed = replace(observed, read_to=reading.sample.id)
        if (why := NOT_GIVEN.get(str(reading.answer.get("code")))) is not None:
            # Until there is another process, which may have another engine.
            self._not_given_by, self._why_not = observed.pid, why
            log.info("canary_loss_not_compared", generation=reading.pair[1], reason=reading.answer.get("message"))
            return observed
        found = _found(reading.answer)
        return (
            observed if found is None else observed.read(_group(reading.sample), tokens=found[0], difference=found[1])
        )

    def _begun(self, read: ReadPair, canary: CanaryRecord, observed: Observed) -> Observed:
        if observed.documents >= MOST_DOCUMENTS:
            return observed
        sample = self._store.next_fresh(observed.read_to or 0)
        if sample is not None:
            self._reading = _Reading((canary.beside, canary.generation), sample, read)
            self._beside(self._reading.run)
        return observed


class _Reading:
    """One document on its way through both generations."""

    def __init__(self, pair: tuple[int, int], sample: Sample, read: ReadPair) -> None:
        self.pair, self.sample, self._read = pair, sample, read
        self.answer: Mapping[str, Any] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            answer = self._read(*self.pair, _said(self.sample)) or {}
            error = answer.get("error")
            self.answer = error if isinstance(error, Mapping) else answer
        finally:
            self.ended.set()


def _said(sample: Sample) -> Mapping[str, Any]:
    """What is to be read of a document: its beginning; of a chat as many of its turns as that has."""
    if sample.turns is None:
        return {"text": sample.text[:LONGEST_CHARACTERS]}
    room, turns = LONGEST_CHARACTERS, []
    for message in split(sample.text, sample.turns)[:MOST_TURNS]:
        turns.append({"role": message.role, "content": message.content[:room]})
        room -= len(message.content)
        if room <= 0:
            break
    return {"messages": turns}


def _found(answer: Mapping[str, Any]) -> tuple[int, float] | None:
    """Tokens, and the difference of the losses; None where the answer is none."""
    tokens, ours, theirs = (answer.get(name) for name in ("tokens", "watched", "serving"))
    if not (isinstance(tokens, int) and isinstance(ours, float) and isinstance(theirs, float) and tokens > 0):
        return None
    difference = ours - theirs
    return (tokens, difference) if math.isfinite(difference) else None


def _group(sample: Sample) -> int:
    """Among which keys it is counted: what one key brings is no independent evidence."""
    named = f"key {sample.key_hash}" if sample.key_hash is not None else f"sample {sample.id}"
    return int.from_bytes(hashlib.blake2b(named.encode(), digest_size=8).digest(), "big") % GROUPS
