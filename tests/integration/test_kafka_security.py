"""Logins, TLS and rights on Apache Kafka itself: what is right works, what is wrong is told."""

import gc
import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from daemon.admin.client import RemoteControl
from daemon.doctor.kafka import examine
from daemon.ingestion.ingest import NO_PARTITIONS
from streams.errors import NotAuthorized
from streams.settings import StreamsSettings
from tests.brokers import PASSWORD, USER, Apache, Broker, admin, make_topic, send
from tests.daemon_harness import daemon, fake_learner, kept_texts, make_home, sentences
from tests.models import make_causal
from tests.streams_harness import Ingest, settings

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@pytest.fixture
def apache(apache_broker: Broker) -> Apache:
    """Apache Kafka, with listeners that ask for a login."""
    assert isinstance(apache_broker, Apache)
    return apache_broker


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """The right password."""
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


def login(apache: Apache, topic: str, password_file: Path, *, tls: bool = False, **security: Any) -> StreamsSettings:
    """Settings that log in, over TLS or without."""
    more: dict[str, Any] = {"protocol": "SASL_PLAINTEXT", "username": USER, "password_file": password_file}
    server = f"127.0.0.1:{apache.login_port}"
    if tls:
        more |= {"protocol": "SASL_SSL", "ca_file": apache.certificate}
        server = f"localhost:{apache.tls_port}"
    return settings(apache, topic, bootstrap_servers=(server,), security=more | security)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_right_password_reads_and_a_wrong_one_is_told(apache: Apache, password_file: Path, mechanism: str) -> None:
    """With the broker's words, and never as a broker that is away."""
    topic = make_topic(apache)
    send(apache, topic, b"for those who may")
    options = login(apache, topic, password_file, sasl_mechanism=mechanism)
    with Ingest(options) as ingest:
        ingest.until(lambda: ingest.store.texts == ["for those who may"])
    password_file.write_text("wrong-secret")
    with Ingest(options) as ingest, pytest.raises(NotAuthorized, match=f"refuses {USER}: .*[Aa]uthentication") as told:
        ingest.turns(30)
    assert "wrong-secret" not in str(told.value)


def test_a_login_over_tls(apache: Apache, password_file: Path) -> None:
    """The broker's certificate is checked against the file of those to trust."""
    topic = make_topic(apache)
    send(apache, topic, b"nobody listens in")
    with Ingest(login(apache, topic, password_file, tls=True)) as ingest:
        ingest.until(lambda: ingest.store.texts == ["nobody listens in"])
    password_file.write_text("wrong-secret")
    with Ingest(login(apache, topic, password_file, tls=True)) as ingest, pytest.raises(NotAuthorized):
        ingest.turns(30)


@pytest.mark.parametrize(
    ("security", "told"),
    [({"ca_file": None}, "self-signed"), ({"protocol": "SASL_PLAINTEXT"}, "disconnected|Invalid frame")],
    ids=["not_trusted", "no_tls"],
)
# kafka-python leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_connection_that_fails_says_why(
    apache: Apache, password_file: Path, monkeypatch: pytest.MonkeyPatch, security: dict[str, Any], told: str
) -> None:
    """Not only that no broker answers."""
    monkeypatch.setattr("streams.kafka.source.AWAY_SECONDS", 1.0)
    with Ingest(login(apache, "any", password_file, tls=True, **security)) as ingest:
        ingest.until(lambda: ingest.source.trouble)
        assert re.search(told, ingest.source.trouble)
    gc.collect()


def test_the_doctor_tells_a_wrong_password_from_a_broker_that_is_away(apache: Apache, password_file: Path) -> None:
    """In the broker's words."""
    topic = make_topic(apache)
    # A broker that has refused nobody yet takes its time for the first.
    options = login(apache, topic, password_file).model_copy(update={"connect_seconds": 20.0})
    assert all(finding.ok for finding in examine(options))
    password_file.write_text("wrong-secret")
    (finding,) = examine(options)
    assert not finding.ok
    assert "invalid credentials" in finding.detail


def test_a_password_that_is_changed_while_it_reads_is_told(apache: Apache, password_file: Path) -> None:
    """The broker asks for the login again and again; once it does not take it, reading ends with the reason."""
    user, topic = f"user-{uuid4().hex[:6]}", make_topic(apache)
    send(apache, topic, b"before")
    set_password(apache, user, PASSWORD)
    options = login(apache, topic, password_file, username=user, sasl_mechanism="SCRAM-SHA-256")
    with Ingest(options) as ingest:
        ingest.until(lambda: ingest.store.texts == ["before"])
        ingest.turns(3)
        set_password(apache, user, "another-secret")
        with pytest.raises(NotAuthorized, match=f"refuses {user}"):
            ingest.turns(30)
    password_file.write_text("another-secret")
    send(apache, topic, b"after")
    with Ingest(options, ingest.store) as again:
        again.until(lambda: again.store.texts == ["before", "after"])


def set_password(apache: Apache, user: str, password: str) -> None:
    """As an administrator does."""
    with admin(apache) as client:
        credential = UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_256, password)
        assert client.alter_user_scram_credentials([credential]) == {user: None}


@pytest.mark.parametrize("operation", [ACLOperation.DESCRIBE, ACLOperation.READ])
def test_a_topic_that_may_not_be_read_is_told(apache: Apache, password_file: Path, operation: ACLOperation) -> None:
    """Whether it may not even be seen or only not be read; a topic that is missing is another matter."""
    topic = make_topic(apache)
    send(apache, topic, b"for others")
    deny(apache, operation, ResourcePattern(ResourceType.TOPIC, topic))
    with Ingest(login(apache, topic, password_file)) as ingest:
        with pytest.raises(NotAuthorized, match=topic):
            ingest.turns(30)
        assert not ingest.store.texts


def test_a_group_that_may_not_be_joined_is_told(apache: Apache, password_file: Path) -> None:
    """By its name."""
    topic = make_topic(apache)
    options = login(apache, topic, password_file)
    deny(apache, ACLOperation.READ, ResourcePattern(ResourceType.GROUP, options.group_id))
    with Ingest(options) as ingest, pytest.raises(NotAuthorized, match=options.group_id):
        ingest.turns(30)


def deny(apache: Apache, operation: ACLOperation, pattern: ResourcePattern) -> None:
    """Deny the login something, from everywhere."""
    with admin(apache) as client:
        done = client.create_acls([ACL(f"User:{USER}", "*", operation, ACLPermissionType.DENY, pattern)])
        assert not done["failed"]


@pytest.mark.slow
def test_the_service_shows_a_wrong_password_and_goes_on_with_the_right_one(
    tmp_path: Path, apache: Apache, password_file: Path
) -> None:
    """It is not ready, its status has the broker's words, and the corrected file is read without a restart."""
    topic = make_topic(apache)
    send(apache, topic, *(json.dumps({"text": text}).encode() for text in sentences(50, seed=5)))
    home = make_home(tmp_path, model=make_causal(tmp_path / "model"), broker=apache, topic=topic)
    home.write(bootstrap_servers=f'["127.0.0.1:{apache.login_port}"]')
    security = f'protocol = "SASL_PLAINTEXT"\nusername = "{USER}"\npassword_file = "{password_file}"\n'
    with home.config.open("a") as config:
        config.write(f"[streams.security]\n{security}")
    password_file.write_text("wrong-secret")
    with daemon(home, learner=fake_learner("good")) as running:
        told = running.until(ingest_refused)
        assert f"refuses {USER}" in told
        assert "wrong-secret" not in running.log.read_text()
        password_file.write_text(PASSWORD)
        running.until(lambda control: control.readiness()["ready"])
        with home.store() as store:
            running.until(lambda _: sum(kept_texts(store).values()) == 50)


def ingest_refused(control: RemoteControl) -> str:
    """What the service says of the part that reads, once that is broken."""
    part = control.readiness()["parts"]["ingest"]
    detail = str(part["detail"])
    return "" if part["ok"] or detail == NO_PARTITIONS else detail
