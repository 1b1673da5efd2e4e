"""A control that writes down who asks for what, before it is done: what changes something, and what documents say."""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from daemon.control.asker import whose_word
from daemon.control.operations import BY_NAME, Operation
from daemon.control.protocol import Control
from daemon.errors import DaemonError
from memory.errors import StoreBusy, StoreError
from memory.samples.records import KeyHash
from memory.store import Store

log = structlog.get_logger(__name__)

PEOPLE = "key"
"""The argument that names a person, of whom a keyed hash is written down and no more."""
PROMPT = "prompt"
"""The argument that is somebody's own text, of which nothing is written down but its length."""


class AuditedControl:
    """A `Control`: of what changes something, who asked for it is noted first, and then that it was refused, if so.

    So is who asks for what documents say: text is personal, and to have read it is a deed.

    Nothing is done without a trace, a crash between included. Where the database cannot be written, what needs none is
    done all the same, and the log has the line; where another program holds its lock, nothing is.

    Args:
        control: does it.
        store: keeps the audit log.
    """

    def __init__(self, control: Control, store: Store) -> None:
        self._control = control
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The operation of that name, as the method of `Control`."""
        ask: Callable[..., Any] = getattr(self._control, name)
        operation = BY_NAME.get(name)
        return ask if operation is None else partial(self._noted, operation, ask)

    def _noted(self, operation: Operation, ask: Callable[..., Any], *in_order: Any, **by_name: Any) -> Any:
        call = operation.call(*in_order, **by_name)
        if not operation.writes and not operation.tells_text(call):
            return ask(*in_order, **by_name)
        given = self._without_text(self._without_people(call))
        try:
            self._store.audit.note(operation.name, given, who=whose_word())
        except StoreBusy:
            # What is asked for would wait as long for the same lock, and whoever asks longer than they can.
            raise
        except StoreError as error:
            self._warn(operation.name, error)
        try:
            return ask(*in_order, **by_name)
        except DaemonError as error:
            self._note_refused(f"{operation.name}_refused", {**given, "reason": str(error)})
            raise

    def _without_people(self, given: dict[str, Any]) -> dict[str, Any]:
        key = given.get(PEOPLE)
        if key is None:
            return given
        # What is erased of a person must not stand in the line that says so.
        hashed = key if isinstance(key, KeyHash) else KeyHash(self._store.people.key_hash(key))
        return given | {PEOPLE: str(hashed)}

    @staticmethod
    def _without_text(given: dict[str, Any]) -> dict[str, Any]:
        if PROMPT not in given:
            return given
        return {name: value for name, value in given.items() if name != PROMPT} | {"characters": len(given[PROMPT])}

    def _note_refused(self, what: str, detail: dict[str, Any]) -> None:
        try:
            self._store.audit.note(what, detail, who=whose_word())
        except StoreError as error:
            self._warn(what, error)

    def _warn(self, what: str, error: StoreError) -> None:
        log.warning("audit_not_written", what=what, who=whose_word(), reason=str(error))
