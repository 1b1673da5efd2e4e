"""What a person or a script can ask of Riverkeep: one protocol, whoever answers it.

`daemon/control/within_daemon.py` answers inside the running daemon, `daemon/control/without_daemon.py` on the store
when no daemon runs, and `daemon/admin/client.py` carries the questions to a running daemon over HTTP.
`daemon/control/operations.py` says of each operation where it is asked for there, and with which bounds.
"""

from collections.abc import Sequence
from typing import Protocol

from daemon.comparisons.choice import Choice
from daemon.control.answers.audit import AuditLine
from daemon.control.answers.comparisons import ComparisonAnswer, PickTally
from daemon.control.answers.explained import ExplainedRound
from daemon.control.answers.feedback import FeedbackAnswer
from daemon.control.answers.flips import FlipsAnswer
from daemon.control.answers.generation_diffs import GenerationAnswer, GenerationDiff
from daemon.control.answers.kept import (
    AsideLine,
    AsideTextAnswer,
    CountedAside,
    DeadLetterLine,
    DroppedAside,
    DroppedDeadLetters,
    GapLine,
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
    GenerationsAnswer,
    PausedRounds,
    RejectedRound,
    ResumedRounds,
    RoundAnswer,
    RoundLine,
    RoundSamplesAnswer,
    ServedAgain,
    TakenBack,
    WithdrawnRound,
)
from daemon.control.answers.serving import LatencyAnswer, ServingAnswer
from daemon.control.answers.settings import SettingsAnswer
from daemon.control.answers.status import HealthAnswer, ReadinessAnswer, StatusAnswer
from daemon.control.answers.streams import StreamsAnswer
from daemon.control.answers.traces import TraceAnswer
from memory.samples.records import KeyHash


class Control(Protocol):
    """The operations of `riverkeep` commands and of the admin surface.

    Called from several threads at once, and never from an event loop: each may block for a transaction of the
    store. Each raises `daemon.errors.DaemonError` (UnknownThing, Refused, BadRequest) with a sentence for a
    person, and has then changed nothing. What an answer's keys mean, its type says.
    """

    def status(self) -> StatusAnswer:
        """How things stand, in a few milliseconds and without asking Kafka."""

    def health(self) -> HealthAnswer:
        """Whether the process's own loops turn, whatever Kafka does."""

    def readiness(self) -> ReadinessAnswer:
        """Whether every part works."""

    def settings(self) -> SettingsAnswer:
        """The settings in force in a running daemon, and where each came from; what may be a secret is not shown."""

    def audit(self, *, limit: int = 50, before: int | None = None) -> list[AuditLine]:
        """What served when and who did what, newest first; those with smaller ids than `before`."""

    def rounds(self, *, limit: int = 50, before: int | None = None) -> list[RoundLine]:
        """Rounds, newest first; those with smaller numbers than `before`."""

    def round(self, number: int) -> RoundAnswer:
        """One round with its recipe, verdict, report and what it covers. Raises UnknownThing."""

    def explain_round(self, number: int) -> ExplainedRound:
        """One round in sentences: why it began, what decided, what can be done. Raises UnknownThing."""

    def flips(self, number: int, *, limit: int = 20, text: bool = False) -> FlipsAnswer:
        """Held-out documents that a round's candidate has worse or better than its parent, worst first.

        Raises UnknownThing.
        """

    def round_samples(self, number: int, *, limit: int = 500, after: int = 0) -> RoundSamplesAnswer:
        """Which samples a round was given, in pages by id, also where their text is gone. Raises UnknownThing."""

    def generations(self) -> GenerationsAnswer:
        """The generations, which of them serves, and R."""

    def generation(self, number: int) -> GenerationAnswer:
        """One generation: where it came from, what it learned on the way, what came of it. Raises UnknownThing."""

    def diff_generations(self, number: int, other: int) -> GenerationDiff:
        """Generation `number` beside `other`: the line between them, the text learned on it, recipes and scores.

        Raises UnknownThing.
        """

    def serving(self) -> ServingAnswer:
        """What serves since when, how it answers by the serving process's own count, and what is watched in traffic."""

    def latency(self, *, hours: int = 1) -> LatencyAnswer:
        """How long answers took over the latest hours, how many failed, and what was swapped and watched meanwhile."""

    def streams(self) -> StreamsAnswer:
        """How reading gets on: lag, rates and forms by partition and topic, and which offsets never came."""

    def peek(
        self, topic: str, *, number: int | None = None, offset: int | None = None, count: int = 5, text: bool = False
    ) -> PeekAnswer:
        """A few records of a topic that is read, straight from the broker, and how each would be read.

        From `offset` on in partition `number`; without an offset the newest, of that partition or of all. In no group,
        and nothing is committed. Raises UnknownThing (topic, partition, offset), BadRequest, Refused, BrokerAway.
        """

    def memory(self) -> MemoryAnswer:
        """What is kept: samples and tokens by role and source, aside by round, dead letters by reason."""

    def next_draw(self) -> NextDraw:
        """What a round would be given if it were drawn now, by part and source; draws nothing.

        Raises Refused where there is no generation to start from.
        """

    def request_round(self, *, dry_run: bool = False) -> AskedRound:
        """Ask for a round now; `dry_run`: gate without promoting.

        Returns at once; the round that answers begins when the one in progress has ended. Raises Refused when nothing
        is fresh.
        """

    def withdraw_round(self, *, dry_run: bool = False) -> WithdrawnRound:
        """Take back a `request_round` that no round has begun to answer."""

    def cancel_rounds(self) -> CancelledRounds:
        """Call off the round in progress without effect, and take back what was asked for and has not begun.

        By itself none begins before the cool-down is over. Raises UnknownThing where there is nothing to call off.
        """

    def approve_round(self, number: int) -> AskedRound:
        """Let a waiting round's text be trained on: plausibility is waived, the gate is not.

        Returns and raises as `request_round`.
        """

    def reject_round(self, number: int) -> RejectedRound:
        """Erase the text of a round that waits."""

    def pause_rounds(self, reason: str = "") -> PausedRounds:
        """Let no round begin by itself, across restarts too.

        A round in progress goes on, rounds that a person asks for begin, and text is read on.
        """

    def resume_rounds(self) -> ResumedRounds:
        """Let rounds begin by themselves again."""

    def rollback(self, generation: int | None = None) -> ServedAgain:
        """Serve an earlier generation (None: the one before).

        While one is watched in traffic it is the one that is gone back from where none is named.
        """

    def promote_canary(self, generation: int | None = None) -> ServedAgain:
        """Let the generation that is watched in traffic serve at once (None: whichever it is).

        Raises UnknownThing where it is not watched, Refused where none is, or its files are damaged.
        """

    def take_back_canary(self, generation: int | None = None) -> TakenBack:
        """End the watch of a generation in traffic (None: whichever it is): it answers no more, what serves serves on.

        Raises UnknownThing where it is not watched, Refused where none is.
        """

    def picks(self) -> list[PickTally]:
        """Which of two generations' answers people found the better, by pair; that picked from last comes first."""

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
        """Let two generations answer a prompt, one after the other, in a process of its own beside what serves.

        Returns at once; `comparison` tells how far it is. None named: the serving generation and its parent. Where
        neither `temperature` nor `seed` is given the most probable token is taken each time. Raises UnknownThing,
        Refused where the files of one are gone or there is no room, and Busy while another comparison is under way.
        """

    def comparison(self, number: int) -> ComparisonAnswer:
        """How far a comparison is, and what was answered. Raises UnknownThing."""

    def pick_answer(self, number: int, choice: Choice) -> ComparisonAnswer:
        """Say which answer of a blind comparison is the better; it is told then whose is which.

        Raises UnknownThing, and Refused where somebody has picked already, or nothing was hidden.
        """

    def cancel_comparison(self, number: int) -> ComparisonAnswer:
        """End a comparison that is under way. Raises UnknownThing, and Refused where it has ended."""

    def resume(self, partition: str | None = None) -> ResumedPartitions:
        """Read on where a flood of dead letters paused: `topic/number`, or all.

        Raises UnknownThing for a partition that is not read here.
        """

    def forget(self, key: str | KeyHash) -> ErasedPerson:
        """Erase what carries `key`, and name what had seen it."""

    def find(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> FoundPerson:
        """What is known of a person by key; changes nothing. Raises UnknownThing where nothing is."""

    def trace(self, topic: str, number: int, offset: int, *, text: bool = False) -> TraceAnswer:
        """What became of one record, and what an erasure by its keys would touch; changes nothing.

        Raises UnknownThing where its partition was never read.
        """

    def trace_key(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> TraceAnswer:
        """The same of a person's records; on the first page their dead letters too. Raises UnknownThing: none known."""

    def gaps(self, *, limit: int = 50, before: int | None = None) -> list[GapLine]:
        """Offsets that never came, newest first; those with smaller ids than `before`."""

    def feedback(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> FeedbackAnswer:
        """What people said of answers: by generation, and the latest; those with smaller ids than `before`."""

    def aside(self) -> list[AsideLine]:
        """What is set aside, by the round that set it aside, oldest first; never the text itself."""

    def aside_text(
        self, number: int, *, limit: int = 50, after: int = 0, worst: bool = False, text: bool = False
    ) -> AsideTextAnswer:
        """Documents that round `number` set aside, in pages by id or `worst` loss first, with their `text` if wanted.

        Raises UnknownThing.
        """

    def release_aside(self, number: int, *, ids: Sequence[int] = ()) -> ReleasedAside:
        """Let what round `number` set aside be fresh (or held out) again, or these samples of it.

        Raises Refused, and releases nothing, where it has not set one of the samples aside, and of a part of a round
        that waits: that is decided on as a whole.
        """

    def drop_aside(
        self, number: int, *, ids: Sequence[int] = (), source: str | None = None, key: str | None = None
    ) -> DroppedAside:
        """Erase what round `number` set aside, or a part: these samples, or what is of that source, that key, or both.

        Of a source or a key there may be nothing. Raises Refused, and erases nothing, where it has not set one of the
        samples aside.
        """

    def count_aside(self, number: int, *, source: str | None = None, key: str | None = None) -> CountedAside:
        """How much of what round `number` set aside is of that source, that key, or both; erases nothing.

        Raises UnknownThing where it has set nothing aside.
        """

    def dead_letters(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> list[DeadLetterLine]:
        """Quarantined records, newest first; those with smaller ids than `before`."""

    def dead_letter(self, number: int, *, text: bool = False) -> DeadLetterLine:
        """One of them, with what was kept of its record if `text` is wanted. Raises UnknownThing."""

    def replay_dead_letters(self, *, ids: Sequence[int] = ()) -> ReplayedDeadLetters:
        """Decode them again under the present settings (none named: all)."""

    def drop_dead_letters(self, *, ids: Sequence[int] = ()) -> DroppedDeadLetters:
        """Erase them (none named: all)."""
