"""Settings refuse what cannot work, and say what to do."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.errors import BadSecret
from streams.kafka.client import consumer_options, producer_options
from streams.secret_files import secret
from streams.security_settings import SecuritySettings
from streams.settings import StreamsSettings
from streams.topic_settings import TopicFormat, TopicSettings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topics": [{}]}, "either name or pattern"),
        ({"topics": [{"name": "a", "pattern": "b"}]}, "either name or pattern"),
        ({"topics": [{"pattern": "("}]}, "no regular expression"),
        ({"topics": [{"name": "a", "format": "text", "key_field": "k"}]}, "plain text has no fields"),
        ({"topics": [{"name": "dead"}], "dead_letter_topic": "dead"}, "go round in a circle"),
        ({"heartbeat_seconds": 20}, "a third of session_timeout_seconds"),
        ({"security": {"protocol": "SASL_SSL"}}, "needs username and password_file"),
        ({"security": {"certificate_file": "a.pem"}}, "belong together"),
        ({"topics": [{"name": "a b"}]}, "name"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    """Each mistake has its own message."""
    with pytest.raises(ValidationError, match=message):
        StreamsSettings.model_validate(options)


def test_nothing_is_consumed_without_topics() -> None:
    """Streams are off until a topic is named."""
    assert not StreamsSettings().enabled
    assert StreamsSettings(topics=(TopicSettings(name="a"),)).enabled


def test_a_topic_has_the_first_settings_that_match() -> None:
    """Names and patterns are tried in order, and a pattern matches whole names."""
    settings = StreamsSettings(
        topics=(TopicSettings(name="news.raw", format="text"), TopicSettings(pattern=r"news\..*"))
    )
    raw, other = settings.topic("news.raw"), settings.topic("news.de")
    assert raw is not None
    assert raw.format == "text"
    assert other is not None
    assert other.format == "json"
    assert settings.topic("old.news.de") is None
    assert isinstance(other, TopicFormat)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """The login's password is read when it is needed, without the line's end."""
    (tmp_path / "password").write_text("hunter2\n")
    security = SecuritySettings(protocol="SASL_SSL", username="me", password_file=tmp_path / "password")
    options = consumer_options(StreamsSettings(security=security))
    assert options["sasl_plain_password"] == "hunter2"
    assert options["ssl_check_hostname"]
    assert producer_options(StreamsSettings(security=security))["sasl_mechanism"] == "SCRAM-SHA-512"


def test_a_secret_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    """The message says which file and what to do."""
    with pytest.raises(BadSecret, match=r"nowhere.*correct the path"):
        secret(tmp_path / "nowhere")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(BadSecret, match=r"empty.*write the password"):
        secret(tmp_path / "empty")


def test_the_broker_never_decides_where_reading_begins() -> None:
    """No commits by themselves, no jumps, no topics made by asking, no uncommitted records."""
    options = consumer_options(StreamsSettings())
    assert options["enable_auto_commit"] is False
    assert options["auto_offset_reset"] == "none"
    assert options["isolation_level"] == "read_committed"
    assert options["allow_auto_create_topics"] is False
