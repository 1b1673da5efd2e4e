"""What a client says of an answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.answers.body import Bodies
from serving.errors import NotReady, RequestError
from serving.feedback.register import LONGEST_USER, AnswerRegister, Said
from serving.routes.parts import Parts, read_body
from serving.routes.responses import json_response

LONGEST_ID = 200
MOST_LABELS = 1_000


class FeedbackRequest(BaseModel):
    """Body of `POST /v1/feedback`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    id: str = Field(min_length=1, max_length=LONGEST_ID)
    verdict: Literal["accept", "reject"]
    correction: str | list[str] | None = None
    # A key with a NUL in it is another one where text is kept by it.
    user: str | None = Field(None, min_length=1, max_length=LONGEST_USER, pattern=r"^[^\x00]*$")

    @field_validator("correction", mode="before")
    @classmethod
    def _is_text_or_labels(cls, value: object) -> object:
        """Here, so that the error names the field and not one of the shapes that it may have."""
        labels = value if isinstance(value, list) else [value]
        if value is None or (len(labels) <= MOST_LABELS and all(isinstance(each, str) and each for each in labels)):
            return value
        raise ValueError("a text; of a classifier's answer its label, or a list of all labels that fit")


class FeedbackRoute:
    """Takes feedback in."""

    def __init__(self, parts: Parts, bodies: Bodies) -> None:
        self._answers: AnswerRegister = parts.answers
        self._kind = parts.kind
        self._bodies = bodies

    async def feedback(self, request: Request) -> Response:
        """Write down what is said of an answer; it is durable before this is answered."""
        body, _ = await read_body(self._bodies, request, FeedbackRequest)
        correction = tuple(body.correction) if isinstance(body.correction, list) else body.correction
        if isinstance(correction, tuple) and self._kind != "classifier":
            raise RequestError("correction: a list is of labels; of an answer say its text", param="correction")
        said = Said(body.id, body.verdict, correction, body.user, giver=_giver(request))
        try:
            origin = await run_in_threadpool(self._answers.take, said)
        except NotReady:
            # Whoever sends it again when there is room has sent it once.
            request.scope["asker"].give_back()
            raise
        answer = {
            "object": "feedback",
            "id": body.id,
            "verdict": body.verdict,
            "generation": origin.generation,
            "answered_at": origin.at,
        }
        return json_response(answer)


def _giver(request: Request) -> str:
    """The name of the API key that a request came by; empty where keys have none."""
    return str(getattr(request.scope.get("asker"), "name", ""))
