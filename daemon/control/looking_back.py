"""What the store says of what was: rounds in sentences, records followed, what flipped, lists. Changes nothing."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from typing_extensions import override

from checkpoints.generation_store import GenerationStore
from daemon.control.answers.audit import AuditLine
from daemon.control.answers.comparisons import PickTally
from daemon.control.answers.explained import ExplainedRound
from daemon.control.answers.feedback import FeedbackAnswer
from daemon.control.answers.flips import FlipsAnswer
from daemon.control.answers.generation_diffs import GenerationAnswer, GenerationDiff
from daemon.control.answers.kept import AsideLine, AsideTextAnswer, DeadLetterLine, GapLine
from daemon.control.answers.rounds import GenerationsAnswer, RoundSamplesAnswer
from daemon.control.answers.traces import TraceAnswer
from daemon.control.facts import comparisons, explained, feedback, flips, kept, rounds, traces
from daemon.control.facts.generation_diffs import generation_answer, generation_diff
from daemon.control.facts.history import audit_line
from daemon.control.protocol import Control
from daemon.errors import Refused, UnknownThing
from daemon.naive_twin import read_naive_twin
from daemon.rounds.directories import round_directory
from daemon.rounds.judgeable import ForeseenEvidence, foresee
from daemon.settings.tree import Settings
from memory.errors import UnknownGeneration, UnknownRound, WrongState
from memory.people.tracing import TracedPage
from memory.samples.records import KeyHash
from memory.store import Store


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


class StoreLooks(Control):
    """What of `Control` looks back. Thread-safe, as the store is."""

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

    def _evidence(self) -> ForeseenEvidence:
        return foresee(self._store, self._settings, self._store.rounds.latest())

    @override
    def explain_round(self, number: int) -> ExplainedRound:
        with store_errors():
            round_, evidence = self._store.rounds.read(number), self._evidence()
        is_kept = evidence.kept is not None and evidence.kept.number == number
        beside = explained.beside(self._store, round_, evidence.kept_sentence if is_kept else "")
        return explained.explained_round(round_, beside)

    @override
    def flips(self, number: int, *, limit: int = 20, text: bool = False) -> FlipsAnswer:
        with store_errors():
            round_ = self._store.rounds.read(number)
        directory = round_directory(self._settings.rounds_dir, number)
        return flips.flips(self._store, round_, directory, limit=limit, text=text)

    @override
    def generation(self, number: int) -> GenerationAnswer:
        with store_errors():
            return generation_answer(self._store, self._checkpoints, self.generations(), number)

    @override
    def diff_generations(self, number: int, other: int) -> GenerationDiff:
        with store_errors():
            return generation_diff(self._store, self._checkpoints, self.generations(), number, other)

    @override
    def generations(self) -> GenerationsAnswer:
        twin = read_naive_twin(self._settings.state_dir)
        return rounds.generations(self._store, self._checkpoints.grounds(), twin)

    @override
    def picks(self) -> list[PickTally]:
        return comparisons.tallies(self._store.picks.counts())

    @override
    def round_samples(self, number: int, *, limit: int = 500, after: int = 0) -> RoundSamplesAnswer:
        with store_errors():
            # Asked for its error: of a round that is not known no page of samples would be an answer.
            self._store.rounds.read(number)
            # One more than the page holds tells whether there is another.
            samples, sources = self._store.rounds.samples(number, limit + 1, after), self._store.rounds.sources(number)
        lineage_from = self._store.rounds.lineage_from()
        return rounds.round_samples(number, samples, sources, limit=limit, lineage_from=lineage_from)

    @override
    def trace(self, topic: str, number: int, offset: int, *, text: bool = False) -> TraceAnswer:
        records = self._store.people.trace_record(topic, number, offset)
        if not records:
            raise UnknownThing(traces.never_read(topic, number, self._store.people.partitions_read(topic)))
        keys = dict.fromkeys(KeyHash(key) for record in records for key in record.key_hashes)
        return self._traced(TracedPage(records, None), keys, text=text)

    @override
    def trace_key(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> TraceAnswer:
        return self._traced(self._store.people.trace(key, limit=limit, after=after), [key], text=text)

    def _traced(self, page: TracedPage, keys: Iterable[str | KeyHash], *, text: bool) -> TraceAnswer:
        tallies = self._store.counts().tallies
        return {
            "records": [traces.traced_record(record, tallies, text=text) for record in page.records],
            "next": page.next,
            # Asked of `find`, which within a daemon tells too what would be called off.
            "erasures": [traces.foreseen_erasure(self.find(key, limit=1), key, self._settings) for key in keys],
        }

    @override
    def audit(self, *, limit: int = 50, before: int | None = None) -> list[AuditLine]:
        return [audit_line(record) for record in self._store.audit.latest(limit, before)]

    @override
    def gaps(self, *, limit: int = 50, before: int | None = None) -> list[GapLine]:
        return [kept.gap_line(gap) for gap in self._store.quarantine.gaps(limit, before)]

    @override
    def feedback(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> FeedbackAnswer:
        return feedback.feedback(self._store, limit=limit, before=before, text=text)

    @override
    def aside(self) -> list[AsideLine]:
        return [kept.aside_line(group) for group in self._store.aside.groups()]

    @override
    def aside_text(
        self, number: int, *, limit: int = 50, after: int = 0, worst: bool = False, text: bool = False
    ) -> AsideTextAnswer:
        with store_errors():
            self._must_hold_aside(number)
            return kept.aside_text(number, self._store.aside.text(number, limit, after, worst_first=worst), text=text)

    @override
    def dead_letters(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> list[DeadLetterLine]:
        latest = self._store.quarantine.latest(limit, before)
        return [kept.dead_letter_line(letter, text=text) for letter in latest]

    @override
    def dead_letter(self, number: int, *, text: bool = False) -> DeadLetterLine:
        letter = self._store.quarantine.dead_letter(number)
        if letter is None:
            raise UnknownThing(f"The quarantine has no dead letter {number}; it may have been replayed or dropped.")
        return kept.dead_letter_line(letter, text=text)

    def _must_hold_aside(self, number: int) -> None:
        if all(group.round != number for group in self._store.aside.groups()):
            raise UnknownThing(f"Round {number} has set nothing aside; `riverkeep memory aside` lists who has.")
