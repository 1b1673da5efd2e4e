"""The server behind the door: it lets connections in, looks after them, and takes its leave of them."""

import asyncio
import errno
import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from serving.door.certificates import Certificates
from serving.door.connection import Connection
from serving.door.connection_times import LEAVE_WITHIN_S, Bounds, ConnectionEnding, Stage, overdue
from serving.door.crowd import Crowd, client_of
from serving.door.handshake import Handshake
from serving.door.turned_away import Endings

BACKLOG: Final = 1024
# Between two looks at what the connections inside have sent.
ADMITTED_AT_ONCE: Final = 64
LOOK_EVERY_S: Final = 0.5
REST_S: Final = 0.5
MOST_HEAD_BYTES: Final = 32 * 1024
NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Entrance:
    """A socket to come in by.

    Attributes:
        name: what requests that came by it carry as `scope["state"]["entrance"]`.
        listener: bound.
        bounds: for those who come in here alone.
        certificates: where it speaks TLS; None: plain HTTP.
    """

    name: str
    listener: socket.socket
    bounds: Bounds
    certificates: Certificates | None = None


class Door(uvicorn.Server):
    """Serves an application to those who come in by its entrances.

    Args:
        app: what answers.
        entrances: none takes room from another.
        endings: where those that are turned away are counted.
        drain_s: how long requests under way may go on at the end.
        lifespan: whether the application is told of beginning and end.
        on_look: called on the event loop every half second.

    Attributes:
        end_is_near: it will be told to end soon. Set like `should_exit`, by a signal's handler too.
    """

    end_is_near = False

    def __init__(
        self,
        app: ASGIApp,
        entrances: Sequence[Entrance],
        endings: Endings,
        *,
        drain_s: float,
        lifespan: bool = True,
        on_look: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                # `Connection` is made of this one: `auto` would load httptools for nothing.
                http="h11",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on" if lifespan else "off",
                # Never before the door's own, which knows more and counts.
                timeout_keep_alive=math.ceil(max(entrance.bounds.idle_s for entrance in entrances)),
                timeout_graceful_shutdown=max(1, round(drain_s)),
            )
        )
        self._endings = endings
        self._on_look = on_look
        self._halls = [_Hall(entrance, self._connection, endings) for entrance in entrances]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - the halls have them
        """Begin to let connections in."""
        # Without a socket of its own uvicorn would open one.
        await super().startup(sockets=[])
        for hall in self._halls:
            hall.open()
        self._looking = asyncio.create_task(self._look())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, and requests under way end."""
        for hall in self._halls:
            hall.close()
        await super().shutdown(sockets)
        # Last: while requests end, slow clients are still looked after.
        self._looking.cancel()

    def _connection(self, hall: "_Hall") -> Connection:
        state: dict[str, Any] = {**self.lifespan.state, "entrance": hall.name}
        return Connection(self.config, self.server_state, state, hall=hall, most_head_bytes=MOST_HEAD_BYTES)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for hall in self._halls:
                hall.look(loop.time())
                if hall.certificates is not None:
                    hall.certificates.look()
            # The first entrance is where clients come in; those behind it are for probes.
            self._endings.connections.set(len(self._halls[0]))
            self._endings.tell(loop.time())
            self._on_look()
            await asyncio.sleep(LOOK_EVERY_S)


_Inside = Connection | Handshake


def _host_of(accepted: socket.socket) -> str:
    """The client's address; empty where it has none, or is gone again."""
    with suppress(OSError, IndexError, TypeError):
        return str(accepted.getpeername()[0])
    return ""


class _Hall:
    """Those who came in by one entrance."""

    def __init__(self, entrance: Entrance, connect: "Callable[[_Hall], Connection]", endings: Endings) -> None:
        self.name = entrance.name
        self.certificates = entrance.certificates
        self._listener = entrance.listener
        self._bounds = entrance.bounds
        self._connect = connect
        self._endings = endings
        self._inside: set[_Inside] = set()
        self._handshakes: dict[Connection, Handshake] = {}
        self._crowd: Crowd[_Inside] = Crowd(
            most=entrance.bounds.most, most_of_a_client=entrance.bounds.most_of_a_client
        )
        # An event loop holds its tasks weakly: one that nobody else holds can be collected half done.
        self._welcomes: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._crowd)

    def open(self) -> None:
        """Let connections in."""
        self._resting = None
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._listener.listen(BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener, self._admit)

    def close(self) -> None:
        """Let nobody in any more."""
        asyncio.get_running_loop().remove_reader(self._listener)
        if self._resting is not None:
            self._resting.cancel()

    def _admit(self) -> None:
        # Not asyncio's own loop: out of descriptors, that of Python 3.11 begins again once for each place in its
        # backlog, each of which does the same a second later.
        loop = asyncio.get_running_loop()
        for _ in range(ADMITTED_AT_ONCE):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    self._rest(loop)
                    return
                continue  # That one client went away.
            accepted.setblocking(False)  # noqa: FBT003 - the standard library's signature
            # asyncio does so only with sockets that name their protocol, which these do not: an answer's body would
            # wait for the client's acknowledgement of its head, 40 ms where that is delayed.
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._begin(loop, accepted)

    def _begin(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
        handshake = None
        if self.certificates is not None:
            handshake = Handshake(_host_of(accepted), loop.time(), ended=self.ended, left=self.leave)
            # Before a byte was read of it: those who agree on nothing are among those who give way.
            if not self._let_in(handshake):
                self.ended(ConnectionEnding.NO_ROOM)
                accepted.close()
                return
        work = self._welcome(loop, accepted) if handshake is None else self._secure(loop, accepted, handshake)
        welcome = loop.create_task(work)
        if handshake is not None:
            handshake.task = welcome
        self._welcomes.add(welcome)
        welcome.add_done_callback(self._welcomes.discard)
        # Also one that was cancelled before its first step, in which nothing of it ran.
        welcome.add_done_callback(lambda task: accepted.close() if task.cancelled() else None)

    async def _secure(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket, handshake: Handshake) -> None:
        """Agree on TLS with a client, who then comes in; the place that it has meanwhile is given back either way."""
        assert self.certificates is not None
        connection = self._connect(self)
        self._handshakes[connection] = handshake
        try:
            await loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self.certificates.context,
                # Its end is looked after here, as all others are.
                ssl_handshake_timeout=4 * self._bounds.head_s,
                ssl_shutdown_timeout=LEAVE_WITHIN_S,
            )
        except OSError:
            handshake.broke_off()
            accepted.close()
        finally:
            if self._handshakes.pop(connection, None) is not None:
                self.leave(handshake)

    async def _welcome(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
        # The client may be gone again by now.
        with suppress(OSError):
            await loop.connect_accepted_socket(lambda: self._connect(self), accepted)
            return
        accepted.close()

    def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Out of descriptors: give one back, and look again a little later."""
        if (first := self._crowd.first()) is not None:
            first.end(ConnectionEnding.NO_DESCRIPTOR, at_once=True)
        else:
            self.ended(ConnectionEnding.NO_DESCRIPTOR)
        # A listener with somebody waiting stays readable: the loop would call back without end.
        loop.remove_reader(self._listener)
        self._resting = loop.call_later(REST_S, self.open)

    def look(self, now: float) -> None:
        """End those who take too long. `now`: of the event loop's clock."""
        # A copy, as those that end leave the set.
        for connection in list(self._inside):
            if (ending := overdue(connection.standing(now), self._bounds, now)) is not None:
                connection.end(ending)

    def enter(self, connection: Connection) -> None:
        """See `connection.Hall`."""
        # The place that it had while it agreed on TLS is its own.
        if (handshake := self._handshakes.pop(connection, None)) is not None:
            self.leave(handshake)
        if not self._let_in(connection):
            connection.end(ConnectionEnding.NO_ROOM)

    def _let_in(self, comer: "_Inside") -> bool:
        """Take one in, for whom another may have to go; whether there is room for it."""
        welcome, first = self._crowd.room_for(client_of(comer.host))
        if first is not None:
            first.end(ConnectionEnding.MADE_ROOM, at_once=True)
        # Also a connection that finds no room: while it reads why, its time is watched like everybody's.
        if welcome or isinstance(comer, Connection):
            self._inside.add(comer)
            self.moved(comer)
        return welcome

    def moved(self, connection: "_Inside") -> None:
        """See `connection.Hall`."""
        # One that left may still take a step, which must not bring it back into the crowd.
        if connection in self._inside:
            may_yield = connection.stage is not Stage.ANSWER
            regular = connection.regular and connection.stage is not Stage.LEAVING
            self._crowd.put(connection, client_of(connection.host), may_yield=may_yield, regular=regular)

    def leave(self, connection: "_Inside") -> None:
        """See `connection.Hall`."""
        self._crowd.drop(connection)
        self._inside.discard(connection)

    def ended(self, ending: ConnectionEnding) -> None:
        """See `connection.Hall`."""
        self._endings.count(ending)
