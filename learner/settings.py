"""The recipe of a round. Torch-free: the daemon composes it into its own settings."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from checkpoints.card import ModelKind
from learner.learning_rates import usual_rate

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
AdapterKind: TypeAlias = Literal["lora", "dora"]
BaseKind: TypeAlias = Literal["4bit"]
OptimizerKind: TypeAlias = Literal["adamw", "adamw-8bit"]

USUAL_LENGTH = 512
"""Tokens in a sequence where nothing was chosen: in states of earlier versions."""

MASKED_SHARE = 0.15
"""Of a text's tokens, that a masked LM has to guess at once: what most of them were trained with (BERT, RoBERTa)."""
MASKED_READINGS = 3
"""In which such a text is scored, each with other gaps. One alone scores a seventh of its tokens, and by the spread of
that would need several times the held-out text."""
# A new head has to be learned within its first round, and a few steps at the rate that suits a trained one move
# nothing: rate times steps is this, within bounds (`benchmarks/classifier_rates.py`).
NEW_HEAD_RATE_TIMES_STEPS = 0.01
MOST_FOR_NEW_HEAD = 1e-3
# An adapter wants ten times the rate of whole weights, whatever its rank (Schulman et al. 2025, "LoRA Without Regret").
# On the demo's model a round of its last era forgot alike so: 0.031 nats of the anchor at 1e-2 for 0.353 gained, where
# all weights at 1e-3 forgot 0.036 for 0.455 (`benchmarks/adapters.py`); at 3e-3 an adapter gained 0.216, at 3e-2 no
# more than at 1e-2, and forgot 0.138.
ADAPTER_RATE_FACTOR = 10
IMPORTANCE_SHARE = 1 / 40
"""Of the tokens that a round trains, those on which importance is estimated each time: there are at most two estimates
in a round, and a token of one takes no longer than one that is trained."""
FEWEST_IMPORTANCE_SEQUENCES = 16
"""On which importance is estimated however little a round trains; what more of them bring, `benchmarks/importance.py`
measures."""
ADAPTER_PARTS = ("mlp", "attention")
"""Words that stand for many modules where an adapter's are named; every other one is a module's name."""

# Candidates are named by the parent's share in them, to this many decimals: no two shares may have one name.
SHARE_DECIMALS = 6


def _nameable(share: float) -> float:
    if round(share, SHARE_DECIMALS) != share:
        raise ValueError(f"a share has at most {SHARE_DECIMALS} decimals, {share} has more")
    return share


Share: TypeAlias = Annotated[float, Field(ge=0, lt=1), AfterValidator(_nameable)]


class RecipeSettings(BaseModel):
    """Objective, regularizers and schedule of a round; kept in `round.json`, so a round can be run again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # the batch
    batch_sequences: int = Field(
        default=60,
        ge=1,
        le=65536,
        description="Sequences in one optimizer step, new and replayed together; of a causal-lm that does not keep "
        "packed documents apart, as many documents as would fill them. Left out beside a "
        "`sequence_length` that was chosen and is above 512: as many fewer, so that a step has as many tokens.",
    )
    micro_batch: int = Field(
        default=16,
        ge=1,
        le=65536,
        description="Sequences in one forward pass; gradients accumulate over a batch's passes. Left out beside a "
        "`sequence_length` that was chosen and is above 512: as many fewer.",
    )
    sequence_length: int | None = Field(
        default=None,
        ge=8,
        le=1_048_576,
        description="Tokens in one sequence, never more than the model allows. Documents are packed into "
        "sequences (causal-lm), parted into such (masked-lm) or cut to this length (classifier; seq2seq: "
        "input and target, each by itself). A change makes all earlier scores incomparable, as more context makes "
        "text easier: the next round scores its parent and the base anew, and forgetting, transfer and plasticity "
        "count from there. Left out: chosen once, when the base is imported, and kept with it: twice the mean length "
        "of the documents that are there (512 to 4,096; where there are none 2,048 on a GPU, 1,024 on a CPU), as far "
        "as the model allows and a round with a single row a pass fits into memory; 512 in a state of an earlier "
        "version. `riverkeep check`, `doctor` and `status` tell it.",
    )
    replay_ratio: float = Field(
        default=0.5,
        ge=0,
        le=0.95,
        description="Replayed share of a batch, in tokens (documents for a classifier).",
    )
    # Up to four passes over the same text are nearly worth as much as new text, more soon nothing (Muennighoff et al.
    # 2023, "Scaling Data-Constrained Language Models"); what is replayed without end is learned by heart.
    most_replays: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="How often a round may replay one document in each pass over the new text. Where there is so "
        "little to replay that the ratio needs more, the round keeps a lower ratio, and says so.",
    )

    # Who corrects an answer is one of many that got it, and says what they all should have got: it counts for more than
    # itself. Far below the four times up to which text that is repeated teaches nearly as much as new text (Muennighoff
    # et al. 2023), as it is replayed too, and as one person's words are not to be learned by heart.
    correction_weight: float = Field(
        default=2.0,
        gt=0,
        le=100,
        description="How much a correction that people sent (`serving.feedback`) counts in what a step minimises, as "
        "if it came so often: each of its tokens, for each of another document's. A step's loss is divided by the sum "
        "of weights, so that its size stays. 1: as every other document.",
    )

    # how long
    epochs: int = Field(default=1, ge=1, le=1000, description="Passes over the new text.")
    max_steps: int | None = Field(
        default=None, ge=1, description="At most this many optimizer steps. Left out: no limit."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="At most this many tokens trained, new and replayed. Left out: no limit.",
    )
    max_seconds: float | None = Field(
        default=None, gt=0, description="At most this many seconds of training. Left out: no limit."
    )
    early_stop_checks: int = Field(
        default=4,
        ge=0,
        le=1000,
        description="How often a round looks at its early-stopping samples, evenly spread over its steps or, with "
        "max_seconds, over its time, whichever ends first; the last step is always looked at. 0 never stops early.",
    )
    early_stop_patience: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Looks without improvement until a round stops and keeps its best weights.",
    )
    early_stop_share: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="Share of a round's new samples that is kept apart for those looks, not trained on in this round.",
    )
    early_stop_documents: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Most new samples that are kept apart for those looks; each look scores all of them.",
    )

    # the optimizer and its schedule
    optimizer: OptimizerKind = Field(
        default="adamw",
        description="adamw keeps two float32 moments of each weight. adamw-8bit keeps them in two bytes, and trains a "
        "model that is stored in bfloat16 as it is stored, each step rounded up or down by chance, without float32 "
        "weights and gradients: 6 bytes a weight for 16. Its rounds begin from what is stored, and their passes are in "
        "bfloat16, also on a CPU.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Peak learning rate; a tenth of pre-training's peak is a safe start, replay with KL "
        "bears more. Left out: by the size of the model, for a causal-lm from 1e-4 (up to 250 million parameters) by "
        "3e-5 (1 billion) and 1.2e-5 (8 billion) to 1e-5, for a seq2seq 1e-4, for a masked-lm 1e-4 (above 250 million "
        "4e-5), for a classifier 2e-5 (above 250 million 1e-5); ten times that with an adapter; for the first round of "
        "a classifier whose head is new 0.01 divided by the round's steps, at least that and at most 1e-3. `riverkeep "
        "doctor` says which and why.",
    )
    warmup: float = Field(
        default=0.03, ge=0, lt=1, description="Share of the steps in which the rate rises to its peak."
    )
    warmup_steps: int = Field(
        default=10,
        ge=0,
        le=1_000_000,
        description="Steps in which the rate rises at least, but for half of a round: as many as AdamW's mean of "
        "gradients reaches back, 1 / (1 - beta1): what it holds when a round begins is nothing, or of other text.",
    )
    floor: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Where the cosine ends, as a share of the peak: a round is short, and what comes last in it is "
        "to be learned too.",
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW's memory of gradients.")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="AdamW's memory of squared gradients.")
    carry_moments: bool = Field(
        default=True,
        description="A round begins with the optimizer's moments of the round that made its parent, which are kept "
        "beside each generation in two bytes a weight whatever the optimizer: less is forgotten. false: each round "
        "begins with none, and nothing is kept. With an adapter, whose weights are new in each round, nothing is "
        "carried.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1000,
        description="Decoupled weight decay of matrices: a pull toward zero; l2_sp pulls toward its anchor.",
    )
    clip: float = Field(default=1.0, gt=0, description="Largest norm of a step's gradient.")

    # what keeps old knowledge
    kl: float = Field(
        default=1.5,
        ge=0,
        le=1000,
        description="Weight of the KL divergence from the parent on replayed tokens; not of a classifier.",
    )
    kl_temperature: float = Field(
        default=1.0, gt=0, le=100, description="Temperature at which the KL divergence from the parent is taken."
    )
    der_alpha: float = Field(
        default=0.3,
        ge=0,
        le=1000,
        description="Weight of the parent's logits on replayed documents (classifier, DER++).",
    )
    der_beta: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="Weight of the replayed documents' own labels (classifier, DER++).",
    )
    er_ace: bool = Field(
        default=True,
        description="When new text brings a label never seen before, its loss leaves out the labels that the "
        "new text lacks, so that they are not pushed away (classifier, ER-ACE).",
    )
    l2_sp: float = Field(default=0.0, ge=0, description="Pull of every weight toward an anchor's (L2-SP).")
    l2_sp_anchor: Literal["parent", "base"] = Field(
        default="parent",
        description="What l2_sp pulls toward: the generation that the round starts from, which bounds each round's "
        "step alone, or the base model (as in the paper), which bounds how far all rounds go together.",
    )
    ewc: float = Field(
        default=0.0,
        ge=0,
        description="Pull of each weight toward the parent's by its importance (online EWC).",
    )
    ewc_decay: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="How much of earlier rounds' importance is kept when this round's is added: the sum grows to "
        "1 / (1 - ewc_decay) times one round's, and the pull with it.",
    )
    importance_sequences: int = Field(
        default=256,
        ge=1,
        le=1_000_000,
        description="Most sequences on which importance is estimated, one at a time: no more than hold a fortieth of "
        "the tokens that the round trains, but at least 16. A round's report tells how many they were.",
    )
    interpolation: tuple[Share, ...] = Field(
        default=(0.0, 0.25, 0.5, 0.75),
        min_length=1,
        max_length=11,
        description="Candidates of a round: the parent's share in each, to at most six decimals. "
        "0 is the trained result itself; with a large share a small step is tried before a round is given up.",
    )

    # which weights are trained
    adapter: AdapterKind | None = Field(
        default=None,
        description="Train a low-rank change of some weights in place of all weights: LoRA, or DoRA, which learns the "
        "size of each row by itself and takes longer and more memory. The optimizer is then a few megabytes and no "
        "second copy of the parent is held for KL. What LoRA learns is kept as an adapter on a whole generation (see "
        "adapter_rounds), what DoRA learns is merged into whole ones. A classifier's head is trained whole. Needs `pip "
        "install '.[adapters]'`. Left out: all weights are trained.",
    )
    adapter_rank: int = Field(
        default=16, ge=1, le=4096, description="Rank of the change: how much an adapter can hold, and its size."
    )
    adapter_alpha: int = Field(
        default=32,
        ge=1,
        le=65536,
        description="The change is multiplied with this, divided by the rank. Twice the rank suits the rates that are "
        "set where none is.",
    )
    adapter_rounds: int = Field(
        default=8,
        ge=0,
        le=1000,
        description="How many rounds through LoRA are kept in one adapter on a whole generation, in peft's format, "
        "which is a small share of a whole model. Each adds adapter_rank to its rank. The round after them writes a "
        "whole generation, which the next adapters lie on; so does a round that teaches new labels. 0: every "
        "generation is whole.",
    )
    # Rounded to bfloat16 both factors err by 0.0023 of their product, the ground's weights by 0.0017 of themselves: a
    # change of a quarter of the ground's size then adds 6 % to the error that serves.
    adapter_drift: float = Field(
        default=0.25,
        ge=0,
        le=1000,
        description="How far an adapter may move the weights that it changes before the next round writes a whole "
        "generation, as after adapter_rounds: the norm of its change over theirs. An engine that reads the adapter in "
        "bfloat16 beside its ground serves it with the rounding of both.",
    )
    # On Llama 3.2 3B in peft's own comparison (method_comparison/MetaMathQA): rank 10 on the MLP loses .032 nats of
    # Wikipedia at an accuracy of .494, rank 32 on all modules .050 at .478.
    adapter_modules: tuple[str, ...] = Field(
        default=("mlp",),
        min_length=1,
        max_length=64,
        description="Which linear maps of the layers an adapter changes: mlp (those that are not attention's: a third "
        "less is forgotten than with all), attention, or the names of modules as the model has them (q_proj).",
    )

    adapter_base: BaseKind | None = Field(
        default=None,
        description="How the linear maps of the layers are held while an adapter is trained beside them: 4bit (NF4, "
        "QLoRA) for half a byte a weight. With lora alone, without l2_sp and ewc. What is learned is merged into the "
        "stored weights, and what is scored is what will serve. Needs `pip install '.[adapters,four-bits]'`. Left out: "
        "float32.",
    )

    # how it is computed
    precision: Precision = Field(
        default="auto",
        description="Of the forward pass; trained weights are float32 but with adamw-8bit. auto: bfloat16 on CUDA that "
        "has it.",
    )
    gradient_checkpointing: bool | None = Field(
        default=None,
        description="Compute activations again in the backward pass: less memory, a third more of the training's time, "
        "the same result. Left out: by itself, where a round would not fit without into the memory that is free when "
        "it begins, on a CPU not with fewer sequences in a pass either, or ran out of it with a single one. "
        "`riverkeep doctor` says which.",
    )

    @field_validator("replay_ratio", mode="before")
    @classmethod
    def _of_earlier_versions(cls, ratio: object) -> object:
        """Rounds that an earlier version began may name none."""
        return cls.model_fields["replay_ratio"].default if ratio is None else ratio

    @property
    def length(self) -> int:
        """Tokens in one sequence, never more than the model allows."""
        return USUAL_LENGTH if self.sequence_length is None else self.sequence_length

    def of_length(self, tokens: int) -> "RecipeSettings":
        """Return the recipe with sequences of a length that nobody set.

        Where their number is left out as well, a step and a pass have as many tokens as with the usual length, so that
        a round takes as many steps; of shorter ones they have no more sequences.
        """
        counted = {
            name: max(1, getattr(self, name) * USUAL_LENGTH // tokens)
            for name in ("batch_sequences", "micro_batch")
            if tokens > USUAL_LENGTH and name not in self.model_fields_set
        }
        return self.model_copy(update={"sequence_length": tokens, **counted})

    @model_validator(mode="after")
    def _base_of_an_adapter(self) -> Self:
        if self.adapter_base is not None and (self.adapter != "lora" or self.l2_sp or self.ewc):
            raise ValueError('adapter_base = "4bit" goes with adapter = "lora", l2_sp = 0 and ewc = 0')
        return self

    @property
    def trains_as_stored(self) -> bool:
        """Whether weights that are stored in bfloat16 are trained in it."""
        return self.optimizer == "adamw-8bit" and self.adapter is None

    def sequences_of_importance(self, trained_tokens: float, tokens_each: float) -> int:
        """Return on how many sequences importance is estimated at a time, where there are so many.

        Args:
            trained_tokens: of the round, new and replayed.
            tokens_each: of a sequence, on average.
        """
        within_share = int(IMPORTANCE_SHARE * trained_tokens / max(tokens_each, 1.0))
        return min(self.importance_sequences, max(FEWEST_IMPORTANCE_SEQUENCES, within_share))

    def peak_rate(self, kind: ModelKind, parameters: int, *, steps_of_new_head: int | None = None) -> float:
        """Return the peak learning rate for a model.

        Args:
            kind: of the model.
            parameters: how many it has.
            steps_of_new_head: how many optimizer steps there are to learn a head that no round has trained yet; None
                where there is no such head.
        """
        if self.learning_rate is not None:
            return self.learning_rate
        usual = usual_rate(kind, parameters).rate * (1 if self.adapter is None else ADAPTER_RATE_FACTOR)
        if not steps_of_new_head:
            return usual
        return min(max(usual, NEW_HEAD_RATE_TIMES_STEPS / steps_of_new_head), MOST_FOR_NEW_HEAD)
