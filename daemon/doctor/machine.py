"""What would fail here, before it fails: each thing that the service will need, tried once."""

import os
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from checkpoints.installing import pip_install
from daemon.doctor import model
from daemon.doctor.disk_need import bytes_to_come
from daemon.doctor.engine import examine_engine
from daemon.doctor.findings import Finding
from daemon.errors import STATE_DIR_REMEDY, said_by_the_system
from daemon.lifecycle.lock import holder_of
from daemon.rounds.unknown_sentence import unknown_sentence
from daemon.settings.records import needed_of_records, record_needs
from daemon.settings.tree import Settings

GIB = 2**30
SYNCS = 5
SLOW_SYNC_S = 0.25
LEAST_FREE_BYTES = GIB
VOLATILE = frozenset({"tmpfs", "ramfs", "overlay"})
UNKNOWN_REMEDY = "Put the latest copy of the database back, or start: `riverkeep status` says which are left unknown."
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"})


def examine(
    settings: Settings, *, load_model: bool = True, say: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Try everything, in the order in which a start would need it. Takes seconds, with the model minutes."""
    findings = [*_state_dir(settings), sqlite(), *_database(settings), *_ports(settings), *examine_engine(settings)]
    if settings.streams.enabled:
        from daemon.doctor.kafka import examine as examine_kafka  # noqa: PLC0415 - a client only where it is used

        with _known_partitions(settings) as is_known:
            findings += examine_kafka(settings.streams, record_needs(settings), is_known)
    findings.append(Finding("records", ok=True, detail=needed_of_records(settings)))
    if settings.jobs.template_file is not None:
        from daemon.doctor.jobs import examine_jobs  # noqa: PLC0415 - a client only where it is used

        findings += examine_jobs(settings)
    if load_model:
        findings += model.examine(settings, say)
    return findings


def _state_dir(settings: Settings) -> Iterator[Finding]:
    path = settings.state_dir
    holder = holder_of(path)
    if holder is not None:
        yield Finding("daemon", ok=True, detail=f"process {holder.pid} on {holder.host} runs on {path}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        seconds = _sync_seconds(path)
    except OSError as error:
        yield Finding(
            "state directory",
            ok=False,
            detail=f"{path}: {error.strerror}",
            remedy=STATE_DIR_REMEDY,
        )
        return
    yield Finding("state directory", ok=True, detail=f"{path} can be written")
    yield Finding(
        "disk's fsync",
        ok=seconds <= SLOW_SYNC_S,
        detail=f"{seconds * 1000:.1f} ms, median of {SYNCS}",
        remedy="Every batch waits for one: put `state_dir` on a local disk.",
    )
    yield _file_system(path)
    yield _free_space(settings)


def _sync_seconds(directory: Path) -> float:
    """Median seconds of a small durable write."""
    seconds = []
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".doctor-") as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _file_system(path: Path) -> Finding:
    kind = file_system_of(path)
    remedy = "Put `state_dir` on a local, persistent disk."
    if kind in REMOTE:
        return Finding("file system", ok=False, detail=f"{kind}: locks and fsync are not dependable", remedy=remedy)
    if kind in VOLATILE:
        return Finding("file system", ok=False, detail=f"{kind}: what is kept is gone with the machine", remedy=remedy)
    return Finding("file system", ok=True, detail=kind or "unknown")


def file_system_of(path: Path) -> str:
    """The type of the file system that a path is on; empty when it cannot be told."""
    real = path.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[place] for place in (real, *real.parents) if place in mounts), "")


def _free_space(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.state_dir).free
    needed = max(LEAST_FREE_BYTES, bytes_to_come(settings))
    return Finding(
        "disk space",
        ok=free >= needed,
        detail=f"{free / GIB:.1f} GiB free, about {needed / GIB:.1f} GiB needed when everything is full",
        remedy="Free some, or lower `checkpoints.keep_last`, `memory.replay_tokens` and `memory.fresh_tokens`.",
    )


def sqlite() -> Finding:
    """Whether the SQLite library is one that can be trusted with a write-ahead log."""
    try:
        from memory.database.sqlite import OLDEST, sqlite_version_info  # noqa: PLC0415 - its absence is a finding
    except ImportError as error:
        return Finding("SQLite", ok=False, detail=str(error), remedy=f"Run `{pip_install('pysqlite3')}`.")
    return Finding(
        "SQLite",
        ok=sqlite_version_info >= OLDEST,
        detail=_dot(sqlite_version_info),
        remedy=f"Before {_dot(OLDEST)} a reset of the write-ahead log can corrupt it: "
        f"`{pip_install('--upgrade', 'pysqlite3')}`.",
    )


def _database(settings: Settings) -> Iterator[Finding]:
    """Whether the database is whole, and knows what is on disk beside it."""
    from checkpoints.generation_store import GenerationStore  # noqa: PLC0415 - SQLite only where it is used
    from daemon.rounds.unknown_generations import unknown_generations  # noqa: PLC0415 - the same
    from memory.errors import StoreError, StoreTooOld  # noqa: PLC0415 - the same
    from memory.store import Store  # noqa: PLC0415 - the same

    checkpoints = GenerationStore(settings.checkpoints_dir)
    if not settings.database.exists() and not checkpoints.pointer_path.exists():
        return
    try:
        with Store.open(settings.database, settings.memory, read_only=True) as store:
            fault = store.file.look(deep=True)
            unknown = [] if fault is not None else unknown_generations(store, checkpoints)
    except StoreTooOld:
        return
    except StoreError as error:
        fault, unknown = error, []
    if fault is not None:
        yield Finding("database", ok=False, detail=type(fault).__name__, remedy=str(fault))
        return
    yield Finding("database", ok=True, detail=f"{settings.database} is whole")
    if unknown:
        yield Finding("generations", ok=False, detail=unknown_sentence(unknown), remedy=UNKNOWN_REMEDY)


@contextmanager
def _known_partitions(settings: Settings) -> Iterator[Callable[[str, int], bool]]:
    """Whether the memory knows a topic's partition; it knows none where it cannot be asked."""
    from memory.errors import StoreError  # noqa: PLC0415 - SQLite only where it is used
    from memory.store import Store  # noqa: PLC0415 - the same

    with ExitStack() as opened:
        try:
            store = opened.enter_context(Store.open(settings.database, settings.memory, read_only=True))
        except StoreError:
            yield lambda _topic, _number: False
        else:
            yield lambda topic, number: store.latest_incarnation(topic, number) is not None


def _dot(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _ports(settings: Settings) -> Iterator[Finding]:
    if holder_of(settings.state_dir) is not None:
        return
    yield _port("admin port", settings.admin.host, settings.admin.port, "admin")
    if settings.serving.enabled:
        yield _port("serving port", settings.serving.host, settings.serving.port, "serving")


def _port(name: str, host: str, port: int, table: str) -> Finding:
    try:
        with socket.create_server((host, port)):
            return Finding(name, ok=True, detail=f"{host}:{port} is free" if port else "any free one")
    except OSError as error:
        return Finding(
            name,
            ok=False,
            detail=f"{host}:{port}: {said_by_the_system(error)}",
            remedy=f"Stop what listens there, or set `{table}.port`.",
        )
