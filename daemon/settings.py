"""All settings in one tree: each room's part, read from a TOML file, the environment and secrets' files."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from checkpoints.errors import CheckpointsError
from checkpoints.heads import labels_in
from checkpoints.settings import CheckpointsSettings
from daemon import settings_mistakes, settings_reading, settings_sources
from daemon.admin_settings import AdminSettings
from daemon.gate_settings import GateSettings
from daemon.lifecycle_settings import LifecycleSettings
from daemon.settings_contradictions import contradictions
from daemon.settings_fields import nearest
from daemon.settings_mistakes import BadSettings, Mistake
from daemon.trigger_settings import TriggerSettings
from learner.settings import LearnerSettings, ModelKind
from memory.settings import MemorySettings
from serving.settings import ServingSettings
from streams.settings import StreamsSettings

CONFIG_VARIABLE = "RIVERKEEP_CONFIG"
USUAL_PLACES = (Path("riverkeep.toml"), Path("/etc/riverkeep/riverkeep.toml"))
REACHED_BY = ("state_dir", "admin")
"""What a command must know to find a running daemon and to be let in."""


class ModelSettings(BaseModel):
    """The model that is kept current."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(
        description="The model to start from: a directory as Hugging Face's save_pretrained writes it "
        "(safetensors), or a .gguf file. Read once, as generation 0.",
    )
    labels: tuple[str, ...] = Field(
        (),
        description="A classifier's labels in order; needed where the model's configuration names none.",
    )
    kind: ModelKind = Field("causal-lm", description="What it is: a causal language model or a text classifier.")

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
    admin: AdminSettings = AdminSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    log: LogSettings = LogSettings()

    @property
    def database(self) -> Path:
        """The memory's file."""
        return self.state_dir / "riverkeep.db"

    @property
    def checkpoints_dir(self) -> Path:
        """Generations and the serving pointer."""
        return self.state_dir / "checkpoints"

    @property
    def base_dir(self) -> Path:
        """Generation 0, once it is imported."""
        return self.checkpoints_dir / "generations" / "000000"

    @property
    def rounds_dir(self) -> Path:
        """The rounds' directories."""
        return self.state_dir / "rounds"


def config_file(named: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file that is named, else RIVERKEEP_CONFIG, else ./riverkeep.toml, else /etc's; None: no file."""
    if named is not None:
        return named
    if variable := environment.get(CONFIG_VARIABLE):
        return Path(variable)
    return next((place for place in USUAL_PLACES if place.is_file()), None)


def load(path: Path | None, environment: Mapping[str, str] = os.environ, *, files: bool = False) -> Settings:
    """Read the settings: the file, and over it the environment.

    Args:
        path: the TOML file; None for the environment alone.
        environment: variables; those that begin with RIVERKEEP_ count.
        files: also see that the files that are named can be read.

    Raises:
        BadSettings: with every mistake at once.
    """
    raw = settings_sources.read(Settings, path, environment)
    mistakes: list[Mistake] = settings_mistakes.unknown_variables(Settings, raw)
    if path is not None and raw.file_error:
        mistakes.insert(0, settings_mistakes.unreadable(path, raw.file_error))
        raise BadSettings(mistakes)
    typed = settings_reading.typed(Settings, raw)
    mistakes = [*typed.mistakes, *mistakes]
    if files:
        mistakes += typed.new(settings_mistakes.of_files(Settings, raw))
    if files and typed.settings is not None:
        mistakes += typed.new(_of_model(typed.settings, raw) + _of_topics(typed.settings, raw))
        mistakes += typed.new(contradictions(typed.settings, raw))
    if mistakes or typed.settings is None:
        raise BadSettings(mistakes)
    return typed.settings


def whereabouts(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings | None:
    """Settings with mistakes, as far as they go, where they surely say which daemon is meant; else None.

    A mistake in `state_dir` or `[admin]`, or in a name that may have been meant for one of them, could lead to another
    daemon than the one that a person has in mind.
    """
    raw = settings_sources.read(Settings, path, environment)
    if raw.file_error or (path is None and not raw.place(("state_dir",))):
        return None
    typed = settings_reading.typed(Settings, raw)
    wrong = (*typed.taken_out, *(key for _, key in raw.unknown_variables))
    if any(key[0] in REACHED_BY or nearest(Settings, key) in REACHED_BY for key in wrong):
        return None
    return typed.settings


def _of_model(settings: Settings, raw: settings_sources.Raw) -> list[Mistake]:
    """The model is read once: where generation 0 is there, its origin may be gone."""
    if settings.base_dir.exists():
        return _of_labels(settings, raw)
    if settings.model.path.exists():
        return []
    return [
        Mistake(
            "model.path",
            str(settings.model.path),
            raw.place(("model", "path")),
            "Nothing is there.",
            "Name a directory as Hugging Face's save_pretrained writes it, or a .gguf file.",
        )
    ]


def _of_topics(settings: Settings, raw: settings_sources.Raw) -> list[Mistake]:
    """A classifier learns from labels: of a topic without them every record would be a dead letter."""
    if settings.model.kind != "classifier":
        return []
    plain = "Plain text has no fields: send JSON, and name the field that holds its label."
    return [
        Mistake(
            f"streams.topics[{index}].label_field",
            None,
            raw.place(("streams", "topics", index)),
            "A classifier's documents need a label; without this field every record would become a dead letter.",
            'Name the JSON field that holds it: label_field = "label".' if topic.format == "json" else plain,
        )
        for index, topic in enumerate(settings.streams.topics)
        if topic.label_field is None
    ]


def _of_labels(settings: Settings, raw: settings_sources.Raw) -> list[Mistake]:
    """Labels are part of generation 0: it has no answer for one that is named later."""
    if settings.model.kind != "classifier" or not settings.model.labels:
        return []
    try:
        has = labels_in(settings.base_dir)
    except CheckpointsError:
        return []  # What is damaged is said where it is loaded.
    if has == settings.model.labels:
        return []
    return [
        Mistake(
            "model.labels",
            ", ".join(settings.model.labels),
            raw.place(("model", "labels")),
            f"Generation 0 in {settings.state_dir} classifies into {', '.join(has)}.",
            "Name the same labels in the same order, or none; other labels need another state_dir.",
        )
    ]
