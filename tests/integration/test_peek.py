"""A look into Kafka itself: what lies there, how it would be read, and nothing that anybody else notices."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from daemon.control.answers.peeked import PeekAnswer
from daemon.control.streams_facts import peek_answer
from daemon.errors import BadRequest, BrokerAway, DaemonError, Refused, UnknownThing
from daemon.ingestion.peek import KafkaLook, look
from daemon.settings.tree import ModelSettings, Settings
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import DeadLetter, Document
from streams.kafka import peek
from streams.kafka.peek import PeekPlace
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings
from tests.brokers import PASSWORD, USER, Apache, Broker, admin, make_topic, producing, send
from tests.command_line import riverkeep
from tests.docs.json_page import mistakes
from tests.streams_harness import Ingest, only_apache
from tests.streams_harness import settings as settings_of_streams

CHAT = {"messages": [{"role": "user", "content": "how deep"}, {"role": "assistant", "content": "so deep"}]}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person gets what came within some seconds; here the machine may be busy."""
    monkeypatch.setattr(peek, "WITHIN_SECONDS", 60.0)


def settings(broker: Broker, topic: str, **options: Any) -> Settings:
    """Of a service that reads a topic of JSON."""
    streams = settings_of_streams(broker, topics=(TopicSettings(name=topic),), **options)
    return Settings(state_dir=Path("state"), model=ModelSettings(path=Path("model")), streams=streams)


def told(looked: KafkaLook) -> list[tuple[int, str]]:
    """Offsets, and what is at each: a document's text, or a dead letter's reason."""
    outcomes = [(record.offset, record.outcome) for record in looked.records]
    return [
        (offset, outcome.text if isinstance(outcome, Document) else outcome.reason.value)
        for offset, outcome in outcomes
        if isinstance(outcome, Document | DeadLetter)
    ]


def text(number: int) -> bytes:
    """A record."""
    return json.dumps({"text": f"the river {number} rises over its banks"}).encode()


def test_what_lies_there_is_shown_as_it_would_be_read(broker: Broker) -> None:
    """The newest, or from an offset on, within a compressed batch too; as the service reads the same, and counts it."""
    topic = make_topic(broker)
    send(broker, topic, *map(text, range(20)), compression_type="gzip")
    send(broker, topic, b"no json", None, json.dumps(CHAT).encode(), b"\x1f\x8b\x08rest")
    with producing(broker) as producer:
        headers = [("trace", b"4\x1b[2J"), ("null", b"")]
        producer.send(topic, value=text(99), key="zoë".encode(), headers=headers).get(timeout=60)
    options = settings(broker, topic)
    newest = look(options, PeekPlace(topic, None, None, 5))
    assert told(newest) == [
        (20, "not_json"),
        (21, "tombstone"),
        (22, "how deep\n\nso deep"),
        (23, "not_utf8"),
        (24, "the river 99 rises over its banks"),
    ]
    last = newest.records[-1]
    assert (last.key, last.headers[0], last.form) == ("zoë".encode(), ("trace", b"4\x1b[2J"), "json_text")
    assert [record.form for record in newest.records[:4]] == ["other", "no_value", "json_messages", "compressed"]
    assert newest.found.ranges == {0: (0, 25)}
    assert list(mistakes(peek_answer(newest, text=True), PeekAnswer)) == []
    within = look(options, PeekPlace(topic, 0, 17, 2))
    assert told(within) == [(n, f"the river {n} rises over its banks") for n in (17, 18)]
    assert {record.codec for record in within.records} == {"gzip"}
    with Ingest(options.streams) as ingest:
        ingest.until(lambda: len(ingest.store.documents) == 22)
        read = {document.offset: document.text for document in ingest.store.documents}
        reasons = {letter.offset: letter.reason.value for letter in ingest.store.dead_letters}
    assert dict(told(look(options, PeekPlace(topic, 0, 0, 50)))) == read | reasons


def test_of_several_partitions_the_newest_by_their_time_come_first(broker: Broker) -> None:
    """Where nothing was written in some of them; with an offset the partition has to be named."""
    # By the records' times a broker deletes them otherwise, at any moment.
    topic = make_topic(broker, partitions=3, retention_ms="-1")
    for partition, times in ((0, (1_000, 4_000)), (2, (2_000, 3_000))):
        with producing(broker) as producer:
            for time in times:
                producer.send(topic, value=text(time), partition=partition, timestamp_ms=1_700_000_000_000 + time)
    options = settings(broker, topic)
    newest = look(options, PeekPlace(topic, None, None, 3))
    assert [(record.number, record.offset) for record in newest.records] == [(0, 1), (2, 1), (2, 0)]
    assert newest.found.ranges == {0: (0, 2), 1: (0, 0), 2: (0, 2)}
    with pytest.raises(BadRequest, match=rf"Topic {topic} has partitions 0 to 2: name the one that offset 1 is of"):
        look(options, PeekPlace(topic, None, 1, 3))
    assert look(options, PeekPlace(topic, 1, None, 3)).records == ()


def test_what_is_not_there_is_told_with_what_is(nearest_broker: Broker) -> None:
    """A topic (with one that is called alike, and none is made by the question), a partition, an offset."""
    topic = make_topic(nearest_broker)
    send(nearest_broker, topic, *map(text, range(9)))
    options = settings(nearest_broker, topic)

    def why(place: PeekPlace) -> str:
        with pytest.raises(UnknownThing) as raised:
            look(options, place)
        return str(raised.value)

    # Others on this broker may be called alike as well.
    assert why(PeekPlace(f"{topic}s", None, None, 1)).startswith(
        f"There is no topic {topic}s, or this login may not see it; there is {topic}"
    )
    with admin(nearest_broker) as client:
        assert f"{topic}s" not in client.list_topics()
    assert why(PeekPlace(topic, 4, None, 1)) == f"Topic {topic} has no partition 4: it has 0."
    assert why(PeekPlace(topic, 0, 9, 1)) == f"Offset 9 of {topic}/0 is not written yet: it holds offsets 0 to 8."
    only_apache(nearest_broker, "the embedded broker deletes no records")
    with admin(nearest_broker) as client:
        client.delete_records({TopicPartition(topic, 0): 6})
    assert why(PeekPlace(topic, 0, 2, 1)) == f"Offset 2 of {topic}/0 is deleted: it holds offsets 6 to 8."


@pytest.mark.parametrize("offset", [None, 3])
def test_what_is_deleted_while_it_is_looked_for_is_no_failure(
    apache_broker: Broker, monkeypatch: pytest.MonkeyPatch, offset: int | None
) -> None:
    """Retention takes records between the question of what there is and the answer: what is left is shown."""
    topic = make_topic(apache_broker)
    send(apache_broker, topic, *map(text, range(9)))
    ask = peek._ranges

    def ask_and_delete(*args: Any) -> Any:
        told = ask(*args)
        with admin(apache_broker) as client:
            client.delete_records({TopicPartition(topic, 0): 6})
        return told

    monkeypatch.setattr(peek, "_ranges", ask_and_delete)
    place = PeekPlace(topic, 0, offset, 9)
    if offset is None:
        looked = look(settings(apache_broker, topic), place)
        assert [record.offset for record in looked.records] == [6, 7, 8]
        assert looked.found.ranges == {0: (6, 9)}
    else:
        with pytest.raises(UnknownThing, match=f"Offset 3 of {topic}/0 is deleted: it holds offsets 6 to 8"):
            look(settings(apache_broker, topic), place)


def test_no_group_is_joined_and_nothing_committed(apache_broker: Broker) -> None:
    """Nobody sees that somebody looked: no group is there that was not, nor one of ours."""
    topic = make_topic(apache_broker)
    send(apache_broker, topic, *map(text, range(3)))
    options = settings(apache_broker, topic)

    def groups() -> set[str]:
        with admin(apache_broker) as client:
            return {str(group) for group in client.list_groups()}

    before = groups()
    assert len(look(options, PeekPlace(topic, None, None, 3)).records) == 3
    assert groups() == before
    assert not any(options.streams.group_id in group for group in before)


def test_what_transactions_leave_out_is_looked_past(apache_broker: Broker) -> None:
    """Markers and what was aborted hold no record: further back there are enough."""
    topic = make_topic(apache_broker)
    send(apache_broker, topic, *map(text, range(4)))
    with producing(apache_broker, transactional_id=f"of-{topic}") as producer:
        producer.init_transactions()
        for number in range(6):
            producer.begin_transaction()
            producer.send(topic, value=text(1_000 + number))
            producer.flush(timeout=60)
            producer.abort_transaction()
    looked = look(settings(apache_broker, topic), PeekPlace(topic, None, None, 2))
    assert [offset for offset, _ in told(looked)] == [2, 3]
    assert looked.found.cut == ""


def test_a_topic_that_may_not_be_read_and_a_wrong_password_are_told(apache_broker: Broker, tmp_path: Path) -> None:
    """By whom, and what to grant."""
    assert isinstance(apache_broker, Apache)
    topic = make_topic(apache_broker)
    send(apache_broker, topic, text(1))
    pattern = ResourcePattern(ResourceType.TOPIC, topic)
    with admin(apache_broker) as client:
        client.create_acls([ACL(f"User:{USER}", "*", ACLOperation.READ, ACLPermissionType.DENY, pattern)])
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    login = {"protocol": "SASL_PLAINTEXT", "username": USER, "password_file": password, "sasl_mechanism": "PLAIN"}
    server = (f"127.0.0.1:{apache_broker.login_port}",)
    options = settings(apache_broker, topic, bootstrap_servers=server, security=login, connect_seconds=20)
    for _ in range(2):
        with pytest.raises(Refused, match=f"does not let {USER} read topic {topic}: grant it READ"):
            look(options, PeekPlace(topic, None, None, 1))
        # Now it may be seen, and still not read.
        with admin(apache_broker) as client:
            client.create_acls([ACL(f"User:{USER}", "*", ACLOperation.DESCRIBE, ACLPermissionType.ALLOW, pattern)])
    password.write_text("wrong-secret")
    with pytest.raises(Refused, match=rf"does not let {USER} in: .*; check the login"):
        look(options, PeekPlace(topic, None, None, 1))


def _nobody() -> socket.socket:
    """A port that nobody listens at."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


def _silent() -> socket.socket:
    """One at which somebody listens who says nothing."""
    held = _nobody()
    held.listen(8)
    return held


@pytest.mark.parametrize(("there", "why"), [(_nobody, "Connection refused"), (_silent, "did not answer as a broker")])
def test_a_broker_that_is_away_or_silent_ends_the_look(there: Callable[[], socket.socket], why: str) -> None:
    """At once, or when its time is over."""
    with there() as held:
        server = f"127.0.0.1:{held.getsockname()[1]}"
        streams = StreamsSettings(bootstrap_servers=(server,), connect_seconds=0.5)
        options = Settings(state_dir=Path("state"), model=ModelSettings(path=Path("model")), streams=streams)
        with pytest.raises(BrokerAway) as raised:
            look(options, PeekPlace("news", None, None, 1))
    assert why in str(raised.value)
    assert server in str(raised.value)
    assert isinstance(raised.value, DaemonError)


def test_the_command_shows_it_and_the_audit_log_says_who_looked(embedded_broker: Broker, tmp_path: Path) -> None:
    """Before there is a memory too, and with no daemon; as JSON, and in words in which nothing moves a cursor."""
    topic = make_topic(embedded_broker)
    send(embedded_broker, topic, b'{"body": "a text \\u001b[2J"}', b"no json")
    (tmp_path / "riverkeep.toml").write_text(
        f'state_dir = "state"\n[model]\npath = "model"\n[streams]\n'
        f'bootstrap_servers = ["{embedded_broker.bootstrap}"]\ntopics = [{{ name = "{topic}", text_field = "body" }}]\n'
    )
    first = riverkeep("peek", topic, "--offset", "0", "--count", "1", "--json", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    (record,) = json.loads(first.stdout)["records"]
    assert (record["becomes"], record["text"], record["offset"]) == ("document", "a text \x1b[2J", 0)
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    Store.open(tmp_path / "state" / "riverkeep.db", MemorySettings()).close()
    shown = riverkeep("peek", topic, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "dead letter: not json" in shown.stdout
    assert "a text \\x1b[2J" in shown.stdout
    with Store.open(tmp_path / "state" / "riverkeep.db", MemorySettings(), read_only=True) as store:
        (line,) = store.audit.latest()
    place = {"topic": topic, "number": None, "offset": None, "count": 5, "text": True}
    assert (line.what, line.detail) == ("peek", place)
    missing = riverkeep("peek", topic, "--offset", "7", cwd=tmp_path)
    assert missing.returncode == 4
    assert "it holds offsets 0 to 1" in missing.stderr
