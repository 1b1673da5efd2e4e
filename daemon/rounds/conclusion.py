"""The end of a round: the gate's word, and what follows from it."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from checkpoints.card import Card, DataRange
from checkpoints.errors import CheckpointsError
from daemon import logs
from daemon.rounds.best_so_far import find_best, known_scores
from daemon.rounds.directories import Rooms
from daemon.rounds.inputs import history
from daemon.rounds.pointer_repair import move_pointer
from daemon.rounds.record import RoundRecord, trained_range, write_verdict
from daemon.rounds.retire_generations import retire
from daemon.settings.tree import Settings
from daemon.skills import known_rights
from gate.best_so_far import KnownScores
from gate.judge import Verdict, judge
from gate.looks import may_prove
from gate.round_figures import ModelScores, RoundFigures, read_figures
from gate.skills.guarded import GuardedSkills, KnownRights
from learner.directory.kept_candidates import keep
from learner.directory.report import Outcome, Report
from learner.directory.round_directory import CANDIDATES
from memory.ledger.history.canaries import CanaryPlan
from memory.ledger.records import GenerationState
from memory.ledger.states import UNFINISHED, RoundState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a round ended.

    Attributes:
        detail: the reason, a sentence.
        generation: the one that it made, where it was accepted.
        verdict: the gate's word, where there was one.
        figures: of the learner's report, where there was one.
    """

    state: RoundState
    detail: str
    generation: int | None = None
    verdict: Verdict | None = None
    figures: RoundFigures | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether the round has not ended: the next start takes it up."""
        return self.state in UNFINISHED


class Concluder:
    """Judges rounds and lets their verdicts take effect; each step may be cut off and repeated.

    The store is the truth: a candidate is written whole and published first, then accepted in one transaction, and then
    the pointer that serving follows is moved, which the next start repeats where it was cut off.

    Args:
        promotion: held while the serving generation changes, here and by a rollback.
        called_off: why the round must not take effect, asked under that lock; empty when it may.
        write: writes the named candidate of a round's directory whole; False where it was stopped first.
    """

    def __init__(
        self,
        rooms: Rooms,
        settings: Settings,
        promotion: threading.RLock,
        *,
        called_off: Callable[[], str],
        write: Callable[[Path, str], bool],
    ) -> None:
        self._rooms = rooms
        self._called_off = called_off
        self._write = write
        self._store = rooms.store
        self._settings = settings
        self._promotion = promotion

    def conclude(self, record: RoundRecord, report: Report, directory: Path) -> Conclusion:
        """Judge a round by its report and let the verdict take effect.

        Raises:
            CandidateNotWritten: nobody can write the candidate whole; the round is as it was.
            CheckpointsError: the candidate cannot be published; the round is as it was.
            RiverMemoryError: the store refused; the round is as it was.
        """
        verdict = self._judge(record, report)
        figures = read_figures(report, verdict.candidate)
        # Before anything follows from it, so that the directory tells why, wherever a crash cuts off what follows.
        write_verdict(directory, verdict)
        log.info("round_judged", decision=verdict.decision, candidate=verdict.candidate, reason=verdict.sentence)
        if record.dry_run:
            return self._end_dry_run(record, figures, verdict)
        # Whatever the verdict: the next round need not ask them again.
        self._keep_answers(record.parent, figures.parent, figures)
        self._keep_answers(record.base, figures.base, figures)
        if verdict.decision == "wait":
            return self._hold(record, figures, verdict)
        if figures.outcome is Outcome.NOT_JUDGEABLE:
            return self._end_untrained(record, figures, verdict)
        self._store.rounds.advance(record.number, RoundState.JUDGED, detail=verdict.sentence)
        if verdict.decision == "accept":
            return self._accept(record, figures, verdict, directory)
        # Before the round ends: cut off between, recovery judges it anew and comes by here again.
        self._keep(record, verdict, directory)
        if figures.outcome is Outcome.TRAINED and verdict.candidate is None:
            return self._could_not_judge(record, figures, verdict)
        return self._refuse(record, figures, verdict)

    def _judge(self, record: RoundRecord, report: Report) -> Verdict:
        return judge(
            report,
            record.slices,
            known=self._known_scores(record, report),
            history=history(self._store),
            settings=self._settings.gate,
            approved=record.approved,
            best=find_best(self._store, parent=record.parent, base=record.base),
            look=record.look,
            guard=GuardedSkills(record.skills, self._known_rights(record, report)),
        )

    def _known_rights(self, record: RoundRecord, report: Report) -> KnownRights:
        return known_rights(self._store, {skill.name: skill.version for skill in record.skills}, report.scored)

    def _known_scores(self, record: RoundRecord, report: Report) -> KnownScores:
        """What is known of earlier generations, with what this round found of the one that it scored again."""
        known = known_scores(self._store, report.scored)
        if record.best is None:
            return known
        again = {row.id: row for scores in report.slices.values() for row in scores.best}
        return {**known, record.best: {**known.get(record.best, {}), **again}}

    def _keep(self, record: RoundRecord, verdict: Verdict, directory: Path) -> None:
        """Keep the candidates of a round that was refused for want of evidence, where more of it may prove them."""
        # A full memory takes in no more text, held-out text neither.
        if not may_prove(verdict, record.slices, look=record.look) or self._store.is_full():
            return
        try:
            keep(directory, trained_in=record.trained_in or record.number, judgings=record.look)
        except OSError as error:
            log.warning("candidates_not_kept", reason=str(error))
        else:
            log.info("candidates_kept", documents=verdict.evidence, judgings=record.look)

    def _end_dry_run(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict) -> Conclusion:
        detail = f"dry run, nothing was changed: {verdict.sentence}"
        report = figures.summary(record.data)
        self._store.rounds.abandon(record.number, verdict=verdict.to_json(), report=report, detail=detail)
        return Conclusion(RoundState.ABANDONED, detail, verdict=verdict, figures=figures)

    def _end_untrained(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict) -> Conclusion:
        report = figures.summary(record.data)
        self._store.rounds.abandon(record.number, verdict=verdict.to_json(), report=report, detail=verdict.sentence)
        return Conclusion(RoundState.ABANDONED, verdict.sentence, verdict=verdict, figures=figures)

    def _hold(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict) -> Conclusion:
        # With each document's own loss, by which a person reads first what fits least.
        aside = self._store.rounds.hold(
            record.number,
            verdict=verdict.to_json(),
            report={**figures.summary(record.data), **figures.measured},
            detail=verdict.sentence,
        )
        log.warning("round_waits", samples_aside=aside, reason=verdict.sentence)
        return Conclusion(RoundState.WAITING, verdict.sentence, verdict=verdict, figures=figures)

    def _could_not_judge(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict) -> Conclusion:
        # Not the text's fault: it does not count as a refusal, which would set the text aside in the end.
        self._store.rounds.fail(record.number, reason=verdict.sentence, verdict=verdict.to_json())
        return Conclusion(RoundState.FAILED, verdict.sentence, verdict=verdict, figures=figures)

    def _refuse(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict) -> Conclusion:
        aside = self._store.rounds.refuse(
            record.number,
            verdict=verdict.to_json(),
            report={**figures.summary(record.data), **figures.measured},
            detail=verdict.sentence,
            against_text=self._speaks_against_text(figures, verdict),
        )
        if aside:
            log.warning("text_set_aside", samples=aside, reason=verdict.sentence)
        return Conclusion(RoundState.REFUSED, verdict.sentence, verdict=verdict, figures=figures)

    def _speaks_against_text(self, figures: RoundFigures, verdict: Verdict) -> bool:
        """More text, or another recipe, may tell; without room for more text the river must not stop for that.

        Text that holds nothing to train on never will.
        """
        return not verdict.unproven or figures.outcome is Outcome.EMPTY or self._store.is_full()

    def _accept(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict, directory: Path) -> Conclusion:
        assert verdict.candidate is not None
        # Not under the lock: of a large model it takes minutes, for which no rollback should have to wait.
        if not self._make_whole(record, directory, verdict.candidate):
            detail = f"the service was stopped before candidate {verdict.candidate} was written; the next start goes on"
            return Conclusion(RoundState.JUDGED, detail, verdict=verdict, figures=figures)
        with self._promotion:
            # Under the lock that a rollback and an erasure take: neither comes between this look and the acceptance.
            if detail := self._why_void(record):
                self._store.rounds.advance(record.number, RoundState.ABANDONED, detail=detail)
                return Conclusion(RoundState.ABANDONED, detail, verdict=verdict, figures=figures)
            generation = self._publish_and_accept(record, figures, verdict, directory)
            # By then the ledger says so: from here on every line of the log names what serves.
            if self._plan() is None:
                logs.carry(generation=generation)
            self._complete(generation)
        return Conclusion(RoundState.ACCEPTED, verdict.sentence, generation, verdict, figures)

    def _make_whole(self, record: RoundRecord, directory: Path, candidate: str) -> bool:
        """Have the candidate written where it is not there yet; False where the service stopped first.

        Of a round that must not take effect none is written.
        """
        if (directory / CANDIDATES / candidate).is_dir() or self._why_void(record):
            return True
        return self._write(directory, candidate) or bool(self._why_void(record))

    def _complete(self, generation: int) -> None:
        """Move the pointer and remove what retention lets go; the round has taken effect whatever the disk says."""
        try:
            move_pointer(self._store, self._rooms.checkpoints)
            # While a generation is watched, what it may replace is needed.
            if self._plan() is None:
                retire(self._rooms, self._settings)
        except (OSError, CheckpointsError) as error:
            # What is swallowed here is made good: the rounds' loop looks at the pointer again, every minute.
            log.critical("promotion_incomplete", generation=generation, reason=str(error))

    def _why_void(self, record: RoundRecord) -> str:
        """Why an acceptance must not take effect any more: a rollback or an erasure came first."""
        if self._store.generations.serving() != record.parent:
            return f"the serving generation is no longer {record.parent}, which this round started from"
        return self._called_off()

    def _publish_and_accept(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict, directory: Path) -> int:
        assert verdict.candidate is not None
        assert figures.candidate is not None
        generation = self._reserve_number(record.number)
        record = replace(record, data=self._trained_on(record, figures))
        # On disk before the ledger names it: cut off between, recovery publishes the same again, or removes it.
        published = self._rooms.checkpoints.publish(
            directory / CANDIDATES / verdict.candidate, generation, self._card(record, figures, verdict)
        )
        # Before the acceptance, which closes slices: R's earlier rows on them could not be written after it.
        self._keep_scores(record, figures)
        self._keep_answers(generation, figures.candidate, figures)
        self._store.rounds.accept(
            record.number,
            generation=generation,
            digest=published.digest,
            scores=figures.candidate.slices,
            document_scores=figures.candidate.documents,
            scored=figures.scored,
            verdict=verdict.to_json(),
            report=figures.summary(record.data),
            trained=figures.trained,
            canary=self._plan(),
        )
        return generation

    def _plan(self) -> CanaryPlan | None:
        """How an accepted generation is watched in traffic before it serves; None: it serves at once."""
        canary = self._settings.serving.canary
        return CanaryPlan(canary.mode, canary.share) if canary.enabled else None

    def _trained_on(self, record: RoundRecord, figures: RoundFigures) -> DataRange:
        """What was trained on, of what was drawn; all of it where the learner does not say."""
        if figures.trained is None:
            return record.data
        return trained_range(self._store.rounds.text(record.number), figures.trained.touched)

    def _reserve_number(self, number: int) -> int:
        """The number reserved before this round was cut off, else a new one."""
        reserved = (
            generation.number
            for generation in self._store.generations.listed()
            if generation.round == number and generation.state is GenerationState.RESERVED
        )
        # Generation 0 is the base's and never reserved by a round, so that `or` skips no number.
        return next(reserved, None) or self._store.generations.reserve(number)

    def _card(self, record: RoundRecord, figures: RoundFigures, verdict: Verdict) -> Card:
        assert verdict.candidate is not None
        assert figures.candidate is not None
        return Card(
            generation=0,  # the publication stamps the number
            kind=self._settings.model.kind,
            parent=record.parent,
            round=record.number,
            trained_in=record.trained_in,
            recipe={**self._settings.learner.recipe.model_dump(mode="json"), "parent_share": float(verdict.candidate)},
            data=record.data,
            scores={name: asdict(score) for name, score in figures.candidate.slices.items()},
        )

    def _keep_answers(self, generation: int, scores: ModelScores, figures: RoundFigures) -> None:
        """What a generation was found to answer rightly: for the best so far, and for the next round."""
        if figures.scored is not None and scores.skills:
            self._store.generations.save_skill_scores(generation, scores.skills, scored=figures.scored)

    def _keep_scores(self, record: RoundRecord, figures: RoundFigures) -> None:
        """What parent and base were found to score: R's earlier rows on the new slices, and the next round's cache."""
        for scores, generation in ((figures.parent, record.parent), (figures.base, record.base)):
            self._store.generations.save_scores(generation, scores.slices, scored=figures.scored)
            self._store.generations.save_document_scores(generation, scores.documents, scored=figures.scored)
        if record.best is not None:
            self._store.generations.save_document_scores(record.best, figures.best.documents, scored=figures.scored)
        if figures.bytes_per_token is not None:
            self._store.set_bytes_per_token(figures.bytes_per_token)
