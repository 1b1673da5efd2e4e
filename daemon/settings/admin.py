"""Settings of the admin surface."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from daemon.settings.hosts import is_loopback
from serving.door.certificates import TlsFiles, tls_files


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
    tls_cert_file: Path | None = Field(
        None,
        description="The certificate of the admin surface, as PEM, and behind it those between it and a root: it "
        "speaks TLS. Read again when it changes, as are the next two.",
    )
    tls_key_file: Path | None = Field(None, description="The certificate's private key, as PEM, without a password.")
    tls_client_ca_file: Path | None = Field(
        None,
        description="Certificates, as PEM, of who signs those that clients must show (mutual TLS). Left out: clients "
        "need none. The command line then shows `tls_cert_file` as its own, which they must have signed.",
    )

    @model_validator(mode="after")
    def _closed_beyond_loopback(self) -> Self:
        if self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reachable from elsewhere: name a token_file, or listen on 127.0.0.1"
            )
        self.tls  # noqa: B018 - for what it raises
        return self

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS; None: plain HTTP is spoken."""
        return tls_files(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)
