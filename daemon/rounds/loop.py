"""The loop that begins rounds: a snapshot, a decision, the act."""

import time
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from daemon.lifecycle.shutdown import Shutdown
from daemon.lifecycle.supervised_threads import Part, State
from daemon.rounds.asks_and_schedule import Asks
from daemon.rounds.begin_or_wait import (
    Ask,
    Begin,
    Decision,
    Snapshot,
    Wait,
    answers_to,
    approval,
    cooling_seconds,
    decide,
)
from daemon.rounds.current import CurrentRound
from daemon.rounds.directories import Rooms, prune_directories
from daemon.rounds.elapsed import Past
from daemon.rounds.judgeable import ForeseenEvidence, foresee
from daemon.rounds.kept.kept_round import latest_judged
from daemon.rounds.runner import RoundRunner
from daemon.settings.tree import Settings
from daemon.settings.triggers import TriggerSettings
from memory.ledger.records import Round
from memory.ledger.states import RoundState

log = structlog.get_logger(__name__)

# Volume has no event of its own: what the store counts is looked at again.
LOOK_EVERY_SECONDS = 1.0
POINTER_EVERY_SECONDS = 60.0
# Text may be fresh by the count and yet none of it drawn (near what is held out): without a pause the loop would spin.
NOTHING_DRAWN_PAUSE_SECONDS = 10.0
COOLING = frozenset({RoundState.REFUSED, RoundState.FAILED})


class RoundsLoop:
    """Begins rounds in one thread, so that never two run at once; `run` is the target of a part.

    Args:
        watch: looks after the generation that is watched in traffic; returns what that waits for, empty for none.
        end_leftovers: ends learners of an earlier life, as `Learner.end_leftovers`; before anything else is done.
    """

    def __init__(
        self,
        rooms: Rooms,
        runner: RoundRunner,
        asks: Asks,
        current: CurrentRound,
        *,
        settings: Callable[[], Settings],
        shutdown: Shutdown,
        watch: Callable[[], str] = str,
        end_leftovers: Callable[[Callable[[], bool]], bool] = lambda _: True,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rooms = rooms
        self._runner = runner
        self._asks = asks
        self._current = current
        self._watch = watch
        self._watched = ""
        self._end_leftovers = end_leftovers
        self._settings = settings
        self._shutdown = shutdown
        self._clock = clock
        self._monotonic = monotonic
        self._past = Past()
        self._reason = "starting"
        # Approved rounds of whose text nothing can be trained on any more. A restart finds that out once more.
        self._exhausted: set[int] = set()
        self._pointer_at = float("-inf")

    @property
    def reason(self) -> str:
        """Why no round runs, or why the latest began: a sentence."""
        return self._reason

    def run(self, part: Part) -> None:
        """Take up what was cut off, let go on what can, then begin a round whenever the decision says so."""
        must_stop = partial(self._must_stop, part)
        # One that still writes into a round's directory must not find another one there, nor that it is removed.
        if not self._end_leftovers(must_stop):
            return
        # Then: the store refuses to begin a round while an earlier one is unfinished.
        self._runner.recover(must_stop=must_stop)
        self._prune()
        part.says(State.RUNNING)
        if self._runner.go_on(must_stop=must_stop) is not None:
            self._prune()
        while not part.stop.is_set():
            part.beat()
            self._repair_pointer()
            self._watched = self._watch()
            self._turn(part)

    def _repair_pointer(self) -> None:
        if self._monotonic() - self._pointer_at >= POINTER_EVERY_SECONDS:
            self._pointer_at = self._monotonic()
            self._runner.repair_pointer()

    def _turn(self, part: Part) -> None:
        decision = self.decision()
        self._reason = decision.reason
        if isinstance(decision, Wait):
            if decision.answered:
                log.info("round_not_begun", reason=decision.reason)
                self._asks.answered(decision.answered)
            self._asks.wait(LOOK_EVERY_SECONDS)
            return
        # Before the round, not after it: who asks while it runs wants another one, with the text that came meanwhile.
        self._asks.answered(answers_to(decision.ask, self._asks.pending()))
        self._begin(decision, part)

    def _begin(self, decision: Begin, part: Part) -> None:
        must_stop = partial(self._must_stop, part)
        conclusion = self._runner.run(decision.ask, decision.reason, must_stop=must_stop)
        if conclusion is None:
            # `run` does not tell which of two it was: too little to judge by, or nothing to train on.
            lacking = self._evidence(self._settings()).lacking
            log.info("round_not_begun", reason=lacking or "nothing that is fresh can be trained on")
            if decision.ask.released_from is not None and not lacking:
                # The ledger goes on listing it as approved, and a person's ask comes before all others.
                self._exhausted.add(decision.ask.released_from)
            part.stop.wait(NOTHING_DRAWN_PAUSE_SECONDS)
        self._prune()

    def _must_stop(self, part: Part) -> bool:
        # Asked all the while that the learner runs, whose own limits are watched there.
        part.beat()
        return self._shutdown.round_must_end()

    def decision(self) -> Decision:
        """What is to be done now; changes nothing."""
        settings = self._settings()
        counts = self._rooms.store.counts()
        progress, pause = self._current.progress, self._rooms.store.rounds.paused()
        # An approval that is asked for now stands in the ledger too. It is one ask all the same.
        asks = tuple(dict.fromkeys((*self._approvals(settings.triggers), *self._asks.pending())))
        reached = settings.triggers.share_of_volume(counts.fresh_samples, counts.fresh_tokens) or 0.0
        # Asked for where it decides alone: it reads over the held-out text.
        evidence = self._evidence(settings) if asks or reached >= 1 else None
        snapshot = Snapshot(
            now=self._clock(),
            fresh_samples=counts.fresh_samples,
            fresh_tokens=counts.fresh_tokens,
            lacking="" if evidence is None else evidence.lacking,
            too_early="" if evidence is None else evidence.too_early,
            running=None if progress is None else progress.number,
            stopping=self._shutdown.begun,
            paused=None if pause is None else pause.reason,
            cool_since=self._cool_since(),
            asks=asks,
            watched=self._watched,
        )
        return decide(snapshot, settings.triggers)

    def _evidence(self, settings: Settings) -> ForeseenEvidence:
        store = self._rooms.store
        return foresee(store, settings, store.rounds.latest())

    def _cool_since(self) -> float | None:
        """When the latest round ended that is cooled down after, or a person called rounds off."""
        # Drawn one by one, each second: nearly always the first says it all, and reports are long.
        ended, ago = cooling_since(self._rooms.store.rounds.latest()), self._current.since_cancel
        moments = (
            None if ended is None else self._shift_to_present_clock(ended),
            None if ago is None else self._clock() - ago,
        )
        return max((at for at in moments if at is not None), default=None)

    def _approvals(self, settings: TriggerSettings) -> tuple[Ask, ...]:
        """Asks for the rounds that a person released; they are read from the ledger, to outlive a restart.

        A person goes before the cool-down, but what failed once may fail again, and is not tried without a pause; nor
        is what a person called off.
        """
        ago = self._current.since_cancel
        if ago is not None and ago < settings.cooldown_seconds:
            return ()
        return tuple(
            approval(round_.number)
            for round_ in self._rooms.store.rounds.approved()
            if round_.number not in self._exhausted and not self._still_cools(round_.failed_at, settings)
        )

    def _still_cools(self, failed_at: float | None, settings: TriggerSettings) -> bool:
        since = None if failed_at is None else self._shift_to_present_clock(failed_at)
        return cooling_seconds(since, self._clock(), settings) > 0

    def _shift_to_present_clock(self, at: float) -> float:
        """When something was that the ledger knows of, as the clock would tell it that shows the present time."""
        now = self._clock()
        return now - self._past.seconds_since(at, wall=now, monotonic=self._monotonic())

    def _prune(self) -> None:
        # They hold text, as the store does, which only its owner may read.
        self._rooms.rounds_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        prune_directories(self._rooms, self._settings().lifecycle.rounds_kept)


def cooling_since(latest: Iterable[Round]) -> float | None:
    """When the latest round ended, where it ended refused or failed; one that was only tried or cut off says nothing.

    Args:
        latest: rounds, newest first.
    """
    judged = latest_judged(latest)
    return judged.ended_at if judged is not None and judged.state in COOLING else None
