"""What is done about rounds that a crash cut off, and about candidates on disk that were never accepted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from checkpoints.errors import CheckpointsError
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.cut_off.going_on import step_to_go_on_from
from daemon.rounds.directories import Rooms
from daemon.rounds.out_of_memory import MicroBatchLimits
from daemon.rounds.record import BadRecord, RoundRecord
from daemon.rounds.whole_candidate import CandidateNotWritten
from learner.directory.report import BadReport, read_report
from learner.directory.round_directory import REPORT, read_spec
from learner.errors import BadRoundDirectory
from learner.skills.prompts import BadSkill
from memory.ledger.records import Generation, GenerationState, Round
from memory.ledger.states import RoundState

log = structlog.get_logger(__name__)

Problem = (OSError, CheckpointsError, BadReport, BadRecord, BadRoundDirectory, BadSkill, CandidateNotWritten)
"""What ends a round with a reason; what the store raises ends the part, and recovery takes up the round."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Takes up what a crash left of earlier rounds.

    Attributes:
        rooms: where rounds and generations are kept.
        limits: told of rounds whose learner was at work and had saved nothing, which may have been killed for memory.
        conclude: ends a round whose learner had finished.
        abandon: ends one that had come to nothing, with the reason.
        fail: ends one that cannot be concluded, with the error.
        tell: told of each round's number and end.
    """

    rooms: Rooms
    limits: MicroBatchLimits
    conclude: Callable[[RoundRecord, Path], Conclusion]
    abandon: Callable[[int, str], Conclusion]
    fail: Callable[[int, BaseException], Conclusion]
    tell: Callable[[int, Conclusion], None]

    def run(self) -> list[Conclusion]:
        """Finish or discard the rounds that were cut off, and remove candidates that were never accepted.

        What may go on from where its learner saved it stays unfinished, and so does what the service's end cuts off.
        """
        concluded = []
        for round_ in self.rooms.store.rounds.unfinished():
            with structlog.contextvars.bound_contextvars(round=round_.number, parent=round_.parent_generation):
                if self._goes_on(round_):
                    continue
                conclusion = self._take_up(round_.number)
                if not conclusion.is_interrupted:
                    log.warning("round_recovered", state=conclusion.state.value, reason=conclusion.detail)
                    concluded.append(conclusion)
                self.tell(round_.number, conclusion)
        # Last: a reserved generation on disk may be one that a round above was about to have accepted.
        self._remove_leftovers()
        return concluded

    def _goes_on(self, round_: Round) -> bool:
        directory = self.rooms.round_dir(round_.number)
        try:
            record, spec = RoundRecord.read(directory), read_spec(directory)
        except Problem:
            return False
        # A directory from before the store was restored may have another round's number.
        is_its_own = (record.number, record.parent, spec.seed) == (
            round_.number,
            round_.parent_generation,
            round_.seed,
        )
        serves = self.rooms.store.generations.serving() == record.parent
        in_training = round_.state is RoundState.TRAINING and not (directory / REPORT).exists()
        return (
            is_its_own and serves and in_training and not record.dry_run and step_to_go_on_from(directory) is not None
        )

    def _take_up(self, number: int) -> Conclusion:
        directory = self.rooms.round_dir(number)
        try:
            record = RoundRecord.read(directory)
            read_report(directory)
        except Problem:
            # The record is written before the learner begins, the report when it has finished.
            killed = self.limits.note_cut_off(directory, number)
            return self.abandon(number, f"it was cut off before its learner had finished{killed}")
        if record.dry_run:
            return self.abandon(number, "the dry run was cut off")
        try:
            return self.conclude(record, directory)
        except Problem as error:
            return self.fail(number, error)

    def _remove_leftovers(self) -> None:
        self.rooms.checkpoints.sweep()
        on_disk = self.rooms.checkpoints.numbers()
        left_over = [each.number for each in self.rooms.store.generations.listed() if _is_left_over(each)]
        # The newest first: what an adapter lies on is older than the adapter.
        for number in sorted(set(left_over) & set(on_disk), reverse=True):
            if adapters := self.rooms.checkpoints.lying_on(number):
                log.warning("generation_stays", generation=number, reason="others lie on it", others=adapters)
                continue
            log.info("candidate_discarded", generation=number)
            self.rooms.checkpoints.remove(number)


def _is_left_over(generation: Generation) -> bool:
    # Retired: the ledger lets a generation go before its files are removed, and a crash may come between.
    return generation.state in {GenerationState.RESERVED, GenerationState.RETIRED}
