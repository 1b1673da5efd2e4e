"""The table of operations against what it is about: the control's methods, a store without a daemon, and requests."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from daemon.control.arguments import NamedPerson
from daemon.control.bounds import ROUND_ENDS_WITHIN_S
from daemon.control.operations import BY_NAME, OPERATIONS, Operation
from daemon.control.protocol import Control
from daemon.control.without_daemon import StoreControl
from daemon.errors import DaemonError
from memory.samples.records import KeyHash
from memory.store import Store
from tests.unit.daemon.kept import Kept

GIVEN: dict[str, Any] = {
    "number": 1,
    "other": 0,
    "key": "zoe",
    "limit": 3,
    "before": 9,
    "after": 2,
    "text": True,
    "worst": True,
    "dry_run": True,
    "reason": "the GPU is lent out",
    "generation": 0,
    "partition": "news/0",
    "ids": [1, 2],
    "topic": "news",
    "offset": 7,
    "prompt": "The river",
    "first": 0,
    "second": 1,
    "blind": True,
    "chat": True,
    "max_tokens": 9,
    "temperature": 0.5,
    "seed": 3,
    "choice": "left",
}
"""One of each argument that operations have."""
EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def call_of(operation: Operation) -> dict[str, Any]:
    """Arguments of the method."""
    names = set(inspect.signature(operation.ask).parameters)
    # What is aside is chosen in one way or the other.
    names -= {"key"} if "ids" in names else set()
    given = {name: value for name, value in GIVEN.items() if name in names}
    # A record's number is that of its partition; of two generations the base is there.
    return given | {"number": 0} if names & {"topic", "other"} else given


def test_each_method_is_declared_once() -> None:
    """An operation that is in no line of the table could be asked for without a daemon alone."""
    methods = [name for name, member in vars(Control).items() if inspect.isfunction(member) and name[0] != "_"]
    assert sorted(operation.name for operation in OPERATIONS) == sorted(methods)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


@EACH
def test_arguments_are_those_of_the_method(operation: Operation) -> None:
    """By name, with the same defaults; a person can be named by a hash too."""
    parameters = dict(inspect.signature(operation.ask).parameters)
    del parameters["self"]
    fields = dict(operation.arguments.model_fields)
    if issubclass(operation.arguments, NamedPerson):
        del fields["key_hash"], fields["key"], parameters["key"]
    assert fields.keys() == parameters.keys()
    for name, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty
        assert fields[name].is_required() is required
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        assert required or fields[name].default == default


@EACH
def test_what_is_sent_is_what_was_called(operation: Operation) -> None:
    """From a call to a request and back nothing is lost."""
    call = call_of(operation)
    assert operation.call(**call) == call
    arguments = operation.arguments.model_validate(operation.arguments.sent(call))
    assert {name: value for name, value in arguments.call().items() if name in call} == call


def test_a_person_is_sent_by_hash_too() -> None:
    """As hexadecimal digits, under another name."""
    sent = NamedPerson.sent({"key": KeyHash(-2)})
    assert sent == {"key_hash": "fffffffffffffffe"}
    assert NamedPerson.model_validate(sent).call() == {"key": KeyHash(-2)}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """A store with a round that waits, one that was accepted, a person, a dead letter and a gap or none."""
    kept = Kept(tmp_path)
    kept.base()
    kept.arrive(40)
    kept.arrive(3, key="zoe")
    kept.hold()
    kept.arrive(40)
    kept.accept()
    kept.die(b"{")
    return kept


def test_what_only_asks_needs_no_right_to_write(kept: Kept) -> None:
    """It is answered from a store that is open for reading: no lock is taken for it."""
    kept.store.close()
    with Store.open(kept.settings.database, kept.settings.memory, read_only=True) as store:
        control = StoreControl(kept.settings, store, kept.checkpoints)
        for operation in OPERATIONS:
            if not operation.changes_the_store and not operation.needs_daemon:
                answer = operation.answer(control, call_of(operation))
                assert isinstance(answer, list if operation.answers_rows else dict), operation.name


def test_what_needs_a_daemon_does_nothing_without_one(kept: Kept) -> None:
    """It is refused, or says that there is nothing to do."""
    with kept.store:
        # What is free on the disk is whatever else the machine does.
        before = {**kept.control.status(), "disk": None}
        for operation in OPERATIONS:
            if operation.needs_daemon:
                try:
                    answer = operation.answer(kept.control, call_of(operation))
                except DaemonError:
                    continue
                assert not any(answer.values()), operation.name
        assert {**kept.control.status(), "disk": None} == before


def test_whoever_calls_a_round_off_waits_longer_than_its_learner_may_take() -> None:
    """Else a slow end would be told as a daemon that does not answer."""
    assert BY_NAME["cancel_rounds"].within_s > ROUND_ENDS_WITHIN_S
