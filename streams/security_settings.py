"""How the broker is reached: encryption and a login."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def _is_visible(word: str) -> str:
    if not word.strip() or not word.isprintable():
        raise ValueError("it has nothing that can be seen, or a character that cannot")
    return word


Visible = Annotated[str, AfterValidator(_is_visible)]


class SecuritySettings(BaseModel):
    """How the broker is reached: encryption and credentials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As the broker's listener: with or without TLS (SSL) and a login (SASL)."
    )
    sasl_mechanism: SaslMechanism = Field("SCRAM-SHA-512", description="How to log in.")
    username: Visible | None = Field(None, min_length=1, description="The login's name.")
    password_file: Path | None = Field(None, description="The file that holds the login's password.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Left out: those of the system.")
    certificate_file: Path | None = Field(None, description="The client's certificate (PEM), for mutual TLS.")
    private_key_file: Path | None = Field(None, description="The private key of the client's certificate (PEM).")
    private_key_password_file: Path | None = Field(
        None, description="The file that holds the private key's password, if it has one."
    )
    check_hostname: bool = Field(
        default=True, description="Whether the broker's certificate must bear its host's name."
    )

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        problems = []
        if self.protocol.startswith("SASL") and (self.username is None or self.password_file is None):
            problems.append(f"{self.protocol} needs username and password_file")
        if (self.certificate_file is None) != (self.private_key_file is None):
            problems.append("certificate_file and private_key_file belong together: set both or neither")
        if problems:
            raise ValueError("; ".join(problems))
        return self
