"""Whether the broker and its topics are as they should be, on a real one."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import TopicPartition

from daemon.doctor import kafka, records
from daemon.doctor.findings import Finding
from streams.decoding.needs import RecordNeeds
from streams.security_settings import SecuritySettings
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings
from tests.brokers import Broker, admin, make_topic, send


def found(findings: list[Finding], name: str) -> Finding:
    """The finding of that name."""
    return next(finding for finding in findings if finding.name == name)


def test_a_password_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    """The secret's file is asked for before the broker is."""
    security = SecuritySettings(protocol="SASL_PLAINTEXT", username="u", password_file=tmp_path / "missing")
    (finding,) = kafka.examine(StreamsSettings(topics=(TopicSettings(name="news"),), security=security))
    assert not finding.ok
    assert "missing" in finding.detail


@pytest.mark.slow
def test_topics_are_tried_on_a_real_broker(embedded_broker: Broker) -> None:
    """What is there is read, what is missing is named; patterns may match later; no group is joined."""
    topic = make_topic(embedded_broker)
    send(embedded_broker, topic, orjson.dumps({"text": "The river rose in the night, and the keeper woke."}))
    streams = StreamsSettings(
        bootstrap_servers=(embedded_broker.bootstrap,),
        topics=(
            TopicSettings(name=topic),
            TopicSettings(name="missing"),
            TopicSettings(pattern="nothing-.*"),
            TopicSettings(pattern=f"{topic[:-2]}.*"),
        ),
        dead_letter_topic="dead",
    )
    findings = kafka.examine(streams)
    assert found(findings, f"topic {topic}").detail.startswith("1 partitions, about ")
    assert found(findings, "topics nothing-.*").ok
    assert {finding.name for finding in findings if not finding.ok} == {"topic missing", "dead-letter topic dead"}


@pytest.mark.slow
def test_the_newest_records_are_looked_at(embedded_broker: Broker) -> None:
    """All refused: why, and the fields they have, never what is in them; some: a note; an empty topic says so."""
    text = "The river rose in the night, and the keeper woke."
    wrong, mixed, empty = make_topic(embedded_broker), make_topic(embedded_broker), make_topic(embedded_broker)
    record = orjson.dumps({"body": text, "kind": "secret"})
    send(embedded_broker, wrong, *[record] * 9)
    send(embedded_broker, mixed, record, orjson.dumps({"text": text, "kind": "news"}))
    topics = tuple(TopicSettings(name=name, label_field="kind") for name in (wrong, mixed, empty))
    streams = StreamsSettings(bootstrap_servers=(embedded_broker.bootstrap,), topics=topics)
    findings = kafka.examine(streams, RecordNeeds(frozenset({"news"})))
    refused = found(findings, f"records of {wrong}")
    assert not refused.ok
    assert "5 missing_field (field text is missing); their fields: body, kind" in refused.detail
    assert found(findings, f"records of {mixed}").ok
    assert "of the newest 2 1 would be" in found(findings, f"records of {mixed}").detail
    assert "the topic is empty" in found(findings, f"records of {empty}").detail
    assert not [one for one in findings if "secret" in one.detail or text in one.detail]


@pytest.mark.parametrize("left", [2, 0])
def test_what_is_deleted_while_it_is_looked_at_is_no_failure(
    apache_broker: Broker, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """Retention takes records between the question of which there are and the answer: it is no matter of rights."""
    topic = make_topic(apache_broker)
    text = "The river rose in the night, and the keeper woke."
    send(apache_broker, topic, *[orjson.dumps({"text": text})] * 5)
    examine = records.examine

    def delete_and_examine(*args: Any) -> Finding:
        with admin(apache_broker) as client:
            client.delete_records({TopicPartition(topic, 0): 5 - left})
        return examine(*args)

    monkeypatch.setattr(records, "examine", delete_and_examine)
    streams = StreamsSettings(bootstrap_servers=(apache_broker.bootstrap,), topics=(TopicSettings(name=topic),))
    findings = kafka.examine(streams)
    assert found(findings, f"topic {topic}").ok
    told = "the newest 2 are understood" if left else "none came in time: not tried"
    assert found(findings, f"records of {topic}").detail == told


@pytest.mark.slow
def test_a_group_is_not_tried_without_a_topic(embedded_broker: Broker) -> None:
    """Offsets of no partitions would tell nothing."""
    streams = StreamsSettings(bootstrap_servers=(embedded_broker.bootstrap,), topics=(TopicSettings(name="missing"),))
    assert [one.name for one in kafka.examine(streams)] == ["broker", "topic missing"]
