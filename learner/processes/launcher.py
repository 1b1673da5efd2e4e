"""A round on several devices: a process for each, started, watched, and ended all as soon as one of them fails.

Each is `python -m learner` in the environment that `torchrun` gives its own, which may start them in this one's place.
They find each other by a file, so that no port is open before they meet, and talk on this machine's own network alone.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from learner.devices.share import is_rank
from learner.directory.round_directory import read_spec
from learner.errors import KILLED_STATUS, BadRoundDirectory, RankLost

MEETING: Final = "meeting"
"""Name of the file in a round's directory by which its ranks find each other."""
GRACE_S: Final = 10.0
"""After one has failed, what the others have to notice it and to end by themselves: what they say tells who was first.
"""
LOOK_EVERY_S: Final = 0.05
LOOPBACK: Final = "127.0.0.1"
LINE_BYTES_MAX: Final = 1 << 16


@dataclass(slots=True)
class Rank:
    """One process of a round.

    Attributes:
        number: of the rank.
        process: in which it runs.
        last_words: the last line that it wrote to its standard error.
        killed: whether it was ended here, which says nothing of why the round ended.
    """

    number: int
    process: "subprocess.Popen[bytes]"
    last_words: str = ""
    killed: bool = False
    listener: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        """Begin to listen."""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in iter(lambda: self.process.stderr.readline(LINE_BYTES_MAX), b""):  # type: ignore[union-attr]
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            self.last_words = line.decode(errors="replace").strip() or self.last_words

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self.process.poll()

    @property
    def has_failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return bool(self.status)


def ranks_to_start(path: Path, environ: Mapping[str, str] = os.environ) -> int:
    """Return how many processes a round is to be run by; 1 where this one runs it, or is one of several already.

    Args:
        path: directory of the round. What is wrong with it says who runs it.
        environ: says whether this process is a rank.
    """
    if is_rank(environ):
        return 1
    try:
        spec = read_spec(path)
    except BadRoundDirectory:
        return 1
    if spec.devices == "all":
        return 1 if spec.device in ("cpu", "mps") else max(1, _count_gpus())
    return spec.devices


def _count_gpus() -> int:
    """How many GPUs there are; asked in a process of its own, as torch takes room that the ranks may need."""
    asked = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    try:
        return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def run_ranks(path: Path, count: int) -> int:
    """Run a round in several processes to its end; say on standard error how it ended; return the exit code.

    A rank that fails ends all others. The code is that of the one that failed first, or of a rank that was killed
    `KILLED_STATUS` and the signal's number.

    Args:
        path: directory of the round.
        count: how many processes.

    Raises:
        OSError: they cannot be started.
    """
    ranks = list[Rank]()
    # Whom a learner that was killed has left there is not met any more.
    (path / MEETING).unlink(missing_ok=True)
    try:
        for number in range(count):
            ranks.append(Rank(number, _start(path, number, count)))
        _wait(ranks)
    finally:
        _end_all(ranks)
        (path / MEETING).unlink(missing_ok=True)
    # The first one alone writes: what it has brought to its end is at its end.
    return 0 if ranks[0].status == 0 else _tell(_culprit(ranks), count)


def _start(path: Path, number: int, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "learner", str(path), "--meeting", str(path / MEETING)],
        # It ends when this process does, however that happens: see `end_with_launcher`.
        stdin=subprocess.PIPE,
        # The first one's progress is the round's.
        stdout=None if number == 0 else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(number, count, os.environ),
    )


def _environment(number: int, count: int, environ: Mapping[str, str]) -> dict[str, str]:
    own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    # By the host's name they would look for each other on whatever network that leads to.
    networks = {name: loopback_interface() for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    return {**networks, **environ, **{name: str(value) for name, value in own.items()}}


def loopback_interface() -> str:
    """Return the name of this machine's own network."""
    there = psutil.net_if_addrs().items()
    return next((name for name, held in there if any(each.address == LOOPBACK for each in held)), "lo")


def end_with_launcher() -> None:
    """Let this rank end when the process that started it does; it holds the other end of standard input."""

    def wait_for_the_end() -> None:
        # Not through `sys.stdin`, whose lock an interpreter that ends would wait for.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()


def _wait(ranks: Sequence[Rank]) -> None:
    """Wait until the first rank has ended, or all have as one has failed; at most a while after that."""
    deadline = None
    while any(rank.status is None for rank in ranks):
        if deadline is None and (ranks[0].status is not None or any(rank.has_failed for rank in ranks)):
            deadline = time.monotonic() + GRACE_S
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(LOOK_EVERY_S)


def _end_all(ranks: Sequence[Rank]) -> None:
    for rank in ranks:
        if rank.status is None:
            rank.killed = True
            rank.process.kill()
    for rank in ranks:
        rank.process.wait()
        rank.listener.join(GRACE_S)


def _culprit(ranks: Sequence[Rank]) -> Rank:
    """The rank for which the round ended: one that was killed, else one that failed by itself, not for the others."""
    failed = [rank for rank in ranks if rank.has_failed and not rank.killed]

    def likelihood(rank: Rank) -> int:
        status = rank.status or 0
        return 2 if status < 0 else 1 if status != RankLost.exit_code else 0

    # All may have been lost to each other, where the first of them ended well too early.
    return max(failed or ranks, key=likelihood)


def _tell(rank: Rank, count: int) -> int:
    status, which = rank.status or 0, f"rank {rank.number} of {count}"
    if status >= 0:
        sys.stderr.write(f"{which}: {rank.last_words or f'ended with status {status}'}\n")
        return status or 1
    sys.stderr.write(f"{which} was ended by signal {-status}{_name(-status)}\n")
    return KILLED_STATUS - status


def _name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return ""
