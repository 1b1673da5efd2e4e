"""Settings: file, environment, and mistakes that a person can mend."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.settings.fields import EACH, dot, nearest, walk
from daemon.settings.load import config_file, load
from daemon.settings.mistakes import BadSettings, Mistake
from daemon.settings.tree import Settings

KEYS = [setting.path for setting in walk(Settings)]


def written(tmp_path: Path, text: str) -> Path:
    """A settings file that names the model and says `text`."""
    path = tmp_path / "riverkeep.toml"
    path.write_text('[model]\npath = "model"\n' + text)
    return path


def mistakes(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **options: bool) -> list[Mistake]:
    """What loading such a file reports."""
    with pytest.raises(BadSettings) as caught:
        load(written(tmp_path, text), environment or {}, **options)
    return list(caught.value.mistakes)


def test_defaults_need_only_the_model(tmp_path: Path) -> None:
    """A file that names the model alone is whole."""
    assert load(written(tmp_path, ""), {}).model.path == tmp_path / "model"


def test_the_environment_alone_is_enough() -> None:
    """No file is needed where the environment names the model."""
    settings = load(None, {"RIVERKEEP_MODEL__PATH": "/models/m", "RIVERKEEP_STATE_DIR": "/state"})
    assert (settings.model.path, settings.state_dir) == (Path("/models/m"), Path("/state"))


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable overrides the file's value of the same key, and only that."""
    path = written(tmp_path, "[learner.recipe]\nkl = 0.5\nclip = 2.0\n")
    recipe = load(path, {"RIVERKEEP_LEARNER__RECIPE__KL": "0.25"}).learner.recipe
    assert (recipe.kl, recipe.clip) == (0.25, 2.0)


def test_lists_and_tables_come_from_the_environment_as_json(tmp_path: Path) -> None:
    """A list of tables in a variable is JSON."""
    settings = load(written(tmp_path, ""), {"RIVERKEEP_STREAMS__TOPICS": '[{"name": "news"}]'})
    assert [topic.name for topic in settings.streams.topics] == ["news"]


def test_a_list_of_words_may_be_separated_by_commas(tmp_path: Path) -> None:
    """Brokers in a variable need no JSON."""
    settings = load(written(tmp_path, ""), {"RIVERKEEP_STREAMS__BOOTSTRAP_SERVERS": "a:9092, b:9092"})
    assert settings.streams.bootstrap_servers == ("a:9092", "b:9092")


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    """`RIVERKEEP_X=` in a compose file changes nothing."""
    assert load(written(tmp_path, ""), {"RIVERKEEP_ADMIN__PORT": ""}).admin.port == 8710


def test_none_unsets_what_can_be_unset(tmp_path: Path) -> None:
    """TOML has no null; the word stands for it, in file and environment."""
    path = written(tmp_path, '[triggers]\nfresh_samples = "none"\n')
    assert load(path, {}).triggers.fresh_samples is None
    assert load(path, {"RIVERKEEP_LEARNER__THREADS": "none"}).learner.threads is None


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """The same file means the same state directory from everywhere."""
    path = written(tmp_path, "")
    path.write_text('state_dir = "state"\n' + path.read_text())
    assert load(path, {}).state_dir == tmp_path / "state"


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    """Wrong values, unknown keys and unknown variables of several rooms come in one report."""
    text = '[learner.recipe]\nclip = -1\n[streams]\ngroup = "x"\n[log]\nlevel = "loud"\n'
    found = mistakes(tmp_path, text, {"RIVERKEEP_ADMIN__PRT": "1", "RIVERKEEP_SERVING__PORT": "x"})
    assert {mistake.key for mistake in found} == {
        "learner.recipe.clip",
        "streams.group",
        "log.level",
        "RIVERKEEP_ADMIN__PRT",
        "serving.port",
    }


def test_one_kind_of_mistake_hides_no_other(tmp_path: Path) -> None:
    """An unknown key and a bad number, and beside them a file that is missing and a model that is not there."""
    text = '[admin]\ntoken_file = "missing"\nprt = 1\n[learner.recipe]\nclip = -1\n'
    found = mistakes(tmp_path, text, files=True)
    assert [mistake.key for mistake in found] == ["learner.recipe.clip", "admin.prt", "admin.token_file", "model.path"]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('[serving]\nhost = "0.0.0.0"\nport = "x"\n', ["serving.port", "serving"]),
        (
            '[streams]\nheartbeat_seconds = 99\n[[streams.topics]]\nname = "a"\npattern = "b"\nkey = "c"\n',
            ["streams.topics[0].key", "streams.topics[0]", "streams"],
        ),
        (
            '[streams]\ndead_letter_topic = "a"\nbatch_records = 0\n[[streams.topics]]\nname = "a"\n',
            ["streams.batch_records", "streams"],
        ),
        ('[serving]\nhost = "0.0.0.0"\napi_key_file = 5\n', ["serving.api_key_file"]),
        ("[serving]\nmax_new_tokens = 0\ndefault_new_tokens = 5000\n", ["serving.max_new_tokens"]),
        ("[[streams.topics]]\nname = 5\n", ["streams.topics[0].name"]),
    ],
    ids=["a table", "an element and its list", "a list's fellow", "a key left out", "a smaller bound", "a name"],
)
def test_keys_that_contradict_are_told_beside_keys_that_are_wrong(tmp_path: Path, text: str, keys: list[str]) -> None:
    """But not what only follows from the wrong one."""
    assert [mistake.key for mistake in mistakes(tmp_path, text)] == keys


def test_all_that_contradicts_in_a_table_is_told(tmp_path: Path) -> None:
    """Not one now and the next after it is mended."""
    text = '[serving]\nhost = "0.0.0.0"\ndefault_new_tokens = 5000\n'
    (mistake,) = mistakes(tmp_path, text)
    assert "no api_key_file" in mistake.problem
    assert "larger than max_new_tokens" in mistake.problem


def test_a_model_that_is_not_named_hides_nothing(tmp_path: Path) -> None:
    """Even the one thing without a default."""
    path = tmp_path / "riverkeep.toml"
    path.write_text('[serving]\nhost = "0.0.0.0"\nport = -1\n[admin]\ntoken_file = "missing"\n')
    with pytest.raises(BadSettings) as caught:
        load(path, {}, files=True)
    assert {mistake.key for mistake in caught.value.mistakes} == {
        "model.path",
        "serving",
        "serving.port",
        "admin.token_file",
    }


@pytest.mark.parametrize("content", [b"two words\n", b"# a remark\n", b"\xff\n"])
def test_a_file_without_usable_api_keys_is_a_mistake(tmp_path: Path, content: bytes) -> None:
    """Said before serving would fail to start; what the file says is not echoed."""
    (tmp_path / "model").mkdir()
    (tmp_path / "keys").write_bytes(content)
    (mistake,) = mistakes(tmp_path, '[serving]\napi_key_file = "keys"\n', files=True)
    assert mistake.key == "serving.api_key_file"
    assert "two words" not in str(mistake)


def test_a_mistake_names_value_place_and_remedy(tmp_path: Path) -> None:
    """The line of the file, what was written, and what may be."""
    (mistake,) = mistakes(tmp_path, "[learner.recipe]\nclip = -1\n")
    assert (mistake.value, mistake.place) == ("-1", "riverkeep.toml line 4")
    assert mistake.remedy.startswith("Write a number, above 0")


@pytest.mark.parametrize(("confidence", "resamples", "enough"), [(0.99, 1_000, True), (0.999, 2_000, False)])
def test_a_confidence_limit_needs_resamples_beyond_it(
    tmp_path: Path, confidence: float, resamples: int, *, enough: bool
) -> None:
    """Else the gate would stand open or closed by chance."""
    text = f"[gate]\nconfidence = {confidence}\nresamples = {resamples}\n"
    if enough:
        assert load(written(tmp_path, text), {}).gate.resamples == resamples
    else:
        (mistake,) = mistakes(tmp_path, text)
        assert "at least 10000 resamples" in str(mistake)
        assert "gate" in str(mistake)


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    """Where a value came from the environment, the file is not blamed."""
    (mistake,) = mistakes(tmp_path, "", {"RIVERKEEP_LEARNER__RECIPE__CLIP": "much"})
    assert mistake.place == "environment RIVERKEEP_LEARNER__RECIPE__CLIP"


def test_a_mistake_in_a_list_names_its_element(tmp_path: Path) -> None:
    """The second of two topics is told from the first."""
    text = '[[streams.topics]]\nname = "a"\n[[streams.topics]]\nname = "b"\ntextfield = "t"\n'
    (mistake,) = mistakes(tmp_path, text)
    assert (mistake.key, mistake.place) == ("streams.topics[1].textfield", "riverkeep.toml line 7")
    assert mistake.remedy == "Did you mean `streams.topics[1].text_field`?"


def test_a_key_in_the_wrong_table_is_shown_the_right_one(tmp_path: Path) -> None:
    """A known name elsewhere in the tree is the nearest key."""
    (mistake,) = mistakes(tmp_path, "[model]\n".replace("[model]", "[learner]") + "learning_rate = 1e-4\n")
    assert mistake.remedy == "Did you mean `learner.recipe.learning_rate`?"


def test_the_model_must_be_named() -> None:
    """The one key without default is asked for by its full name."""
    with pytest.raises(BadSettings) as caught:
        load(None, {})
    assert [mistake.key for mistake in caught.value.mistakes] == ["model.path"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"a = ", "not TOML"), (b"\xff\xfe", "not UTF-8"), (None, "cannot be read")],
    ids=["syntax", "encoding", "missing"],
)
def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """Each way in which the file itself can be at fault is said."""
    path = tmp_path / "riverkeep.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSettings, match=problem):
        load(path, {})


@pytest.mark.parametrize("key", ["password", "token", "api_key", "sasl_password", "pasword"])
def test_secrets_are_never_printed(tmp_path: Path, key: str) -> None:
    """A secret that was written into the file by mistake does not reach the report."""
    found = mistakes(tmp_path, f'[streams.security]\n{key} = "hunter2"\n')
    assert "hunter2" not in "".join(map(str, found))


def test_a_secret_in_place_of_its_file_is_not_printed(tmp_path: Path) -> None:
    """`token_file = "the token itself"` is a mistake that must not be echoed."""
    for secret in ("hunter2", "/hunter2", "a/b/hunter2", "\0hunter2"):
        found = mistakes(tmp_path, "", {"RIVERKEEP_ADMIN__TOKEN_FILE": secret}, files=True)
        assert found[0].key == "admin.token_file"
        assert "hunter2" not in str(found[0])


@pytest.mark.parametrize("written", ["/run/secrets-of-nobody/kafka", "api.key", "admin.token.txt"])
def test_a_missing_files_path_is_shown(tmp_path: Path, written: str) -> None:
    """It is no secret, and what a person has to mend."""
    (first, *_) = mistakes(tmp_path, f'[admin]\ntoken_file = "{written}"\n', files=True)
    assert first.value == str(tmp_path / written)


def test_files_that_are_named_must_be_there(tmp_path: Path) -> None:
    """`check` reads what a start would read: secrets' files, and whether the model is there."""
    (tmp_path / "empty").touch()
    text = '[admin]\ntoken_file = "missing"\n[serving]\napi_key_file = "empty"\n'
    found = mistakes(tmp_path, text, files=True)
    assert {mistake.key: mistake.problem for mistake in found} == {
        "admin.token_file": "The file cannot be read: No such file or directory.",
        "serving.api_key_file": "The file is empty.",
        "model.path": "Nothing is there.",
    }


def test_the_model_may_be_gone_once_it_was_read(tmp_path: Path) -> None:
    """Generation 0 is the model; its origin is read once."""
    (tmp_path / "state/checkpoints/generations/000000").mkdir(parents=True)
    load(written(tmp_path, ""), {"RIVERKEEP_STATE_DIR": str(tmp_path / "state")}, files=True)


def test_labels_cannot_change_once_the_model_was_read(tmp_path: Path) -> None:
    """Generation 0 has no answer for other labels; the mistake names those that it has."""
    base = tmp_path / "state/checkpoints/generations/000000"
    base.mkdir(parents=True)
    (base / "config.json").write_text('{"id2label": {"0": "calm", "1": "flood"}}')
    named = {"RIVERKEEP_STATE_DIR": str(tmp_path / "state"), "RIVERKEEP_MODEL__KIND": "classifier"}
    load(written(tmp_path, 'labels = ["calm", "flood"]\n'), named, files=True)
    load(written(tmp_path, ""), named, files=True)
    load(written(tmp_path, 'labels = ["calm", "flood", "frost"]\n'), named, files=True)
    (mistake,) = mistakes(tmp_path, 'labels = ["calm", "storm"]\n', named, files=True)
    assert (mistake.key, mistake.place) == ("model.labels", "riverkeep.toml line 3")
    assert "calm, flood" in mistake.problem


@pytest.mark.parametrize(("labels", "said"), [('["calm", "flood", "calm"]', "'calm'"), ('["calm", " "]', "no name")])
def test_labels_must_be_told_apart_by_their_names(tmp_path: Path, labels: str, said: str) -> None:
    """Two of one name would be one answer."""
    path = tmp_path / "riverkeep.toml"
    path.write_text(f'[model]\npath = "model"\nkind = "classifier"\nlabels = {labels}\n')
    with pytest.raises(BadSettings) as caught:
        load(path, {})
    (mistake,) = caught.value.mistakes
    assert mistake.key == "model.labels"
    assert said in mistake.problem


def test_a_classifiers_topics_need_labels(tmp_path: Path) -> None:
    """Each topic without them is named, with what to write; a language model's need none."""
    (tmp_path / "model").mkdir()
    topics = (
        '[[streams.topics]]\nname = "a"\nlabel_field = "label"\n'
        '[[streams.topics]]\nname = "b"\n'
        '[[streams.topics]]\nname = "c"\nformat = "text"\n'
    )
    load(written(tmp_path, topics), {}, files=True)
    json_topic, text_topic = mistakes(tmp_path, f'kind = "classifier"\n{topics}', files=True)
    assert (json_topic.key, json_topic.place) == ("streams.topics[1].label_field", "riverkeep.toml line 7")
    assert 'label_field = "label"' in json_topic.remedy
    assert text_topic.key == "streams.topics[2].label_field"
    assert "JSON" in text_topic.remedy


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_admin_does_not_listen_beyond_loopback_without_a_token(tmp_path: Path, host: str) -> None:
    """An address that others reach needs a token_file."""
    (mistake,) = mistakes(tmp_path, f'[admin]\nhost = "{host}"\n')
    assert mistake.key == "admin"
    assert "token_file" in mistake.problem


@pytest.mark.parametrize(
    "variable",
    ["RIVERKEEP_SERVICE_HOST", "RIVERKEEP_SERVING_PORT_8400_TCP_ADDR", "RIVERKEEP_ADMIN_SERVICE_PORT_HTTP"],
)
def test_variables_that_kubernetes_sets_are_no_settings(tmp_path: Path, variable: str) -> None:
    """A Service named riverkeep gives its pods variables with the prefix."""
    load(written(tmp_path, ""), {variable: "10.0.0.1", "RIVERKEEP_PORT": "tcp://10.0.0.1:80"})


def test_the_file_is_looked_for_in_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, else the variable, else ./riverkeep.toml, else none."""
    monkeypatch.chdir(tmp_path)
    named, variable = Path("/named.toml"), {"RIVERKEEP_CONFIG": "/variable.toml"}
    assert config_file(named, variable) == named
    assert config_file(None, variable) == Path("/variable.toml")
    assert config_file(None, {}) is None
    Path("riverkeep.toml").touch()
    assert config_file(None, {}) == Path("riverkeep.toml")


@given(key=st.sampled_from(KEYS), position=st.integers(0, 200))
def test_the_nearest_key_to_one_lost_letter_is_the_key(key: tuple[str, ...], position: int) -> None:
    """Leaving out a letter of a long enough key is always understood."""
    path = tuple(0 if part == EACH else part for part in key)
    name = key[-1]
    at = position % len(name)
    typo = name[:at] + name[at + 1 :]
    if len(name) < 6 or typo in {known[-1] for known in KEYS}:
        return
    near = nearest(Settings, (*path[:-1], typo))
    assert near is not None
    assert near.rpartition(".")[0] == dot(path[:-1])


@given(key=st.sampled_from(KEYS))
def test_a_known_key_is_its_own_nearest(key: tuple[str, ...]) -> None:
    """Exact names win over similar ones."""
    path = tuple(0 if part == EACH else part for part in key)
    assert nearest(Settings, path) == dot(path)


@given(st.text(max_size=30))
def test_any_text_is_settings_or_a_report(text: str) -> None:
    """Whatever a variable holds, loading gives settings or a report, never another error."""
    variables = {"RIVERKEEP_MODEL__PATH": "/m", "RIVERKEEP_STREAMS__TOPICS": text, "RIVERKEEP_ADMIN__PORT": text}
    with suppress(BadSettings):
        load(None, variables)


def test_a_name_that_is_only_a_little_like_one_in_another_table_is_no_suggestion(tmp_path: Path) -> None:
    """`rounds` was not meant to be `lifecycle.rounds_kept`."""
    file = tmp_path / "riverkeep.toml"
    file.write_text('rounds = 3\n[model]\npath = "m"\n')
    with pytest.raises(BadSettings) as caught:
        load(file, {})
    assert "Did you mean" not in caught.value.mistakes[0].remedy


def test_spans_that_could_not_be_sent_are_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a variable that is not Riverkeep's, or without the extra; where they are off neither matters."""
    text, grpc = "[tracing]\nenabled = true\n", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    def told(text: str, environment: dict[str, str]) -> list[str]:
        found = mistakes(tmp_path, text, environment, files=True)
        return [mistake.in_line() for mistake in found if mistake.key == "tracing.enabled"]

    (line,) = told(text, grpc)
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'" in line
    assert told(text, {}) == told("", grpc) == []
    monkeypatch.setattr("serving.tracing.settings.is_installed", lambda: False)
    (line,) = told(text, {})
    assert "pip install" in line
