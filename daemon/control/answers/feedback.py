"""What people said of answers, by generation and one by one."""

from typing import TypedDict


class FeedbackOfGeneration(TypedDict):
    """What was said of one generation's answers, each person's last word on each.

    Attributes:
        corrected: of both, those that say what the answer should have been.
    """

    generation: int
    accepted: int
    rejected: int
    corrected: int


class OpinionLine(TypedDict):
    """What one person said of one answer.

    Attributes:
        answer: its id.
        key: the name of the API key that it came by; empty where keys have none.
        answered_at, given_at: unix seconds.
        learned: `yes` where the correction became a document, else why not; None where there is none.
        prompt, text, correction: None where no text is kept.
    """

    id: int
    answer: str
    key: str
    verdict: str
    generation: int
    answered_at: float
    given_at: float
    corrected: bool
    learned: str | None
    prompt: str | None
    text: str | None
    correction: str | None


class FeedbackAnswer(TypedDict):
    """What was said, counted and one by one, the newest first."""

    generations: list[FeedbackOfGeneration]
    latest: list[OpinionLine]
