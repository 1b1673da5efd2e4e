"""Settings that can never work are named by `check`; those that only look odd are not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daemon.doctor.notes import notes
from daemon.settings import checks
from daemon.settings.load import load
from daemon.settings.mistakes import BadSettings
from daemon.settings.triggers import TriggerSettings
from streams.settings import StreamsSettings
from tests.nvidia_smi import FakeGpu, put_on_path


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
        ("user@h:9", "write 'h:9'"),
        ("user:word@h:9", "write 'h:9'"),
        ("2001:db8::1:9092", r"write '\[2001:db8::1\]:9092'"),
        ("fe80::1%eth0:9092", r"\[fe80::1%eth0\]:9092"),
        ("[kafka]:9", "brackets are for"),
        ("[::g]:9", "no address of IPv4 or IPv6"),
        ("h:9:9", "no address of IPv4 or IPv6"),
        ("PLAINTEXT:h:9092", "no address of IPv4 or IPv6"),
        ("256.256.1.1:9", "no address of IPv4 or IPv6"),
        ("1.2.3:9", "no address of IPv4 or IPv6"),
        ("9092", "no address of IPv4 or IPv6"),
    ],
)
def test_an_address_that_can_be_none_is_refused(server: str, says: str) -> None:
    """With what to write instead, where that can be told."""
    with pytest.raises(ValidationError, match=says):
        StreamsSettings(bootstrap_servers=("good:9092", server))


@pytest.mark.parametrize(
    "server",
    [
        "h",
        "h:9",
        "10.0.0.1:9092",
        "[::1]:9092",
        "::1",
        "[fe80::1%eth0]:9092",
        "kafka.1:9092",
        "1.kafka",
        "a_b-c.d.svc.cluster.local.:9092",
    ],
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
        ({"topics": [{"pattern": "news .*"}]}, "matches no topic"),
        ({"topics": [{"pattern": "^eu/.*"}]}, "matches no topic"),
        ({"topics": [{"pattern": ".*\n"}]}, "matches no topic"),
        ({"topics": [{"name": "."}]}, "no topic is called"),
        ({"topics": [{"name": ".."}]}, "no topic is called"),
        ({"dead_letter_topic": ".."}, "no topic is called"),
        ({"group_id": " "}, "nothing that can be seen"),
        ({"group_id": "a\nb"}, "nothing that can be seen"),
        ({"schema_registry": {"url": "http://h:0"}}, "must be an address"),
        ({"schema_registry": {"url": "http://h /x"}}, "must be an address"),
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


@pytest.mark.parametrize("pattern", ["news ?eu", "a|b c", "(a b)?c", "n[a/]b", "[^]x y]+", r"a\.b", "a/*b", "(?x) a b"])
def test_a_pattern_that_may_match_is_taken(pattern: str) -> None:
    """What no name has may be left out, or stand beside what one has."""
    assert StreamsSettings.model_validate({"topics": [{"pattern": pattern}]}).enabled


@pytest.mark.parametrize("zone", ["Europe", "America/Argentina", "europe/berlin", "/etc/passwd", "../UTC", "a\0b", ""])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    """A part of the world is none."""
    with pytest.raises(ValidationError, match="no such time zone"):
        TriggerSettings(timezone=zone)


def test_a_number_of_thousands_of_digits_in_a_cron_is_refused_as_any_other() -> None:
    """In the words of this line."""
    with pytest.raises(ValidationError, match="is no minute: 0 to 59"):
        TriggerSettings(cron="1" * 5000 + " 0 * * *")


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


def test_an_adapter_without_its_library_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a round fails for it; where the library is, nothing is said."""
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\n[learner.recipe]\nadapter = "lora"\n'
    monkeypatch.setattr(checks, "has_adapters", lambda: False)
    said = mistakes_of(tmp_path, lines)
    assert "learner.recipe.adapter" in said
    assert "pip install -c constraints.txt '.[adapters]'" in said
    monkeypatch.undo()
    assert load(tmp_path / "riverkeep.toml", {}, files=True).learner.recipe.adapter == "lora"


def test_more_devices_than_there_are_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for nvidia-smi; where it tells of no GPU processes may share the CPU, unless a GPU is asked for."""
    put_on_path(tmp_path, monkeypatch, [FakeGpu("GPU-a", 1), FakeGpu("GPU-b", 1)])
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\n[learner]\ndevices = 3\n'
    said = mistakes_of(tmp_path, lines)
    assert "learner.devices" in said
    assert "GPUs that a learner sees: 2" in said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert "GPUs that a learner sees: 1" in mistakes_of(tmp_path, lines.replace("3", "2"))
    alone = lines.replace("devices = 3", "devices = 2\nsharded = true")
    assert "Set devices to 1 and leave sharded out," in mistakes_of(tmp_path, alone)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 6\n")
    (tmp_path / "riverkeep.toml").write_text(
        (tmp_path / "riverkeep.toml").read_text().replace("sharded = true", "sharded = false")
    )
    assert load(tmp_path / "riverkeep.toml", {}, files=True).learner.devices == 2
    assert load(tmp_path / "riverkeep.toml", {"RIVERKEEP_LEARNER__DEVICES": "all"}, files=True).learner.devices == "all"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("", "set devices too"),
        ('devices = 2\n[learner.recipe]\nadapter = "lora"\n', "beside an adapter they stand still"),
        ('devices = 2\n[learner.recipe]\noptimizer = "adamw-8bit"\n', "adamw-8bit moves whole weights"),
    ],
)
def test_weights_are_divided_over_several_devices_that_train_all_of_them(tmp_path: Path, lines: str, says: str) -> None:
    """Else there is nothing to divide."""
    assert says in mistakes_of(tmp_path, f'state_dir = "s"\nmodel.path = "MODEL"\n[learner]\nsharded = true\n{lines}')


def test_models_whose_weights_stay_whole_are_refused_by_name(tmp_path: Path) -> None:
    """A mixture by whatever its configuration calls its experts; one that says that it has none is no mixture."""
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\n{more}\n[learner]\nsharded = true\ndevices = 2\n'
    labels = '[[streams.topics]]\nname = "t"\nlabel_field = "label"'
    assert "A classifier's weights are not divided" in mistakes_of(
        tmp_path, lines.format(more=f'model.kind = "classifier"\n{labels}')
    )
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({"text_config": {"num_local_experts": 4}}))
    assert "The weights of a mixture of experts are not divided" in mistakes_of(tmp_path, lines.format(more=""))
    config.write_text(json.dumps({"text_config": {"num_local_experts": None}}))
    assert load(tmp_path / "riverkeep.toml", {}, files=True).learner.sharded


def test_a_single_device_is_not_several(tmp_path: Path) -> None:
    """One of the two settings is a mistake."""
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\n[learner]\ndevices = 2\ndevice = "cuda:1"\n'
    assert "device names a single one, cuda:1" in mistakes_of(tmp_path, lines)


def test_an_engine_of_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    """With what answers for it instead."""
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\nmodel.kind = "masked-lm"\n[serving]\nengine = "vllm"\n'
    said = mistakes_of(tmp_path, lines)
    assert "serving.engine" in said
    assert '"builtin" answers for every kind' in said


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


def test_an_evaluation_in_which_no_verdict_is_possible_is_refused(tmp_path: Path) -> None:
    """Its thirds would each have fewer documents than the gate asks for."""
    lines = 'state_dir = "s"\nmodel.path = "MODEL"\n[gate]\nminimum_documents = 20\n[memory]\n'
    assert "Set at least 60" in mistakes_of(tmp_path, f"{lines}evaluation_documents = 59\n")
    config = tmp_path / "riverkeep.toml"
    config.write_text(f"{lines}evaluation_documents = 60\n".replace("MODEL", str(tmp_path / "model")))
    assert load(config, {}, files=True).memory.evaluation_documents == 60


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('state_dir = ""', "It is empty"),
        ('state_dir = " "', "nobody sees"),
        ('state_dir = "a\\u0000b"', "NUL character"),
        (f'state_dir = "{"a" * 300}"', "too long"),
        (f'state_dir = "{"a/" * 3000}"', "too long"),
        ('state_dir = "~nobody-of-that-name/x"', "Nobody here is called nobody-of-that-name"),
        ('state_dir = "s\\n"', "nobody sees"),
        ('state_dir = "\u00a0s/x"', "nobody sees"),
        ('state_dir = "s\u200bt"', "nobody sees"),
        ('state_dir = "s"\nserving.api_key_file = "\u200bkeys"', "nobody sees"),
        ('state_dir = "s"\nserving.host = "my host"\nserving.insecure = true', "serving.host"),
        ('state_dir = "s"\nserving.host = "http://h"\nserving.insecure = true', "no protocol"),
        ('state_dir = "s"\nserving.host = "[::1]"\nserving.insecure = true', "no brackets"),
        ('state_dir = "s"\nserving.host = "256.1.1.1"\nserving.insecure = true', "no address of IPv4"),
        ('state_dir = "s"\nstreams.budget.pause_seconds = inf', "no finite number"),
        ('state_dir = "s"\ntriggers.interval_seconds = 1e300', "longer than a century"),
        ('state_dir = "s"\ntriggers.cooldown_seconds = 1e400', "no finite number"),
        ('state_dir = "s"\nstreams.security.ca_file = "word"', "no certificate as PEM"),
        ('state_dir = "s"\nstreams.security.ca_file = "gone"', "Name a file with certificates"),
        (
            'state_dir = "s"\n[streams.schema_registry]\nurl = "https://h"\nca_file = "pem"\ntoken_file = "pem"',
            "same file is named for certificates",
        ),
    ],
)
def test_paths_hosts_durations_and_files_that_can_never_work_are_named(tmp_path: Path, lines: str, says: str) -> None:
    """Each by its key, and none of them as a traceback."""
    (tmp_path / "word").write_text("s3cret-of-mine")
    (tmp_path / "pem").write_text("-----BEGIN CERTIFICATE-----\n")
    assert says in mistakes_of(tmp_path, f'model.path = "MODEL"\n{lines}\n')


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    """Nor is anything else but a directory or a .gguf."""
    os.mkfifo(tmp_path / "pipe")
    assert "no .gguf" in mistakes_of(tmp_path, 'state_dir = "s"\nmodel.path = "pipe"\n')


def test_one_file_for_two_secrets_is_told(tmp_path: Path) -> None:
    """It works, and whoever may ask the model then rules the daemon."""
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-enough-characters")
    secret.chmod(0o600)
    lines = 'state_dir = "s"\nmodel.path = "."\nserving.api_key_file = "secret"\nadmin.token_file = "secret"\n'
    (tmp_path / "riverkeep.toml").write_text(lines)
    (note,) = (
        note for note in notes(load(tmp_path / "riverkeep.toml", {}, files=True)) if "serving.api_key_file too" in note
    )
    assert "a token of its own" in note


def test_line_ends_in_variables_are_no_part_of_them(tmp_path: Path) -> None:
    """Files of variables leave them there."""
    values = {"STATE_DIR": f"{tmp_path}/s\n", "MODEL__PATH": f"{tmp_path}\r\n", "SERVING__ENABLED": "yes\r"}
    settings = load(None, {f"RIVERKEEP_{name}": value for name, value in values.items()}, files=True)
    assert settings.state_dir == tmp_path / "s"
    assert settings.serving.enabled
