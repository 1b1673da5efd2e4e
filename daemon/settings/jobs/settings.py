"""Settings of rounds that run as Jobs of Kubernetes."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class JobsSettings(BaseModel):
    """Whether each run of the learner is a Job of Kubernetes in place of a process of the daemon's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template_file: Path | None = Field(
        None,
        description="A Job of Kubernetes (batch/v1, as YAML or JSON) of which each run of the learner is made: its "
        "resources, nodes and volumes, in Kubernetes' own words; Riverkeep fills in the rest (docs/kubernetes.md). "
        "Left out: the learner is a process of the daemon's.",
    )
    pending_seconds: float = Field(
        3600.0,
        gt=0,
        description="How long a Job may wait until its container runs: for a node, its image, its volume. Then the "
        "round fails, and says for what it waited. None of it counts as `lifecycle.round_seconds`.",
    )
