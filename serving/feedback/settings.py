"""Settings of feedback: whether text is kept with it."""

from pydantic import BaseModel, ConfigDict, Field


class FeedbackSettings(BaseModel):
    """What is kept of answers, so that what people say of them can be learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_text: bool = Field(
        default=False,
        description="Whether requests and answers are kept in memory for a while, and with feedback on disk: a "
        "corrected answer then becomes text to learn from. false: verdicts alone are kept.",
    )
    answers_kept: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="With keep_text: of how many of the latest answers the text is at hand, until the serving process "
        "ends. Feedback on older ones is counted without text.",
    )
