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

log = structlog.get_logger(__name__)

MOST_DOCUMENTS: Final = 512
"""Of one watch: enough to tell a hundredth of a nat, and it bounds what they cost those who ask."""
LONGEST_CHARACTERS: Final = 8_000
"""Of a document are read; serving reads no more than some hundred tokens of it."""
PASSED_OVER: Final = 20
"""Chats and pairs at a look: they are learned as a template writes them, which the serving process is not told."""
NOT_GIVEN: Final = frozenset({"not_given_by_engine", "wrong_model_kind", "answered_elsewhere"})

ReadPair = Callable[[int, int, str], Mapping[str, Any] | None]
"""Has the serving generation and the watched one read a text; what the serving process answers, None where nothing."""


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
        if reading.answer.get("code") in NOT_GIVEN:
            # Until there is another process, which may have another engine.
            self._not_given_by = observed.pid
            log.info("canary_loss_not_compared", generation=reading.pair[1], reason=reading.answer.get("message"))
            return observed
        found = _found(reading.answer)
        return (
            observed if found is None else observed.read(_group(reading.sample), tokens=found[0], difference=found[1])
        )

    def _begun(self, read: ReadPair, canary: CanaryRecord, observed: Observed) -> Observed:
        if observed.documents >= MOST_DOCUMENTS:
            return observed
        for _ in range(PASSED_OVER):
            sample = self._store.next_fresh(observed.read_to or 0)
            if sample is None:
                break
            if sample.turns is None:
                self._reading = _Reading((canary.beside, canary.generation), sample, read)
                self._beside(self._reading.run)
                break
            observed = replace(observed, read_to=sample.id)
        return observed


class _Reading:
    """One document on its way through both generations."""

    def __init__(self, pair: tuple[int, int], sample: Sample, read: ReadPair) -> None:
        self.pair, self.sample, self._read = pair, sample, read
        self.answer: Mapping[str, Any] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            answer = self._read(*self.pair, self.sample.text[:LONGEST_CHARACTERS]) or {}
            error = answer.get("error")
            self.answer = error if isinstance(error, Mapping) else answer
        finally:
            self.ended.set()


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
