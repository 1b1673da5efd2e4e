"""The watch over a generation in traffic: asked, judged, promoted or taken back; again after any crash."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from checkpoints.errors import CheckpointsError
from daemon import logs
from daemon.metrics import DaemonMetrics
from daemon.rounds.directories import Rooms
from daemon.rounds.pointer_repair import move_pointer
from daemon.rounds.retire_generations import retire
from daemon.rounds.watched.arriving import ArrivingText
from daemon.rounds.watched.observed import Observed
from daemon.rounds.watched.opinions import rejections
from daemon.rounds.watched.sentence import sentence_of
from daemon.settings.tree import Settings
from gate.live.judge_live import LiveBounds, judge_live
from gate.live.verdict import LiveVerdict
from memory.errors import WrongState
from memory.ledger.history.canaries import CanaryRecord
from serving.traffic.settings import CanarySettings

log = structlog.get_logger(__name__)

KEEP_EVERY_SECONDS: Final = 10.0
"""How much of a watch a crash may cost."""
LONGEST_STEP_SECONDS: Final = 60.0
"""Between two looks no more than that counts: a suspended machine has watched nothing."""
FAILED_LOADS: Final = 2
"""So often in a row it may fail to be brought in: once may be a moment's want of memory."""
REPLACED: Final = 2
"""So many serving processes may end while it answers in them."""
BY: Final = "its watch in traffic"

Ask = Callable[[], Mapping[str, Any] | None]
"""What the serving process says of the watch, with its `pid`; None where it does not answer."""


class CanaryWatch:
    """Looks after the generation that is watched, if one is. For the thread of rounds alone.

    What was observed is kept in the ledger with the verdict, so that the next start goes on; the end of a watch is one
    transaction there, and the pointer follows, which is repaired where that was cut off.
    """

    def __init__(
        self,
        rooms: Rooms,
        *,
        settings: Callable[[], Settings],
        promotion: threading.RLock,
        ask: Ask | None,
        metrics: DaemonMetrics,
        arriving: ArrivingText | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rooms = rooms
        self._settings = settings
        self._promotion = promotion
        self._ask = ask
        self._metrics = metrics
        self._arriving = arriving or ArrivingText(rooms.store, None)
        self._monotonic = monotonic
        self._generation: int | None = None
        self._observed = Observed()
        self._looked_at = 0.0
        self._kept_at = float("-inf")

    def look(self) -> str:
        """Look once; returns what is watched and what for, a sentence; empty where nothing is."""
        canary = self._rooms.store.canaries.watched()
        if canary is None:
            self._generation = None
            return ""
        seconds, before = self._take_up(canary), self._observed
        facts = self._heard(canary)
        self._observed = self._observed.passed(seconds, before)
        self._observed = self._arriving.look(canary, self._observed)
        verdict = self._judge(canary, facts)
        if verdict.decision != "hold":
            self._end(canary, verdict)
            return ""
        self._keep(canary, verdict)
        return sentence_of(canary, verdict.sentence)

    def _take_up(self, canary: CanaryRecord) -> float:
        """Begin to look after a generation, or go on; returns the seconds that passed since the last look."""
        now = self._monotonic()
        if self._generation != canary.generation:
            self._generation, self._observed = canary.generation, Observed.of_json(canary.watch)
            self._looked_at, self._kept_at = now, now
            log.info(
                "canary_watched",
                generation=canary.generation,
                beside=canary.beside,
                mode=canary.mode,
                share=canary.share,
            )
        seconds = min(now - self._looked_at, LONGEST_STEP_SECONDS)
        self._looked_at = now
        return seconds

    def _heard(self, canary: CanaryRecord) -> Mapping[str, Any]:
        facts = None if self._ask is None else self._ask()
        if facts is None or not isinstance(pid := facts.get("pid"), int):
            self._observed = self._observed.unheard()
            return {}
        try:
            self._observed = self._observed.heard(pid, facts, (canary.beside, canary.generation))
        except (ValueError, KeyError, TypeError) as error:
            log.warning("canary_counts_unreadable", reason=str(error))
        return facts

    def _judge(self, canary: CanaryRecord, facts: Mapping[str, Any]) -> LiveVerdict:
        failures = facts.get("failures")
        fails = facts.get("failing") == canary.generation
        if fails and isinstance(failures, int) and failures >= FAILED_LOADS:
            return LiveVerdict("roll_back", f"It cannot be brought in: {facts.get('why') or 'the log says why'}.")
        if self._observed.replaced >= REPLACED:
            why = f"{self._observed.replaced} serving processes ended or had to be replaced while it answered in them."
            return LiveVerdict("roll_back", why)
        settings = self._settings().serving.canary
        # Nobody was given a shadow's answers.
        said = () if canary.mode == "shadow" else rejections(self._rooms.store, canary, settings.max_rejection_rise)
        traffic = replace(self._observed.traffic, rates=said, no_losses=self._arriving.why_not(self._observed))
        judged = judge_live(traffic, self._observed.looks, bounds_of(settings, canary.mode))
        looked = judged.looks != self._observed.looks
        self._observed = replace(self._observed, looks=judged.looks)
        if looked:
            # Looks are counted before anything comes of them: a crash must not give one away for nothing.
            self._kept_at = float("-inf")
        return judged.verdict

    def _keep(self, canary: CanaryRecord, verdict: LiveVerdict) -> None:
        now = self._monotonic()
        if now - self._kept_at >= KEEP_EVERY_SECONDS:
            self._kept_at = now
            self._rooms.store.canaries.note(canary.generation, self._observed.to_json(), verdict.to_json())

    def _end(self, canary: CanaryRecord, verdict: LiveVerdict) -> None:
        """Let the verdict take effect: the ledger first, which is the truth, then the pointer."""
        store, number = self._rooms.store, canary.generation
        with self._promotion:
            store.canaries.note(number, self._observed.to_json(), verdict.to_json())
            try:
                if verdict.decision == "promote":
                    store.canaries.promote(number, verdict.to_json(), by=BY)
                else:
                    store.canaries.roll_back(number, verdict.to_json(), by=BY)
            except WrongState as error:
                # A person's word came first.
                log.info("canary_was_decided_on", generation=number, reason=str(error))
                return
            self._tell(canary, verdict)
            self._follow_up(promoted=verdict.decision == "promote")

    def _tell(self, canary: CanaryRecord, verdict: LiveVerdict) -> None:
        if verdict.decision == "promote":
            logs.carry(generation=canary.generation)
            log.info("canary_promoted", generation=canary.generation, before=canary.beside, reason=verdict.sentence)
        else:
            log.warning("canary_rolled_back", generation=canary.generation, to=canary.beside, reason=verdict.sentence)
        self._metrics.canaries.labels("promoted" if verdict.decision == "promote" else "rolled_back").inc()

    def _follow_up(self, *, promoted: bool) -> None:
        try:
            move_pointer(self._rooms.store, self._rooms.checkpoints)
            if promoted:
                retire(self._rooms, self._settings())
        except (OSError, CheckpointsError) as error:
            # Made good by the loop, which looks at the pointer every minute.
            log.critical("canary_end_incomplete", reason=str(error))


def bounds_of(settings: CanarySettings, mode: str) -> LiveBounds:
    """What a generation is held to that is watched in this mode."""
    # A shadow's requests wait for every other: how long they take says nothing.
    shadow = mode == "shadow"
    return LiveBounds(
        confidence=settings.confidence,
        minimum_answers=settings.minimum_answers,
        watch_seconds=settings.watch_seconds,
        deadline_seconds=settings.deadline_seconds,
        back_at_deadline=settings.at_deadline == "roll_back",
        max_error_rise=settings.max_error_rise,
        max_first_token_ratio=None if shadow else settings.max_first_token_ratio,
        max_pace_ratio=None if shadow else settings.max_pace_ratio,
        max_loss_rise=settings.max_loss_rise,
    )
