"""The serving process: its parts, its listener, its end."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import structlog
import torch
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import KINDS, ModelKind
from learner.devices.cores import usable_cores
from serving.answers.prompts import RecentPrompts
from serving.api_keys import ApiKeys
from serving.app import build_app
from serving.door.certificates import Certificates
from serving.door.connection_times import Bounds
from serving.door.descriptors import affordable, raise_limit
from serving.door.server import Door, Entrance
from serving.door.turned_away import Endings
from serving.engine.classify import Classifier
from serving.engine.completions import Engine, Writer
from serving.errors import CannotServe
from serving.feedback.register import AnswerRegister
from serving.generations.engines import EngineLoader
from serving.generations.loading import Brings, Loader
from serving.generations.remote import RemoteLoader
from serving.generations.swap import Follower
from serving.generations.switch import Switch
from serving.generations.warm import warming
from serving.guard import PROBES
from serving.metrics import ServingMetrics
from serving.processes.home import engines_home
from serving.processes.writer import EngineWriter
from serving.routes.parts import Parts
from serving.settings import PROBES_KEY_VARIABLE, PROBES_VARIABLE, ServingSettings
from serving.tracing.spans import NO_TRACING, Tracing

_log = structlog.get_logger(__name__)

# A thread that computes in Python gives way to those that answer after this long.
SWITCH_INTERVAL_S: Final = 0.001
# A client that takes nothing of its answer for so long holds a generation in memory for nothing.
UNREAD_S: Final = 60.0


def serve(
    settings: ServingSettings,
    checkpoints_root: Path,
    model_kind: ModelKind,
    *,
    recipe_length: int | None = None,
    feedback_directory: Path | None = None,
    usage: Path | None = None,
    tracing: Tracing = NO_TRACING,
) -> None:
    """Answer requests from the generation that the pointer under `checkpoints_root` names, until SIGTERM or SIGINT.

    Requests under way are finished first, for at most `drain_timeout_s`. SIGUSR1 says that the end is near: readiness
    says no from then on, so that load balancers look elsewhere, and requests are answered as before.

    Args:
        settings: limits, names, and where to listen.
        checkpoints_root: the checkpoint store.
        model_kind: what the model is for.
        recipe_length: to how many tokens a classifier's base cuts texts; later generations tell by their own recipe.
        feedback_directory: where what people say of answers is written down; None: it is not taken.
        usage: the file with what each API key has taken of the day; None: that is kept in memory alone.
        tracing: what is told of requests and swaps.

    Raises:
        CannotServe: the address is taken, the key file is unusable, or the device is not there.
    """
    # Taken out: an engine that this process starts inherits the environment.
    keys = ApiKeys(settings.api_key_file, daemon_key=os.environ.pop(PROBES_KEY_VARIABLE, None))
    _share_cores(settings)
    metrics = ServingMetrics(_registry())
    switch = Switch(metrics)
    worker = _worker(settings, model_kind, metrics)
    recent = RecentPrompts(settings.warm_prompts)

    def trouble() -> str:
        return worker.trouble or ("" if follower.alive else "the thread that follows the serving pointer is gone")

    def ending() -> bool:
        # Called by requests alone, and so never before there is a server.
        return server.should_exit or server.end_is_near

    metrics.healthy.set_function(lambda: float(not trouble()))
    answers = AnswerRegister(feedback_directory, settings.feedback)
    parts = Parts(settings, model_kind, switch, worker, recent, metrics, trouble, ending, checkpoints_root, answers)
    with ExitStack() as stack:
        loader = stack.enter_context(_loader(settings, checkpoints_root, model_kind, metrics, recipe_length))
        follower = Follower(loader, switch, warming(worker, recent), metrics, poll_s=settings.poll_s, tracing=tracing)
        entrances = _entrances(settings, stack)
        app = build_app(parts, keys, usage, tracing=tracing)
        server = Door(app, entrances, Endings("serving", metrics.registry), drain_s=settings.drain_timeout_s)
        # Undone in reverse: the follower first, which may be waiting for the worker to warm a generation.
        worker.start()
        stack.callback(worker.close)
        follower.start()
        stack.callback(follower.close)
        _say_where(entrances[0], settings, model_kind)
        _heed_signals(server)
        server.run(sockets=[entrance.listener for entrance in entrances])
    _log.info("serving_ended")


def _share_cores(settings: ServingSettings) -> None:
    # One core is left to the event loop, which else waits for its turn behind every pass.
    torch.set_num_threads(settings.threads or max(1, usable_cores() - 1))
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def _say_where(street: Entrance, settings: ServingSettings, kind: ModelKind) -> None:
    # Asked for: port 0 takes whichever is free.
    host, port = street.listener.getsockname()[:2]
    _log.info("serving_listens", host=host, port=port, engine=settings.engine, kind=kind)


def _entrances(settings: ServingSettings, stack: ExitStack) -> list[Entrance]:
    """For those who want answers, and for probes and the daemon, whom no crowd before the first keeps out."""
    # First: what connections are affordable is told from the limit as it is then.
    raise_limit()
    street = Bounds(
        head_s=settings.header_timeout_s,
        # The route itself says 408 before; this one is for bodies that no route reads.
        body_s=settings.body_timeout_s + 1,
        idle_s=settings.keep_alive_s,
        unread_s=UNREAD_S,
        most=affordable(settings.max_connections),
        most_of_a_client=settings.max_connections_per_client,
    )
    certificates = None if settings.tls is None else Certificates(settings.tls)
    listener = stack.enter_context(_listen(settings.host, settings.port, "port"))
    entrances = [Entrance("street", listener, street, certificates)]
    probes = Bounds(head_s=5, body_s=5, idle_s=75, unread_s=10, most=64, most_of_a_client=32)
    if settings.probe_port is not None:
        listener = _listen(settings.host, settings.probe_port, "probe_port")
        entrances.append(Entrance(PROBES, stack.enter_context(listener), probes))
    if descriptor := os.environ.get(PROBES_VARIABLE):
        entrances.append(Entrance(PROBES, stack.enter_context(socket.socket(fileno=int(descriptor))), probes))
    return entrances


def _heed_signals(server: Door) -> None:
    """Let SIGTERM end the server, not the process: uvicorn raises it again at its end, before the parts are closed."""

    # Attributes alone: a lock may be held by the very thread that a signal interrupts.
    def end(*_: object) -> None:
        server.should_exit = True

    def near(*_: object) -> None:
        server.end_is_near = True

    # Python takes signals on its main thread only, and a test may serve on another.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGUSR1, near)


@contextmanager
def _loader(
    settings: ServingSettings, root: Path, kind: ModelKind, metrics: ServingMetrics, length: int | None
) -> Iterator[Brings]:
    """What brings generations to answer: into this process, or each into an engine of its own."""
    store = GenerationStore(root)
    if settings.engine == "builtin":
        device = _device(settings.device)
        _log.info("serving_device", device=device)
        yield Loader(store, kind, device, metrics, length)
        return
    with engines_home() as home:
        if settings.engine == "remote":
            yield RemoteLoader(store, kind, settings, metrics, home)
            return
        loader = EngineLoader(store, kind, settings, metrics, home)
        try:
            yield loader
        finally:
            loader.end_all()


def _worker(settings: ServingSettings, kind: ModelKind, metrics: ServingMetrics) -> Writer | Classifier:
    if settings.engine != "builtin" and kind != "causal-lm":
        raise CannotServe(f"serving.engine {settings.engine} answers for causal language models alone: set builtin")
    if settings.engine != "builtin":
        return EngineWriter(at_once=settings.max_batch, queue=settings.max_queue, metrics=metrics)
    if KINDS[kind].writes:
        return Engine(
            at_once=settings.max_batch,
            queue=settings.max_queue,
            metrics=metrics,
            pass_timeout_s=settings.pass_timeout_s,
        )
    # Of a masked language model too, whose generations it tries before they are said to serve: no route leads to it.
    return Classifier(
        # Short requests of one text each have to be able to fill a pass.
        at_once=max(settings.max_batch, settings.classify_batch),
        queue=settings.max_queue,
        batch=settings.classify_batch,
        metrics=metrics,
        pass_timeout_s=settings.pass_timeout_s,
    )


def _registry() -> CollectorRegistry:
    # Not the default one, which is the process's for good: serving twice in one would name everything twice.
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
        # A name may be known and its device absent: only using it tells.
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CannotServe(f"serving.device {name} cannot be used: {reason}; set auto or cpu") from error
    return name


def _listen(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        # Without the address, which create_server repeats.
        reason = (error.strerror or str(error)).partition(" (while ")[0]
        raise CannotServe(
            f"cannot listen on {host}:{port}: {reason}; is another process there? Set serving.{setting}"
        ) from error
