"""How the learner's processes run, and on what. Torch-free: the daemon composes these into its own."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from learner.settings import RecipeSettings

Devices: TypeAlias = Annotated[int, Field(ge=1, le=1024)] | Literal["all"]


class LearnerSettings(BaseModel):
    """How the learner's process runs, and the recipe of its rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where rounds are trained: auto (CUDA, else MPS, else CPU), cpu, mps, cuda or cuda:N.",
    )
    devices: Devices = Field(
        default=1,
        description="On how many devices a round is trained and scored, by a process for each, all of which end when "
        'one does: a number of GPUs, or "all" that are there; where there is no GPU a number of processes that share '
        'the CPU\'s threads ("all" is one). Each holds the whole model with its optimizer and '
        "passes its share of each step's sequences, with the losses of one device but for rounding.",
    )
    sharded: bool = Field(
        default=False,
        description="With several `devices`: divide weights, gradients, optimizer, the parent for KL and the pulls' "
        "anchors over them while a round trains (FSDP2), for a model of which one device cannot hold all that. Takes "
        "more messages between them. Before and after training each device still holds the model whole, in float32, to "
        "score. Not with an adapter, adamw-8bit or compile, nor for a classifier or a mixture of experts; such a round "
        "does not save itself, and begins anew when it was cut off.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="CPU threads of the learner, recorded with each round; those of several processes "
        "(`devices`) together. Left out: one for each core it may use.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the layers of a causal language model while it is trained (`torch.compile`), which needs "
        "a C++ compiler, on a GPU a C compiler: a speed for the seconds that it takes in each round, and the same "
        "result but for rounding. What it gives is tried at the beginning; where it fails the round goes on without, "
        "and says so.",
    )
    silence_seconds: float = Field(
        default=600.0,
        gt=0,
        description="A learner that reports nothing for this long is taken for hung and ended.",
    )
    save_seconds: float = Field(
        default=300.0,
        ge=0,
        description="How often a round under way saves itself into its directory (weights, optimizer, its place), to "
        "go on from there when its learner was killed or the service stopped. It waits longer where one save takes "
        "more than a hundredth of that. A round that is shorter never does; 0 saves after every step.",
    )
    new_label_documents: int = Field(
        default=36,
        ge=5,
        le=1_000_000,
        description="A label that `model.labels` names after those of the model is learned by the first round whose "
        "new text has documents of it with so many different keys (at least `gate.minimum_documents`); a document "
        "without a key counts by itself. Until then its documents wait. So neither a mistaken record nor many of one "
        "sender make it an answer.",
    )
    plausibility_documents: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="New documents scored under the parent before a round trains on them.",
    )
    recipe: RecipeSettings = Field(
        default=RecipeSettings(), description="Objective, regularizers and schedule of a round."
    )

    @model_validator(mode="after")
    def _devices_are_there(self) -> "LearnerSettings":
        if self.devices != 1 and (self.device == "mps" or ":" in self.device):
            raise ValueError(
                f"several devices are asked for, and device names a single one, {self.device}: set it to cuda, cpu or "
                "auto, or leave devices out"
            )
        return self

    @model_validator(mode="after")
    def _what_is_divided_can_be(self) -> "LearnerSettings":
        if not self.sharded:
            return self
        if self.devices == 1:
            raise ValueError("sharded divides a model over several devices: set devices too, or leave sharded out")
        if self.recipe.adapter is not None:
            raise ValueError(
                "sharded divides weights that are trained, and beside an adapter they stand still: leave one of the "
                "two out"
            )
        if self.compile:
            raise ValueError("sharded gathers layers as they are passed, and does not go with compile: leave one out")
        if self.recipe.optimizer != "adamw":
            raise ValueError(
                f'sharded goes with optimizer = "adamw": {self.recipe.optimizer} moves whole weights. Leave one of the '
                "two out"
            )
        return self
