"""The commands' operations on the store itself; the running daemon adds to them what only it knows."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from checkpoints.errors import CheckpointsError
from checkpoints.generation import GenerationStore
from daemon.control import facts
from daemon.control.asker import whose_word
from daemon.control.protocol import Facts
from daemon.errors import Refused, UnknownThing
from daemon.ingestion import replay_dead_letters
from daemon.rounds.decision import paused_sentence
from daemon.rounds.directories import round_directory
from daemon.rounds.inputs import draw_spec
from daemon.rounds.judgeable import ForeseenEvidence, foresee
from daemon.rounds.unknown_generations import unknown_generations
from daemon.settings.tree import Settings
from memory.errors import UnknownGeneration, UnknownRound, WrongState
from memory.ledger.records import Round
from memory.ledger.states import UNFINISHED, RoundState
from memory.samples.records import KeyHash
from memory.store import Store

NO_DAEMON = "No daemon runs on {state_dir}: start one with `riverkeep run`"


@contextmanager
def store_errors() -> Iterator[None]:
    """The store's errors that a person can cause, as those of the control."""
    try:
        yield
    except (UnknownRound, UnknownGeneration) as error:
        raise UnknownThing(str(error)) from error
    except OverflowError as error:
        # SQLite's integers have 64 bits.
        raise UnknownThing("No round or generation has so large a number.") from error
    except WrongState as error:
        raise Refused(str(error)) from error


class StoreControl:
    """`Control` on a store that is open for writing, with no daemon running.

    The daemon's own control extends it. Thread-safe, as the store is.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        checkpoints: GenerationStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._checkpoints = checkpoints
        self._clock = clock

    def status(self) -> Facts:
        """See `Control.status`."""
        known = facts.store_status(self._store) | {"evidence": self._evidence().facts()}
        paused = known["rounds_paused"]
        next_round = None if paused is None else paused_sentence(paused["reason"])
        unknown = unknown_generations(self._store, self._checkpoints)
        return self.status_without_store() | known | {"next_round": next_round, "unknown_generations": unknown}

    def status_without_store(self) -> Facts:
        """`status`, without what only the store knows."""
        absent = ("pid", "started_at", "round", "ingest", "need_restart", "settings_refused", "parts", "next_round")
        return {
            "running": False,
            "version": version("riverkeep"),
            "state_dir": str(self._settings.state_dir),
            **dict.fromkeys(absent),
            **facts.NO_STORE_STATUS,
            "memory_trouble": "",
            "unknown_generations": [],
        }

    def _evidence(self) -> ForeseenEvidence:
        return foresee(self._store, self._settings, draw_spec(self._settings), self._store.rounds.latest())

    def health(self) -> Facts:
        """See `Control.health`."""
        return {"healthy": False, "detail": self._no_daemon()}

    def readiness(self) -> Facts:
        """See `Control.readiness`."""
        return {"ready": False, "parts": {"daemon": {"ok": False, "detail": self._no_daemon()}}}

    def rounds(self, *, limit: int = 50, before: int | None = None) -> list[Facts]:
        """See `Control.rounds`."""
        # Numbers are consecutive, newest first: those from `before` on are skipped by their count.
        newest = next((one.number for one in self._store.rounds.listed(limit=1)), 0)
        skipped = 0 if before is None else max(0, newest - before + 1)
        return [facts.round_facts(one) for one in self._store.rounds.listed(limit=limit, offset=skipped)]

    def round(self, number: int) -> Facts:
        """See `Control.round`."""
        with store_errors():
            return facts.round_in_full(self._store.rounds.read(number))

    def round_samples(self, number: int, *, limit: int = 500, after: int = 0) -> Facts:
        """See `Control.round_samples`."""
        with store_errors():
            self._store.rounds.read(number)
            # One more than the page holds tells whether there is another.
            found = self._store.rounds.samples(number, limit + 1, after)
        return facts.round_samples_facts(number, found, limit=limit, lineage_from=self._store.rounds.lineage_from())

    def generations(self) -> Facts:
        """See `Control.generations`."""
        return facts.generations_facts(self._store)

    def memory(self) -> Facts:
        """See `Control.memory`."""
        return facts.memory_facts(self._store)

    def request_round(self, *, dry_run: bool = False) -> Facts:  # noqa: ARG002 - as the daemon's
        """Refuses: only a daemon runs rounds."""
        raise Refused(f"{self._no_daemon()}, then ask again.")

    def withdraw_round(self, *, dry_run: bool = False) -> Facts:  # noqa: ARG002 - as the daemon's
        """See `Control.withdraw_round`; without a daemon none waits."""
        return {"withdrawn": False}

    def cancel_rounds(self) -> Facts:
        """Raises UnknownThing: without a daemon no round runs."""
        raise UnknownThing("No round runs, as no daemon does: there is nothing to call off.")

    def approve_round(self, number: int) -> Facts:
        """See `Control.approve_round`; the round begins when a daemon runs."""
        with store_errors():
            self._must_wait(number, unless=RoundState.RELEASED)
            released = self._store.rounds.release(number)
        detail = f"{released} samples are fresh again; a round takes them once a daemon runs."
        return {"after": self._last_round(), "detail": detail}

    def reject_round(self, number: int) -> Facts:
        """See `Control.reject_round`."""
        with store_errors():
            self._must_wait(number, unless=RoundState.DROPPED)
            dropped = self._store.rounds.drop(number)
        self._erase_directories([number])
        return {"round": number, "dropped": dropped}

    def pause_rounds(self, reason: str = "") -> Facts:
        """See `Control.pause_rounds`."""
        already = self._store.rounds.paused() is not None
        return asdict(self._store.rounds.pause(reason)) | {"already": already}

    def resume_rounds(self) -> Facts:
        """See `Control.resume_rounds`."""
        return {"resumed": self._store.rounds.resume()}

    def rollback(self, generation: int | None = None) -> Facts:
        """See `Control.rollback`."""
        with store_errors():
            target = self._verified_target(generation)
            left, now_serving = self._store.generations.rollback(target, by=whose_word())
        self._checkpoints.point_to(now_serving)
        return {"from": left, "to": now_serving}

    def resume(self, partition: str | None = None) -> Facts:  # noqa: ARG002 - as the daemon's
        """Refuses: nothing is paused where nothing runs."""
        raise Refused(f"{self._no_daemon()}; it begins with no partition paused.")

    def forget(self, key: str | KeyHash) -> Facts:
        """See `Control.forget`."""
        forgotten = self._store.people.forget(key)
        return facts.forgotten_facts(
            forgotten, self._erase_directories(forgotten.rounds), self._store.people.similar_keys(key)
        )

    def find(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> Facts:
        """See `Control.find`."""
        found = self._store.people.find(key, limit=limit + 1, after=after)
        similar = self._store.people.similar_keys(key)
        if not found.is_anything and not similar:
            raise UnknownThing("Nothing is kept of that key, and no round that is still known was given its text.")
        known = facts.found_facts(found, text=text, limit=limit)
        return known | {
            "key_hash": str(KeyHash(self._store.people.key_hash(key))),
            "similar": facts.similar_facts(similar),
        }

    def gaps(self, *, limit: int = 50, before: int | None = None) -> list[Facts]:
        """See `Control.gaps`."""
        return [facts.gap_facts(one) for one in self._store.quarantine.gaps(limit, before)]

    def aside(self) -> list[Facts]:
        """See `Control.aside`."""
        return [facts.aside_facts(group) for group in self._store.aside.groups()]

    def aside_text(self, number: int, *, limit: int = 50, after: int = 0, worst: bool = False) -> Facts:
        """See `Control.aside_text`."""
        with store_errors():
            self._must_hold_aside(number)
            return facts.aside_text_facts(number, self._store.aside.text(number, limit, after, worst_first=worst))

    def release_aside(self, number: int) -> Facts:
        """See `Control.release_aside`."""
        with store_errors():
            self._must_hold_aside(number)
            if self._store.rounds.read(number).state is RoundState.WAITING:
                return {"round": number, "released": self._store.rounds.release(number)}
            return {"round": number, "released": self._store.aside.release(round_number=number)}

    def drop_aside(self, number: int, *, ids: Sequence[int] = ()) -> Facts:
        """See `Control.drop_aside`."""
        left = 0
        with store_errors():
            self._must_hold_aside(number)
            if ids:
                dropped, left = self._store.aside.drop_part(number, ids)
            elif self._store.rounds.read(number).state is RoundState.WAITING:
                dropped = self._store.rounds.drop(number)
            else:
                dropped = self._store.aside.drop(round_number=number)
        self._erase_directories([number])
        return {"round": number, "dropped": dropped, "left": left}

    def count_aside(self, number: int, *, source: str | None = None, key: str | None = None) -> Facts:
        """See `Control.count_aside`."""
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

    def drop_aside_of(self, number: int, *, source: str | None = None, key: str | None = None) -> Facts:
        """See `Control.drop_aside_of`."""
        with store_errors():
            self._must_hold_aside(number)
            dropped, left = self._store.aside.drop_of(number, source=source, key=key)
        self._erase_directories([number])
        return {"round": number, "dropped": dropped, "left": left}

    def dead_letters(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> list[Facts]:
        """See `Control.dead_letters`."""
        latest = self._store.quarantine.latest(limit, before)
        return [facts.dead_letter_facts(letter, text=text) for letter in latest]

    def dead_letter(self, number: int) -> Facts:
        """See `Control.dead_letter`."""
        letter = self._store.quarantine.dead_letter(number)
        if letter is None:
            raise UnknownThing(f"The quarantine has no dead letter {number}; it may have been replayed or dropped.")
        return facts.dead_letter_facts(letter, text=True)

    def replay_dead_letters(self, *, ids: Sequence[int] = ()) -> Facts:
        """See `Control.replay_dead_letters`."""
        replayed = replay_dead_letters.replay(self._store, self._settings, ids=frozenset(ids), now=self._clock())
        return replayed | {"need_restart": []}

    def drop_dead_letters(self, *, ids: Sequence[int] = ()) -> Facts:
        """See `Control.drop_dead_letters`."""
        return {"dropped": self._store.quarantine.drop(ids or None)}

    def _verified_target(self, generation: int | None) -> int:
        """The generation to go back to, its files verified before the store's pointer moves to it."""
        serving = self._store.generations.serving()
        if serving is None:
            raise Refused("No generation serves yet, so there is none to go back from.")
        target = self._store.generations.read(serving).parent if generation is None else generation
        if target is None:
            raise Refused(f"Generation {serving} is the base: there is none before it.")
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

    def _must_hold_aside(self, number: int) -> None:
        if all(group.round != number for group in self._store.aside.groups()):
            raise UnknownThing(f"Round {number} has set nothing aside; `riverkeep memory aside` lists who has.")

    def _erase_directories(self, numbers: Sequence[int]) -> dict[int, str]:
        """Remove these rounds' directories, which hold text; says which there were."""
        there = {number: path for number in numbers if (path := self._directory(number)).is_dir()}
        for path in there.values():
            shutil.rmtree(path)
        return {number: str(path) for number, path in there.items()}

    def _directory(self, number: int) -> Path:
        return round_directory(self._settings.rounds_dir, number)

    def _last_round(self) -> int:
        return next((one.number for one in self._store.rounds.listed(limit=1)), 0)

    def _no_daemon(self) -> str:
        return NO_DAEMON.format(state_dir=self._settings.state_dir)


def why_not_decided(one: Round, waiting: Sequence[int]) -> str:
    """What to tell a person who decides on a round that does not wait.

    Args:
        waiting: numbers of the rounds that do.
    """
    those = f"Waiting: {', '.join(map(str, waiting))}." if waiting else "No round waits."
    return f"Round {one.number} does not wait for anybody's word: {_what_became(one)}. {those}"


def _what_became(one: Round) -> str:
    if one.state in UNFINISHED:
        return "it is in progress"
    if one.state is RoundState.ACCEPTED:
        return f"it was accepted as generation {one.generation}, which `riverkeep rollback` goes back from"
    if one.state is RoundState.REFUSED:
        return (
            "it was refused; its text is in the next round, or aside where it was refused too often "
            f"(`riverkeep memory aside {one.number}`, then `riverkeep memory release {one.number}` or "
            f"`riverkeep memory drop {one.number}`)"
        )
    if one.state is RoundState.RELEASED:
        return "it was approved, and its text is fresh again"
    if one.state is RoundState.DROPPED:
        return "it was rejected, and its text is erased"
    return f"it {'failed' if one.state is RoundState.FAILED else 'was cut off'}; its text is fresh, for the next round"
