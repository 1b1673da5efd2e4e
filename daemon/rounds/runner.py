"""One round from end to end."""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import structlog

from checkpoints.card import ModelKind
from daemon.held_out_keys import ask_for_held_out
from daemon.metrics import DaemonMetrics
from daemon.processes.learner_process import LearnerEnding, LearnerExit, LearnerLimits, LearnerProcess
from daemon.rounds.begin_or_wait import Ask
from daemon.rounds.best_so_far import to_score_again
from daemon.rounds.conclusion import Concluder, Conclusion
from daemon.rounds.current import CurrentRound
from daemon.rounds.directories import Rooms
from daemon.rounds.event import tell
from daemon.rounds.inputs import part_by_labels, write_inputs
from daemon.rounds.judgeable import needs_of, nothing_trained_serves
from daemon.rounds.kept.again_or_anew import DrawnRound, draw_round
from daemon.rounds.out_of_memory import MicroBatchLimits
from daemon.rounds.pointer_repair import repair_pointer
from daemon.rounds.record import RoundRecord
from daemon.rounds.recovery import Problem, Recovery
from daemon.settings.labels import answered_labels, labels_learned
from daemon.settings.tree import Settings
from gate.held_out import DrawnSlice, Need, judged_by
from gate.verdict import not_judgeable
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import BadReport, Report, read_report
from learner.directory.round_directory import read_spec
from memory.ledger.states import RoundState
from memory.samples.records import Sample

log = structlog.get_logger(__name__)

TOLD_SECONDS = 60.0
"""How often the log tells, at most, how a round gets on."""


class RoundRunner:
    """Runs rounds, one at a time, in the thread that calls it.

    Args:
        settings: asked at the begin of each round, so that a reload counts from the next one.
        promotion: held while the serving generation changes.
        clock: unix seconds.
        seed: a new seed for each round.
    """

    def __init__(
        self,
        rooms: Rooms,
        *,
        settings: Callable[[], Settings],
        learner: LearnerProcess,
        current: CurrentRound,
        metrics: DaemonMetrics,
        promotion: threading.RLock,
        clock: Callable[[], float],
        seed: Callable[[], int],
    ) -> None:
        self._rooms = rooms
        self._settings = settings
        self._learner = learner
        self._current = current
        self._metrics = metrics
        self._promotion = promotion
        self._clock = clock
        self._seed = seed
        self._limits = MicroBatchLimits(rooms.store, show=metrics.micro_batch_ratio.set)
        self._told_at = 0.0

    def run(self, ask: Ask, reason: str, *, must_stop: Callable[[], bool]) -> Conclusion | None:
        """Run one round to its end; None where nothing could be drawn.

        Args:
            must_stop: whether the round must be abandoned now; asked a few times a second while the learner
                runs.

        Raises:
            RiverMemoryError: the store failed; the round is unfinished, and `recover` takes it up.
        """
        settings = self._settings()
        began, self._told_at = self._clock(), time.monotonic()
        is_judgeable = partial(self._is_judgeable, settings)
        drawn = draw_round(self._rooms, settings, ask, seed=self._seed, now=began, is_judgeable=is_judgeable)
        if drawn is None:
            return None
        draw = drawn.draw
        self._current.begin(draw.number, began, reason=reason, fresh=len(draw.fresh), early_stop=len(draw.early_stop))
        try:
            with structlog.contextvars.bound_contextvars(round=draw.number, parent=draw.parent_generation):
                log.info(
                    "round_begun",
                    trigger=ask.trigger.value,
                    by=ask.by,
                    dry_run=ask.dry_run,
                    reason=reason,
                    trained_in=None if drawn.judges is None else drawn.judges.trained_in,
                )
                for part in draw.left_out:
                    log.info("round_leaves_out", what=part.what, documents=part.documents, setting=part.setting)
                conclusion = self._attempt(drawn, ask, settings, must_stop)
                drawn.tell(conclusion.state)
                self._tell(draw.number, conclusion)
        finally:
            # Also where the store failed: a rollback or an erasure waits for the round's end.
            self._current.end()
        return conclusion

    def _attempt(self, drawn: DrawnRound, ask: Ask, settings: Settings, must_stop: Callable[[], bool]) -> Conclusion:
        draw, kept = drawn.draw, drawn.judges
        directory = self._rooms.round_dir(draw.number)
        try:
            trained = None if kept is None else read_spec(self._rooms.round_dir(kept.number)).new_labels
            draw, new_labels = part_by_labels(draw, settings, trained=trained)
            if new_labels:
                log.info("round_grows_labels", labels=list(new_labels))
            # On what was drawn: for who asked by hand nothing was checked before, and the ledger is to tell them why.
            unmet = self._unmet(draw.slices, settings)
            if unmet and not _looks_at_least(unmet):
                return self._not_judgeable(draw.number, unmet[0].sentence())
            lacking = unmet[0].sentence() if unmet else ""
            with self._metrics.round_seconds.labels("draw").time():
                best = None if lacking else to_score_again(self._rooms, draw, settings)
                record = write_inputs(
                    directory,
                    draw,
                    ask,
                    self._rooms,
                    settings,
                    lacking=lacking,
                    best=best,
                    kept=kept,
                    new_labels=new_labels,
                )
            self._limits.begin(directory, draw.number)
            self._rooms.store.rounds.advance(draw.number, RoundState.TRAINING)
            with self._metrics.round_seconds.labels("learner").time():
                run = partial(self._run_learner, directory, settings, must_stop)
                ended = self._limits.learn(directory, draw.number, run)
            if ended.ending is not LearnerEnding.FINISHED:
                return self._without_report(draw.number, ended)
            return self._conclude(record, directory, settings)
        except Problem as error:
            return self._fail(draw.number, error)

    def _unmet(self, slices: Iterable[DrawnSlice], settings: Settings) -> list[Need]:
        """What the gate will lack to judge a round on these slices, whatever is trained."""
        first = nothing_trained_serves(self._rooms.store)
        return [need for need in needs_of(slices, settings, first=first) if not need.is_met]

    def _is_judgeable(self, settings: Settings, slices: Iterable[DrawnSlice], fresh: Sequence[Sample]) -> bool:
        answered = answered_labels(settings, self._rooms.store.generations.serving())
        learned, minimum = partial(labels_learned, settings, fresh, answered), settings.gate.minimum_documents
        return not self._unmet(judged_by(slices, answered, learned, minimum=minimum), settings)

    def _run_learner(self, directory: Path, settings: Settings, must_stop: Callable[[], bool]) -> LearnerExit:
        self._current.phase("start")
        ended = self._learner.run(
            directory,
            limits=LearnerLimits(settings.learner.silence_seconds, settings.lifecycle.round_seconds),
            on_progress=self._hear,
            must_stop=lambda: must_stop() or bool(self._current.called_off),
        )
        self._metrics.learner_ends.labels(ended.ending.value).inc()
        return ended

    def _hear(self, event: ProgressEvent) -> None:
        self._current.hear(event)
        self._metrics.hear(event)
        progress, now = self._current.progress, time.monotonic()
        if progress is not None and now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.info(
                "round_progress",
                phase=progress.phase,
                step=progress.step,
                steps=progress.steps,
                work=None if progress.work is None else progress.work.sentence(),
                tokens_per_second=progress.tokens_per_second,
                losses=event.losses,
            )

    def _conclude(self, record: RoundRecord, directory: Path, settings: Settings) -> Conclusion:
        report = _report_of(record, directory, settings.model.kind)
        self._current.phase("judge")
        with self._metrics.round_seconds.labels("judge").time():
            concluder = Concluder(self._rooms, settings, self._promotion, lambda: self._current.called_off)
            conclusion = concluder.conclude(record, report, directory)
        ask_for_held_out(self._rooms.store, settings)
        return conclusion

    def _without_report(self, number: int, ended: LearnerExit) -> Conclusion:
        if ended.ending is LearnerEnding.STOPPED:
            return self._abandon(number, self._current.called_off or "the service was stopped")
        log.error("learner_failed", ending=ended.ending.value, reason=ended.detail)
        if ended.ending is LearnerEnding.NO_ROOM:
            # First, as the store may need the space; other failures leave the directory for a person to look at.
            shutil.rmtree(self._rooms.round_dir(number), ignore_errors=True)
        self._rooms.store.rounds.fail(number, reason=ended.detail)
        return Conclusion(RoundState.FAILED, ended.detail)

    def _not_judgeable(self, number: int, lacking: str) -> Conclusion:
        """Answer a person at once whose round no gate could judge; its text stays fresh."""
        verdict = not_judgeable(lacking)
        log.warning("round_not_judgeable", reason=verdict.sentence)
        shutil.rmtree(self._rooms.round_dir(number), ignore_errors=True)
        self._rooms.store.rounds.abandon(number, verdict=verdict.to_json(), report={}, detail=verdict.sentence)
        return Conclusion(RoundState.ABANDONED, verdict.sentence)

    def _abandon(self, number: int, why: str) -> Conclusion:
        self._rooms.store.rounds.advance(number, RoundState.ABANDONED, detail=why)
        shutil.rmtree(self._rooms.round_dir(number), ignore_errors=True)
        return Conclusion(RoundState.ABANDONED, why)

    def _fail(self, number: int, error: BaseException) -> Conclusion:
        reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
        log.error("round_failed", reason=reason)
        # A full disk gets its space back; whatever else broke, the directory explains nothing more than the
        # error.
        shutil.rmtree(self._rooms.round_dir(number), ignore_errors=True)
        self._rooms.store.rounds.fail(number, reason=reason)
        return Conclusion(RoundState.FAILED, reason)

    def recover(self) -> list[Conclusion]:
        """Finish or discard the rounds that a crash cut off, and remove candidates that were never accepted."""
        return Recovery(
            self._rooms,
            self._limits,
            conclude=lambda record, directory: self._conclude(record, directory, self._settings()),
            abandon=self._abandon,
            fail=self._fail,
            tell=self._tell,
        ).run()

    def _tell(self, number: int, conclusion: Conclusion) -> None:
        tell(self._metrics, self._rooms.store, number, conclusion, now=self._clock())

    def repair_pointer(self) -> None:
        """Let followers serve what the store says, where a disk error left an acceptance or a rollback half done."""
        with self._promotion:
            repair_pointer(self._rooms.store, self._rooms.checkpoints)


def _looks_at_least(unmet: Sequence[Need]) -> bool:
    """Whether the learner looks at the text all the same: with too little new text held out, but enough of the anchor.

    Nothing is trained then, but text that is implausible waits for a person at once, not mixed with what comes later.
    """
    return all(need.what == "newest" for need in unmet)


def _report_of(record: RoundRecord, directory: Path, kind: ModelKind) -> Report:
    """The report that a round's learner wrote.

    Raises:
        FileNotFoundError: there is none.
        BadReport: it cannot be understood, or it is of another round or of another kind of model, so that its
            figures prove nothing here.
    """
    report = read_report(directory)
    for what, reported, expected in (("round", report.round, record.number), ("kind", report.kind, kind)):
        if reported != expected:
            raise BadReport(
                f"the report in {directory} says {what} {reported}, this is {what} {expected}: nothing in it is "
                "believed; begin the round anew"
            )
    return report
