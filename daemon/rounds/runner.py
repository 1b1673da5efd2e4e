"""One round from end to end."""

import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import structlog

from daemon.held_out_keys import ask_for_held_out
from daemon.metrics import DaemonMetrics
from daemon.processes.compiled_code import keep_compiled_bounded
from daemon.processes.learner import Learner, LearnerEnding, LearnerExit
from daemon.rounds.begin_or_wait import Ask
from daemon.rounds.best_so_far import to_score_again
from daemon.rounds.conclusion import Concluder, Conclusion
from daemon.rounds.current import CurrentRound
from daemon.rounds.cut_off.going_on import note_going_on, note_stopped
from daemon.rounds.cut_off.recovery import Problem, Recovery
from daemon.rounds.cut_off.round_learner import RoundLearner
from daemon.rounds.directories import Rooms
from daemon.rounds.event import tell
from daemon.rounds.inputs import part_by_labels, write_inputs
from daemon.rounds.judgeable import needs_of, nothing_trained_serves
from daemon.rounds.kept.again_or_anew import DrawnRound, draw_round
from daemon.rounds.out_of_memory import MicroBatchLimits
from daemon.rounds.pointer_repair import repair_pointer
from daemon.rounds.record import RoundRecord, read_report_of
from daemon.rounds.whole_candidate import write_whole
from daemon.settings.labels import answered_labels, labels_learned
from daemon.settings.tree import Settings
from daemon.skills import SkillsRead, keep_skills_out
from gate.held_out import DrawnSlice, Need, judged_by
from gate.verdict import not_judgeable
from learner.directory.round_directory import read_spec
from learner.directory.saved_round import forget_saved
from memory.ledger.states import RoundState
from memory.samples.records import Sample

log = structlog.get_logger(__name__)


class RoundRunner:
    """Runs rounds, one at a time, in the thread that calls it.

    Args:
        settings: asked at the begin of each round, so that a reload counts from the next one.
        promotion: held while the serving generation changes.
        clock: unix seconds.
        seed: a new seed for each round.
        limits: what is done about memory; None: about this machine's.
    """

    def __init__(
        self,
        rooms: Rooms,
        *,
        settings: Callable[[], Settings],
        learner: Learner,
        current: CurrentRound,
        metrics: DaemonMetrics,
        promotion: threading.RLock,
        clock: Callable[[], float],
        seed: Callable[[], int],
        limits: MicroBatchLimits | None = None,
    ) -> None:
        self._rooms = rooms
        self._settings = settings
        self._learner = RoundLearner(learner, current, metrics)
        self._current = current
        self._metrics = metrics
        self._promotion = promotion
        self._clock = clock
        self._seed = seed
        self._limits = limits or MicroBatchLimits(rooms.store, show=metrics.micro_batch_ratio.set)

    def run(self, ask: Ask, reason: str, *, must_stop: Callable[[], bool]) -> Conclusion | None:
        """Run one round to its end; None where nothing could be drawn.

        Args:
            must_stop: whether the round must be abandoned now; asked a few times a second while the learner
                runs.

        Raises:
            RiverMemoryError: the store failed; the round is unfinished, and `recover` takes it up.
        """
        settings = self._settings()
        began = self._clock()
        self._learner.begin()
        # Before the draw: what comes near their text is not to be drawn.
        skills = keep_skills_out(self._rooms.store, settings)
        is_judgeable = partial(self._is_judgeable, settings)
        drawn = draw_round(
            self._rooms, settings, ask, reason=reason, seed=self._seed, now=began, is_judgeable=is_judgeable
        )
        if drawn is None:
            return None
        draw = drawn.draw
        self._current.begin(draw.number, began, reason=reason, fresh=len(draw.fresh), early_stop=len(draw.early_stop))
        try:
            ids = self._current.spans.begin(draw.number, draw.parent_generation, began)
            with structlog.contextvars.bound_contextvars(round=draw.number, parent=draw.parent_generation, **ids):
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
                conclusion = self._attempt(drawn, ask, settings, must_stop, skills=skills)
                if not conclusion.is_interrupted:
                    drawn.tell(conclusion.state)
                self._tell(draw.number, conclusion)
        finally:
            # Also where the store failed: a rollback or an erasure waits for the round's end.
            self._current.end()
        return conclusion

    def _attempt(
        self,
        drawn: DrawnRound,
        ask: Ask,
        settings: Settings,
        must_stop: Callable[[], bool],
        *,
        skills: SkillsRead,
    ) -> Conclusion:
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
                    skills=skills.require(),
                )
            return self._learn(record, directory, settings, must_stop)
        except Problem as error:
            return self._fail(draw.number, error)

    def _learn(
        self, record: RoundRecord, directory: Path, settings: Settings, must_stop: Callable[[], bool]
    ) -> Conclusion:
        number = record.number
        keep_compiled_bounded(settings.state_dir)
        self._limits.begin(directory, number)
        self._rooms.store.rounds.advance(number, RoundState.TRAINING)
        with self._metrics.round_seconds.labels("learner").time():
            run = partial(self._learner.run, directory, settings, must_stop)
            ended = self._limits.learn(directory, number, run)
        if ended.ending is LearnerEnding.FINISHED:
            return self._conclude(record, directory, settings, must_stop)
        return self._without_report(record, ended)

    def _unmet(self, slices: Iterable[DrawnSlice], settings: Settings) -> list[Need]:
        """What the gate will lack to judge a round on these slices, whatever is trained."""
        first = nothing_trained_serves(self._rooms.store)
        return [need for need in needs_of(slices, settings, first=first) if not need.is_met]

    def _is_judgeable(self, settings: Settings, slices: Iterable[DrawnSlice], fresh: Sequence[Sample]) -> bool:
        answered = answered_labels(settings, self._rooms.store.generations.serving())
        learned, minimum = partial(labels_learned, settings, fresh, answered), settings.gate.minimum_documents
        return not self._unmet(judged_by(slices, answered, learned, minimum=minimum), settings)

    def _conclude(
        self, record: RoundRecord, directory: Path, settings: Settings, must_stop: Callable[[], bool]
    ) -> Conclusion:
        report = read_report_of(record, directory, settings.model.kind)
        # A learner that was killed at its very end has left it.
        forget_saved(directory)
        self._current.phase("judge")
        with self._metrics.round_seconds.labels("judge").time():
            concluder = Concluder(
                self._rooms,
                settings,
                self._promotion,
                called_off=lambda: self._current.called_off,
                write=partial(self._write, settings, must_stop),
            )
            conclusion = concluder.conclude(record, report, directory)
        ask_for_held_out(self._rooms.store, settings)
        return conclusion

    def _write(self, settings: Settings, must_stop: Callable[[], bool], directory: Path, name: str) -> bool:
        self._current.phase("write")
        return write_whole(name, partial(self._learner.write, directory, settings, must_stop, name))

    def _without_report(self, record: RoundRecord, ended: LearnerExit) -> Conclusion:
        number, directory = record.number, self._rooms.round_dir(record.number)
        if ended.ending is LearnerEnding.STOPPED:
            return self._stopped(record, directory)
        log.error("learner_failed", ending=ended.ending.value, reason=ended.detail)
        if ended.ending is LearnerEnding.NO_ROOM:
            # First, as the store may need the space; other failures leave the directory for a person to look at.
            shutil.rmtree(directory, ignore_errors=True)
        # Several times the model, and no failed round goes on.
        forget_saved(directory)
        self._rooms.store.rounds.fail(number, reason=ended.detail)
        return Conclusion(RoundState.FAILED, ended.detail)

    def _stopped(self, record: RoundRecord, directory: Path) -> Conclusion:
        """A round that was called off ends; one that the service's end cut off goes on later, where it saved itself."""
        if called_off := self._current.called_off:
            return self._abandon(record.number, called_off)
        step = None if record.dry_run else note_stopped(directory)
        if step is None:
            return self._abandon(record.number, "the service was stopped")
        detail = f"the service was stopped; the round goes on from step {step:,} when it starts again"
        self._rooms.store.rounds.advance(record.number, RoundState.TRAINING, detail=detail)
        return Conclusion(RoundState.TRAINING, detail)

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

    def go_on(self, *, must_stop: Callable[[], bool]) -> Conclusion | None:
        """Let the round go on that `recover` left, to its end; None where there is none.

        Args:
            must_stop: as in `run`.

        Raises:
            RiverMemoryError: as in `run`.
        """
        unfinished = self._rooms.store.rounds.unfinished()
        # One that was judged is taken up by `recover`, at the next start where this one ends before.
        round_ = next((round_ for round_ in unfinished if round_.state is RoundState.TRAINING), None)
        if round_ is None:
            return None
        self._learner.begin()
        reason = "it was cut off, and goes on from where it was saved"
        # Under the lock that an erasure takes: it removes the directory before that, or calls the round off after.
        with self._promotion:
            self._current.begin(
                round_.number,
                round_.begun_at,
                reason=reason,
                fresh=round_.fresh_samples,
                early_stop=round_.early_stop_samples,
            )
        try:
            ids = self._current.spans.begin(round_.number, round_.parent_generation, None)
            with structlog.contextvars.bound_contextvars(round=round_.number, parent=round_.parent_generation, **ids):
                conclusion = self._go_on(round_.number, must_stop)
                self._tell(round_.number, conclusion)
        finally:
            self._current.end()
        return conclusion

    def _go_on(self, number: int, must_stop: Callable[[], bool]) -> Conclusion:
        directory = self._rooms.round_dir(number)
        try:
            step = note_going_on(directory)
            if step is None:
                return self._abandon(number, "it was cut off, and what its learner had saved is gone")
            record = RoundRecord.read(directory)
            self._rooms.store.rounds.advance(number, RoundState.TRAINING, detail=f"went on from step {step:,}")
            self._learner.tell_going_on(step, "it was cut off with the service")
            return self._learn(record, directory, self._settings(), must_stop)
        except Problem as error:
            return self._fail(number, error)

    def recover(self, *, must_stop: Callable[[], bool] = lambda: False) -> list[Conclusion]:
        """Finish or discard the rounds that a crash cut off, and remove candidates that were never accepted.

        What may go on from where its learner saved it is left to `go_on`.

        Args:
            must_stop: as in `run`; asked while a candidate is written.
        """
        return Recovery(
            self._rooms,
            self._limits,
            conclude=lambda record, directory: self._conclude(record, directory, self._settings(), must_stop),
            abandon=self._abandon,
            fail=self._fail,
            tell=self._tell,
        ).run()

    def _tell(self, number: int, conclusion: Conclusion) -> None:
        if conclusion.is_interrupted:
            log.info("round_interrupted", reason=conclusion.detail)
            self._current.spans.conclude({"state": "interrupted"})
            return
        facts = tell(self._metrics, self._rooms.store, number, conclusion, now=self._clock())
        self._current.spans.conclude(facts)

    def repair_pointer(self) -> None:
        """Let followers serve what the store says, where a disk error left an acceptance or a rollback half done."""
        with self._promotion:
            repair_pointer(self._rooms.store, self._rooms.checkpoints)


def _looks_at_least(unmet: Sequence[Need]) -> bool:
    """Whether the learner looks at the text all the same: with too little new text held out, but enough of the anchor.

    Nothing is trained then, but text that is implausible waits for a person at once, not mixed with what comes later.
    """
    return all(need.what == "newest" for need in unmet)
