"""Rounds and generations: what was made of which text, what came of it, and what a person decided."""

from typing import Any, TypedDict

from daemon.control.answers.canaries import CanaryLine
from daemon.control.answers.records import RecordPlace


class LeftOutPart(TypedDict):
    """Text that a round was not given, or not trained on, because a setting bounds it.

    Attributes:
        what: `fresh` (waits for the next round), `over_quota` (is not trained on) or `holdout` (not evaluated on).
        setting: the key that bounds them, `memory.round_tokens`.
    """

    what: str
    documents: int
    setting: str


class RoundLine(TypedDict):
    """A round in a line.

    Attributes:
        outcome: what came of it, for a person.
        released_from: the round whose text a person approved, and this one was begun for.
        trained_in: the round that trained what this one judged again; None where it trained itself.
        begun_at, ended_at: unix seconds.
        tokens_trained: of `tokens_drawn` of new text; both None where nothing was trained, or it is not known.
        trained_until: the setting that ended training before all new text was seen; None where none did.
        left_out: what it was not given for a setting's sake.
    """

    number: int
    state: str
    outcome: str
    trigger: str
    parent: int
    generation: int | None
    released_from: int | None
    trained_in: int | None
    begun_at: float
    ended_at: float | None
    detail: str
    fresh_samples: int
    fresh_tokens: int
    replay_samples: int
    replay_tokens: int
    early_stop_samples: int
    tokens_trained: int | None
    tokens_drawn: int | None
    trained_until: str | None
    left_out: list[LeftOutPart]


class RoundAnswer(RoundLine):
    """A round with everything that the ledger holds of it.

    Attributes:
        recipe, verdict, report: as the round's directory has them; empty before there are such.
        offsets: what it covers, by partition: the first and the last offset.
        kept: that its candidates are kept to be judged again, and when that is, a sentence; empty where they are not.
        canary: how its generation fared in traffic; None where it was not watched.
        directory: where it stands on disk; None where that is gone.
    """

    base: int
    seed: int
    recipe: dict[str, Any]
    verdict: dict[str, Any]
    report: dict[str, Any]
    offsets: dict[str, list[int]]
    kept: str
    canary: CanaryLine | None
    directory: str | None


class RoundSampleLine(RecordPlace):
    """A sample that a round was given.

    Attributes:
        part: fresh, replay, early_stop, slice, over_quota, or untouched: drawn to train on, and not trained on.
        weight: how much it counted in what was minimised; 1: as every other.
    """

    id: int
    part: str
    weight: float


class SampleSource(TypedDict):
    """How many samples of one source a round was given as one part.

    Attributes:
        source: None of text that is gone, and its source with it.
    """

    part: str
    source: str | None
    samples: int


class RoundSamplesAnswer(TypedDict):
    """A page of the samples that a round was given, by id.

    Attributes:
        sources: of all of them, not of this page alone.
        next: what `after` brings the next page; None where there is none.
        note: a sentence where more is not known any more, else empty.
    """

    round: int
    samples: list[RoundSampleLine]
    sources: list[SampleSource]
    next: int | None
    note: str


class AskedRound(TypedDict):
    """That a round was asked for.

    Attributes:
        after: the last round so far; the one that answers has a greater number.
        detail: when it begins, a sentence.
    """

    after: int
    detail: str


class WithdrawnRound(TypedDict):
    """Whether a request for a round still waited, and is taken back."""

    withdrawn: bool


class CancelledRounds(TypedDict):
    """What was called off.

    Attributes:
        round: the one that was in progress; None where none was.
        withdrawn: requests that waited.
        detail: a sentence.
    """

    round: int | None
    withdrawn: int
    detail: str


class RejectedRound(TypedDict):
    """A round that waited, and how many samples of it are erased."""

    round: int
    dropped: int


class PausedRounds(TypedDict):
    """That no round begins by itself.

    Attributes:
        since: unix seconds.
        already: whether they were paused before; then the time stays, and the reason too unless another is given.
    """

    since: float
    reason: str
    already: bool


class ResumedRounds(TypedDict):
    """Whether rounds were paused, and begin by themselves again."""

    resumed: bool


class GenerationLine(TypedDict):
    """A generation.

    Attributes:
        parent: None for the base.
        round: the one that made it; None for the base.
        created_at: unix seconds.
        sequence_length: in tokens, of what it was scored in; None where that is not known any more.
        erased_text: whether it was `trained` on text that was erased since, or `inherited` it from one that was; None
            where neither is known.
        lies_on: of an adapter on disk the whole generation whose weights it changes; else None.
    """

    number: int
    state: str
    parent: int | None
    round: int | None
    digest: str
    created_at: float
    sequence_length: int | None
    erased_text: str | None
    lies_on: int | None


class ScoreLine(TypedDict):
    """One generation's score on one slice, an entry of R; accuracy and macro-F1 are a classifier's.

    Attributes:
        scored: how it was taken: only such as were taken alike can be compared. None where that is not known.
    """

    generation: int
    slice: str
    mean_nll: float
    tokens: int
    documents: int
    accuracy: float | None
    macro_f1: float | None
    scored: str | None


class SkillLine(TypedDict):
    """One generation's figure on one skill.

    Attributes:
        version: of the skill's prompts and of how they are asked, shortened.
        right: share of the prompts that it answers rightly, 0 to 1.
        scored: how that was taken; None where that is not known.
        comparable: whether what serves was asked the same, in the same way.
    """

    generation: int
    skill: str
    version: str
    prompts: int
    right: float
    scored: str | None
    comparable: bool


class MeasureStanding(TypedDict):
    """A measure of what serves, with limits of 95 % each; None where too few documents tell."""

    figure: float
    lower: float | None
    upper: float | None


class KnowledgeStanding(TypedDict):
    """What the serving generation knows, in nats per token (of a classifier per document); None where not known yet.

    Attributes:
        forgetting: how much worse it is than the best before it on what was learned earlier; positive is bad.
        backward_transfer: what later rounds did to earlier text; positive is good.
        forward_transfer: what was known of text before it was trained on; positive is good.
        plasticity: loss on new text once it was learned.
    """

    forgetting: MeasureStanding | None
    backward_transfer: MeasureStanding | None
    forward_transfer: float | None
    plasticity: float | None


class JudgedRound(TypedDict):
    """What the gate found of one round's candidate, on average.

    Attributes:
        generation: that it made; None where it was refused.
        ended_at: unix seconds.
        forgotten: how much worse it was than the best so far, over all older text; None where that was not compared.
        learned: how much better than its parent on the newest text; None where that was not compared.
        lower, upper: limits of `forgotten`.
        bound: that `forgotten` had to keep.
        learned_lower, learned_upper: limits of `learned`.
        learned_bound: the least that the gate asked for.
    """

    round: int
    generation: int | None
    ended_at: float | None
    forgotten: float | None
    lower: float | None
    upper: float | None
    bound: float | None
    learned: float | None
    learned_lower: float | None
    learned_upper: float | None
    learned_bound: float | None


class RoundAttempt(TypedDict):
    """What a round began from, and what came of it.

    Attributes:
        parent: the generation that it began from.
        generation: that it made; None where it made none.
        begun_at, ended_at: unix seconds; None while it goes on.
        offsets: of the text that was new to it, by partition: the first and the last.
    """

    round: int
    state: str
    parent: int
    generation: int | None
    begun_at: float
    ended_at: float | None
    offsets: dict[str, list[int]]


class LearnedLine(TypedDict):
    """What one generation learned of the text that it was trained on, in nats per token (of a classifier per document).

    Attributes:
        before: its parent's loss on the slices that it learned; None where that is not known.
        after: its own on them: the mean of R[j,j] over the slices j that it learned.
        plasticity: mean of R[j,j] over all slices that were learned up to it.
    """

    generation: int
    round: int
    before: float | None
    after: float
    plasticity: float


class TwinRound(TypedDict):
    """What a naive twin, which learned the same new text by plain fine-tuning, had forgotten after a round.

    Attributes:
        forgotten: of all older text, in the mean, in nats per token.
    """

    round: int
    forgotten: float


class GenerationsAnswer(TypedDict):
    """The generations, which of them serves, and R.

    Attributes:
        knowledge: of what serves.
        judged: the latest rounds that were judged, oldest first.
        learned: of the latest generations that led to what serves, oldest first.
        attempts: the latest rounds, newest first, also those that made no generation.
        twin: of a naive twin, where one follows these rounds, as the demo's does; oldest first.
        slices: names of those that `scores` are of, in order.
        skills: what generations answer rightly, by generation and skill.
    """

    serving: int | None
    knowledge: KnowledgeStanding
    judged: list[JudgedRound]
    learned: list[LearnedLine]
    attempts: list[RoundAttempt]
    twin: list[TwinRound]
    generations: list[GenerationLine]
    slices: list[str]
    scores: list[ScoreLine]
    skills: list[SkillLine]


ServedAgain = TypedDict("ServedAgain", {"from": int, "to": int})
"""The generation that served, and the one that serves now."""


class TakenBack(TypedDict):
    """That a generation is watched in traffic no more, and which one serves on."""

    generation: int
    serving: int
