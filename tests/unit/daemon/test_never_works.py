"""Settings that can never work are named by `check`; those that only look odd are not."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daemon.settings import load
from daemon.settings_mistakes import BadSettings
from daemon.settings_notes import notes
from daemon.trigger_settings import TriggerSettings
from streams.settings import StreamsSettings


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("host:port", "'port' is no number"),
        ("kafka://h:9", "write 'h:9'"),
        ("SASL_SSL://h:9", "no protocol"),
        ("a:9,b:9", r'write \["a:9", "b:9"\]'),
        ("h:99999", "from 1 to 65535"),
        ("h:0", "from 1 to 65535"),
        ("h:-1", "from 1 to 65535"),
        ("h:", "from 1 to 65535"),
        ("h:٣", "from 1 to 65535"),
        ("", "empty"),
        ("  ", "empty"),
        (":9092", "names no host"),
        ("my host:9092", "blank"),
        ("-h:9", "no host's name"),
        ("h/9", "no host's name"),
        ("a..b:9", "no host's name"),
    ],
)
def test_an_address_that_can_be_none_is_refused(server: str, says: str) -> None:
    """With what to write instead, where that can be told."""
    with pytest.raises(ValidationError, match=says):
        StreamsSettings(bootstrap_servers=("good:9092", server))


@pytest.mark.parametrize(
    "server", ["h", "h:9", "10.0.0.1:9092", "[::1]:9092", "::1", "a_b-c.d.svc.cluster.local.:9092"]
)
def test_an_address_that_can_be_one_is_taken(server: str) -> None:
    """Names, numbers, and what container networks call theirs."""
    assert StreamsSettings(bootstrap_servers=(server,)).bootstrap_servers == (server,)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"bootstrap_servers": ["a:9", "a:9"]}, "twice"),
        ({"topics": [{"name": "a"}, {"name": "b"}, {"name": "a", "format": "text"}]}, "'a' stands there twice"),
        ({"topics": [{"pattern": "a.*"}, {"pattern": "a.*"}]}, "twice"),
        ({"topics": [{"pattern": "ne.*"}, {"name": "news"}]}, "put 'news' before it"),
        ({"topics": [{"pattern": "my news"}]}, "matches no topic"),
        ({"topics": [{"pattern": "news/eu"}]}, "matches no topic"),
        ({"topics": [{"pattern": "news["}]}, "no regular expression"),
    ],
)
def test_topics_that_can_never_be_read_as_written_are_refused(values: dict[str, Any], says: str) -> None:
    """The second of two tables for a topic would never count."""
    with pytest.raises(ValidationError, match=says):
        StreamsSettings.model_validate(values)


def test_a_name_before_the_pattern_that_takes_the_rest_is_right() -> None:
    """The first that is for a topic counts; patterns may overlap."""
    topics = [{"name": "news.eu", "format": "text"}, {"pattern": r"news\..*"}, {"pattern": "n.*"}]
    assert len(StreamsSettings.model_validate({"topics": topics}).topics) == 3


@pytest.mark.parametrize("cron", ["0 0 31 6 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_cron_that_never_comes_is_refused(cron: str) -> None:
    """June has no 31st."""
    with pytest.raises(ValidationError, match="never comes"):
        TriggerSettings(cron=cron)


def mistakes_of(tmp_path: Path, lines: str, environment: dict[str, str] | None = None) -> str:
    """What is said of settings with these lines beside a model that is there."""
    model = tmp_path / "model"
    model.mkdir(exist_ok=True)
    config = tmp_path / "riverkeep.toml"
    config.write_text(lines.replace("MODEL", str(model)))
    with pytest.raises(BadSettings) as said:
        load(config, environment or {}, files=True)
    return str(said.value)


def test_two_listeners_on_one_port_are_refused(tmp_path: Path) -> None:
    """Only one of them could start; on different addresses both can."""
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\n[serving]\nport = 9000\n[admin]\nport = 9000\n'
    assert "serving.port is 9000 too" in mistakes_of(tmp_path, lines)
    load_fine = tmp_path / "riverkeep.toml"
    load_fine.write_text(load_fine.read_text().replace("[admin]", '[admin]\nhost = "127.0.0.2"'))
    assert load(load_fine, {}, files=True).admin.port == 9000


def test_a_file_where_a_directory_is_needed_is_refused(tmp_path: Path) -> None:
    """Also where it is one of those that the directory would lie in."""
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/deeper"):
        assert "is a file" in mistakes_of(tmp_path, f'state_dir = "{path}"\nmodel.path = "MODEL"\n')
    assert "no .gguf" in mistakes_of(tmp_path, 'state_dir = "s"\nmodel.path = "file"\n')


def test_a_volume_that_the_memory_never_holds_is_refused(tmp_path: Path) -> None:
    """Reading pauses before it is reached, and no round would begin."""
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\n[memory]\nfresh_samples = 100\n[triggers]\n'
    least = f"{lines}fresh_samples = 5000\nminimum_fresh_samples = 5000\n"
    assert "Reading pauses at memory.fresh_samples = 100" in mistakes_of(tmp_path, least)
    config = tmp_path / "riverkeep.toml"
    config.write_text(f"{lines}fresh_samples = 5000\n".replace("MODEL", str(tmp_path / "model")))
    assert any(
        "triggers.fresh_samples = 5,000 is never reached" in note for note in notes(load(config, {}, files=True))
    )
