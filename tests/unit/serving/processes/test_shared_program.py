"""Adapters that share a program: put in, taken out, its end with the last; the program here is a fake."""

import json
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from serving.processes.program import Program
from serving.processes.shared_program import AdapterRefused, ProgramEnded, SharedProgram


class FakeProcess:
    """A process that only remembers whether it was ended."""

    pid = 4711
    ended = ""
    ends = 0

    def end(self) -> None:
        """Note it."""
        self.ends += 1
        self.ended = "its process ended"


class FakeProgram:
    """Knows adapters by name, and refuses one whose name it knows, as vLLM does."""

    def __init__(self, refuses: str = "") -> None:
        self.process, self.adapter_rank = FakeProcess(), 16
        self.refuses = refuses
        self.deaf = False
        self.known: dict[str, str] = {}

    def client(self, _: float) -> httpx.Client:
        """Someone who asks it."""
        return httpx.Client(base_url="http://engine", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.deaf:
            raise httpx.ReadTimeout("no answer")
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": name, "max_model_len": None} for name in self.known]})
        body: dict[str, Any] = json.loads(request.content)
        name = body["lora_name"]
        if request.url.path == "/v1/unload_lora_adapter":
            found = self.known.pop(name, None)
            return httpx.Response(404 if found is None else 200, text="Success")
        if name in self.known:
            return _refused(f"The lora adapter '{name}' has already been loaded.")
        if self.refuses:
            return _refused(self.refuses)
        self.known[name] = body["lora_path"]
        return httpx.Response(200, text="Success")


def _refused(why: str) -> httpx.Response:
    return httpx.Response(400, json={"error": {"message": why}})


def shared(program: FakeProgram) -> SharedProgram:
    """Over a fake."""
    return SharedProgram(cast("Program", program))


def test_it_ends_with_the_last_adapter_and_not_before() -> None:
    """Whatever the order in which they come and go."""
    program = FakeProgram()
    among = shared(program)
    first = among.put_in("m@g0001", Path("/g/000001"), 1.0)
    second = among.put_in("m@g0002", Path("/g/000002"), 1.0)
    assert program.known == {"m@g0001": "/g/000001", "m@g0002": "/g/000002"}
    first.end()
    assert (program.known, program.process.ends) == ({"m@g0002": "/g/000002"}, 0)
    assert among.takes(16)
    second.end()
    assert (program.known, program.process.ends) == ({}, 1)
    assert not among.takes(16)
    assert second.ended
    with pytest.raises(ProgramEnded, match="has ended"):
        among.put_in("m@g0003", Path("/g/000003"), 1.0)


def test_a_refused_adapter_ends_the_program_only_where_nobody_else_is_inside() -> None:
    """Its words are told."""
    program = FakeProgram()
    among = shared(program)
    inside = among.put_in("m@g0001", Path("/g/000001"), 1.0)
    program.refuses = "lm_head is no target"
    with pytest.raises(AdapterRefused, match="lm_head is no target"):
        among.put_in("m@g0002", Path("/g/000002"), 1.0)
    assert not program.process.ends
    inside.end()
    alone = FakeProgram(refuses="no")
    with pytest.raises(AdapterRefused):
        shared(alone).put_in("m@g0001", Path("/g/000001"), 1.0)
    assert alone.process.ends == 1


def test_a_wider_adapter_is_none_of_it() -> None:
    """Nor is any of a program that was begun without adapters."""
    program = FakeProgram()
    assert not shared(program).takes(17)
    program.adapter_rank = None  # type: ignore[assignment]
    assert not shared(program).takes(1)


def test_a_program_that_is_gone_takes_nothing_and_is_not_asked() -> None:
    """An adapter in it ends all the same."""
    program = FakeProgram()
    among = shared(program)
    inside = among.put_in("m@g0001", Path("/g/000001"), 1.0)
    program.process.ended = "its process ended with signal SIGKILL"
    assert not among.takes(1)
    inside.end()
    assert program.known
    assert program.process.ends == 1


def test_one_that_is_inside_may_be_put_in_again() -> None:
    """Its name means the same, and the program is not asked for it twice; it goes with the last that has it."""
    program = FakeProgram()
    among = shared(program)
    old = among.put_in("m@g0001", Path("/g/000001"), 1.0)
    new = among.put_in("m@g0001", Path("/g/000001"), 1.0)
    for _ in range(2):
        # Once is enough: what is said twice of one is not said of the other.
        old.end()
    assert (list(program.known), program.process.ends) == (["m@g0001"], 0)
    new.end()
    assert (program.known, program.process.ends) == ({}, 1)


def test_one_whose_end_was_not_heard_is_put_in_again() -> None:
    """The program knows it still, and would refuse it; others are inside, so that it goes on."""
    program = FakeProgram()
    among = shared(program)
    stays, goes = (among.put_in(f"m@g000{number}", Path(f"/g/{number}"), 1.0) for number in (1, 2))
    program.deaf = True
    goes.end()
    with pytest.raises(AdapterRefused, match="gave no answer"):
        among.put_in("m@g0002", Path("/g/2"), 1.0)
    program.deaf = False
    again = among.put_in("m@g0002", Path("/g/2"), 1.0)
    again.end()
    assert (list(program.known), program.process.ends) == (["m@g0001"], 0)
    stays.end()
    assert program.process.ends == 1
