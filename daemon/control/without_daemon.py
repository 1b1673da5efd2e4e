"""The commands' operations on the store itself; the running daemon adds to them what only it knows."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from typing_extensions import override

from checkpoints.errors import CheckpointsError
from daemon.comparisons.choice import Choice
from daemon.control.answers.comparisons import ComparisonAnswer
from daemon.control.answers.kept import (
    CountedAside,
    DroppedAside,
    DroppedDeadLetters,
    MemoryAnswer,
    ReleasedAside,
    ReplayedDeadLetters,
    ResumedPartitions,
)
from daemon.control.answers.next_draw import NextDraw
from daemon.control.answers.peeked import PeekAnswer
from daemon.control.answers.people import ErasedPerson, FoundPerson
from daemon.control.answers.rounds import (
    AskedRound,
    CancelledRounds,
    PausedRounds,
    RejectedRound,
    ResumedRounds,
    RoundAnswer,
    RoundLine,
    ServedAgain,
    TakenBack,
    WithdrawnRound,
)
from daemon.control.answers.serving import LatencyAnswer, ServingAnswer
from daemon.control.answers.settings import SettingsAnswer
from daemon.control.answers.status import HealthAnswer, ReadinessAnswer, StatusAnswer
from daemon.control.answers.streams import StreamsAnswer
from daemon.control.asker import whose_word
from daemon.control.facts import kept, next_draw, people, rounds, status
from daemon.control.facts.history import canary_line
from daemon.control.facts.labels import waiting_labels
from daemon.control.facts.undecided import why_not_decided
from daemon.control.looking_back import StoreLooks, store_errors
from daemon.control.serving_facts import latency_answer, serving_answer
from daemon.control.streams_facts import streams_answer
from daemon.errors import Refused, UnknownThing
from daemon.ingestion import replay_dead_letters
from daemon.ingestion.feedback_drain import drain_feedback
from daemon.rounds.begin_or_wait import paused_sentence
from daemon.rounds.directories import erase_directories, round_directory
from daemon.rounds.out_of_memory import MemoryLimit, limit_by_settings
from daemon.rounds.pointer_repair import move_pointer
from daemon.rounds.unknown_generations import unknown_generations
from memory.ledger.history.canaries import CanaryRecord
from memory.ledger.states import RoundState
from memory.samples.records import KeyHash

log = structlog.get_logger(__name__)

NO_DAEMON = "No daemon runs on {state_dir}: start one with `riverkeep run`"


class StoreControl(StoreLooks):
    """`Control` on a store that is open for writing, with no daemon running.

    The daemon's own control extends it. Thread-safe, as the store is.
    """

    @override
    def status(self) -> StatusAnswer:
        answer = status.status(self._store, self._settings.state_dir)
        paused = answer["rounds_paused"]
        answer["next_round"] = None if paused is None else paused_sentence(paused["reason"])
        evidence = self._evidence()
        answer["evidence"] = status.evidence(evidence)
        answer["kept"] = evidence.kept_sentence
        answer["waiting_labels"] = waiting_labels(self._store, self._settings)
        answer["sequence_length"] = status.sequence_length(self._settings)
        answer["micro_batch"] = status.micro_batch(self._memory_limit())
        answer["unknown_generations"] = unknown_generations(self._store, self._checkpoints)
        return answer

    def _drain_feedback(self) -> None:
        """Take in what people said and serving wrote down, so that an erasure finds it."""
        try:
            drain_feedback(self._settings, self._store, self._clock)
        except OSError as error:
            # It is refused when it comes: its key is erased by then.
            log.warning("feedback_waits_on", error=str(error))

    def _memory_limit(self) -> MemoryLimit | None:
        learner = self._settings.learner
        return limit_by_settings(self._store.rounds.too_large(), learner.recipe, learner.device)

    @override
    def health(self) -> HealthAnswer:
        return {"healthy": False, "detail": self._no_daemon()}

    @override
    def readiness(self) -> ReadinessAnswer:
        return {"ready": False, "parts": {"daemon": {"ok": False, "detail": self._no_daemon(), "state": "stopped"}}}

    @override
    def settings(self) -> SettingsAnswer:
        raise Refused(f"{self._no_daemon()}; `riverkeep config show` tells what it would start with.")

    @override
    def rounds(self, *, limit: int = 50, before: int | None = None) -> list[RoundLine]:
        # Numbers are consecutive, newest first: those from `before` on are skipped by their count.
        newest = next((round_.number for round_ in self._store.rounds.listed(limit=1)), 0)
        skipped = 0 if before is None else max(0, newest - before + 1)
        return [rounds.round_line(entry) for entry in self._store.rounds.listed(limit=limit, offset=skipped)]

    @override
    def round(self, number: int) -> RoundAnswer:
        with store_errors():
            round_, evidence = self._store.rounds.read(number), self._evidence()
            canary = self._store.canaries.of_round(number)
        is_kept = evidence.kept is not None and evidence.kept.number == number
        directory = round_directory(self._settings.rounds_dir, number)
        kept_until = evidence.kept_sentence if is_kept else ""
        return rounds.round_in_full(round_, kept_until, canary, directory if directory.is_dir() else None)

    @override
    def serving(self) -> ServingAnswer:
        return self._serving_answer({}, "")

    def _serving_answer(self, facts: Mapping[str, Any], exposition: str) -> ServingAnswer:
        watched = self._store.canaries.watched()
        canary = None if watched is None else canary_line(watched)
        return serving_answer(self.status()["serving"], facts, exposition, self._store.audit.swaps(), canary)

    @override
    def latency(self, *, hours: int = 1) -> LatencyAnswer:
        return latency_answer(self._store, None, hours=hours, now=self._clock())

    @override
    def streams(self) -> StreamsAnswer:
        return streams_answer(self._store, None, None)

    @override
    def peek(
        self, topic: str, *, number: int | None = None, offset: int | None = None, count: int = 5, text: bool = False
    ) -> PeekAnswer:
        raise Refused(f"{self._no_daemon()}; `riverkeep peek` asks the broker itself.")

    @override
    def memory(self) -> MemoryAnswer:
        return kept.memory(self._store)

    @override
    def next_draw(self) -> NextDraw:
        evidence = self._evidence()
        judges_again = evidence.kept_sentence if evidence.judged_again is not None else ""
        with store_errors():
            return next_draw.next_draw(self._store, self._settings, judges_again=judges_again)

    @override
    def request_round(self, *, dry_run: bool = False) -> AskedRound:
        raise Refused(f"{self._no_daemon()}, then ask again.")

    @override
    def withdraw_round(self, *, dry_run: bool = False) -> WithdrawnRound:
        # None waits where nobody runs them.
        return {"withdrawn": False}

    @override
    def cancel_rounds(self) -> CancelledRounds:
        raise UnknownThing("No round runs, as no daemon does: there is nothing to call off.")

    @override
    def approve_round(self, number: int) -> AskedRound:
        with store_errors():
            self._must_wait(number, unless=RoundState.RELEASED)
            released = self._store.rounds.release(number)
        detail = f"{released} samples are fresh again; a round takes them once a daemon runs."
        return {"after": self._last_round(), "detail": detail}

    @override
    def reject_round(self, number: int) -> RejectedRound:
        with store_errors():
            self._must_wait(number, unless=RoundState.DROPPED)
            dropped = self._store.rounds.drop(number)
        self._erase_directories([number])
        return {"round": number, "dropped": dropped}

    @override
    def pause_rounds(self, reason: str = "") -> PausedRounds:
        already = self._store.rounds.paused() is not None
        pause = self._store.rounds.pause(reason)
        return {"since": pause.since, "reason": pause.reason, "already": already}

    @override
    def resume_rounds(self) -> ResumedRounds:
        return {"resumed": self._store.rounds.resume()}

    @override
    def rollback(self, generation: int | None = None) -> ServedAgain:
        with store_errors():
            target = self._verified_target(generation)
            before, now_serving = self._store.generations.rollback(target, by=whose_word())
        # The ledger first, which is the truth: a pointer that the disk holds back is moved by the daemon later.
        move_pointer(self._store, self._checkpoints)
        return {"from": before, "to": now_serving}

    @override
    def promote_canary(self, generation: int | None = None) -> ServedAgain:
        watched = self._watched(generation)
        try:
            self._checkpoints.verify(watched.generation)
        except CheckpointsError as error:
            raise Refused(f"Generation {watched.generation} cannot serve: {error}") from error
        with store_errors():
            self._store.canaries.promote(watched.generation, by=whose_word())
        move_pointer(self._store, self._checkpoints)
        return {"from": watched.beside, "to": watched.generation}

    @override
    def take_back_canary(self, generation: int | None = None) -> TakenBack:
        watched = self._watched(generation)
        with store_errors():
            self._store.canaries.roll_back(watched.generation, by=whose_word())
        move_pointer(self._store, self._checkpoints)
        return {"generation": watched.generation, "serving": watched.beside}

    def _watched(self, generation: int | None) -> CanaryRecord:
        """The generation that is watched in traffic, which is the one that is meant. Raises Refused, UnknownThing."""
        watched = self._store.canaries.watched()
        if generation is not None and (watched is None or watched.generation != generation):
            raise UnknownThing(f"Generation {generation} is not watched in traffic (any more): nothing was decided.")
        if watched is None:
            raise Refused("No generation is watched in traffic, so there is nothing to decide on.")
        return watched

    @override
    def compare(
        self,
        prompt: str,
        first: int | None = None,
        second: int | None = None,
        *,
        blind: bool = False,
        chat: bool = False,
        max_tokens: int = 128,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> ComparisonAnswer:
        raise Refused(f"{self._no_daemon()}, then ask again.")

    @override
    def comparison(self, number: int) -> ComparisonAnswer:
        raise UnknownThing(f"There is no comparison {number}: each is in a daemon's memory. {self._no_daemon()}.")

    @override
    def pick_answer(self, number: int, choice: Choice) -> ComparisonAnswer:
        return self.comparison(number)

    @override
    def cancel_comparison(self, number: int) -> ComparisonAnswer:
        return self.comparison(number)

    @override
    def resume(self, partition: str | None = None) -> ResumedPartitions:
        # Pauses for a flood are kept in RAM.
        raise Refused(f"{self._no_daemon()}; it begins with no partition paused.")

    @override
    def forget(self, key: str | KeyHash) -> ErasedPerson:
        self._drain_feedback()
        forgotten = self._store.people.forget(key)
        directories, similar = self._erase_directories(forgotten.rounds), self._store.people.similar_keys(key)
        return people.erased_person(forgotten, directories, similar, called_off=None)

    @override
    def find(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> FoundPerson:
        person = self._store.people.find(key, limit=limit + 1, after=after)
        similar = self._store.people.similar_keys(key)
        if not person.is_anything and not similar:
            raise UnknownThing("Nothing is kept of that key, and no round that is still known was given its text.")
        key_hash = KeyHash(self._store.people.key_hash(key))
        return people.found_person(person, similar, key_hash, text=text, limit=limit)

    @override
    def release_aside(self, number: int, *, ids: Sequence[int] = ()) -> ReleasedAside:
        with store_errors():
            self._must_hold_aside(number)
            if ids:
                released, left = self._store.aside.release_part(number, ids)
                return {"round": number, "released": released, "left": left}
            # A round that waits is decided on as a whole: its state changes with its text.
            if self._store.rounds.read(number).state is RoundState.WAITING:
                return {"round": number, "released": self._store.rounds.release(number), "left": 0}
            return {"round": number, "released": self._store.aside.release(round_number=number), "left": 0}

    @override
    def drop_aside(
        self, number: int, *, ids: Sequence[int] = (), source: str | None = None, key: str | None = None
    ) -> DroppedAside:
        remaining = 0
        with store_errors():
            self._must_hold_aside(number)
            if source is not None or key is not None:
                dropped, remaining = self._store.aside.drop_of(number, source=source, key=key)
            elif ids:
                dropped, remaining = self._store.aside.drop_part(number, ids)
            elif self._store.rounds.read(number).state is RoundState.WAITING:
                dropped = self._store.rounds.drop(number)
            else:
                dropped = self._store.aside.drop(round_number=number)
        self._erase_directories([number])
        return {"round": number, "dropped": dropped, "left": remaining}

    @override
    def count_aside(self, number: int, *, source: str | None = None, key: str | None = None) -> CountedAside:
        with store_errors():
            self._must_hold_aside(number)
            counted = self._store.aside.count(number, source=source, key=key)
        return {
            "round": number,
            "samples": counted.samples,
            "held_out": counted.held_out,
            "of": sum(counted.sources.values()),
            "sources": dict(counted.sources),
        }

    @override
    def replay_dead_letters(self, *, ids: Sequence[int] = ()) -> ReplayedDeadLetters:
        replayed = replay_dead_letters.replay(self._store, self._settings, ids=frozenset(ids), now=self._clock())
        return {**replayed, "need_restart": []}

    @override
    def drop_dead_letters(self, *, ids: Sequence[int] = ()) -> DroppedDeadLetters:
        return {"dropped": self._store.quarantine.drop(ids or None)}

    def _verified_target(self, generation: int | None) -> int:
        """The generation to go back to, its files verified before the store's pointer moves to it."""
        serving = self._store.generations.serving()
        if serving is None:
            raise Refused("No generation serves yet, so there is none to go back from.")
        watched = self._store.canaries.watched()
        if watched is not None and generation is None:
            # What is gone back from is the canary, and what serves needs no look: it does.
            return serving
        target = self._store.generations.read(serving).parent if generation is None else generation
        if target is None:
            raise Refused(f"Generation {serving} is the base: there is none before it.")
        # Asked for its error, which says more of a number that was never used than that there are no files.
        self._store.generations.read(target)
        try:
            self._checkpoints.verify(target)
        except CheckpointsError as error:
            raise Refused(f"Generation {target} cannot serve: {error}") from error
        return target

    def _must_wait(self, number: int, *, unless: RoundState) -> None:
        """Refuse to decide on a round that does not wait, or again but otherwise; the same word may be repeated."""
        decided = self._store.rounds.read(number)
        if decided.state not in (RoundState.WAITING, unless):
            raise Refused(why_not_decided(decided, self._store.rounds.waiting()))

    def _erase_directories(self, numbers: Sequence[int]) -> dict[int, str]:
        """Remove these rounds' directories, which hold text; says which there were."""
        return {number: str(path) for number, path in erase_directories(self._settings.rounds_dir, numbers).items()}

    def _last_round(self) -> int:
        return next((round_.number for round_ in self._store.rounds.listed(limit=1)), 0)

    def _no_daemon(self) -> str:
        return NO_DAEMON.format(state_dir=self._settings.state_dir)
