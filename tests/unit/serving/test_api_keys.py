"""Whose key a request bears, while the file of keys changes."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.api_keys import ApiKeys
from serving.keys.key_file import add_key, revoke_key
from tests.harness import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a key in plain text."""
    made = tmp_path / "keys"
    made.write_text("first\n")
    return made


def name_of(keys: ApiKeys, secret: str) -> str | None:
    """The name under which a key is known."""
    entry = keys.find(f"Bearer {secret}".encode())
    return None if entry is None else entry.name


@contextmanager
def followed(keys: ApiKeys) -> Iterator[None]:
    """While its file is followed, by an event loop on a thread of its own."""
    loop = asyncio.new_event_loop()

    async def follow() -> None:
        await keys.follow(asyncio.Event())

    def run() -> None:
        task = loop.create_task(follow())
        loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_keys_are_told_by_their_names(path: Path) -> None:
    """Of a key that is there in plain text as well, the name that its hash has; the first of equal ones."""
    secret = add_key(path, "alice", {}).secret
    path.write_text(f"{path.read_text()}{secret}\nfirst\n")
    keys = ApiKeys(path)
    assert name_of(keys, secret) == "alice"
    assert name_of(keys, "first") == "line-1"
    assert name_of(keys, "second") is None
    assert keys.find(b"Basic first") is None
    # What is kept of a key does not open the door.
    assert name_of(keys, path.read_text().split()[2]) is None


def test_a_key_that_is_added_or_revoked_is_so_while_serving(path: Path) -> None:
    """Without a signal; whoever wants to know is told who there is."""
    keys, told = ApiKeys(path), list[list[str]]()
    keys.tell(lambda entries: told.append(sorted(entry.name for entry in entries)))

    with followed(keys):
        secret = add_key(path, "alice", {}).secret
        wait_until(lambda: name_of(keys, secret) == "alice")
        revoke_key(path, "line-1")
        wait_until(lambda: name_of(keys, "first") is None)
        revoke_key(path, "alice")
        wait_until(lambda: name_of(keys, secret) is None)
    # The last is gone: closed, not open to everybody.
    assert keys.needed
    assert told == [["line-1"], ["alice", "line-1"], ["alice"], []]


@pytest.mark.parametrize("harm", ["broken", "gone"])
def test_an_unusable_file_keeps_the_old_keys_and_is_told_once(path: Path, harm: str) -> None:
    """And taken when it is mended."""
    keys = ApiKeys(path)
    whole = path.read_bytes()

    with capture_logs() as logs, followed(keys):
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(b"two words\n")
        wait_until(lambda: any(line["event"] == "api_keys_not_reloaded" for line in logs))
        assert name_of(keys, "first") == "line-1"
        path.write_bytes(whole + b"second\n")
        wait_until(lambda: name_of(keys, "second"))
    assert [line["event"] for line in logs].count("api_keys_not_reloaded") == 1
    assert not any("first" in str(line) or "second" in str(line) for line in logs)


def test_a_file_that_is_being_written_is_not_read(path: Path) -> None:
    """It is the same at two looks before it is taken: half of it would lock the other half out."""
    keys = ApiKeys(path)
    path.write_text("second\n")
    assert keys._look(at_once=False) is None
    path.write_text("second\nthird\n")
    assert keys._look(at_once=False) is None
    assert keys._look(at_once=False) is not None
    assert keys._look(at_once=False) is None
    assert keys._look(at_once=True) is not None


def test_a_right_that_was_missing_is_noticed(path: Path) -> None:
    """Content and time of the file are as they were."""
    keys = ApiKeys(path)
    os.utime(path)
    keys._look(at_once=True)
    path.chmod(0o640)
    assert keys._look(at_once=False) is None
    assert keys._look(at_once=False) is not None


def test_plain_text_is_told_at_the_start(path: Path) -> None:
    """With the names that such keys have, never with the keys."""
    with capture_logs() as logs:
        ApiKeys(path)
    (line,) = logs
    assert (line["event"], line["keys"]) == ("api_keys_in_plain_text", ["line-1"])


def test_the_daemons_key_is_in_no_file(path: Path) -> None:
    """Where there is none, no header bears it."""
    assert ApiKeys(path, daemon_key="d" * 32).is_daemons(b"Bearer " + b"d" * 32)
    assert not ApiKeys(path, daemon_key="d" * 32).is_daemons(b"Bearer first")
    assert not ApiKeys(path).is_daemons(b"Bearer ")
