"""Where feedback waits for the memory: a file that serving processes append to, and that the daemon takes away whole.

A line is durable before its sender is told so. Whoever appends, or takes the file away, holds the file's lock: a
process that is killed lets go of it, and leaves at most the beginning of a line that nobody was told of.

The daemon gives the file a name that says which number its first line has. The memory stores that number with the
lines, so that lines that were stored, but whose file was not removed yet, are known when they come again.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from serving.errors import NotReady

_log = structlog.get_logger(__name__)

Verdict = Literal["accept", "reject"]
PROMPT: Final = "prompt"
"""The role of a plain prompt, which is no chat."""
OPEN_NAME: Final = "open.jsonl"
TAKEN_NAME: Final = re.compile(r"taken-(\d{20})\.jsonl")
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of what waits. More comes where nothing takes it away: the daemon is not there, or cannot write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What one person said of one answer.

    Attributes:
        answer: its id.
        giver: the name of the API key that it came by; empty where keys have none.
        user: who said it, or who had asked, as the client named them; None: it did not.
        verdict: of the answer.
        generation: that gave the answer.
        answered_at: when, unix seconds.
        given_at: when this was said.
        group: among which callers the answer was counted, while a generation was watched; None: among none.
        messages: what was asked, as role and content; of a plain prompt one whose role is `prompt`. None where no text
            was kept.
        text: of the answer; None likewise.
        correction: what it should have been; of a text its label, or all labels that fit. None where there is none, or
            no text is kept.
        corrected: whether a correction was given, kept or not.
    """

    answer: str
    giver: str
    user: str | None
    verdict: Verdict
    generation: int
    answered_at: int
    given_at: float
    group: int | None = None
    messages: tuple[tuple[str, str], ...] | None = None
    text: str | None = None
    correction: str | tuple[str, ...] | None = None
    corrected: bool = False


_LINE: Final = TypeAdapter(Feedback)


class Spool:
    """Appends feedback. From any thread and any number of processes.

    Args:
        directory: that holds it; must exist.
        most_bytes: of what may wait.
    """

    def __init__(self, directory: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = directory / OPEN_NAME
        self._most_bytes = most_bytes

    def append(self, feedback: Feedback) -> None:
        """Write it down; when this returns it is durable.

        Raises:
            NotReady: too much waits already.
            OSError: it cannot be written; nothing of it was.
        """
        line = orjson.dumps(asdict(feedback)) + b"\n"
        with _locked(self._path, make=True) as file:
            size = os.fstat(file).st_size
            if size + len(line) > self._most_bytes:
                raise NotReady("too much feedback waits to be stored; is `riverkeep run` there?")
            # Who was killed while it wrote was told nothing: what it left is no line of ours.
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line
            try:
                _write(file, line)
                os.fsync(file)
            except OSError:
                os.ftruncate(file, size)
                raise
            if not size:
                _sync_directory(self._path.parent)


@dataclass(frozen=True, slots=True)
class TakenFile:
    """A file of feedback that nobody appends to any more.

    Attributes:
        path: of it.
        first: the number of its first line.
    """

    path: Path
    first: int

    def lines(self) -> Iterator[tuple[int, Feedback | None]]:
        """What was said, each with its number; None for a line that is none, whose sender was told nothing."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=self.first):
                yield number, _feedback(line)

    def remove(self) -> None:
        """Remove it: the memory has it."""
        self.path.unlink(missing_ok=True)
        _sync_directory(self.path.parent)


@contextmanager
def taking_away(directory: Path) -> Iterator[None]:
    """Let nobody else take away meanwhile: a number that was asked for would be another's by the time it is given."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def take(directory: Path, next_number: int) -> TakenFile | None:
    """The oldest file of feedback, taken away from those who append; None where nothing waits.

    To be called within `taking_away`, in which the number was asked for.

    Args:
        directory: that holds the spool.
        next_number: that the memory gives to the next line.
    """
    taken = sorted(each for each in directory.glob("taken-*.jsonl") if TAKEN_NAME.fullmatch(each.name))
    if taken:
        return TakenFile(taken[0], _first(taken[0]))
    path = directory / OPEN_NAME
    target = directory / f"taken-{next_number:020d}.jsonl"
    try:
        with _locked(path, make=False) as file:
            if not os.fstat(file).st_size:
                return None
            path.rename(target)
    except FileNotFoundError:
        return None
    _sync_directory(directory)
    return TakenFile(target, next_number)


def _first(path: Path) -> int:
    named = TAKEN_NAME.fullmatch(path.name)
    assert named is not None
    return int(named[1])


def _feedback(line: bytes) -> Feedback | None:
    try:
        return _LINE.validate_json(line, strict=True)
    except ValidationError:
        # Without the line: it may hold what a person wrote.
        _log.warning("feedback_line_skipped", bytes=len(line))
        return None


@contextmanager
def _locked(path: Path, *, make: bool) -> Iterator[int]:
    """The file that has this name now, for this process alone."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if make else 0), 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):
                yield file
                return
        finally:
            os.close(file)


def _is_at(path: Path, file: int) -> bool:
    """Whether the file still has its name: it may have been taken away while its lock was waited for."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
