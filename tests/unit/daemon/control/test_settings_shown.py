"""Each setting in force, where it came from, and no secret among them."""

import json
from pathlib import Path

from daemon.control.answers.settings import SettingLine, SettingsAnswer
from daemon.control.facts.settings_shown import only, settings_shown
from daemon.settings.fields import EACH, dot, walk
from daemon.settings.load import load
from daemon.settings.tree import Settings, with_length

FILE = """\
state_dir = "state"
[model]
path = "model"
[[streams.topics]]
name = "news"
[[streams.topics]]
name = "wiki"
text_field = "body"
[learner.recipe]
kl = 0.5
"""


def shown(home: Path, text: str = FILE, *, now: str | None = None, **environment: str) -> dict[str, SettingLine]:
    """The settings of this file by their keys; `now`: what stands in it by the time of asking."""
    (home / "riverkeep.toml").write_text(text)
    in_force = load(home / "riverkeep.toml", environment)
    if now is not None:
        (home / "riverkeep.toml").write_text(now)
    return by_key(settings_shown(in_force, home / "riverkeep.toml", environment, running=now is not None))


def by_key(answer: SettingsAnswer) -> dict[str, SettingLine]:
    """Its lines."""
    return {line["key"]: line for line in answer["settings"]}


def test_every_setting_has_its_value_and_its_place(tmp_path: Path) -> None:
    """File and line, variable, default; lists of tables element by element."""
    lines = shown(tmp_path, RIVERKEEP_ADMIN__PORT="8711")
    values = {key: (line["value"], line["origin"], line["place"]) for key, line in lines.items()}
    assert values["state_dir"] == (str(tmp_path / "state"), "file", "riverkeep.toml line 1")
    assert values["admin.port"] == (8711, "environment", "RIVERKEEP_ADMIN__PORT")
    assert values["learner.recipe.kl"] == (0.5, "file", "riverkeep.toml line 10")
    assert values["learner.recipe.epochs"] == (1, "default", "")
    assert values["streams.topics[1].text_field"] == ("body", "file", "riverkeep.toml line 8")
    assert values["streams.topics[0].text_field"] == ("text", "default", "")
    plain = {dot(setting.path) for setting in walk(Settings) if EACH not in setting.path}
    assert plain <= lines.keys()
    json.dumps(list(lines.values()), allow_nan=False)


def test_an_inline_table_is_written_too(tmp_path: Path) -> None:
    """Its place is that of the list."""
    text = '[model]\npath = "m"\n[streams]\ntopics = [{ name = "news" }]\n'
    lines = shown(tmp_path, text)
    assert lines["streams.topics[0].name"]["place"] == "riverkeep.toml line 4"
    assert lines["streams.topics[0].format"]["origin"] == "default"


def test_what_riverkeep_chose_is_no_default(tmp_path: Path) -> None:
    """An anchor that the gate's minimum raises."""
    lines = shown(tmp_path, '[model]\npath = "m"\n[gate]\nminimum_documents = 100\n')
    assert (lines["memory.anchor_minimum"]["value"], lines["memory.anchor_minimum"]["origin"]) == (100, "chosen")
    assert not lines["memory.anchor_minimum"]["waits"]


def test_what_was_written_since_waits(tmp_path: Path) -> None:
    """Changed, added and taken out; with a mistake nothing is taken over, which is told."""
    lines = shown(tmp_path, now=FILE.replace("kl = 0.5", "kl = 0.7\nepochs = 2").replace('state_dir = "state"\n', ""))
    waiting = {key: (line["value"], line["origin"]) for key, line in lines.items() if line["waits"]}
    assert waiting == {
        "state_dir": (str(tmp_path / "state"), "earlier"),
        "learner.recipe.kl": (0.5, "file"),
        "learner.recipe.epochs": (1, "file"),
    }
    in_force = load(tmp_path / "riverkeep.toml", {})
    (tmp_path / "riverkeep.toml").write_text(FILE.replace("kl = 0.5", 'kl = "much"'))
    answer = settings_shown(in_force, tmp_path / "riverkeep.toml", {}, running=True)
    assert "learner.recipe.kl" in answer["mistakes"]
    assert not any(line["waits"] for line in answer["settings"])


def test_a_length_that_the_model_chose_waits_for_nothing(tmp_path: Path) -> None:
    """It is chosen once, and stands in no file; here nobody knows from where it is, as no base was imported."""
    in_force = with_length(load(None, {"RIVERKEEP_MODEL__PATH": "m"}), 512)
    line = by_key(settings_shown(in_force, None, {"RIVERKEEP_MODEL__PATH": "m"}, running=True))
    assert line["learner.recipe.sequence_length"]["value"] == 512


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """A word in the place of a secret's file, logins in addresses, variables and words behind a secret's name."""
    (tmp_path / "token.txt").write_text("x" * 40)
    text = FILE + (
        '[admin]\ntoken_file = "token.txt"\n[serving]\napi_key_file = "hunter2secret"\nengine = "vllm"\n'
        '[serving.engine_process]\nenvironment = ["HF_HOME=/deep", "HF_TOKEN=hf_deep"]\n'
        'arguments = ["--api-key", "deep", "--password=deep", "--max-len", "9"]\n'
    )
    lines = shown(tmp_path, text)
    everything = json.dumps(list(lines.values()))
    assert "deep" not in everything
    assert "hunter2secret" not in everything
    assert lines["admin.token_file"]["value"] == str(tmp_path / "token.txt")
    assert lines["serving.engine_process.arguments"]["value"][-2:] == ["--max-len", "9"]


def test_a_part_of_them_is_chosen_by_name(tmp_path: Path) -> None:
    """A setting, a table, an element of a list; and what somebody wrote alone."""
    shown(tmp_path)
    answer = settings_shown(load(tmp_path / "riverkeep.toml", {}), tmp_path / "riverkeep.toml", {}, running=False)
    assert list(by_key(only(answer, "learner.recipe", written=True))) == ["learner.recipe.kl"]
    assert list(by_key(only(answer, "streams.topics", written=True))) == [
        "streams.topics[0].name",
        "streams.topics[1].text_field",
        "streams.topics[1].name",
    ]
    assert only(answer, "learner.rec", written=False)["settings"] == []
    assert len(only(answer, None, written=False)["settings"]) == len(answer["settings"])
