"""Where feedback waits: nothing that was acknowledged is lost, whoever is killed, and nothing more comes of it."""

import errno
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors import NotReady
from serving.feedback.spool import OPEN_NAME, Feedback, Spool, TakenFile, take

SAID = Feedback(
    answer="cmpl-1", giver="web", user="u", verdict="reject", generation=3, answered_at=5, given_at=6.5, corrected=True
)
WITH_TEXT = replace(SAID, messages=(("user", "hi"), ("assistant", "")), text="é\n", correction="\u2028")


def lines(taken: TakenFile | None) -> list[Feedback | None]:
    """What a file holds."""
    assert taken is not None
    return [said for _, said in taken.lines()]


def test_what_is_appended_is_taken_away_in_order(tmp_path: Path) -> None:
    """With the numbers that the memory gives; the next file is another."""
    spool = Spool(tmp_path)
    spool.append(SAID)
    spool.append(WITH_TEXT)
    taken = take(tmp_path, 7)
    assert taken is not None
    assert list(taken.lines()) == [(7, SAID), (8, WITH_TEXT)]
    spool.append(SAID)
    again = take(tmp_path, 99)
    assert again == taken, "a file that was not removed comes first, with the number that it was given"
    taken.remove()
    assert lines(take(tmp_path, 9)) == [SAID]


def test_nothing_waits_where_nothing_was_said(tmp_path: Path) -> None:
    """Neither without a file nor with an empty one."""
    assert take(tmp_path, 0) is None
    (tmp_path / OPEN_NAME).touch()
    assert take(tmp_path, 0) is None


def test_half_a_line_spoils_none_behind_it(tmp_path: Path) -> None:
    """As a process leaves it that is killed while it writes."""
    spool = Spool(tmp_path)
    spool.append(SAID)
    with (tmp_path / OPEN_NAME).open("ab") as file:
        file.write(b'{"answer": "cm')
    spool.append(WITH_TEXT)
    assert lines(take(tmp_path, 0)) == [SAID, None, WITH_TEXT]


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender is told, and the file is as it was."""
    spool = Spool(tmp_path)
    spool.append(SAID)
    write, before = os.write, (tmp_path / OPEN_NAME).read_bytes()

    def full(file: int, content: bytes) -> int:
        write(file, content[:10])
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space"):
        spool.append(SAID)
    assert (tmp_path / OPEN_NAME).read_bytes() == before


def test_what_may_wait_is_bounded(tmp_path: Path) -> None:
    """Until it is taken away."""
    spool = Spool(tmp_path, most_bytes=400)
    spool.append(SAID)
    spool.append(SAID)
    with pytest.raises(NotReady, match="riverkeep run"):
        spool.append(SAID)
    assert take(tmp_path, 0) is not None
    spool.append(SAID)


def test_none_is_lost_while_files_are_taken_away(tmp_path: Path) -> None:
    """Several append while another takes: each line is in one file, once."""
    ended, found, number = threading.Event(), list[Feedback | None](), 0

    def append(giver: int) -> None:
        spool = Spool(tmp_path)
        for at in range(50):
            spool.append(replace(SAID, answer=f"{giver}-{at}"))

    def sweep() -> int:
        taken = take(tmp_path, number)
        if taken is None:
            return number
        found.extend(lines(taken))
        taken.remove()
        return len(found)

    with ThreadPoolExecutor(4) as pool:
        appending = [pool.submit(append, giver) for giver in range(3)]
        while not all(each.done() for each in appending):
            number = sweep()
        ended.set()
        for each in appending:
            each.result()
    sweep()
    assert sorted(said.answer for said in found if said) == sorted(f"{a}-{b}" for a in range(3) for b in range(50))
    assert None not in found


KILLED = """
import os, signal, sys
from pathlib import Path
from serving.feedback.spool import Spool
from tests.unit.serving.feedback.test_spool import SAID
spool = Spool(Path(sys.argv[1]))
spool.append(SAID)
real = os.write
os.write = lambda file, content: (real(file, content[:20]), os.kill(os.getpid(), signal.SIGKILL))
spool.append(SAID)
"""


def test_a_process_that_is_killed_holds_up_nobody(tmp_path: Path) -> None:
    """With the lock held, in the midst of a line."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    Spool(tmp_path).append(WITH_TEXT)
    assert lines(take(tmp_path, 0)) == [SAID, None, WITH_TEXT]
