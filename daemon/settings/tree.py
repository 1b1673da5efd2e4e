"""All settings in one tree: each room's part, read from a TOML file, the environment and secrets' files."""

from collections import Counter
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from checkpoints.card import ModelKind
from checkpoints.sequence_length import SequenceLength, read_length
from checkpoints.settings import CheckpointsSettings
from daemon.settings.admin import AdminSettings
from daemon.settings.jobs.settings import JobsSettings
from daemon.settings.lifecycle import LifecycleSettings
from daemon.settings.triggers import TriggerSettings
from gate.settings import GateSettings
from learner.process_settings import LearnerSettings
from learner.settings import USUAL_LENGTH, RecipeSettings
from learner.skills.settings import EvaluationSettings
from memory.settings import MemorySettings
from serving.settings import ServingSettings
from serving.tracing.settings import TracingSettings
from streams.settings import StreamsSettings


class ModelSettings(BaseModel):
    """The model that is kept current."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(
        description="The model to start from: a directory as Hugging Face's save_pretrained writes it "
        "(safetensors), or a .gguf file. Read once, as generation 0.",
    )
    labels: tuple[str, ...] = Field(
        (),
        description="A classifier's labels in order; needed where the model's configuration names none. Labels that "
        "are added at the end later are learned once there are enough documents of them "
        "(`learner.new_label_documents`); until they are named here their documents are dead letters.",
    )
    kind: ModelKind = Field(
        "causal-lm",
        description="What the model is: a causal language model (GPT, Llama), one that reads a text to write another "
        "(seq2seq: T5, BART), a masked one (BERT, ModernBERT), which is kept current and answers nothing over HTTP, or "
        "a text classifier.",
    )

    @field_validator("labels")
    @classmethod
    def _told_apart(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if any(not label.strip() for label in labels):
            raise ValueError("a label has no name")
        twice = [label for label, times in Counter(labels).items() if times > 1]
        if twice:
            raise ValueError(f"several labels are called {twice[0]!r}: answers need names that tell them apart")
        return labels


class LogSettings(BaseModel):
    """What is logged, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="auto: pretty on a terminal, else one JSON object a line."
    )


class Settings(BaseModel):
    """Everything that can be set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: Path = Field(
        Path("/var/lib/riverkeep"),
        description="The directory of everything that Riverkeep keeps. One daemon per state directory.",
    )
    model: ModelSettings
    streams: StreamsSettings = StreamsSettings()
    memory: MemorySettings = MemorySettings()
    checkpoints: CheckpointsSettings = CheckpointsSettings()
    learner: LearnerSettings = LearnerSettings()
    serving: ServingSettings = ServingSettings()
    triggers: TriggerSettings = TriggerSettings()
    gate: GateSettings = GateSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    admin: AdminSettings = AdminSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    jobs: JobsSettings = JobsSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @model_validator(mode="after")
    def _anchor_that_can_be_judged_by(self) -> Self:
        # An anchor that was frozen with fewer could never be judged by, and would take no more.
        needed = self.gate.minimum_documents
        if self.memory.anchor_minimum < needed:
            # Frozen for those who read it; here it is still being made.
            object.__setattr__(self, "memory", self.memory.model_copy(update={"anchor_minimum": needed}))
        return self

    @property
    def database(self) -> Path:
        """The memory's file."""
        return self.state_dir / "riverkeep.db"

    @property
    def key_usage(self) -> Path:
        """The file with what each API key has taken of the day."""
        return self.state_dir / "key-usage.json"

    @property
    def checkpoints_dir(self) -> Path:
        """Generations and the serving pointer."""
        return self.state_dir / "checkpoints"

    @property
    def base_dir(self) -> Path:
        """Generation 0, once it is imported."""
        return self.checkpoints_dir / "generations" / "000000"

    @property
    def feedback_dir(self) -> Path:
        """Where serving writes down what people say of answers, until the memory has it."""
        return self.state_dir / "feedback"

    @property
    def rounds_dir(self) -> Path:
        """The rounds' directories."""
        return self.state_dir / "rounds"


OF_EARLIER_VERSIONS: Final = SequenceLength(
    USUAL_LENGTH, "as this state has had it since before lengths were chosen: another would make scores incomparable"
)


def kept_length(settings: Settings) -> SequenceLength | None:
    """What was chosen; None before the base is imported.

    Raises:
        checkpoints.errors.UnusableModel: what says so is damaged.
    """
    if not settings.base_dir.exists():
        return None
    return read_length(settings.base_dir) or OF_EARLIER_VERSIONS


def with_kept_length(settings: Settings) -> Settings:
    """Settings whose recipe names a length, where it is known; a length that is set stands.

    Raises:
        checkpoints.errors.UnusableModel: as from `kept_length`.
    """
    if settings.learner.recipe.sequence_length is not None or (kept := kept_length(settings)) is None:
        return settings
    return with_length(settings, kept.tokens)


def with_length(settings: Settings, tokens: int) -> Settings:
    """Settings whose recipe has sequences of so many tokens."""
    return _with_recipe(settings, settings.learner.recipe.of_length(tokens))


def with_recipe(settings: Settings, **changes: Any) -> Settings:
    """Settings whose recipe has other values of some fields."""
    return _with_recipe(settings, settings.learner.recipe.model_copy(update=changes))


def _with_recipe(settings: Settings, recipe: RecipeSettings) -> Settings:
    return settings.model_copy(update={"learner": settings.learner.model_copy(update={"recipe": recipe})})
