"""Where reading a partition begins: pure. The store is the truth; the group's offset helps where it knows nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from streams.document import GapReason
from streams.settings import Beginning

TAG = "riverkeep"

Stored = Callable[[str], int | None]
"""The store's next offset for an incarnation of the partition; None: it knows nothing of it."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The group's offset. `incarnation` and `owner` are None where the commit does not tell them."""

    offset: int
    incarnation: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin.

    Attributes:
        offset: None for the first there is.
        missing: offsets (inclusive) that are passed over, and why.
    """

    incarnation: str
    offset: int | None
    missing: tuple[int, int, GapReason] | None = None


def metadata(incarnation: str, owner: str) -> str:
    """What a commit says beside the offset: whose it is, so that a replica can tell its own from another's."""
    return f"{TAG} {incarnation} {owner}"


def read_commit(offset: int, text: str | None) -> Committed | None:
    """The group's offset as read from the broker.

    None where the commit bears no metadata at all: such a broker may also keep it beyond the topic's end.
    """
    if text is None or offset < 0:
        return None
    words = text.split(" ")
    if len(words) == 3 and words[0] == TAG:
        return Committed(offset, words[1], words[2])
    return Committed(offset)


def start(topic_id: str, stored: Stored, group: Committed | None, owner: str) -> Start:
    """Where to begin with a partition that was just assigned.

    Args:
        topic_id: the broker's id of the topic; empty where it tells none.
        stored: the store's offsets.
        group: the group's offset.
        owner: this replica's name, as in its commits.
    """
    incarnation = latest(topic_id, stored)
    offset = stored(incarnation)
    # An offset of another incarnation counts records of another log.
    if group is None or group.incarnation not in (None, incarnation):
        return Start(incarnation, offset)
    if offset is None:
        # A memory that knows nothing of the partition goes on where the group is.
        return Start(incarnation, group.offset)
    # Ahead of the store by another replica's commit: those records are in that one's memory, to be read no second time.
    # A commit of this replica's own that is ahead means that the store was put back, and its records are to be read
    # again.
    if group.incarnation is not None and group.owner != owner and group.offset > offset:
        return Start(incarnation, group.offset, (offset, group.offset - 1, GapReason.STORED_ELSEWHERE))
    return Start(incarnation, offset)


def first_start(begun: Start, how: Beginning, begins: int, ends: int, *, new_topic: bool) -> Start:
    """Where to begin with a partition of which the memory knows nothing yet, and what it leaves out so.

    Args:
        begun: what `start` says.
        how: `earliest` looks at no offset of the group's, which somebody else may have committed.
        begins: the first offset there is.
        ends: the offset that comes next.
        new_topic: the memory knows no other partition of the topic either. `latest` says where to begin with a topic; a
            partition that is added to one later is new itself, and all that it holds is to be read.
    """
    if how == "earliest":
        offset = begins
    elif how == "latest" and new_topic:
        offset = ends
    else:
        offset = begins if begun.offset is None else begun.offset
    # Brokers that keep offsets without metadata may tell one beyond the end.
    last = min(offset, ends) - 1
    missing = (begins, last, GapReason.BEFORE_START) if last >= begins else None
    return replace(begun, offset=offset, missing=missing)


def latest(topic_id: str, stored: Stored) -> str:
    """The incarnation that was read last under a topic's id: the id, or `id+1`, `id+2` after its log was cut."""
    incarnation = topic_id
    while stored(following(incarnation)) is not None:
        incarnation = following(incarnation)
    return incarnation


def following(incarnation: str) -> str:
    """The name of the incarnation after this one, for brokers that keep the topic's id when they lose its log."""
    base, _, number = incarnation.partition("+")
    return f"{base}+{int(number or 0) + 1}"


def topic_id_of(incarnation: str) -> str:
    """The topic's id in the name of an incarnation."""
    return incarnation.partition("+")[0]
