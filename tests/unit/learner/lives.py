"""Learners that are killed: processes of their own, forked from the test's so that torch is imported once."""

import os
import signal
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import orjson

from checkpoints.files import durable_writes
from checkpoints.files.durable_writes import FAULT_VARIABLE
from learner.directory.round_directory import PROGRESS
from learner.job import run_round


def begin(path: Path, fault: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, TextIO]:
    """Begin a learner in a process of its own; its process id, and what it says."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, os.fdopen(reading)
    status = 1
    try:
        durable_writes._reached.clear()
        os.environ |= {FAULT_VARIABLE: fault, **(environment or {})}
        run_round(path, echo=os.fdopen(writing, "w"))
        status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


def ending(path: Path, fault: str = "", *, at: int | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Let a learner live to its end, or until it has saved this step; its status, or minus its signal.

    Args:
        path: of its round.
        fault: that it is to meet, as `checkpoints.files.durable_writes` has it.
        at: the step behind whose save it is killed with SIGKILL; None for none.
        environment: what it has in addition to this process's.
    """
    pid, saying = begin(path, fault, environment)
    with saying:
        for event in map(orjson.loads, saying):
            if at is not None and event["event"] == "saved" and event["step"] >= at:
                os.kill(pid, signal.SIGKILL)
                break
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def said(path: Path, event: str) -> list[dict[str, Any]]:
    """What learners have told of an event in a round's directory; what was cut off within a line is passed over."""
    lines = (path / PROGRESS).read_bytes().splitlines() if (path / PROGRESS).exists() else []
    whole = [orjson.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
    return [line for line in whole if line["event"] == event]


def digests(path: Path) -> dict[str, bytes]:
    """Every file of every candidate."""
    files = [file for file in (path / "candidates").rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}
