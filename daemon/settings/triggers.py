"""Settings of the triggers: when a round begins by itself."""

from datetime import UTC
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from daemon.settings.crontab import crontab


class TriggerSettings(BaseModel):
    """When rounds begin. All triggers may stand side by side; a person can always begin one by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval_seconds: float | None = Field(
        None,
        ge=1,
        description="Begin a round this many seconds after the last one began, whatever began that one; where too "
        "little is fresh then, look again after as many. Unset: no interval.",
    )
    cron: str | None = Field(
        None,
        description='Begin a round at these times, five fields as in crontab ("0 */6 * * *"); unset: none.',
    )
    timezone: str = Field("UTC", description="The time zone that `cron` is read in.")
    fresh_samples: int | None = Field(
        2_000,
        ge=1,
        description="Begin a round once this many fresh samples wait; unset: their number begins none.",
    )
    fresh_tokens: int | None = Field(
        None, ge=1, description="Begin a round once fresh samples of this many tokens wait; unset: none."
    )
    minimum_fresh_samples: int = Field(
        64,
        ge=1,
        description="A schedule begins no round while fewer fresh samples wait. By hand, one is enough.",
    )
    cooldown_seconds: float = Field(
        600.0, ge=0, description="After a round that was refused or failed, begin none by itself for so long."
    )

    @field_validator("cron")
    @classmethod
    def _cron_can_be_read(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            crontab(value, UTC)
        except ValueError as error:
            fields = "five fields: minute hour day month weekday"
            raise ValueError(f"{value!r} is no crontab expression ({fields}): {error}") from error
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {value!r}; write one like 'UTC' or 'Europe/Berlin'") from error
        return value

    @model_validator(mode="after")
    def _volume_reaches_the_minimum(self) -> Self:
        if self.fresh_samples is not None and self.fresh_samples < self.minimum_fresh_samples:
            raise ValueError(
                f"fresh_samples ({self.fresh_samples}) is below minimum_fresh_samples"
                f" ({self.minimum_fresh_samples}): raise the first or lower the second"
            )
        return self

    def share_of_volume(self, fresh_samples: int, fresh_tokens: int) -> float | None:
        """How much of the volume that begins a round is fresh, by the nearer of the two; None where none is set."""
        parts = ((fresh_samples, self.fresh_samples), (fresh_tokens, self.fresh_tokens))
        return max((fresh / threshold for fresh, threshold in parts if threshold is not None), default=None)
