"""What a client says of an answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.answers.body import Bodies
from serving.errors import NotReady
from serving.feedback.register import LONGEST_USER, AnswerRegister, Said
from serving.routes.parts import Parts, read_body
from serving.routes.responses import json_response

LONGEST_ID = 200


class FeedbackRequest(BaseModel):
    """Body of `POST /v1/feedback`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    id: str = Field(min_length=1, max_length=LONGEST_ID)
    verdict: Literal["accept", "reject"]
    correction: str | None = Field(None, min_length=1)
    # A key with a NUL in it is another one where text is kept by it.
    user: str | None = Field(None, min_length=1, max_length=LONGEST_USER, pattern=r"^[^\x00]*$")


class FeedbackRoute:
    """Takes feedback in."""

    def __init__(self, parts: Parts, bodies: Bodies) -> None:
        self._answers: AnswerRegister = parts.answers
        self._bodies = bodies

    async def feedback(self, request: Request) -> Response:
        """Write down what is said of an answer; it is durable before this is answered."""
        body, _ = await read_body(self._bodies, request, FeedbackRequest)
        said = Said(body.id, body.verdict, body.correction, body.user, giver=_giver(request))
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
