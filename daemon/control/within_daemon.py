"""The control inside the running daemon: what the store knows, and what only the daemon knows."""

import os
import threading
from collections.abc import Callable, Sequence

import structlog
from typing_extensions import override

from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from daemon import logs
from daemon.comparisons.desk import ComparisonDesk
from daemon.control.answers.explained import ExplainedRound
from daemon.control.answers.kept import ReplayedDeadLetters, ResumedPartitions
from daemon.control.answers.peeked import PeekAnswer
from daemon.control.answers.people import ErasedPerson, FoundPerson
from daemon.control.answers.rounds import (
    AskedRound,
    CancelledRounds,
    PausedRounds,
    ResumedRounds,
    ServedAgain,
    TakenBack,
    WithdrawnRound,
)
from daemon.control.answers.serving import LatencyAnswer, ServingAnswer
from daemon.control.answers.settings import SettingsAnswer
from daemon.control.answers.status import (
    HealthAnswer,
    IngestStanding,
    PartStanding,
    ReadinessAnswer,
    RoundStanding,
    ServingStanding,
    StatusAnswer,
)
from daemon.control.answers.streams import StreamsAnswer
from daemon.control.bounds import ROUND_ENDS_WITHIN_S
from daemon.control.comparing import ComparingControl
from daemon.control.facts import explained, people
from daemon.control.facts.status import status_without_store
from daemon.control.serving_facts import latency_answer
from daemon.control.streams_facts import ingest_standing, peek_answer, streams_answer
from daemon.control.views import Views, part_standing, round_standing
from daemon.errors import Refused, UnknownThing
from daemon.ingestion.peek import Peeks
from daemon.lifecycle.supervised_threads import State
from daemon.rounds.asks_and_schedule import Asks
from daemon.rounds.begin_or_wait import Ask, Trigger, approval, paused_sentence
from daemon.rounds.current import CurrentRound
from daemon.settings.tree import Settings
from daemon.span import span
from memory.errors import StoreError
from memory.people.erasure import Forgotten
from memory.samples.records import KeyHash
from memory.store import Store
from streams import document
from streams.kafka.peek import PeekPlace

log = structlog.get_logger(__name__)

NAMES_LISTED = 16
CANCELLED = "a person called it off (`riverkeep round cancel`)"
DECODING = frozenset({"streams", "model"})
"""Sections of the settings by which a record becomes a document: formats and filters; labels."""
NO_SOURCE = "No topics are set (`streams.topics`), so nothing is consumed."


class LiveControl(ComparingControl):
    """Answers for the running daemon.

    Args:
        promotion: held while the serving generation changes.
        compared: two generations at a time that answer one prompt.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        checkpoints: GenerationStore,
        *,
        views: Views,
        asks: Asks,
        current: CurrentRound,
        promotion: threading.RLock,
        compared: ComparisonDesk,
    ) -> None:
        super().__init__(settings, store, checkpoints, compared)
        self._views = views
        self._asks = asks
        self._current = current
        self._promotion = promotion
        self._peeks = Peeks()

    @override
    def status(self) -> StatusAnswer:
        try:
            answer, trouble = super().status(), self._views.memory_trouble()
        # When the database cannot be read people look at the status first: it answers without.
        except StoreError as error:
            answer, trouble = self._status_without_store(), self._views.memory_trouble() or str(error)
        return answer | {
            "running": True,
            "pid": os.getpid(),
            "started_at": self._views.started_at,
            "serving": self._serving(answer["serving"]),
            "round": self._round_in_progress(),
            "ingest": self._ingest(),
            "next_round": "not before the memory can be used again" if trouble else self._next_round(),
            "memory_trouble": trouble,
            "need_restart": list(self._views.need_restart()),
            "settings_refused": self._views.settings_refused(),
            "parts": self.readiness()["parts"],
        }

    def _status_without_store(self) -> StatusAnswer:
        """What serves is then what the checkpoint store's pointer says."""
        answer = status_without_store(self._settings.state_dir)
        try:
            pointer = self._checkpoints.serving()
        except CheckpointsError:
            pointer = None
        answer["serving"]["generation"] = None if pointer is None else pointer.generation
        return answer

    @override
    def health(self) -> HealthAnswer:
        stuck = [health for health in self._views.parts() if health.state is State.STUCK and health.vital]
        return {"healthy": not stuck, "detail": "; ".join(f"{health.name}: {health.detail}" for health in stuck)}

    @override
    def readiness(self) -> ReadinessAnswer:
        parts: dict[str, PartStanding] = {health.name: part_standing(health) for health in self._views.parts()}
        if problem := self._views.problem():
            # No part of the process, and no reason to restart it: only the readiness tells.
            parts["serving_generation"] = {"ok": False, "detail": problem, "state": State.BROKEN}
        return {"ready": all(part["ok"] for part in parts.values()), "parts": parts}

    @override
    def explain_round(self, number: int) -> ExplainedRound:
        answer, current = super().explain_round(number), self._round_in_progress()
        if current is None or current["number"] != number:
            return answer
        return explained.in_progress(answer, current)

    @override
    def settings(self) -> SettingsAnswer:
        return self._views.settings()

    @override
    def request_round(self, *, dry_run: bool = False) -> AskedRound:
        if self._store.counts().fresh_samples == 0:
            raise Refused("Nothing is fresh: a round would have nothing to learn.")
        # Looked up before it is asked for: the loop may begin the round that answers at once, and what is kept be gone.
        after, progress = self._last_round(), self._current.progress
        kept = None if dry_run else self._evidence().kept
        self._asks.add(_ask_of(dry_run=dry_run))
        canary = self._store.canaries.watched()
        detail = "A round begins." if progress is None else f"A round begins when round {progress.number} has ended."
        if canary is not None:
            detail = (
                f"A round begins when it is decided on generation {canary.generation}, which is watched in traffic."
            )
        given_up = "" if kept is None else f" What round {kept.trained_in} could not prove is given up for it."
        return {"after": after, "detail": detail + given_up}

    @override
    def withdraw_round(self, *, dry_run: bool = False) -> WithdrawnRound:
        return {"withdrawn": self._asks.withdraw(_ask_of(dry_run=dry_run))}

    @override
    def cancel_rounds(self) -> CancelledRounds:
        # The asks first, or the loop would begin the next one as soon as this round has ended.
        withdrawn = self._asks.withdraw_all()
        # Not while a candidate is being promoted: then the round has been decided.
        with self._promotion:
            number = self._current.cancel(CANCELLED)
        if number is None and not withdrawn:
            raise UnknownThing("No round is in progress and none was asked for: there is nothing to call off.")
        ended = number is None or self._current.wait_for_end(ROUND_ENDS_WITHIN_S)
        log.info("rounds_cancelled", round=number, withdrawn=[ask.by for ask in withdrawn])
        return {
            "round": number,
            "withdrawn": len(withdrawn),
            "detail": self._describe_cancellation(number, withdrawn, ended=ended),
        }

    def _describe_cancellation(self, number: int | None, withdrawn: Sequence[Ask], *, ended: bool) -> str:
        off = "" if number is None else f"Round {number} is called off{'' if ended else ' and ends soon'}. "
        taken_back = f"What {', '.join(dict.fromkeys(ask.by for ask in withdrawn))} asked for is taken back. "
        seconds = self._settings.triggers.cooldown_seconds
        return f"{off}{taken_back if withdrawn else ''}By itself none begins for {span(seconds)}; its text stays fresh."

    @override
    def approve_round(self, number: int) -> AskedRound:
        answer = super().approve_round(number)
        self._asks.add(approval(number))
        return answer | {"detail": f"A round with the text of round {number} begins."}

    @override
    def pause_rounds(self, reason: str = "") -> PausedRounds:
        answer = super().pause_rounds(reason)
        log.info("rounds_paused", reason=answer["reason"])
        self._asks.wake()
        return answer

    @override
    def resume_rounds(self) -> ResumedRounds:
        answer = super().resume_rounds()
        if answer["resumed"]:
            log.info("rounds_resumed")
            self._asks.wake()
        return answer

    @override
    def rollback(self, generation: int | None = None) -> ServedAgain:
        # A round in progress started from what is left behind.
        with self._promotion:
            answer = super().rollback(generation)
            logs.carry(generation=answer["to"])
            now = f"generation {answer['to']} serves now, by a person's word"
            self._current.call_off(f"{now}, and no longer generation {answer['from']}, which it started from")
        return answer

    @override
    def promote_canary(self, generation: int | None = None) -> ServedAgain:
        with self._promotion:
            answer = super().promote_canary(generation)
            logs.carry(generation=answer["to"])
        self._asks.wake()
        return answer

    @override
    def take_back_canary(self, generation: int | None = None) -> TakenBack:
        with self._promotion:
            answer = super().take_back_canary(generation)
        self._asks.wake()
        return answer

    @override
    def forget(self, key: str | KeyHash) -> ErasedPerson:
        self._drain_feedback()
        forgotten, called_off, directories = self._erase(lambda: self._store.people.forget(key))
        similar = self._store.people.similar_keys(key)
        return people.erased_person(forgotten, directories, similar, called_off=called_off)

    @override
    def find(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> FoundPerson:
        person, progress = super().find(key, text=text, limit=limit, after=after), self._current.progress
        if progress is None or all(round_["round"] != progress.number for round_ in person["rounds"]):
            return person
        seconds = max(0.0, self._clock() - progress.started_at)
        return person | {"calls_off": {"round": progress.number, "seconds": round(seconds, 1)}}

    def apply_tombstones(self, scrub: bool) -> Forgotten:
        """Erase what the stream's tombstones ask for; a round that was given the text is called off, as by `forget`."""
        forgotten, _, _ = self._erase(lambda: self._store.people.apply_tombstones(scrub=scrub))
        if forgotten.generations:
            log.warning(
                "tombstones_erased_trained_text",
                samples=forgotten.samples,
                generations=list(forgotten.generations),
                clean_generation=forgotten.clean_generation,
            )
        return forgotten

    def _erase(self, erase: Callable[[], Forgotten]) -> tuple[Forgotten, int | None, dict[int, str]]:
        """Erase text, and end the round in progress where that was given some.

        Returns:
            what was erased, the number of that round, if so, and the directories of rounds that held the text.
        """
        # Whoever writes waits until the file is rewritten, which may take longer than a stuck loop is borne.
        with self._promotion, self._views.patient():
            forgotten = erase()
            progress = self._current.progress
            called_off = None if progress is None or progress.number not in forgotten.rounds else progress.number
            if called_off is not None:
                self._current.call_off("text that it was given has been erased", number=called_off)
            # Under the lock under which a round begins to go on that was cut off: none does with this text.
            others = [number for number in forgotten.rounds if number != called_off]
            directories = self._erase_directories(others)
        # Not under the lock: a round that is being accepted asks for it before it can end.
        if called_off is not None:
            self._current.wait_for_end(ROUND_ENDS_WITHIN_S)
            # After the wait: its learner reads its directory to the last.
            directories |= self._erase_directories([called_off])
        return forgotten, called_off, directories

    @override
    def resume(self, partition: str | None = None) -> ResumedPartitions:
        if self._views.ingest is None:
            raise Refused(NO_SOURCE)
        ingest = self._views.ingest
        # Both: of a partition that is paused the lag may not be known, and most of those read are not paused.
        partitions = sorted({document.partition_name(where) for where in (*ingest.lag(), *ingest.paused_partitions())})
        if partition is not None and partition not in partitions:
            raise UnknownThing(
                f"No partition {partition} is read here; those that are: {_list_names(partitions) or 'none yet'}."
            )
        return {"resumed": ingest.resume(partition)}

    @override
    def replay_dead_letters(self, *, ids: Sequence[int] = ()) -> ReplayedDeadLetters:
        # The settings in force decode, whatever their file says by now.
        waiting = [name for name in self._views.need_restart() if name in DECODING]
        return super().replay_dead_letters(ids=ids) | {"need_restart": waiting}

    def _serving(self, standing: ServingStanding) -> ServingStanding:
        if self._views.serving is None:
            return standing
        status = self._views.serving()
        troubles = [health for health in self._views.parts() if health.name == "serving" and not health.ok]
        return standing | {
            "answering": status.generation,
            "address": self._views.serving_address,
            "ok": status.generation is not None and status.healthy and not troubles,
            "trouble": "".join(part_standing(health)["detail"] for health in troubles if not health.begins),
            "starting": "".join(part_standing(health)["detail"] for health in troubles if health.begins),
        }

    @override
    def serving(self) -> ServingAnswer:
        facts = {} if self._views.serving is None else self._views.serving().facts
        return self._serving_answer(facts, self._views.serving_metrics())

    @override
    def latency(self, *, hours: int = 1) -> LatencyAnswer:
        times = self._views.serving_times
        if times is not None:
            times.look()
        return latency_answer(self._store, times, hours=hours, now=self._clock())

    @override
    def streams(self) -> StreamsAnswer:
        ingest = self._views.ingest
        return streams_answer(self._store, self._ingest(), None if ingest is None else ingest.arrived())

    @override
    def peek(
        self, topic: str, *, number: int | None = None, offset: int | None = None, count: int = 5, text: bool = False
    ) -> PeekAnswer:
        return peek_answer(self._peeks.look(self._settings, PeekPlace(topic, number, offset, count)), text=text)

    def _round_in_progress(self) -> RoundStanding | None:
        progress = self._current.progress
        return None if progress is None else round_standing(progress)

    def _next_round(self) -> str:
        """What it waits for; what the loop says while a round runs is why that one began."""
        progress = self._current.progress
        if progress is None:
            return self._views.next_round()
        ends, pause = f"not before round {progress.number} has ended", self._store.rounds.paused()
        # What a schedule asked for waits out the pause too.
        asks = [ask for ask in self._asks.pending() if pause is None or ask.by_a_person]
        if asks:
            return f"{ends}; asked for by {', '.join(dict.fromkeys(ask.by for ask in asks))}"
        return ends if pause is None else f"{ends}, and then {paused_sentence(pause.reason)}"

    def _ingest(self) -> IngestStanding | None:
        if self._views.ingest is None:
            return None
        parts = (part_standing(health) for health in self._views.parts() if health.name == "ingest")
        broken = (part["detail"] for part in parts if part["state"] in (State.BROKEN, State.STUCK))
        return ingest_standing(self._views.ingest, next(broken, ""))


def _ask_of(*, dry_run: bool) -> Ask:
    return Ask(Trigger.BY_HAND, by="a person", dry_run=dry_run)


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    return ", ".join(names[:NAMES_LISTED]) + more
