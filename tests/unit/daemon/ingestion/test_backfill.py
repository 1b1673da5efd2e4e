"""Files into the store, resumed where they were left."""

import gzip
import json
import tomllib
from pathlib import Path

import pytest

from daemon.errors import BadRequest, Refused
from daemon.ingestion.backfill import backfill
from daemon.ingestion.backfill_plan import BackfillPlan
from daemon.settings.tree import ModelSettings, Settings
from learner.skills.settings import EvaluationSettings, SkillSettings
from memory.settings import MemorySettings
from memory.store import Store
from streams.file_kinds import Look
from streams.settings import BudgetSettings, StreamsSettings
from streams.topic_settings import FIELDS
from tests.command_line import riverkeep
from tests.unit.daemon.kept import WORDS


def sentence(number: int) -> str:
    """A text that is near to no other."""
    return " ".join(
        f"{WORDS[(number * 7 + place * (number + 1)) % len(WORDS)]}{number * 31 + place}" for place in range(20)
    )


def jsonl(path: Path, count: int, start: int = 0) -> Path:
    """A file of records; gzipped where the name says so."""
    lines = "".join(
        json.dumps({"text": sentence(number), "id": f"user-{number}"}) + "\n" for number in range(start, start + count)
    )
    content = lines.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Small batches, so that there are several."""
    return Settings(
        state_dir=tmp_path / "state",
        model=ModelSettings(path=tmp_path / "model"),
        streams=StreamsSettings(batch_records=10),
    )


def counted(settings: Settings) -> int:
    """Samples in the store, whatever their role."""
    with Store.open(settings.database, settings.memory) as store:
        return sum(one.samples for one in store.counts().by_role_and_source)


def ignore(_path: str, _position: int) -> None:
    """No progress bar."""


def test_files_of_every_kind_are_taken_in(tmp_path: Path, settings: Settings) -> None:
    """JSONL, gzip and plain text in one go; the source is the file's name."""
    text = tmp_path / "letters.txt"
    text.write_text("\n\n".join(sentence(number) for number in range(200, 210)))
    paths = [str(jsonl(tmp_path / "a.jsonl", 30)), str(jsonl(tmp_path / "b.jsonl.gz", 30, start=100)), str(text)]
    outcome = backfill(settings, BackfillPlan(paths, ended=True), ignore)
    assert outcome.totals["fresh"] + outcome.totals["holdout"] == counted(settings) == 70
    with Store.open(settings.database, settings.memory) as store:
        assert {one.source for one in store.counts().by_role_and_source} == {"a", "b", "letters"}
        # Without a daemon too as much is held out as the gate will need.
        assert set(store.held_out_shares().values()) == {settings.memory.holdout_share_most}


def test_what_comes_near_a_skills_prompts_is_not_taken_in(tmp_path: Path, settings: Settings) -> None:
    """Though no daemon has run yet."""
    prompts = tmp_path / "skill.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": sentence(n), "exact": "x"}) for n in range(0, 30, 3)))
    skills = EvaluationSettings(skills=(SkillSettings(name="known", file=prompts),))
    guarded = settings.model_copy(update={"evaluation": skills})
    outcome = backfill(guarded, BackfillPlan([str(jsonl(tmp_path / "a.jsonl", 30))], before_stream=True), ignore)
    # What is held out is never trained on anyway.
    assert outcome.totals["near_duplicates"] + outcome.totals["holdout"] >= 10
    with Store.open(settings.database, settings.memory) as store:
        replayed = {sample.text for sample in store.sample_replay(30, seed=1)}
    assert replayed
    assert not replayed & {sentence(n) for n in range(0, 30, 3)}


def test_a_second_time_stores_nothing(tmp_path: Path, settings: Settings) -> None:
    """The store knows how far each file was read."""
    plan = BackfillPlan([str(jsonl(tmp_path / "a.jsonl", 30))])
    backfill(settings, plan, ignore)
    assert not any(backfill(settings, plan, ignore).totals.values())


@pytest.mark.parametrize("stop_after", [0, 1, 2, 3])
def test_stopped_anywhere_it_goes_on(tmp_path: Path, settings: Settings, stop_after: int) -> None:
    """Cut off after any batch: the same command brings the rest, each document once."""
    path = jsonl(tmp_path / "a.jsonl", 30)
    told = 0

    def stop(_path: str, _position: int) -> None:
        nonlocal told
        told += 1
        if told > stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(settings, BackfillPlan([str(path)]), stop)
    backfill(settings, BackfillPlan([str(path)]), ignore)
    assert counted(settings) == 30


def test_progress_is_told_in_bytes(tmp_path: Path, settings: Settings) -> None:
    """From where it begins to the file's end, never back."""
    path = jsonl(tmp_path / "a.jsonl", 30)
    positions: list[int] = []
    backfill(settings, BackfillPlan([str(path)]), lambda _, position: positions.append(position))
    assert positions == sorted(positions)
    assert (positions[0], positions[-1]) == (0, path.stat().st_size)


def test_text_from_before_the_stream_becomes_replay_and_anchor(tmp_path: Path, settings: Settings) -> None:
    """Nothing of it is fresh."""
    plan = BackfillPlan([str(jsonl(tmp_path / "a.jsonl", 60))], before_stream=True)
    totals = backfill(settings, plan, ignore).totals
    assert (totals["fresh"], totals["replay"] + totals["holdout"]) == (0, 60)


def test_a_full_buffer_stops_it_and_a_round_lets_it_go_on(tmp_path: Path, settings: Settings) -> None:
    """Refused with what to do; what was stored stays, the rest waits in its file."""
    small = settings.model_copy(update={"memory": MemorySettings(fresh_samples=15)})
    path = jsonl(tmp_path / "a.jsonl", 60)
    with pytest.raises(Refused, match="riverkeep round"):
        backfill(small, BackfillPlan([str(path)]), ignore)
    assert 15 <= counted(settings) < 60
    backfill(settings, BackfillPlan([str(path)]), ignore)
    assert counted(settings) == 60


@pytest.mark.parametrize("before_stream", [True, False])
def test_dead_letters_make_room_and_stop_nothing(tmp_path: Path, settings: Settings, *, before_stream: bool) -> None:
    """Those beyond the quarantine's bound are counted; every good record is stored."""
    small = settings.model_copy(update={"memory": MemorySettings(quarantine_rows=15)})
    path = tmp_path / "a.jsonl"
    path.write_text("no JSON\n" * 60 + jsonl(tmp_path / "good.jsonl", 5).read_text())
    totals = backfill(small, BackfillPlan([str(path)], before_stream=before_stream), ignore).totals
    assert (totals["dead_letters"], totals["dead_letters_evicted"]) == (60, 45)
    assert counted(small) == 5


def test_a_flood_of_dead_letters_stops_it_and_the_mended_command_reads_all(tmp_path: Path, settings: Settings) -> None:
    """Said before anything of it is stored: no record is lost to a field's wrong name."""
    budget = BudgetSettings(min_dead_letters=8)
    strict = settings.model_copy(update={"streams": StreamsSettings(batch_records=10, budget=budget)})
    plan = BackfillPlan([str(jsonl(tmp_path / "a.jsonl", 30))], fields={"text_field": "body"})
    with pytest.raises(Refused, match=r"10 of 10 records .* missing_field \(field body is missing\).*max_share"):
        backfill(strict, plan, ignore)
    assert backfill(strict, BackfillPlan(plan.paths), ignore).totals["dead_letters"] == 0
    assert counted(strict) == 30


def test_a_forgotten_persons_dead_letters_are_not_stored_again(tmp_path: Path, settings: Settings) -> None:
    """Also where their key stands in the record alone, and in a record that is no JSON."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"user": "user-1", "text": ""}\n{"user": "user-2", "text": ""}\n{"user": "user-1", "text": NaN}\n[]\n'
    )
    settings.state_dir.mkdir()
    with Store.open(settings.database, settings.memory) as store:
        store.people.forget("user-1")
    totals = backfill(settings, BackfillPlan([str(path)], fields={"key_field": "user"}), ignore).totals
    assert (totals["dead_letters"], totals["forgotten"]) == (2, 2)
    with Store.open(settings.database, settings.memory) as store:
        assert store.people.forget("user-2").dead_letters == 1
        assert [letter.value for letter in store.quarantine.dead_letters()] == [b"[]"]


def test_letters_that_wait_for_their_topic_stop_it_at_the_bound(tmp_path: Path, settings: Settings) -> None:
    """None is lost; when they were sent or dropped the same command goes on."""
    streams = settings.streams.model_copy(update={"dead_letter_topic": "dead"})
    small = settings.model_copy(update={"memory": MemorySettings(quarantine_rows=15), "streams": streams})
    path = tmp_path / "a.jsonl"
    path.write_text("no JSON\n" * 30 + jsonl(tmp_path / "good.jsonl", 5).read_text())
    plan = BackfillPlan([str(path)])
    with pytest.raises(Refused, match="wait for the topic dead"):
        backfill(small, plan, ignore)
    with Store.open(small.database, small.memory) as store:
        assert len(store.quarantine.dead_letters()) == 20
        store.quarantine.mark_published([letter.id for letter in store.quarantine.dead_letters()])
    backfill(small, plan, ignore)
    assert counted(small) == 5


def test_a_damaged_file_does_not_stop_the_next(tmp_path: Path, settings: Settings) -> None:
    """What could be read is stored, the damage is told, the other file comes too."""
    damaged = jsonl(tmp_path / "a.jsonl.gz", 30)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    paths = [str(damaged), str(jsonl(tmp_path / "b.jsonl", 5, start=500)), str(tmp_path / "missing.jsonl")]
    outcome = backfill(settings, BackfillPlan(paths), ignore)
    assert len(outcome.errors) == 2
    assert counted(settings) >= 5


def test_fields_are_named_on_the_command_line(tmp_path: Path) -> None:
    """Keys come with the text, so that a person's text can be erased; stdin is a stream of its own."""
    (tmp_path / "riverkeep.toml").write_text('state_dir = "state"\n[model]\npath = "model"\n')
    lines = "".join(json.dumps({"body": sentence(number), "who": number % 2}) + "\n" for number in range(10))
    fields = ["--format", "json", "--text-field", "body", "--key-field", "who", "--source", "old"]
    run = riverkeep("backfill", *fields, "--json", "-", cwd=tmp_path, stdin=lines)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["errors"] == []
    assert json.loads(riverkeep("forget", "1", "--yes", "--json", cwd=tmp_path).stdout)["samples"] == 5
    again = riverkeep("backfill", *fields, "-", cwd=tmp_path, stdin=lines)
    assert (again.returncode, again.stdout) == (0, "Nothing new.\n")


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        ("notes.txt", {"key_field": "id"}, "--key-field"),
        ("notes.txt", {"text_field": "body"}, "--text-field"),
        ("notes.jsonl", {"time_field": ""}, "--time-field"),
        ("notes.jsonl", {"source": "x" * 200}, "--source"),
    ],
)
def test_fields_that_a_file_cannot_have_are_refused_before_anything_is_read(
    tmp_path: Path, settings: Settings, path: str, fields: dict[str, str], told: str
) -> None:
    """The option is named, and no file before it is taken in."""
    first = str(jsonl(tmp_path / "a.jsonl", 5))
    (tmp_path / path).write_text('{"text": "a"}\n' if path.endswith("l") else "A text\n")
    with pytest.raises(BadRequest, match=told):
        backfill(settings, BackfillPlan([first, str(tmp_path / path)], fields=fields), ignore)
    assert not settings.state_dir.exists()


def test_a_failure_has_its_exit_status(tmp_path: Path) -> None:
    """A damaged file: exit status 1, and the sentence on standard error."""
    (tmp_path / "riverkeep.toml").write_text('state_dir = "state"\n[model]\npath = "model"\n')
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8bnothing")
    run = riverkeep("backfill", "a.jsonl.gz", cwd=tmp_path)
    assert run.returncode == 1
    assert "a.jsonl.gz" in run.stderr


SETTINGS = 'state_dir = "state"\n[model]\npath = "model"\n'
BY_ID = '[[streams.topics]]\nname = "articles"\nkey_field = "id"\n'
BY_USER = '[[streams.topics]]\npattern = "post.*"\ntext_field = "body"\nkey_field = "user"\n'


def test_files_have_the_fields_of_the_topic(tmp_path: Path) -> None:
    """The README's settings and its literal command: the text comes with keys, so that it can be erased by them."""
    (tmp_path / "riverkeep.toml").write_text(SETTINGS + BY_ID)
    jsonl(tmp_path / "a.jsonl.gz", 10)
    run = riverkeep("backfill", "--before-stream", "a.jsonl.gz", cwd=tmp_path)
    assert "text from text, key from id." in run.stderr
    assert "no key" not in run.stderr
    forgotten = riverkeep("forget", "user-3", "--yes", "--json", cwd=tmp_path)
    assert json.loads(forgotten.stdout)["samples"] == 1


def test_text_without_keys_is_said_to_be_beyond_forget(tmp_path: Path) -> None:
    """Before it is read where no field can hold one, and afterwards how many."""
    (tmp_path / "riverkeep.toml").write_text(SETTINGS)
    jsonl(tmp_path / "a.jsonl", 10)
    run = riverkeep("backfill", "a.jsonl", cwd=tmp_path)
    assert "--key-field names one" in run.stderr
    assert "10 of the documents have no key" in run.stderr
    assert json.loads(riverkeep("backfill", "--json", "a.jsonl", cwd=tmp_path).stdout)["without_key"] == 0


def test_topics_that_differ_ask_which_the_files_are_like(tmp_path: Path) -> None:
    """Nothing is guessed: a topic, its pattern, or a field by name."""
    (tmp_path / "riverkeep.toml").write_text(SETTINGS + BY_ID + BY_USER)
    jsonl(tmp_path / "a.jsonl", 10)
    asked = riverkeep("backfill", "a.jsonl", cwd=tmp_path)
    assert asked.returncode == 2
    assert "articles: text from text, key from id; post.*: text from body, key from user" in asked.stderr
    assert "--like" in asked.stderr
    assert not (tmp_path / "state").exists()
    run = riverkeep("backfill", "--like", "articles", "--json", "a.jsonl", cwd=tmp_path)
    assert json.loads(run.stdout)["fields"] == {"text_field": "text", "key_field": "id"}


def topics(*tables: str) -> StreamsSettings:
    """Streams with these topics."""
    return StreamsSettings.model_validate(tomllib.loads("".join(tables))["streams"])


@pytest.mark.parametrize(
    ("streams", "plan", "fields"),
    [
        (
            topics(BY_ID, BY_USER),
            BackfillPlan(["a.jsonl"], like="posts-1"),
            {"text_field": "body", "key_field": "user"},
        ),
        (topics(BY_ID, BY_USER), BackfillPlan(["a.jsonl"], like="post.*"), {"text_field": "body", "key_field": "user"}),
        (
            topics(BY_ID, BY_USER),
            BackfillPlan(["a.jsonl"], {"key_field": "who"}),
            {"text_field": "text", "key_field": "who"},
        ),
        (topics(BY_ID), BackfillPlan(["a.jsonl"], {"text_field": "body"}), {"text_field": "body", "key_field": "id"}),
        (
            topics(BY_ID, BY_ID.replace("articles", "b")),
            BackfillPlan(["a.json"]),
            {"text_field": "text", "key_field": "id"},
        ),
        (topics(BY_ID, '[[streams.topics]]\nname = "t"\nformat = "text"\n'), BackfillPlan(["a.txt"]), {}),
    ],
)
def test_what_is_named_wins_over_the_topic(
    streams: StreamsSettings, plan: BackfillPlan, fields: dict[str, str]
) -> None:
    """A topic by name, by a name that its pattern matches, or by the pattern; plain text has no fields."""
    (path,) = plan.paths
    look = Look.TEXT if path.endswith(".txt") else Look.JSON_LINES
    format_ = plan.formats({path: look}, streams)[path]
    assert {name: value for name in FIELDS if format_.format == "json" and (value := getattr(format_, name))} == fields


def test_a_file_can_only_be_like_a_topic_that_is_read() -> None:
    """The topics that there are, are named."""
    with pytest.raises(BadRequest, match=r"--like news: .*articles"):
        BackfillPlan(["a.jsonl"], like="news").formats({"a.jsonl": Look.JSON_LINES}, topics(BY_ID))


def test_chats_and_documents_are_taken_from_one_file(tmp_path: Path, settings: Settings) -> None:
    """Each record is what it has; one that is neither is a dead letter, and so are chats for a model without any."""
    answer = {"role": "assistant", "content": sentence(1)}
    records: list[dict[str, object]] = [
        {"text": sentence(2)},
        {"messages": [{"role": "user", "content": sentence(3)}, answer]},
        {"messages": [{"role": "user", "content": sentence(4)}]},
    ]
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps({**record, "f": name}) + "\n" for record in records))
    totals = backfill(settings, BackfillPlan([str(tmp_path / "a.jsonl")]), ignore).totals
    assert (totals["fresh"] + totals["holdout"], totals["dead_letters"]) == (2, 1)
    settings.model.path.mkdir()
    named = BackfillPlan([str(tmp_path / "b.jsonl")], {"messages_field": "messages"})
    assert backfill(settings, named, ignore).totals["dead_letters"] == 2
    with Store.open(settings.database, settings.memory) as store:
        tallies = store.counts().tallies
    assert (tallies["dead_letters:no_assistant_turn"], tallies["dead_letters:chat_not_taken"]) == (1, 2)
