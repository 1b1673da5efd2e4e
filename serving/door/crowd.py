"""Who gives way when there are too many: never an answer under way, first who has asked for nothing yet. Pure."""

from collections import OrderedDict
from typing import Generic, TypeVar

C = TypeVar("C")


class _Queue(Generic[C]):
    """Connections in the order in which they give way."""

    def __init__(self) -> None:
        self.inside: set[C] = set()
        self._strangers: OrderedDict[C, None] = OrderedDict()
        self._regulars: OrderedDict[C, None] = OrderedDict()

    def put(self, member: C, *, may_yield: bool, regular: bool) -> None:
        self.inside.add(member)
        # Taken out first: a key that is set again in an ordered dict keeps its old place.
        self._strangers.pop(member, None)
        self._regulars.pop(member, None)
        if may_yield:
            (self._regulars if regular else self._strangers)[member] = None

    def drop(self, member: C) -> None:
        self.inside.discard(member)
        self._strangers.pop(member, None)
        self._regulars.pop(member, None)

    def first(self) -> C | None:
        return next(iter(self._strangers), None) or next(iter(self._regulars), None)


class Crowd(Generic[C]):
    """Who is inside, by client.

    A flood of connections that ask for nothing pushes out its own oldest; who has been answered before gives way after
    those who have not, the longest idle first; who is being answered never does.

    Args:
        most: at once.
        most_of_a_client: at once of one client.
    """

    def __init__(self, *, most: int, most_of_a_client: int) -> None:
        self._most = most
        self._most_of_a_client = most_of_a_client
        self._clients: dict[C, str] = {}
        self._all: _Queue[C] = _Queue()
        self._of: dict[str, _Queue[C]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def room_for(self, client: str) -> tuple[bool, C | None]:
        """Whether another connection of a client may come in, and who is to leave for it; None: nobody has to."""
        own = self._of.get(client)
        # Its own limit first: who has too many already takes no place from others.
        if own is not None and len(own.inside) >= self._most_of_a_client:
            first = own.first()
            return first is not None, first
        if len(self._clients) >= self._most:
            first = self._all.first()
            return first is not None, first
        return True, None

    def put(self, member: C, client: str, *, may_yield: bool, regular: bool) -> None:
        """Note how one stands, at the end of those that stand alike."""
        self._clients[member] = client
        self._all.put(member, may_yield=may_yield, regular=regular)
        self._of.setdefault(client, _Queue()).put(member, may_yield=may_yield, regular=regular)

    def drop(self, member: C) -> None:
        """Forget one that left; nothing where it is not inside."""
        client = self._clients.pop(member, None)
        if client is None:
            return
        self._all.drop(member)
        queue = self._of[client]
        queue.drop(member)
        # Else every address that ever came would be remembered.
        if not queue.inside:
            del self._of[client]

    def first(self) -> C | None:
        """Who gives way first of all; None where everybody is being answered."""
        return self._all.first()


def client_of(host: str) -> str:
    """What counts as one client: an IPv4 address, or the network of 64 bits that an IPv6 address lies in."""
    if ":" not in host:
        return host
    # Without the zone of a link-local address, which is this machine's name for an interface.
    address, _, _ = host.partition("%")
    # An IPv4 client that came to a socket of IPv6: ::ffff:192.0.2.1.
    if "." in address:
        return address.rpartition(":")[2]
    head, _, tail = address.partition("::")
    groups = [group for group in head.split(":") if group]
    rest = [group for group in tail.split(":") if group]
    whole = groups + ["0"] * (8 - len(groups) - len(rest)) + rest
    # Whoever has one such network can take a new address in it for each connection.
    return ":".join(whole[:4])
