"""What the routes work with: which generation a request begins on, and what its body may be."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from checkpoints.kinds import KINDS, ModelKind
from serving.answers.body import LONG_BODY_BYTES, Bodies, parse, require_json
from serving.answers.prompts import RecentPrompts
from serving.engine.classify import Classifier
from serving.engine.completions import Writer
from serving.engine.loaded import LoadedGeneration
from serving.errors import NotReady, RequestError
from serving.generations.swap import Switch
from serving.metrics import ServingMetrics
from serving.routes.responses import CLIENT_GONE
from serving.settings import ServingSettings

S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints work with.

    Attributes:
        settings: limits and names.
        kind: what the model is for.
        switch: which generation a request begins on.
        worker: what answers.
        recent: prompts to warm the next generation with.
        metrics: where to count.
        trouble: why the process cannot go on, which asks for a new one; empty while it can.
        ending: whether it is about to end.
        checkpoints: the store's directory, which is named before nobody without a key.
    """

    settings: ServingSettings
    kind: ModelKind
    switch: Switch
    worker: Writer | Classifier
    recent: RecentPrompts
    metrics: ServingMetrics
    trouble: Callable[[], str]
    ending: Callable[[], bool]
    checkpoints: Path = Path("/")

    def current(self, *kinds: ModelKind) -> LoadedGeneration:
        """The generation that a request begins on, of one of these kinds, or of any."""
        if kinds and self.kind not in kinds:
            raise RequestError(
                f"the model is a {KINDS[self.kind].title} ({self.kind}); this route needs a {' or a '.join(kinds)}",
                status=404,
                code="wrong_model_kind",
            )
        current = self.switch.current
        if current is None:
            raise NotReady("no generation is loaded yet; /readyz says what it waits for")
        return current

    def require_model(self, name: str | None) -> None:
        """Refuse what is asked of another model than this one."""
        if name not in (None, self.settings.model_name):
            raise RequestError(
                f"there is no model of that name; this server has {self.settings.model_name}",
                status=404,
                code="model_not_found",
                param="model",
            )


async def read_body(bodies: Bodies, request: Request, shape: type[S]) -> tuple[S, int]:
    """What a request asks, and the bytes of its body."""
    require_json(request)
    try:
        return await bodies.read(request, partial(parse, shape=shape))
    except ClientDisconnect:
        raise RequestError("the client went away", status=CLIENT_GONE) from None


async def run_encoding(size: int, encode_all: Callable[[], T]) -> T:
    """What `encode_all` returns; beside the event loop where the body it encodes is long."""
    # A thread costs more than reading a short text; a long one would hold up every other request.
    return encode_all() if size < LONG_BODY_BYTES else await run_in_threadpool(encode_all)
