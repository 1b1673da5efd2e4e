"""Who answers a command: the daemon that holds the state directory, else the store itself."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from time import time
from typing import TYPE_CHECKING, cast

from daemon.errors import DaemonUnreachable, UnknownThing
from daemon.lifecycle.lock import Holder, StateLock, holder_of

if TYPE_CHECKING:
    from daemon.control.protocol import Control
    from daemon.settings.mistakes import BadSettings
    from daemon.settings.tree import Settings
    from memory.samples.records import KeyHash


@contextmanager
def reach(settings: "Settings", *, write: bool, mistakes: "BadSettings | None" = None) -> Iterator["Control"]:
    """The daemon's control where one runs, else one on the store.

    Args:
        settings: name the state directory and the admin token.
        write: whether something will be changed: without a daemon, the state directory is then locked, so that
            none starts in between.
        mistakes: what is wrong with the settings; a daemon has its own, the store is not touched with these.

    Raises:
        BadSettings: no daemon runs, and there are mistakes.
        DaemonUnreachable: a daemon holds the lock and gives no address (it is starting).
        UnknownThing: no daemon runs and there is no store.
        AlreadyRunning: a daemon started at this moment.
    """
    # Imported here: asking a daemon needs no SQLite, asking the store no HTTP.
    holder = holder_of(settings.state_dir)
    with ExitStack() as stack:
        if holder is not None:
            from daemon.admin.client import RemoteControl  # noqa: PLC0415 - HTTP
            from daemon.admin.token import read_token  # noqa: PLC0415 - see above

            address = _address(settings, holder)
            token = read_token(settings.admin, settings.state_dir)
            hashed = partial(_key_hash, settings)
            yield stack.enter_context(RemoteControl(address, token, hashed, tls=settings.admin.tls))
            return
        if mistakes is not None:
            raise mistakes
        if not settings.database.exists():
            raise UnknownThing(
                f"There is nothing in {settings.state_dir} yet: no daemon has run there. Is `state_dir` the right one?"
            )
        if write:
            # Until the command is done: no daemon starts, and changes things, while a person thinks about a question.
            stack.enter_context(StateLock(settings.state_dir, now=time()))
        yield stack.enter_context(_on_the_store(settings, write=write))


def _address(settings: "Settings", holder: Holder) -> str:
    if not holder.admin:
        raise DaemonUnreachable(
            f"The daemon on {settings.state_dir} (process {holder.pid} on {holder.host}) is starting and does "
            f"not listen yet{f': {holder.doing}' if holder.doing else ''}. Ask again in a moment."
        )
    return holder.admin


def _key_hash(settings: "Settings", key: str) -> "KeyHash":
    from memory.samples.records import KeyHash  # noqa: PLC0415 - seldom needed
    from memory.store import Store  # noqa: PLC0415 - SQLite

    # The hash takes the store's secret, which no operation gives away.
    with Store.open(settings.database, settings.memory, read_only=True) as store:
        return KeyHash(store.people.key_hash(key))


@contextmanager
def _on_the_store(settings: "Settings", *, write: bool) -> Iterator["Control"]:
    from checkpoints.generation_store import GenerationStore  # noqa: PLC0415 - needed without a daemon only
    from daemon.control.audited import AuditedControl  # noqa: PLC0415 - the same
    from daemon.control.without_daemon import StoreControl  # noqa: PLC0415 - the same
    from daemon.skills import keep_skills_out  # noqa: PLC0415 - the same
    from memory.store import Store  # noqa: PLC0415 - SQLite

    # A command answers at once; the daemon checks the whole file when it starts.
    memory = settings.memory.model_copy(update={"integrity_check": False})
    with Store.open(settings.database, memory, read_only=not write) as store:
        if write:
            keep_skills_out(store, settings)
        control = StoreControl(settings, store, GenerationStore(settings.checkpoints_dir))
        yield cast("Control", AuditedControl(control, store)) if write else control
