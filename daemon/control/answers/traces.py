"""One record through offset, role, rounds and generations, and what an erasure by its key would touch."""

from typing import TypedDict

from daemon.control.answers.kept import DeadLetterLine
from daemon.control.answers.people import GivenRound, InterruptedRound, SeenBy, SimilarKeyLine
from daemon.control.answers.records import RecordPlace, SampleLine


class TracedUse(TypedDict):
    """A round that was given a record.

    Attributes:
        part: as in `RoundSampleLine`.
        state: of the round.
        generation: that it made; None where it made none.
        detail: what was done with the record there, a sentence.
    """

    round: int
    part: str
    state: str
    generation: int | None
    detail: str


class TracedGap(TypedDict):
    """Offsets `first` to `last` that never came, and why."""

    first: int
    last: int
    reason: str


class TracedRecord(RecordPlace):
    """What became of one record.

    Attributes:
        incarnation: tells a topic from one of the same name made anew.
        became: `fresh`, `replay`, `holdout`, `aside`; `dead_letter` or `filtered`; `erased`, its key was; `left`, its
            text has left memory while the ledger knows it; `not_kept`, of a duplicate and the like; `gap`, it never
            came; `not_read`.
        detail: the same for a person, a sentence or two.
        sample: where it is kept, with its text where that is asked for.
        slice: of held-out text, the one that it is in.
        aside_round: the round that set it aside.
        refusals: rounds that had it to train on and were refused.
        dead_letter: where the quarantine has it.
        gap: where it never came.
        rounds: that were given it, oldest first.
        generations: that were trained on it; `descendants` were made from those.
        scored_by: generations whose score on it is kept, as held-out text.
        lineage_from: the first round of which it is known what it was given.
        key_hashes: of the keys that it is known by, 16 digits each.
        erased_at: unix seconds; None where no key of it was erased.
    """

    incarnation: str
    became: str
    detail: str
    sample: SampleLine | None
    slice: str | None
    aside_round: int | None
    refusals: int
    dead_letter: DeadLetterLine | None
    gap: TracedGap | None
    rounds: list[TracedUse]
    generations: list[int]
    descendants: list[int]
    scored_by: list[int]
    lineage_from: int
    key_hashes: list[str]
    erased_at: float | None


class ForeseenErasure(SeenBy):
    """What an erasure would touch, were it done now; nothing is.

    Attributes:
        key_hash: of the person, 16 digits.
        samples, dead_letters, feedback: how many would go.
        rounds: that were given the person's text.
        directories: of rounds, which would go.
        calls_off: the round in progress that would be called off; None where none is.
        erased_at: unix seconds; None where the person was not erased yet.
        command: that erases.
        similar: other keys, of which nothing would go.
    """

    key_hash: str
    samples: int
    dead_letters: int
    feedback: int
    rounds: list[GivenRound]
    directories: list[str]
    calls_off: InterruptedRound | None
    erased_at: float | None
    command: str
    similar: list[SimilarKeyLine]


class TraceAnswer(TypedDict):
    """Records, and what an erasure by their keys would touch.

    Attributes:
        records: of an offset one, or several where the topic was made anew, the latest first; of a key a page.
        next: what `after` brings the next page; None where there is none.
        erasures: one for each key; empty where the records have none, and no erasure by key finds them.
    """

    records: list[TracedRecord]
    next: int | None
    erasures: list[ForeseenErasure]
