"""What a broker says last is heard, over real sockets and kafka-python's own loop."""

import socket
import struct
from contextlib import closing

import pytest
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport

from streams.kafka.client import read_to_the_end

LAST_WORDS = b"the password is wrong" * 1000
RESET = struct.pack("ii", 1, 0)


class Listener:
    """A fake of kafka-python's connection: notes what it is given, in that order."""

    _sensors = None

    def __init__(self) -> None:
        self.heard: list[bytes | None] = []

    def data_received(self, data: bytes) -> None:
        """What came."""
        self.heard.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        assert error is not None
        self.heard.append(None)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_broker_that_hangs_up_at_once_is_heard_to_the_end(reset: bool) -> None:
    """Both lie ready before the client looks, as they do on a busy machine."""
    with socket.create_server(("127.0.0.1", 0)) as server, closing(NetworkSelector()) as net:
        client = socket.create_connection(server.getsockname())
        broker, _ = server.accept()
        client.settimeout(0.0)
        broker.sendall(LAST_WORDS)
        if reset:
            broker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        broker.close()
        listener = Listener()
        transport = read_to_the_end(KafkaTCPTransport(net, client))
        transport.set_protocol(listener)
        transport.resume_reading()
        while None not in listener.heard:
            net.poll(timeout_ms=1000)
        *words, _ = listener.heard
        assert b"".join(word for word in words if word) == LAST_WORDS
