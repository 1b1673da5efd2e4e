"""Settings of the canary: who gets it, how long it is watched, and what it must not be worse in."""

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_SHARE: Final = 0.9
"""Of the requests, which a canary may answer."""


class CanarySettings(BaseModel):
    """Whether a new generation is watched in traffic before it serves, and by what it is judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=False,
        description="Whether a generation that the gate accepted is watched beside the serving one before it serves. "
        "Two models have to fit at once, as they have at each swap, and now for as long as the watch takes.",
    )
    mode: Literal["canary", "shadow"] = Field(
        "canary",
        description="canary: it answers a share of the requests. shadow: it gets copies of a share of them, its "
        "answers are thrown away, and it is judged by its errors alone.",
    )
    share: float = Field(
        0.1, gt=0, le=1, description="Share of the callers whose requests the new generation gets, 0 to 1."
    )
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
    watch_seconds: float = Field(
        1_800, ge=1, le=30 * 86_400, description="How long it is watched before it may serve, at least."
    )
    minimum_answers: int = Field(
        300, ge=10, le=10_000_000, description="How many answers of either are compared before it may serve, at least."
    )
    deadline_seconds: float = Field(
        14_400,
        ge=1,
        le=60 * 86_400,
        description="When the watch ends, proven or not; later where the generation was not there to answer for "
        "`watch_seconds` until then. Rounds wait meanwhile.",
    )
    at_deadline: Literal["unless_worse", "roll_back"] = Field(
        "unless_worse",
        description="What becomes of a generation that is unproven at the deadline. unless_worse: it serves unless "
        "something that was measured is beyond its bound. roll_back: it does not serve.",
    )
    confidence: float = Field(
        0.95,
        ge=0.5,
        lt=1,
        description="Confidence of a verdict, which its looks and criteria share.",
    )
    max_error_rise: float = Field(
        0.02,
        gt=0,
        le=1,
        description="By how much the share of failed answers may be higher than the serving generation's.",
    )
    max_rejection_rise: float = Field(
        0.1,
        gt=0,
        le=1,
        description="By how much the share that people reject, of the answers that they judge (`POST /v1/feedback`), "
        "may be higher than of the serving generation's. It is held against a generation, and need not be proven.",
    )
    max_loss_rise: float = Field(
        0.01,
        gt=0,
        le=10,
        description="By how many nats a token it may foretell worse than the serving generation what arrives meanwhile "
        "(`causal-lm`, by engines that tell log-probabilities; both read the same documents, at most 512 and one at a "
        "time).",
    )
    max_first_token_ratio: float = Field(
        1.5,
        gt=1,
        le=1000,
        description="How many times the serving generation's typical time to the first token it may take.",
    )
    max_pace_ratio: float = Field(
        1.25,
        gt=1,
        le=1000,
        description="How many times the serving generation's typical time for each further token it may take.",
    )

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        if self.mode == "canary" and self.share > MOST_SHARE:
            raise ValueError(
                f"share is {self.share:g}: of more than {MOST_SHARE:g} too little is left to compare with; lower it"
            )
        if self.deadline_seconds < self.watch_seconds:
            raise ValueError(
                f"deadline_seconds ({self.deadline_seconds:g}) is shorter than watch_seconds "
                f"({self.watch_seconds:g}): raise it"
            )
        return self
