"""Who is ended for taking too long, and who gives way to whom."""

import os
import socket
import threading

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from serving.door.connection_times import LEAVE_WITHIN_S, Bounds, ConnectionEnding, ConnectionState, Stage, overdue
from serving.door.crowd import Crowd, client_of
from serving.door.server import Door, Entrance
from serving.door.turned_away import TELL_EVERY_S, Endings

BOUNDS = Bounds(head_s=10, body_s=20, idle_s=75, unread_s=60, most=4, most_of_a_client=2)


@pytest.mark.parametrize(
    ("standing", "seconds", "ending"),
    [
        (ConnectionState(Stage.IDLE, 0), 10, ConnectionEnding.NOT_USED),
        (ConnectionState(Stage.IDLE, 0, answered=1), 75, ConnectionEnding.NOT_USED),
        (ConnectionState(Stage.HEAD, 0), 10, ConnectionEnding.SLOW_HEAD),
        (ConnectionState(Stage.HEAD, 0, answered=3), 10, ConnectionEnding.SLOW_HEAD),
        (ConnectionState(Stage.BODY, 0), 20, ConnectionEnding.SLOW_BODY),
        (ConnectionState(Stage.ANSWER, 0, unread_since=0), 60, ConnectionEnding.UNREAD),
        (ConnectionState(Stage.IDLE, 50, answered=1, unread_since=0), 60, ConnectionEnding.UNREAD),
        (ConnectionState(Stage.LEAVING, 0), LEAVE_WITHIN_S, ConnectionEnding.UNREAD),
    ],
)
def test_each_stage_has_its_time(standing: ConnectionState, seconds: float, ending: ConnectionEnding) -> None:
    """Not before, and then for its own reason."""
    assert overdue(standing, BOUNDS, seconds) is None
    assert overdue(standing, BOUNDS, seconds + 0.1) is ending


def test_an_answer_has_the_time_it_takes() -> None:
    """How long it may take is not the door's matter."""
    assert overdue(ConnectionState(Stage.ANSWER, 0), BOUNDS, 1e9) is None


def crowd(most: int = 4, of_a_client: int = 2) -> Crowd[str]:
    """A small one."""
    return Crowd(most=most, most_of_a_client=of_a_client)


def test_a_clients_own_oldest_gives_way_to_its_newest() -> None:
    """Others keep their places."""
    inside = crowd()
    inside.put("x", "other", may_yield=True, regular=False)
    inside.put("a", "one", may_yield=True, regular=False)
    inside.put("b", "one", may_yield=True, regular=False)
    assert inside.room_for("one") == (True, "a")
    assert inside.room_for("another") == (True, None)


def test_who_was_answered_gives_way_after_who_was_not() -> None:
    """And among those the longest idle first."""
    inside = crowd(most=3, of_a_client=3)
    inside.put("regular", "a", may_yield=True, regular=True)
    inside.put("longer", "b", may_yield=True, regular=True)
    inside.put("stranger", "c", may_yield=True, regular=False)
    assert inside.room_for("d") == (True, "stranger")
    inside.drop("stranger")
    inside.put("answered", "c", may_yield=False, regular=True)
    assert inside.room_for("d") == (True, "regular")
    inside.put("regular", "a", may_yield=True, regular=True)
    assert inside.room_for("d") == (True, "longer")


def test_answers_never_give_way() -> None:
    """Where all are being answered who comes is refused."""
    inside = crowd(most=2)
    inside.put("a", "one", may_yield=False, regular=False)
    inside.put("b", "two", may_yield=False, regular=True)
    assert inside.room_for("three") == (False, None)
    inside.drop("a")
    inside.drop("a")
    assert (len(inside), inside.room_for("three")) == (1, (True, None))


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.booleans(), st.booleans())))
def test_there_are_never_more_than_the_bounds_unless_all_are_answered(
    moves: list[tuple[int, str, bool, bool]],
) -> None:
    """Whoever comes, whatever became of those inside: one in, one out."""
    inside: Crowd[tuple[int, str]] = Crowd(most=3, most_of_a_client=2)
    members: dict[tuple[int, str], bool] = {}
    for number, client, may_yield, regular in moves:
        one = (number, client)
        if one not in members:
            welcome, first = inside.room_for(client)
            if not welcome:
                own = [each for each in members if each[1] == client]
                assert not any(members[each] for each in (own if len(own) >= 2 else members))
                continue
            if first is not None:
                assert members.pop(first)
                inside.drop(first)
        members[one] = may_yield
        inside.put(one, client, may_yield=may_yield, regular=regular)
        assert len(inside) == len(members) <= 3
        assert sum(each[1] == client for each in members) <= 2


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2"),
        ("2001:db8::1", "2001:db8:0:0"),
        ("fe80::1%eth0", "fe80:0:0:0"),
        ("::1", "0:0:0:0"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_a_network(host: str, client: str) -> None:
    """Who has one IPv6 address has 2⁶⁴ of them."""
    assert client_of(host) == client


def test_what_repeats_is_told_once_a_minute_with_its_count() -> None:
    """At once, and then with all that came meanwhile, also where no more comes."""
    endings = Endings("serving", CollectorRegistry())
    with capture_logs() as logs:
        for second in range(130):
            if second < 70:
                endings.count(ConnectionEnding.SLOW_HEAD)
            endings.tell(float(second))
        endings.tell(2 * TELL_EVERY_S + 10)
    assert [line["connections"] for line in logs] == [1, 60, 9]
    assert {line["reason"] for line in logs} == {"slow_head"}


def test_who_reads_nothing_is_ended_and_frees_what_waits_for_it() -> None:
    """A real socket whose client takes nothing of a large answer: it is ended, and the application hears of it."""
    told = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    bounds = Bounds(head_s=10, body_s=20, idle_s=75, unread_s=0.6, most=4, most_of_a_client=2)
    registry = CollectorRegistry()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = Door(app, [Entrance("test", listener, bounds)], Endings("serving", registry), drain_s=1, lifespan=False)
        thread = threading.Thread(target=door.run)
        thread.start()
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert told.wait(60)
        door.should_exit = True
        thread.join()
    labels = {"reason": "unread"}
    assert registry.get_sample_value("riverkeep_serving_connections_ended_total", labels) == 1


def test_no_part_of_an_answer_waits_for_the_clients_word_on_the_part_before() -> None:
    """That may come 40 ms later (Nagle's algorithm and delayed acknowledgements): small parts are sent at once."""
    told = list[int]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.extend(_no_delay(listener.getsockname()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    bounds = Bounds(head_s=10, body_s=20, idle_s=75, unread_s=10, most=4, most_of_a_client=2)
    endings = Endings("serving", CollectorRegistry())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = Door(app, [Entrance("test", listener, bounds)], endings, drain_s=1, lifespan=False)
        thread = threading.Thread(target=door.run)
        thread.start()
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 200")
        door.should_exit = True
        thread.join()
    assert told == [1]


def _no_delay(address: tuple[str, int]) -> list[int]:
    """TCP_NODELAY of this process's connections that came in at an address."""
    said = list[int]()
    for each in psutil.Process().net_connections("tcp"):
        if each.status == psutil.CONN_ESTABLISHED and each.laddr == address:
            with socket.socket(fileno=os.dup(each.fd)) as connection:
                said.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    return said
