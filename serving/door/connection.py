"""One connection: uvicorn's, which knows how far its client has come, and turns it away in words."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Protocol

import h11
import orjson
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from serving.door.connection_times import ConnectionEnding, ConnectionState, Stage
from serving.errors import RequestError, error_body

# A body that comes in so many pieces has to have so many bytes in each, on average: pieces cost time, bytes hardly any.
MANY_PIECES: Final = 10_000
BYTES_A_PIECE: Final = 64
# uvicorn warns of every request that is none; the door counts them.
ERRORS: Final = logging.getLogger("uvicorn.error.door")
ERRORS.setLevel(logging.ERROR)

WORDS: Final = {
    ConnectionEnding.SLOW_HEAD: (
        408,
        "the head of the request did not arrive in time",
        "timeout_error",
        "header_timeout",
    ),
    ConnectionEnding.SLOW_BODY: (
        408,
        "the body of the request did not arrive in time",
        "timeout_error",
        "body_timeout",
    ),
    ConnectionEnding.MADE_ROOM: (
        503,
        "too many connections; others had to have this one's place",
        "server_error",
        "crowded",
    ),
    ConnectionEnding.NO_ROOM: (
        503,
        "too many connections are being answered; try again in 1 s",
        "server_error",
        "crowded",
    ),
}


class Hall(Protocol):
    """Where a connection comes in."""

    def enter(self, connection: "Connection") -> None:
        """It was made; may turn it, or another, away at once."""

    def moved(self, connection: "Connection") -> None:
        """It came to another stage."""

    def leave(self, connection: "Connection") -> None:
        """It is gone, or about to be."""

    def ended(self, ending: ConnectionEnding) -> None:
        """Count one that was ended from here."""


class _WatchedRequests(h11.Connection):
    """h11's connection, which tells what of a request has come, and bears no body in crumbs."""

    def __init__(self, most_head_bytes: int, hear: Callable[[type[object]], None]) -> None:
        super().__init__(h11.SERVER, most_head_bytes)
        self._hear = hear
        self._pieces = self._bytes = 0
        self.problem: h11.RemoteProtocolError | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next piece of a request."""
        try:
            event = super().next_event()
            self._weigh(event)
        # uvicorn drops what was wrong; it is kept for the answer.
        except h11.RemoteProtocolError as error:
            self.problem = error
            raise
        if isinstance(event, h11.Request | h11.EndOfMessage):
            self._hear(type(event))
        return event

    def _weigh(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > MANY_PIECES and self._bytes < BYTES_A_PIECE * self._pieces:
                raise h11.RemoteProtocolError("the body comes in too many small pieces")


class Connection(H11Protocol):
    """A connection that came in through a hall."""

    conn: _WatchedRequests

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], *, hall: Hall, most_head_bytes: int
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(config, server_state, app_state, loop)
        self.logger = ERRORS
        self.access_log = False
        self.conn = _WatchedRequests(most_head_bytes, self._advance)
        self._hall = hall
        self._stage, self._since = Stage.IDLE, loop.time()
        self._answered = 0
        self._unread: tuple[int, float] | None = None

    @property
    def host(self) -> str:
        """The client's address; empty where it has none."""
        return self.client[0] if self.client else ""

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self._stage

    @property
    def regular(self) -> bool:
        """Whether a request was answered on it."""
        return self._answered > 0

    def standing(self, now: float) -> ConnectionState:
        """How it stands; asked again and again, it sees whether the client takes what waits for it."""
        waiting = _bytes_waiting(self.transport)
        if not waiting:
            self._unread = None
        # The transport tells only how much waits; less than at the last look means that the client took some.
        elif self._unread is None or waiting < self._unread[0]:
            self._unread = waiting, now
        else:
            self._unread = waiting, self._unread[1]
        return ConnectionState(self._stage, self._since, self._answered, self._unread and self._unread[1])

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """It begins."""
        # First: the hall asks for the client's address, and may end the connection at once.
        super().connection_made(transport)
        self._hall.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ends."""
        self._hall.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a request, or more; of one that is turned away nothing is looked at."""
        if self._stage is Stage.LEAVING or self.transport.is_closing():
            return
        if self._stage is Stage.IDLE:
            self._move(Stage.HEAD)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """The answer is written; what came after its request is looked at now."""
        self._answered += 1
        # Where an answer is complete before its body, a refusal say, the body is still held to its time.
        if self.conn.their_state is not h11.SEND_BODY and self._stage is not Stage.LEAVING:
            self._move(Stage.IDLE)
        # This may begin a request that came behind the first, so it comes after the step to IDLE and before the look at
        # what is left.
        super().on_response_complete()
        if self._stage is Stage.IDLE and self.conn.trailing_data[0]:
            self._move(Stage.HEAD)

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with what came, and end."""
        problem = self.conn.problem
        status = problem.error_status_hint if problem is not None else 400
        message = f"this is no HTTP request that can be answered: {problem or msg}"
        code = "header_too_large" if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE else "invalid_http"
        self._hall.ended(ConnectionEnding.NOT_HTTP)
        self._turn_away(RequestError(message, status=status, code=code))

    def _unsupported_upgrade_warning(self) -> None:
        """Answered as what it also is, a plain request; no reason to log."""

    def shutdown(self) -> None:
        """The server ends: finish what is under way."""
        if self._stage is Stage.LEAVING:
            self.transport.abort()
        else:
            super().shutdown()

    def end(self, ending: ConnectionEnding, *, at_once: bool = False) -> None:
        """End it from here, with a word where the client can still hear one.

        Args:
            at_once: its place is needed; whether it hears the word is not waited for.
        """
        if self._stage is not Stage.LEAVING:
            self._hall.ended(ending)
        if self._stage is Stage.LEAVING or ending is ConnectionEnding.UNREAD:
            self.transport.abort()
        # Who asked for nothing is told nothing: a request just under way would take that for its answer.
        elif ending in WORDS and (self._stage is not Stage.IDLE or ending is ConnectionEnding.NO_ROOM):
            status, message, kind, code = WORDS[ending]
            retry = 1 if status == HTTPStatus.SERVICE_UNAVAILABLE else None
            self._turn_away(RequestError(message, status=status, kind=kind, code=code, retry_after_s=retry))
        else:
            self.transport.close()
        if at_once:
            # Not when the transport is done, some turns of the loop later: who comes is counted before that.
            self._hall.leave(self)
            self.transport.close()

    def _turn_away(self, error: RequestError) -> None:
        """Say why, and let the client read that: what it still sends is taken in and thrown away for a while."""
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            # To the application it is as if the client had gone: it stops, and what it still sends is dropped.
            cycle.disconnected = True
            cycle.message_event.set()
            # Half an answer is out: words behind it would be read as part of it.
            if cycle.response_started:
                self.transport.abort()
                return
        # uvicorn's timer would close it without waiting for the client to read.
        self._unset_keepalive_if_required()
        self._move(Stage.LEAVING)
        self.transport.write(raw_response(error))
        # Bytes unread when a socket closes make a reset of it, which can reach the client before the words do.
        self.transport.resume_reading()
        # Half closed: the client sees the end, while what it still sends is taken in.
        if self.transport.can_write_eof():
            self.transport.write_eof()

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """The latest request with its answer; None before the first, which uvicorn's types do not say."""
        return self.cycle

    def _advance(self, event: type[object]) -> None:
        if event is h11.Request:
            self._move(Stage.BODY)
        elif self._cycle is not None and self._cycle.response_complete:
            self._move(Stage.IDLE)
        else:
            self._move(Stage.ANSWER)

    def _move(self, stage: Stage) -> None:
        self._stage, self._since = stage, self.loop.time()
        self._hall.moved(self)


def _bytes_waiting(transport: asyncio.Transport) -> int:
    """How much of an answer waits for its client, of one in TLS also what is encrypted already."""
    waiting = transport.get_write_buffer_size()
    # asyncio's transport of TLS counts what it has not encrypted yet, and has no public way to the one below it.
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return waiting + (0 if below is None else int(below.get_write_buffer_size()))


def raw_response(error: RequestError) -> bytes:
    """An answer that no application gives, in the shape that OpenAI's clients know."""
    body = orjson.dumps(error_body(error))
    retry = "" if error.retry_after_s is None else f"retry-after: {error.retry_after_s}\r\n"
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{retry}connection: close\r\n\r\n"
    )
    return head.encode() + body
