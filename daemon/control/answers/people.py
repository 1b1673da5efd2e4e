"""A person's text by key: what is kept of it, what was erased, and which generations had seen it."""

from typing import TypedDict

from daemon.control.answers.records import SampleLine


class GivenRound(TypedDict):
    """A round that was given a person's text: how many samples as which part."""

    round: int
    parts: dict[str, int]


class SimilarKeyLine(TypedDict):
    """Another key of which something is kept, and that may name the same person in another dress.

    Attributes:
        key: None where only its hash is known.
        key_hash: 16 digits.
        how: what makes it similar.
        rounds: how many were given its text.
        erase: the command that erases it.
    """

    key: str | None
    key_hash: str
    how: str
    samples: int
    dead_letters: int
    rounds: int
    erase: str


class InterruptedRound(TypedDict):
    """A round in progress that an erasure now would call off, as it was given the text.

    Attributes:
        seconds: of its work, which would be lost.
    """

    round: int
    seconds: float


class SeenBy(TypedDict):
    """Which generations had seen a person's text.

    Attributes:
        generations: that were trained on it.
        descendants: that were made from those.
        clean_generation: the latest that never saw it; None where there is none, or none is needed.
        lineage_from: the first round of which it is known what it was given.
    """

    generations: list[int]
    descendants: list[int]
    clean_generation: int | None
    lineage_from: int


class FoundPerson(SeenBy):
    """What is known of a person.

    Attributes:
        samples: how many are kept; `by_role` how many as what.
        kept: a page of them.
        next: what `after` brings the next page; None where there is none.
        dead_letters: how many; `dead_letter_ids` are the first of them.
        feedback: how much the person said of answers, or had answered, that is kept.
        erased_at: unix seconds; None where the person never was erased.
        key_hash: 16 digits.
        calls_off: None where an erasure now would call no round off.
    """

    samples: int
    by_role: dict[str, int]
    kept: list[SampleLine]
    next: int | None
    dead_letters: int
    feedback: int
    dead_letter_ids: list[int]
    rounds: list[GivenRound]
    erased_at: float | None
    calls_off: InterruptedRound | None
    key_hash: str
    similar: list[SimilarKeyLine]


class ErasedPerson(SeenBy):
    """What an erasure erased.

    Attributes:
        feedback: how much the person had said of answers, or had answered.
        rounds: that were given the text.
        directories: of rounds, which held it, and are erased.
        similar: other keys, of which nothing was erased.
        called_off: the round that was in progress and given the text; None where none was.
    """

    samples: int
    dead_letters: int
    feedback: int
    rounds: list[int]
    directories: list[str]
    similar: list[SimilarKeyLine]
    called_off: int | None
