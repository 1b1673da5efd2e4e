"""Settings of the canary: which requests stay together on one side."""

from pydantic import BaseModel, ConfigDict, Field


class CanarySettings(BaseModel):
    """Which requests stay together while the pointer names a generation that is watched beside the serving one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sticky_header: str = Field(
        "x-riverkeep-session",
        pattern=r"^[A-Za-z0-9-]{1,100}$",
        description="Requests with the same value of this header all go to the one generation or the other. Without "
        "it OpenAI's `user` decides, then the API key.",
    )
    sticky_by_key: bool = Field(
        default=True,
        description="Whether requests that carry neither the header nor `user` stay together by their API key. Where "
        "few keys bring all requests, a share of them is none or half of the traffic: false then draws each request "
        "by itself.",
    )
