"""What one key may take."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

MOST: Final = 10**12


class KeyLimits(BaseModel):
    """What a key may take whose entry in the file names no limit of its own. Left out: there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Requests for answers and of feedback a minute; as many may come at once after a minute's rest.",
    )
    tokens_per_minute: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Tokens a minute, read and written together. A request is let in while some are left; what it may "
        "write at most is counted at once, and what it did not write is given back at its end.",
    )
    at_once: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Answers at once, those that wait included. Left out: where the file has several keys, `max_batch` "
        "and half of `max_queue`, so that none takes every place; where it has one, all.",
    )
    tokens_per_day: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Tokens a day (UTC), read and written together; kept through a restart in `key-usage.json` in the "
        "state directory.",
    )


LIMITS: Final = tuple(KeyLimits.model_fields)
"""The names of the limits, as settings, entries of the file and metrics have them."""
