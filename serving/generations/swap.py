"""Which generation answers: follow the pointer, load and warm beside, switch, keep the last good one.

A request holds the generation that it began on; the switch only decides what the next request gets, so that no answer
is a mixture, nobody waits, and the old model is freed with its last request.
"""

import gc
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Final

import structlog

from checkpoints.errors import CheckpointsError
from checkpoints.serving_pointer import Canary, Pointer
from serving.engine.loaded import LoadedGeneration
from serving.errors import BrokenGeneration
from serving.generations.loading import Brings
from serving.generations.switch import Switch, Watched
from serving.metrics import ServingMetrics
from serving.tracing.spans import NO_TRACING, Tracing
from streams.backoff import Backoff

_log = structlog.get_logger(__name__)

# A large model that cannot serve takes minutes to be found out: not at every look.
RETRIES: Final = Backoff(5.0, 300.0)
FAILURES_KEPT: Final = 16
MISSING_TOLD_S: Final = 60.0


class Follower:
    """The thread that keeps serving at the generation that the pointer names.

    A candidate that cannot serve is reported and tried again later, while the old one serves on. At the start, when
    there is no old one, the newest good generation before it serves. A canary is brought in beside the serving
    generation, and never in its place.

    Args:
        loader: brings generations into memory.
        switch: what to turn.
        warm: lets a generation answer; raises when it cannot.
        metrics: where to count.
        poll_s: seconds between looks at the pointer.
        clock: monotonic seconds.
        tracing: what is told of each swap.
    """

    def __init__(
        self,
        loader: Brings,
        switch: Switch,
        warm: Callable[[LoadedGeneration], None],
        metrics: ServingMetrics,
        *,
        poll_s: float,
        clock: Callable[[], float] = time.monotonic,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._loader = loader
        self._switch = switch
        self._warm = warm
        self._metrics = metrics
        self._poll_s = poll_s
        self._clock = clock
        self._tracing = tracing
        self._followed_stamp: tuple[int, ...] | None = None
        self._retry_at = inf
        self._failures = 0
        self._missing_told_at = -inf
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop following; a load under way is finished first, or broken off where that can be."""
        self._end.set()
        self._loader.break_off()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - serving goes on whatever is wrong with the pointer
                self._note_problem(error)
            # After the look, so that the first comes at once.
            if self._end.wait(self._poll_s):
                return

    def look(self) -> None:
        """Look at the pointer once, and act when it has moved or a failure is to be tried again."""
        # Before the pointer is read: one that moves in between has another stamp at the next look.
        stamp = self._stamp()
        if stamp is None:
            self._say_what_is_missing()
        lost = self._drop_lost()
        if stamp == self._followed_stamp and self._clock() < self._retry_at and not lost:
            return
        if stamp != self._followed_stamp:
            self._failures = 0
        # Before it is followed: what fails is tried again after a wait, not at every look.
        self._followed_stamp = stamp
        self._retry_at = inf
        if not self._act():
            self._failures += 1
            self._retry_at = self._clock() + RETRIES.wait(self._failures)

    def _drop_lost(self) -> bool:
        """Let the serving generation, or the canary, go where it will answer no more; whether it was so."""
        watched, current = self._switch.watched, self._switch.current
        canary_lost = watched is not None and bool(watched.generation.lost)
        if watched is not None and canary_lost:
            _log.error("canary_lost", generation=watched.generation.number, reason=watched.generation.lost)
            self._end_watch()
        if current is None or not (why := current.lost):
            return canary_lost
        _log.error("engine_lost", generation=current.number, reason=why)
        self._switch.turn_off()
        self._let_go(current)
        return True

    def _say_what_is_missing(self) -> None:
        problem = (
            f"there is no {self._loader.store.pointer_path}, which names the generation to serve: `riverkeep run` on "
            "this state_dir writes it; if one does, state_dir is another here"
        )
        self._switch.status = replace(self._switch.status, problem=problem)
        if self._clock() - self._missing_told_at >= MISSING_TOLD_S:
            self._missing_told_at = self._clock()
            _log.warning("serving_waits", reason=problem)

    def _act(self) -> bool:
        """Read the pointer and follow it; whether that worked."""
        try:
            pointer = self._loader.store.serving()
        except CheckpointsError as error:
            self._note_problem(error)
            return False
        if pointer is None:
            return True
        self._end_watch_unless_named(pointer)
        # Both: a canary that cannot answer must not keep the pointer from being followed, and is tried again like it.
        follows = self._follow(pointer)
        return self._follow_canary(pointer) and follows

    def _stamp(self) -> tuple[int, ...] | None:
        with suppress(FileNotFoundError):
            entry = self._loader.store.pointer_path.stat()
            # The pointer is replaced by rename, so that a new one has another inode even within one tick of the clock.
            return entry.st_mtime_ns, entry.st_ino, entry.st_size
        return None

    def _follow(self, pointer: Pointer) -> bool:
        """Serve what the pointer names; whether that worked."""
        self._metrics.pointed.set(pointer.generation)
        self._switch.status = replace(self._switch.status, pointed=pointer.generation, problem=None)
        current = self._switch.current
        if current and (current.number, current.digest) == (pointer.generation, pointer.digest):
            return True
        # Else this frame would hold the old model, and its memory, as long as it takes to load the new one and beyond.
        del current
        if self._try(pointer.generation, pointer.digest):
            return True
        if self._switch.current is None:
            # Newest first, up to the first that serves. The pointer holds no digests of them: their manifests must do.
            any(self._try(number, None) for number in pointer.before)
            self._say_fallback(pointer)
        return False

    def _end_watch_unless_named(self, pointer: Pointer) -> None:
        """Let a canary go that is neither to be watched any more nor to serve; before another one is brought in."""
        watched = self._switch.watched
        if watched is None:
            return
        named = {(pointer.generation, pointer.digest)}
        if pointer.canary is not None:
            named.add((pointer.canary.generation, pointer.canary.digest))
        if (watched.generation.number, watched.generation.digest) not in named:
            self._end_watch()

    def _end_watch(self) -> None:
        watched = self._switch.watched
        if watched is not None:
            self._switch.watch(None)
            _log.info("canary_ended", generation=watched.generation.number)
            self._let_go(watched.generation)

    def _follow_canary(self, pointer: Pointer) -> bool:
        """Watch what the pointer names beside the serving generation; whether that worked."""
        plan, current, watched = pointer.canary, self._switch.current, self._switch.watched
        if plan is None:
            self._switch.status = replace(self._switch.status, canary_failing=None, canary_failures=0)
            return True
        # Compared is what the pointer names: beside another one it would be judged by the wrong measure.
        if current is None or current.number != pointer.generation:
            return True
        if watched is not None:
            self._switch.watch(Watched(watched.generation, plan))
            return True
        try:
            self._bring_in_canary(plan, current)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a canary, the others are answered
            self._note_failure(plan.generation, error)
            status = self._switch.status
            # Of another one before it nothing is held against this.
            failures = 1 + (status.canary_failures if status.canary_failing == plan.generation else 0)
            self._switch.status = replace(status, canary_failing=plan.generation, canary_failures=failures)
            return False
        self._note_mended(plan.generation)
        self._switch.status = replace(self._switch.status, canary_failing=None, canary_failures=0)
        _log.info("canary_answers", generation=plan.generation, share=plan.share, mode=plan.mode)
        return True

    def _bring_in_canary(self, plan: Canary, current: LoadedGeneration) -> None:
        if not self._loader.fits_beside(plan.generation, current):
            raise BrokenGeneration("serving.engine_process.two_at_once is false here: no room for a canary")
        generation = self._take_again(plan.generation, plan.digest)
        if generation is None:
            generation = self._bring_in(plan.generation, plan.digest, current)
        self._switch.watch(Watched(generation, plan))

    def _say_fallback(self, pointer: Pointer) -> None:
        current = self._switch.current
        _log.error(
            "serving_falls_back",
            pointed=pointer.generation,
            serving=current and current.number,
            remedy="repair the generation or roll back",
        )

    def _try(self, number: int, digest: str | None) -> bool:
        started = self._clock()
        with self._tracing.begin("swap", {"riverkeep.generation": number}) as span:
            try:
                self._swap_to(number, digest)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a candidate, the old one serves on
                span.fail(type(error).__name__)
                self._note_failure(number, error)
                return False
            seconds = self._clock() - started
            self._note_mended(number)
            self._switch.status = replace(self._switch.status, swap_seconds=seconds)
            self._metrics.swaps.labels("served").inc()
            _log.info("generation_serves", generation=number, seconds=round(seconds, 3))
        return True

    def _swap_to(self, number: int, digest: str | None) -> None:
        if self._promote_watched(number, digest):
            return
        generation = self._take_again(number, digest)
        if generation is None:
            self._make_room(number)
            generation = self._bring_in(number, digest, self._switch.current)
            # At the first one alone: later, what requests hold just then would never be collected.
            if self._switch.current is None:
                _freeze()
        old = self._switch.current
        self._switch.turn(generation)
        if old is not None:
            self._let_go(old)

    def _bring_in(self, number: int, digest: str | None, beside: LoadedGeneration | None) -> LoadedGeneration:
        generation = self._loader.load(number, digest, beside)
        # Before it is warmed: memory that a candidate takes counts, also of one that then fails.
        self._switch.hold(generation)
        self._loader.warm(generation, self._warm)
        return generation

    def _let_go(self, generation: LoadedGeneration) -> None:
        """No new request gets it from now on; while answers hold it, it may be taken again."""
        self._switch.held.leave(generation)
        self._loader.let_go(generation)

    def _take_again(self, number: int, digest: str | None) -> LoadedGeneration | None:
        """A generation that was let go and still answers, as after a rollback soon after a swap; None: there is none.

        Loaded anew it would be in memory twice, and in an engine that answers for several its name would be taken.
        """
        for generation in self._switch.held.leaving(number):
            same = generation.digest == (digest or self._loader.store.digest(number))
            if same and not generation.lost and self._loader.take_back(generation):
                self._switch.held.stay(generation)
                _log.info("generation_taken_again", generation=number)
                return generation
        return None

    def _promote_watched(self, number: int, digest: str | None) -> bool:
        """Let the canary serve, where that is what is to serve: it has been answering all the while."""
        watched, old = self._switch.watched, self._switch.current
        if watched is None or (watched.generation.number, watched.generation.digest) != (number, digest):
            return False
        # In this order: a request that comes between finds one generation twice, and never none.
        self._switch.turn(watched.generation)
        self._switch.watch(None)
        if old is not None:
            self._let_go(old)
        return True

    def _make_room(self, number: int) -> None:
        """Where two do not fit: let the serving generation go before the next one is brought in."""
        current = self._switch.current
        if current is None or self._loader.fits_beside(number, current):
            return
        _log.warning(
            "serving_pauses",
            generation=current.number,
            reason="serving.engine_process.two_at_once is false: requests get 503 until the next generation answers",
        )
        self._switch.turn_off()
        self._loader.make_room(current)

    def _note_mended(self, number: int) -> None:
        remaining = {failed: why for failed, why in self._switch.status.failed.items() if failed != number}
        self._switch.status = replace(self._switch.status, failed=remaining)

    def _note_failure(self, number: int, error: Exception) -> None:
        reason = str(error) if isinstance(error, CheckpointsError | BrokenGeneration) else repr(error)
        earlier = {failed: why for failed, why in self._switch.status.failed.items() if failed != number}
        # A number that fails again becomes the newest.
        recent = dict(list(earlier.items())[1 - FAILURES_KEPT :])
        self._switch.status = replace(self._switch.status, failed={**recent, number: reason})
        self._metrics.swaps.labels("failed").inc()
        _log.error("generation_cannot_serve", generation=number, reason=reason)

    def _note_problem(self, error: Exception) -> None:
        # Once: the follower comes by several times a second.
        if self._switch.status.problem != str(error):
            _log.error("pointer_cannot_be_followed", error=str(error))
        self._switch.status = replace(self._switch.status, problem=str(error))


def _freeze() -> None:
    """Take what is loaded, the libraries above all, out of the collector's sight: going through it takes long.

    Models are not lost to it: reference counting frees them.
    """
    gc.collect()
    gc.freeze()
