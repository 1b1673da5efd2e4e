"""What the routes work with: which generation a request begins on, and what its body may be."""

from collections.abc import Callable
from dataclasses import dataclass, field
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
from serving.feedback.register import AnswerRegister
from serving.feedback.settings import FeedbackSettings
from serving.generations.switch import Switch, Watched
from serving.metrics import ServingMetrics
from serving.routes.callers import Chosen, caller_of
from serving.routes.responses import CLIENT_GONE
from serving.routes.shadows import Shadows
from serving.settings import ServingSettings
from serving.traffic.choice import Caller
from serving.traffic.tally import Role, Tally

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
        tally: how answers went while a generation is watched.
        shadows: answers copies of requests by one that is watched as a shadow.
        answers: names answers, and takes in what is said of them.
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
    answers: AnswerRegister = field(default_factory=lambda: AnswerRegister(None, FeedbackSettings()))
    tally: Tally = field(init=False)
    shadows: Shadows = field(init=False)

    def __post_init__(self) -> None:
        # Set once, here: it counts in the metrics that the parts have.
        object.__setattr__(self, "tally", Tally(self._count_watched))
        object.__setattr__(self, "shadows", Shadows(self.worker))

    def _count_watched(self, role: Role, *, failed: bool) -> None:
        self.metrics.watched_answers.labels(role, "failed" if failed else "answered").inc()

    def current(self, *kinds: ModelKind) -> LoadedGeneration:
        """The generation that a request begins on, of one of these kinds, or of any."""
        if kinds and self.kind not in kinds:
            raise RequestError(
                f"the model is a {KINDS[self.kind].title} ({self.kind}); this route needs a {' or a '.join(kinds)}",
                status=404,
                code="wrong_model_kind",
            )
        if kinds and self.settings.engine == "remote" and not self.settings.remote.url:
            raise RequestError(
                "answers are given by engines that others run: this service hands generations over to "
                "serving.remote.location, and serving.remote.url is not set",
                status=404,
                code="answered_elsewhere",
            )
        current = self.switch.current
        if current is None:
            raise NotReady("no generation is loaded yet; /readyz says what it waits for")
        return current

    def choose(self, request: Request, user: object, *kinds: ModelKind) -> Chosen:
        """Who answers a request, of one of these kinds: the serving generation, or the canary.

        Args:
            request: its headers say who asks.
            user: OpenAI's `user` of its body, if it has one.

        Raises:
            RequestError: no generation is loaded, or the request may not say what it says.
        """
        serving, watched = self.current(*kinds), self.switch.watched
        caller = caller_of(request, user, self.settings.canary)
        # Beside itself there is nothing to compare: it has just begun to serve.
        if watched is None or watched.generation is serving:
            return Chosen(serving)
        if watched.plan.mode == "shadow":
            return self._choose_shadow(caller, serving, watched)
        number, forced = watched.generation.number, caller.forced
        chosen = caller.falls_to(number, watched.plan.share) if forced is None else forced
        role: Role = "canary" if chosen else "serving"
        # Who may choose is no random sample of those who ask.
        ticket = self.tally.ticket(serving.number, number, role, caller.group(number)) if forced is None else None
        if not chosen:
            return Chosen(serving, ticket)
        asker = self.tally.asker(serving.number, number, request.scope["asker"].name)
        return Chosen(watched.generation, ticket, None if forced else serving, is_canary=True, by_canary=asker)

    def _choose_shadow(self, caller: Caller, serving: LoadedGeneration, watched: Watched) -> Chosen:
        """The serving generation, and for a share of the callers a copy for the shadow."""
        number = watched.generation.number
        group = caller.group(number)
        ticket = self.tally.ticket(serving.number, number, "serving", group)
        self.shadows.give_way()
        if not caller.falls_to(number, watched.plan.share):
            return Chosen(serving, ticket)
        of_copy = self.tally.ticket(serving.number, number, "shadow", group)
        return Chosen(serving, ticket, copy=Chosen(watched.generation, of_copy, is_canary=True, is_shadow=True))

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
