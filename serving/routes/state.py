"""How this process and its model are: health, readiness, metrics, the generation, the model in OpenAI's shape."""

from dataclasses import asdict, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.engine.loaded import LoadedGeneration
from serving.exposition import Page, Pages, expose
from serving.processes.engine_metrics import EngineMetrics
from serving.routes.parts import Parts
from serving.routes.responses import json_response


class StateRoutes:
    """What asks nothing of the model."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pages = Pages(self._expose)
        self._of_engines = EngineMetrics()

    async def healthz(self, _: Request) -> Response:
        """Whether this process is worth keeping, and why not."""
        trouble = self._parts.trouble()
        return json_response({"healthy": not trouble, "detail": trouble}, status=503 if trouble else 200)

    async def readyz(self, request: Request) -> Response:
        """Whether it answers; what stands in the way of a generation, which may name files, only with a key."""
        parts = self._parts
        current = parts.switch.current
        healthy = not parts.trouble()
        ready = current is not None and healthy and not parts.ending()
        detail = {
            "ready": ready,
            "generation": current and current.number,
            "healthy": healthy,
            "ending": parts.ending(),
            "pointed": parts.switch.status.pointed,
        }
        if request.scope["authorized"]:
            detail |= self._swaps(request)
        return json_response(detail, status=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """What Prometheus scrapes, in the format that it asks for: the door's own, and what its engines count."""
        content, kind = await self._pages.page(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    async def _expose(self, accept: str) -> Page:
        of_engines = await self._of_engines.families(self._parts.switch.held.engines())
        # Off the event loop.
        return await run_in_threadpool(expose, self._parts.metrics.registry, accept, of_engines)

    async def generation(self, request: Request) -> Response:
        """Which generation serves and how the last swap went."""
        current = self._parts.switch.current
        facts = {
            "trouble": self._parts.trouble(),
            "generation": current and current.number,
            "digest": current and current.digest,
            "loaded_at": current and current.loaded_at,
            **self._swaps(request),
        }
        return json_response(facts)

    async def canary(self, request: Request) -> Response:
        """Which generation is watched beside which, and how the answers of both went: what the daemon judges by.

        To whom the watched one answers is for the daemon alone: the names of keys are nobody else's business.
        """
        parts = self._parts
        watched, status = parts.switch.watched, parts.switch.status
        facts = {
            "loaded": watched and watched.generation.number,
            "failing": status.canary_failing,
            "failures": status.canary_failures,
            "why": self._why_canary_failed(),
            **parts.tally.facts(),
        }
        if request.scope["is_daemon"]:
            facts["askers"] = dict(parts.tally.askers)
        return json_response(facts)

    def _why_canary_failed(self) -> str:
        status = self._parts.switch.status
        failing = status.canary_failing
        return "" if failing is None else self._without_place(status.failed.get(failing, ""))

    def _swaps(self, request: Request) -> dict[str, Any]:
        """How swaps went, and what is in the way of one; the store's place only to who has shown a key."""
        status = self._parts.switch.status
        if not request.scope["has_key"]:
            failed = {number: self._without_place(why) for number, why in status.failed.items()}
            status = replace(status, failed=failed, problem=status.problem and self._without_place(status.problem))
        return asdict(status)

    def _without_place(self, text: str) -> str:
        place = str(self._parts.checkpoints)
        return text.replace(f"{place}/", "").replace(place, "the checkpoint store") if len(place) > 1 else text

    async def models(self, _: Request) -> Response:
        """The one model, in OpenAI's shape, with its generation."""
        current = self._parts.current()
        return json_response({"object": "list", "data": [self._describe(current)]}, generation=current)

    async def model(self, request: Request) -> Response:
        """The one model by its name, which may hold slashes, written as such or encoded."""
        current = self._parts.current()
        self._parts.require_model(request.path_params["model"])
        return json_response(self._describe(current), generation=current)

    def _describe(self, generation: LoadedGeneration) -> dict[str, Any]:
        return {
            "id": self._parts.settings.model_name,
            "object": "model",
            "created": int(generation.loaded_at),
            "owned_by": "riverkeep",
            "generation": generation.number,
            "system_fingerprint": generation.fingerprint,
            "context_length": generation.context,
        }
