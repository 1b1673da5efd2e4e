"""What the store takes and gives: plain, frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from memory.ledger.scorings import Scoring
from memory.ledger.states import RoundState
from memory.samples.records import Sample
from streams.document import Partition


@dataclass(frozen=True, slots=True)
class DrawSpec:
    """What a round may take.

    What bounds its fresh text and its evaluation otherwise are the memory's own settings.

    Attributes:
        fresh_tokens: most tokens of fresh text, oldest first, where they are fewer than `memory.round_tokens`; at
            least one document is drawn. None: only that setting counts.
        replay_ratio: replayed tokens as a share of all training tokens, in [0, 1).
        early_stop_share: share of the fresh draw kept for early stopping, not trained on in this round.
        early_stop_documents: most of those.
        fresh_setting: what `fresh_tokens` follows from, to be named where it leaves text out.
        weights: how much a sample counts in what is minimised, by the topic that it came from; of all others 1.
    """

    fresh_tokens: int | None = None
    replay_ratio: float = 0.5
    early_stop_share: float = 0.0
    early_stop_documents: int = 0
    fresh_setting: str = "learner.recipe.max_tokens"
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TooLarge:
    """That a round ran out of memory with micro-batches of some size, or seems to have.

    Attributes:
        conditions: under which; equal texts are equal conditions.
        micro_batch: sequences in a pass.
        times: how often, the suspicions counted too.
        certain: the learner or the kernel said so; else its sudden end may have had another cause.
        round: the latest to which it happened.
        at: when, unix seconds.
    """

    conditions: str
    micro_batch: int
    times: int
    certain: bool
    round: int
    at: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Text that a round could have been given, and was not, because a setting bounds it.

    Attributes:
        what: `fresh` (waits for the next round), `over_quota` (is not trained on) or `holdout` (not evaluated on).
        documents: how many.
        setting: the key that bounds them, `memory.round_tokens`.
    """

    what: Literal["fresh", "over_quota", "holdout"]
    documents: int
    setting: str


SliceKind = Literal["anchor", "newest", "period"]


@dataclass(frozen=True, slots=True)
class Slice:
    """Held-out samples of one source and period, or the anchor.

    Attributes:
        name: stable while the slice is not merged: `anchor`, else `SOURCE@FIRST-LAST`.
        kind: `anchor` (frozen, all sources; source is empty), `newest` (arrived since the last accepted round: the
            text that this round trains towards) or `period` (older).
        first_round, last_round: the slice's text arrived after round `first_round - 1` began and before `last_round`
            began; both 0 for the anchor.
        keys: the least held-out document of the draw with the same key, for each that is not that one itself.
    """

    name: str
    kind: SliceKind
    source: str
    first_round: int
    last_round: int
    samples: tuple[Sample, ...]
    keys: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutlinedSample:
    """A held-out document without its text."""

    id: int
    label: str | None


@dataclass(frozen=True, slots=True)
class SliceOutline:
    """A slice as a round that begins now would be given it, without the text.

    Attributes:
        name: tells it from the others; it is not the name under which scores are kept.
        kind, source, keys: as in `Slice`.
    """

    name: str
    kind: SliceKind
    source: str
    samples: tuple[OutlinedSample, ...]
    keys: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundDraw:
    """What a round was given.

    Attributes:
        offsets: for each partition the first and last offset among the fresh samples.
        left_out: what it was not given for a setting's sake.
    """

    number: int
    seed: int
    parent_generation: int
    base_generation: int
    fresh: tuple[Sample, ...]
    replay: tuple[Sample, ...]
    early_stop: tuple[Sample, ...]
    slices: tuple[Slice, ...]
    offsets: Mapping[Partition, tuple[int, int]]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceScore:
    """One generation's score on one slice: mean negative log-likelihood per token in nats; accuracy in [0, 1]."""

    mean_nll: float
    tokens: int
    documents: int
    accuracy: float | None = None
    macro_f1: float | None = None


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """The score of one model on one held-out document.

    Attributes:
        id: the sample's id in the store.
        nll: negative log-likelihood in nats, summed over the scored tokens; of the label, for a classifier.
        tokens: how many tokens were scored, >= 0; 1 for a classifier.
        predicted: the label that a classifier gave; None for a language model, and where a version of the ledger before
            answers were kept has the score.
        label: the document's true label; None for a language model, and where the ledger has the score.
        was_right: what the ledger keeps of a classifier's answer in the true label's place.

    Where several labels fit, `predicted` and `label` stand for sets (see `streams.decoding.several_labels`), an answer
    is right where they are equal, and the loss is a mean over all labels.
    """

    id: int
    nll: float
    tokens: int
    predicted: str | None = None
    label: str | None = None
    was_right: bool | None = None

    @property
    def correct(self) -> bool | None:
        """Whether a classifier was right; None for a language model."""
        # What the ledger keeps has no true label beside the answer: that one was right is kept by itself.
        if self.was_right is not None or self.predicted is None:
            return self.was_right
        return self.predicted == self.label


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """R[generation, slice].

    Attributes:
        scored: how it was taken; None where that is not known.
    """

    generation: int
    slice: str
    score: SliceScore
    scored: Scoring | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One line of the ledger of rounds.

    Attributes:
        recipe, verdict, report: as they were given, JSON values only.
        detail: the reason for its state, for a person.
        released_from: the waiting round whose text this one was begun with, on a person's word.
        trained_in: the round that trained the candidates which this one judged again; None where it trained its own.
        offsets: first and last offset of its fresh samples for each partition.
        fresh_samples, replay_samples, early_stop_samples: how many were drawn; tokens as estimated then.
        left_out: what it was not given for a setting's sake.
        reason: why it began, a sentence; empty where that is not known.
    """

    number: int
    state: RoundState
    trigger: str
    recipe: Mapping[str, Any]
    seed: int
    parent_generation: int
    base_generation: int
    generation: int | None
    released_from: int | None
    begun_at: float
    ended_at: float | None
    detail: str
    verdict: Mapping[str, Any]
    report: Mapping[str, Any]
    fresh_samples: int
    fresh_tokens: int
    replay_samples: int
    replay_tokens: int
    early_stop_samples: int
    offsets: Mapping[Partition, tuple[int, int]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    trained_in: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the ledger stands: after each round, rollback and word of a person it is another.

    Attributes:
        serving: the serving generation; None before a base is registered.
        rounds_begun: the number of the latest round.
        ended: when the latest round of each state ended, or was decided on by a person; unix seconds.
        accepted_at: when a round was last accepted; before the first, when the base model was registered; unix seconds.
    """

    serving: int | None
    rounds_begun: int
    ended: Mapping[RoundState, float]
    accepted_at: float | None


@dataclass(frozen=True, slots=True)
class Rollback:
    """That a person went back (or forward again) to another generation.

    Attributes:
        left: the generation that served before.
        to: the one that served from then on.
        at: unix seconds.
        by: whose word it was; empty where that is not known.
    """

    left: int
    to: int
    at: float
    by: str


class GenerationState(StrEnum):
    """What may be done with a generation. Values are stored."""

    RESERVED = "reserved"
    """Numbered; not accepted (yet, or ever)."""
    ACCEPTED = "accepted"
    CANARY = "canary"
    """Accepted by the gate, and watched in traffic before it serves."""
    ROLLED_BACK = "rolled_back"
    """A person, or its watch in traffic, went back from it: it is not promoted again by itself."""
    RETIRED = "retired"
    """Its files were removed by retention, or its number was given up."""


@dataclass(frozen=True, slots=True)
class ApprovedRound:
    """A round that waited and that a person released, whose text has yet to be judged.

    Attributes:
        failed_at: when a round with its text failed last, unix seconds; None where none did.
    """

    number: int
    failed_at: float | None


@dataclass(frozen=True, slots=True)
class Generation:
    """One line of the ledger of generations. Number 0 is the base model.

    Attributes:
        parent: what it started from; None for the base alone.
        round: the round that made it; None for the base.
    """

    number: int
    state: GenerationState
    parent: int | None
    round: int | None
    digest: str
    source_path: str
    created_at: float
    scores: Mapping[str, SliceScore]


def lineage(parents: Mapping[int, int | None], number: int) -> list[int]:
    """The generations that led to one, oldest first: back from itself to its parent, that one's parent, and so on.

    Args:
        parents: each generation's parent. Where a line leads to one that the ledger has let go, the base, which has
            no parent, stands for all before.
    """
    line: list[int] = []
    generation: int | None = number
    # Never longer than there are generations: damaged rows could lead round in a circle.
    while generation is not None and generation in parents and len(line) < len(parents):
        line.append(generation)
        generation = parents[generation]
    if line and generation is not None and generation not in parents:
        line += [base for base, parent in parents.items() if parent is None][:1]
    return line[::-1]


@dataclass(frozen=True, slots=True)
class Trained:
    """What an accepted round was trained on, of what it was given.

    Attributes:
        touched: samples that a step saw which led to the accepted weights.
        untrainable: fresh samples that no step can ever see: they hold nothing to train on.
    """

    touched: frozenset[int]
    untrainable: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TrainedSample:
    """What stays known of a sample that a round was given, also when its text is gone.

    Attributes:
        part: `fresh`, `replay`, `early_stop`, `slice` or `over_quota` (drawn past its key's quota, not trained on);
            `untouched` is what an accepted round drew to train on, and no step saw that led to what was accepted.
        weight: how much it counted in what was minimised; 1: as every other.
    """

    sample_id: int
    part: str
    partition: Partition
    offset: int
    key_hash: int | None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Prequential:
    """A round's fresh text as the serving generation scored it before training: nats per token."""

    round: int
    state: RoundState
    mean_nll: float
    tokens: int
    by_source: Mapping[str, tuple[float, int]]


@dataclass(frozen=True, slots=True)
class AsideGroup:
    """Text that one round's outcome set aside.

    Attributes:
        samples, tokens: of text meant for training; `held_out` counts the held-out part set aside with it.
    """

    round: int
    reason: str
    since: float
    samples: int
    tokens: int
    held_out: int
    sources: tuple[str, ...]
