"""Settings of the service's life: its parts, their limits of time, and how it ends."""

from pydantic import BaseModel, ConfigDict, Field


class LifecycleSettings(BaseModel):
    """How the service watches its parts and how it ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grace_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="On SIGTERM everything ends within so long: text first, then the round, and last the answers, for "
        "which serving.drain_timeout_s is kept of it, at most half.",
    )
    round_grace_seconds: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="The part of the grace time in which a running round may still finish; then it is abandoned. "
        "Requests are answered meanwhile.",
    )
    round_seconds: float = Field(
        6 * 3600.0, gt=0, description="No round's learner runs longer than this, evaluation included."
    )
    learner_nice: int = Field(
        10,
        ge=0,
        le=19,
        description="How far the learner steps back on the processor before ingestion and answers; and the process in "
        "which two generations answer a prompt to be compared.",
    )
    stuck_seconds: float = Field(
        120.0,
        gt=0,
        description="A loop of ingestion or dead letters that does not turn for so long is stuck, one of rounds after "
        "round_seconds: all stacks are logged. Where it is ingestion's, the watchdog starts the service anew.",
    )
    backoff_first_seconds: float = Field(
        1.0,
        gt=0,
        description="A part that broke is started again after so long; each further time after twice that.",
    )
    backoff_longest_seconds: float = Field(60.0, gt=0, description="The longest wait before a part is started again.")
    rounds_kept: int = Field(
        3,
        ge=0,
        description="How many finished rounds' directories stay on disk; a waiting round's always does, and that of "
        "one whose candidates are judged again when more evidence has come.",
    )
