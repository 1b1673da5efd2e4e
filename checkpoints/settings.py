"""Settings of the generations on disk."""

from pydantic import BaseModel, ConfigDict, Field


class CheckpointsSettings(BaseModel):
    """How many generations are kept. The serving one, the previous one and the base always are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_last: int = Field(
        5,
        ge=0,
        le=10_000,
        description="How many of the newest generations that led to the serving one stay on disk. One that was gone "
        "back from stays until the next is promoted. Of a model in bfloat16 or float16 each but the base takes half "
        "as much again as its weights: what rounding cut off is kept beside them, for the next round to begin from. "
        "What an adapter that is kept lies on stays as well.",
    )
