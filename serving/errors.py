"""What a request can be told, in OpenAI's terms, and what keeps the process from starting."""

import traceback
from typing import Any, Final

FRAMES_LOGGED: Final = 8
REFUSED_BY_ENGINE: Final = "refused_by_engine"
"""The code of a refusal whose message is in the engine's words, which may repeat a client's."""


class ServingError(Exception):
    """Something that keeps serving from doing its work."""


class CannotServe(ServingError):
    """The process cannot start as it is set up; the message says what to change."""


class BrokenGeneration(ServingError):
    """A generation that was loaded does not answer as a model does."""


class RequestError(ServingError):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        kind: OpenAI's `type` of the error.
        code: OpenAI's `code`, for programs.
        param: the field at fault, if one is.
        retry_after_s: when it may be tried again, if that helps.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s


def frames(error: BaseException) -> list[str]:
    """Where an error came from, for logs. Not its message, nor local variables: they may hold what a client wrote."""
    last = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in last]


def error_body(error: RequestError) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": str(error), "type": error.kind, "param": error.param, "code": error.code}}


class QueueFull(RequestError):
    """More is asked than can be answered now."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            f"too many requests are waiting; try again in {retry_after_s} s",
            status=429,
            kind="rate_limit_error",
            code="queue_full",
            retry_after_s=retry_after_s,
        )


class LimitReached(RequestError):
    """A key has taken what it may; told as OpenAI tells it.

    Args:
        key: its name.
        limit: which of its limits.
        most: what that allows.
        retry_after_s: when there is some again.
    """

    def __init__(self, key: str, limit: str, most: int, retry_after_s: int) -> None:
        quota = limit == "tokens_per_day"
        kind = "insufficient_quota" if quota else "tokens" if limit == "tokens_per_minute" else "requests"
        what = "answers at once, those that wait included" if limit == "at_once" else limit.replace("_per_", " per ")
        super().__init__(
            f"the key {key} has reached its limit of {most:,} {what}; try again in {retry_after_s:,} s",
            status=429,
            kind=kind,
            code="insufficient_quota" if quota else "rate_limit_exceeded",
            retry_after_s=retry_after_s,
        )
        self.limit = limit


class TooLong(RequestError):
    """A prompt, with what was asked of it, does not fit the model's context."""

    def __init__(self, tokens: int, answer_tokens: int, context: int, param: str) -> None:
        more = f" and {answer_tokens} were asked for in the answer" if answer_tokens else ""
        super().__init__(
            f"the model's context is {context} tokens; the text has {tokens}{more}: shorten it",
            code="context_length_exceeded",
            param=param,
        )


class TimedOut(RequestError):
    """An answer took longer than it may."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"the answer took longer than {limit_s:g} s; ask for fewer tokens",
            status=504,
            kind="timeout_error",
            code="timeout",
        )


class NotReady(RequestError):
    """No generation is loaded yet, or the process is about to end."""

    def __init__(self, why: str, retry_after_s: int = 1) -> None:
        super().__init__(why, status=503, kind="server_error", code="not_ready", retry_after_s=retry_after_s)


class Unanswerable(RequestError):
    """The forward pass fails on this request, and on no other."""

    def __init__(self, error: Exception) -> None:
        # CUDA has a class for it, MPS and CPU raise RuntimeErrors that only their words tell apart.
        memory = "memory" in str(error).lower()
        why = "it takes more memory than there is" if memory else "it may be longer than the model can read"
        super().__init__(
            f"the model fails on this request, while it answers others: {why}. Shorten it; the server's log says more",
            code="request_not_answerable",
        )


class Failed(RequestError):
    """The forward pass failed; the log says why."""

    def __init__(self, what: str) -> None:
        super().__init__(what, status=500, kind="server_error", code="generation_failed")


class NotGivenByEngine(RequestError):
    """The engine does not do what a request asks for."""

    def __init__(self, param: str, what: str) -> None:
        super().__init__(
            f"{param}: the engine behind this server gives no {what}; leave it out",
            status=501,
            code="not_given_by_engine",
            param=param,
        )


class EngineLost(RequestError):
    """The engine ended, or broke off, before the answer was whole."""

    def __init__(self, how: str, retry_after_s: int = 5) -> None:
        super().__init__(
            f"the engine was lost before the answer was whole ({how}); ask again in {retry_after_s:,} s",
            status=503,
            kind="server_error",
            code="engine_lost",
            retry_after_s=retry_after_s,
        )


class EngineBusy(RequestError):
    """The engine, or a gateway before it, is asked more than it answers now."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            f"the engine behind this server is asked more than it answers now; try again in {retry_after_s:,} s",
            status=429,
            kind="rate_limit_error",
            code="engine_busy",
            retry_after_s=retry_after_s,
        )
