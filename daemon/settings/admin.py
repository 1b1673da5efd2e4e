"""Settings of the admin surface."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from daemon.settings.hosts import is_loopback


class AdminSettings(BaseModel):
    """The listener for status, metrics and control, apart from serving."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="The address that the admin surface listens on.")
    port: int = Field(8710, ge=0, le=65535, description="The admin surface's port; 0 takes a free one.")
    token_file: Path | None = Field(
        None,
        description="The file with the bearer token; SIGHUP reads it again. Left out: made at start in "
        "<state_dir>/admin.token, readable only by the service's user, and only loopback is listened on.",
    )

    @model_validator(mode="after")
    def _closed_beyond_loopback(self) -> Self:
        if self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reachable from elsewhere: name a token_file, or listen on 127.0.0.1"
            )
        return self
