"""Settings of the gate: what a candidate must prove before it serves."""

import math
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

BEYOND_THE_LIMIT: Final = 10
"""At least so many resamples must lie beyond a confidence limit, else the limit is a matter of chance."""

MINIMUM_KEYS: Final = 36
"""A harm that strikes one key in ten is wholly unseen in so many in 2.3 % of cases, and no interval can see it then."""


class GateSettings(BaseModel):
    """What a candidate must prove before it serves, and how unlike earlier text new text may be.

    Losses are in nats per token, for a classifier per document. A bound is kept when the confidence limit
    of the paired difference keeps it, not its estimate alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(
        0.95,
        ge=0.5,
        lt=1,
        description="Confidence that a candidate keeps each bound, shared by the round's candidates as far as they "
        "differ. One that is judged again, as evidence was wanting, may err on text that came since in a quarter as "
        "many cases.",
    )
    resamples: int = Field(2000, ge=200, le=100_000, description="Resamples of the paired bootstrap over keys.")
    minimum_documents: int = Field(
        MINIMUM_KEYS,
        ge=5,
        le=100_000,
        description="The newest text and the anchor need as many held-out documents, those of one key counted once; "
        "smaller older slices are judged together, and also those that have too few to prove `max_rise_parent` of a "
        "harmless candidate, as far as their documents differ. A harm that strikes one document in ten, and badly, is "
        "wholly unseen in 36 of them in 2.3 % of cases: little more than the 1.7 % by which each of three candidates "
        "may err that have nothing in common. With fewer no interval can rule it out.",
    )
    minimum_gain: float = Field(
        0.0,
        ge=0,
        le=10,
        description="A candidate's loss on the newest text must be lower than the parent's by more than this.",
    )
    max_rise_parent: float = Field(
        0.08,
        ge=0,
        le=10,
        description="Largest rise of a slice's loss over the serving parent in one round.",
    )
    max_rise_best: float = Field(
        0.15,
        ge=0,
        le=10,
        description="Largest rise of an older slice's loss over the best so far on it: small losses add up.",
    )
    max_rise_anchor: float = Field(
        0.15, ge=0, le=10, description="Largest rise of the anchor's loss over the base model."
    )
    max_average_forgetting: float = Field(
        0.08,
        ge=0,
        le=10,
        description="Largest mean rise over all older slices, each against the best so far on it.",
    )
    max_harm_per_gain: float = Field(
        0.5,
        ge=0,
        le=1000,
        description="Largest rise of an older slice's loss over the serving parent, and of all of them on average, as "
        "a share of the fall of the newest text's, beyond 0.01 nats. Only what the documents prove to be more is "
        "refused, so that noise refuses no harmless round.",
    )
    max_accuracy_drop: float = Field(
        0.05, ge=0, le=1, description="Largest drop in a classifier's accuracy, on a slice and on average."
    )
    max_f1_drop: float = Field(
        0.08, ge=0, le=1, description="Largest drop in a classifier's macro-F1, on a slice and on average."
    )
    max_accuracy_drop_best: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Largest drop in a classifier's accuracy below the best so far on a slice and on average, and on "
        "the anchor below the base model: small losses add up.",
    )
    max_f1_drop_best: float = Field(
        0.15, ge=0, le=1, description="The same of macro-F1, against the generation whose macro-F1 was the best."
    )
    minimum_over_majority: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Before a trained classifier first serves, its balanced accuracy (the mean over labels of the "
        "share that is answered rightly) on all held-out text must be above that of always giving the most frequent "
        "answer by more than this. Where several labels fit a document each counts by itself, by the mean of the "
        "shares that are answered rightly of the documents with it and of those without it, so that always answering "
        "alike comes to 0.5. Not asked where the base is above it already.",
    )
    plausible_rise: float = Field(
        1.0,
        gt=0,
        le=100,
        description="New text whose loss before training (its mean, or the upper decile over its documents) lies "
        "this far above earlier text's makes the round wait for a person: of a language model, text that is not shown "
        "to be coherent; of a classifier, text of the kind that memory holds, with labels that it has learned. What is "
        "merely new is not judged by its loss. Earlier text's is the median of the latest "
        "`plausible_rounds` rounds that led to what serves or whose text was approved. Where these differed much the "
        "bound is 6 robust spreads above it (of 1.4826 times their median distance from it), if that is more; with "
        "fewer than 3 of them it is this far above the highest of them and of the anchor. Sources are judged by "
        "themselves too. `riverkeep round show N` shows figures and bounds.",
    )
    plausible_incoherence: float = Field(
        0.1,
        ge=0,
        le=1,
        description="New text makes the round wait for a person where the share of its documents that are incoherent "
        "lies this far above earlier text's median: whose words stand in an order that no others share, as those of "
        "words in random order do; with replaced or control characters; or that a language model reads as badly as "
        "random tokens. It is the same in every language and domain.",
    )
    plausible_contradiction: float = Field(
        0.3,
        ge=0,
        le=1,
        description="New text of another kind than what memory holds makes the round wait for a person where a "
        "classifier is sure (by 0.9) of another label than the given one in a share of documents that lies this far "
        "above earlier text's. It errs more there, but not in every second answer. Text that it cannot read, as in a "
        "new language, is not held to this: there its answers do not depend on the labels at all.",
    )
    plausible_repetition: float = Field(
        0.1,
        ge=0,
        le=1,
        description="New text makes the round wait for a person where the share of its documents that mostly repeat "
        "themselves or each other lies this far above earlier text's median.",
    )
    plausible_rounds: int = Field(20, ge=3, le=1000, description="The latest rounds that new text is compared with.")

    @model_validator(mode="after")
    def _enough_resamples(self) -> Self:
        needed = math.ceil(round(BEYOND_THE_LIMIT / (1 - self.confidence), 6))
        if self.resamples < needed:
            raise ValueError(f"confidence {self.confidence:g} needs at least {needed} resamples: raise `resamples`")
        return self
