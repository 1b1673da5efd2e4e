"""How far a connection has come, and how long it may take for that. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# So long may one that is turned away take to read why.
LEAVE_WITHIN_S: Final = 2.0


class Stage(StrEnum):
    """How far a connection has come with its present request."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    LEAVING = "leaving"


class ConnectionEnding(StrEnum):
    """Why a connection was ended by this side: values are metric labels."""

    NOT_USED = "not_used"
    SLOW_HEAD = "slow_head"
    SLOW_BODY = "slow_body"
    UNREAD = "unread"
    MADE_ROOM = "made_room"
    NO_ROOM = "no_room"
    NO_DESCRIPTOR = "no_descriptor"
    NOT_HTTP = "not_http"
    NO_HANDSHAKE = "no_handshake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one entrance allows.

    Attributes:
        head_s: seconds to the end of a request's head, from the connection's beginning or a later request's first byte.
        body_s: seconds from there to the end of the body.
        idle_s: seconds without a byte between two requests.
        unread_s: seconds in which a client takes nothing of an answer that waits for it.
        most: connections at once.
        most_of_a_client: connections at once of one client.
    """

    head_s: float
    body_s: float
    idle_s: float
    unread_s: float
    most: int
    most_of_a_client: int


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """How a connection stands.

    Attributes:
        stage: how far it has come.
        since: when it came there, monotonic seconds.
        answered: requests that were answered on it.
        unread_since: when its client last took something of what waits for it; None where nothing waits.
    """

    stage: Stage
    since: float
    answered: int = 0
    unread_since: float | None = None


def overdue(standing: ConnectionState, bounds: Bounds, now: float) -> ConnectionEnding | None:
    """Why a connection is to be ended now; None while it is in time."""
    if standing.unread_since is not None and now - standing.unread_since > bounds.unread_s:
        return ConnectionEnding.UNREAD
    took = now - standing.since
    match standing.stage:
        # A first request is owed sooner than a further one: connections that never ask are what a flood is made of.
        case Stage.IDLE if took > (bounds.idle_s if standing.answered else bounds.head_s):
            return ConnectionEnding.NOT_USED
        case Stage.HEAD if took > bounds.head_s:
            return ConnectionEnding.SLOW_HEAD
        case Stage.BODY if took > bounds.body_s:
            return ConnectionEnding.SLOW_BODY
        case Stage.LEAVING if took > LEAVE_WITHIN_S:
            return ConnectionEnding.UNREAD
        case _:
            return None
