"""The serving process: its parts, its listener, its end."""

import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import structlog
import torch
import uvicorn
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from checkpoints.card import Kind
from checkpoints.generation import GenerationStore
from learner.cores import usable_cores
from serving.app import Parts, build_app
from serving.classify import Classifier
from serving.engine import Engine
from serving.errors import CannotServe
from serving.guard import Keys
from serving.metrics import ServingMetrics
from serving.prompts import RecentPrompts
from serving.settings import INSTANCE_VARIABLE, ServingSettings
from serving.swap import Follower, Loader, Switch
from serving.warm import warming

_log = structlog.get_logger(__name__)

# A thread that computes in Python gives way to those that answer after this long.
SWITCH_INTERVAL_S: Final = 0.001


def serve(
    settings: ServingSettings, checkpoints_root: Path, model_kind: Kind, *, recipe_length: int | None = None
) -> None:
    """Answer requests from the generation that the pointer under `checkpoints_root` names, until SIGTERM or SIGINT.

    Requests under way are finished first, for at most `drain_timeout_s`. SIGUSR1 says that the end is near: readiness
    says no from then on, so that load balancers look elsewhere, and requests are answered as before.

    Args:
        settings: limits, names, and where to listen.
        checkpoints_root: the checkpoint store.
        model_kind: what the model is for.
        recipe_length: to how many tokens a classifier's base cuts texts; later generations tell by their own recipe.

    Raises:
        CannotServe: the address is taken, the key file is unusable, or the device is not there.
    """
    keys = Keys(settings.api_key_file)
    device = _device(settings.device)
    torch.set_num_threads(settings.threads or max(1, usable_cores() - 1))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    metrics = ServingMetrics(_registry())
    switch = Switch(metrics)
    worker = _worker(settings, model_kind, metrics)
    recent = RecentPrompts(settings.warm_prompts)
    loader = Loader(GenerationStore(checkpoints_root), model_kind, device, metrics, recipe_length)
    follower = Follower(loader, switch, warming(worker, recent), metrics, poll_s=settings.poll_s)

    def healthy() -> bool:
        return follower.alive and not worker.broken

    end_is_near = threading.Event()

    def ending() -> bool:
        return server.should_exit or end_is_near.is_set()

    instance = os.environ.get(INSTANCE_VARIABLE, "")
    parts = Parts(settings, model_kind, switch, worker, recent, metrics, healthy, ending, instance, checkpoints_root)
    server = uvicorn.Server(_config(settings, parts, keys))
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(settings))
        worker.start()
        stack.callback(worker.close)
        follower.start()
        stack.callback(follower.close)
        host, port = listener.getsockname()[:2]
        _log.info("serving_listens", host=host, port=port, device=device, kind=model_kind)
        _heed_signals(server, end_is_near)
        server.run(sockets=[listener])
    _log.info("serving_ended")


def _heed_signals(server: uvicorn.Server, end_is_near: threading.Event) -> None:
    """Let SIGTERM end the server, not the process: uvicorn raises it again at its end, before the parts are closed."""

    def end(*_: object) -> None:
        server.should_exit = True

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGUSR1, lambda *_: end_is_near.set())


def _config(settings: ServingSettings, parts: Parts, keys: Keys) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(parts, keys),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        # Far above what is answered: only the flood beyond it is cut off without OpenAI's error.
        limit_concurrency=4 * (settings.max_batch + settings.max_queue) + 64,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
    )


def _worker(settings: ServingSettings, kind: Kind, metrics: ServingMetrics) -> Engine | Classifier:
    if kind == "causal-lm":
        return Engine(at_once=settings.max_batch, queue=settings.max_queue, metrics=metrics)
    return Classifier(
        at_once=max(settings.max_batch, settings.classify_batch),
        queue=settings.max_queue,
        batch=settings.classify_batch,
        metrics=metrics,
    )


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def _device(name: str) -> str:
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CannotServe(f"serving.device {name} cannot be used: {reason}; set auto or cpu") from error
    return name


def _listen(settings: ServingSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        # Without the address, which create_server repeats.
        reason = (error.strerror or str(error)).partition(" (while ")[0]
        raise CannotServe(
            f"cannot listen on {settings.host}:{settings.port}: {reason}; is another process there? Set serving.port"
        ) from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener
