"""One generation, and two beside each other: the line between them, what was learned on it, recipes, scores."""

from typing import Any, TypedDict

from daemon.control.answers.rounds import GenerationLine, RoundAttempt, SampleSource


class ComparedGeneration(GenerationLine):
    """One of two generations.

    Attributes:
        serves: whether it serves now.
        bytes: of its files, of an adapter without what it lies on; None where they are not there.
    """

    serves: bool
    bytes: int | None


class LineageStep(TypedDict):
    """A generation on the line between two, and what its round was given.

    Attributes:
        fresh_samples, fresh_tokens, replay_samples: that were drawn; None where the round has left the ledger.
        tokens_trained: of `tokens_drawn` of new text; None where it is not known.
        offsets: of its new text, by partition: the first and the last.
        sources: of all samples that it was given, as in `RoundSamplesAnswer`; empty past the retention of lineage.
        erased: samples that it had to train on and whose text was erased by its key since.
    """

    generation: int
    parent: int | None
    round: int | None
    fresh_samples: int | None
    fresh_tokens: int | None
    replay_samples: int | None
    tokens_trained: int | None
    tokens_drawn: int | None
    offsets: dict[str, list[int]]
    sources: list[SampleSource]
    erased: int


class LineageText(TypedDict):
    """What was learned from where two lines part to one of two generations, the latest step first.

    Attributes:
        steps: of the line; `left_out` earlier ones are neither listed nor counted.
        samples, tokens, replayed: of all steps: new samples and their tokens, and replayed samples, as they were drawn.
        offsets: by partition the ranges of offsets that new text came from, each a first and a last.
        erased: as of a step, of all.
    """

    steps: list[LineageStep]
    left_out: int
    samples: int
    tokens: int
    replayed: int
    offsets: dict[str, list[list[int]]]
    erased: int


class GenerationAnswer(ComparedGeneration):
    """One generation: where it came from, what it learned, what came of it.

    Attributes:
        lineage: the generations that led to it, the base first.
        children: generations that came of it.
        attempts: of the latest rounds those that began from it, newest first, also those that made no generation.
        recipe: of the round that made it; empty of the base, and of one too long ago.
        learned: on the way from the base to it, the latest step first.
    """

    lineage: list[int]
    children: list[int]
    attempts: list[RoundAttempt]
    recipe: dict[str, Any]
    learned: LineageText


class RecipeDifference(TypedDict):
    """Something of a recipe that is not the same of both; None of one that has no recipe, or nothing of that name."""

    name: str
    first: Any
    second: Any


class ScoreDifference(TypedDict):
    """Both generations on one slice; losses in nats.

    Attributes:
        first, second: mean losses; None where one was not scored on it.
        change: from the first to the second, above 0 is worse; None where they cannot be compared.
        accuracy_first, accuracy_second: a classifier's.
        comparable: whether both were scored in the same known way.
    """

    slice: str
    first: float | None
    second: float | None
    change: float | None
    accuracy_first: float | None
    accuracy_second: float | None
    comparable: bool


class GenerationDiff(TypedDict):
    """Two generations beside each other.

    Attributes:
        common: the latest generation that both came of, or one of them itself; None where there is none.
        of_first: what only the first has learned; `of_second`: what only the second has.
        recipe: what differs between the rounds that made them; `recipe_alike`: how many settings do not.
        notes: sentences on what cannot be told.
    """

    first: ComparedGeneration
    second: ComparedGeneration
    common: int | None
    of_first: LineageText
    of_second: LineageText
    recipe: list[RecipeDifference]
    recipe_alike: int
    scores: list[ScoreDifference]
    notes: list[str]
