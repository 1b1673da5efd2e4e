"""How a schema registry is reached."""

import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from streams.security_settings import Visible


class SchemaRegistrySettings(BaseModel):
    """Where the schemas are of values that a schema registry's clients wrote: Avro, Protobuf and JSON Schema.

    While the registry does not answer, the partitions that need it wait.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(
        None,
        max_length=2048,
        description="The address, for Confluent's REST API. For Avro and Protobuf: `pip install '.[registry]'`. "
        "Left out: framed values are dead letters (schema_framed). A record's own key is not read by it: a framed one "
        "stays 0x and its hex digits, so name a key_field.",
    )
    username: Visible | None = Field(None, min_length=1, description="The login's name (HTTP basic).")
    password_file: Path | None = Field(None, description="The file that holds the login's password.")
    token_file: Path | None = Field(None, description="The file that holds a bearer token, instead of a login.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Left out: those of the system.")
    timeout_seconds: float = Field(
        5, ge=0.1, le=60, description="How long a schema may take to come, with those it refers to."
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"no address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"\s", url):
            raise ValueError("must be an address such as https://registry.example.com:8081")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must hold no login: set username and password_file")
        if parts.query or parts.fragment:
            raise ValueError("must end with its path, without ? and #")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        problems = []
        if (self.username is None) != (self.password_file is None):
            problems.append("username and password_file belong together: set both or neither")
        if self.token_file is not None and self.username is not None:
            problems.append("token_file stands for a login: leave out username and password_file")
        if self.url is None and (self.username or self.password_file or self.token_file or self.ca_file):
            problems.append("a login or certificates without a registry: set url")
        if problems:
            raise ValueError("; ".join(problems))
        return self
