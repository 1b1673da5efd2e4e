"""A whole Riverkeep around a classifier: labelled text in through Kafka, rounds, and `/v1/classify` that follows."""

import json
import os
import random
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from transformers import BertConfig, BertModel

from checkpoints.base.prepare import import_base
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_model
from daemon.lifecycle.lock import holder_of
from gate import measures
from learner.directory.report import Report, read_report
from tests.brokers import Broker, free_port, make_topic, send
from tests.daemon_harness import ROOT, Daemon, Home, daemon, make_home
from tests.harness import Facts, post, wait_until
from tests.models import make_classifier, make_tokenizer
from tests.tutorials import command_blocks, follow
from tests.unproven import CURL, PROMETHEUS, PROMTOOL, program

pytestmark = pytest.mark.slow

LABELS = ("calm", "flood", "frost")
OF_THE_BASE = LABELS[:2]
SHARES = (0.5, 0.3, 0.2)
Words = Mapping[str, Sequence[str]]
BEFORE: Words = {"calm": ("aloha", "lala"), "flood": ("rivet", "tiver"), "frost": ("nub", "bun")}
FIRST: Words = {"calm": ("ssoss", "mossm"), "flood": ("ghdge", "dehge"), "frost": ("zzyx", "xyzzy")}
SECOND: Words = {"calm": ("qoqq", "oqqo"), "flood": ("wkww", "kwkw"), "frost": ("jfj", "fjf")}
RECIPE = """\
new_label_documents = 20
[learner.recipe]
epochs = 12
early_stop_checks = 0
"""
GATE = """\
[gate]
plausible_rise = 50
plausible_contradiction = 1
"""


def labelled(words: Words, number: int, *, seed: int) -> list[dict[str, str]]:
    """Distinct short documents, of some labels more than of others; the words tell the label."""
    chosen = random.Random(seed)
    labels = chosen.choices(LABELS, SHARES, k=number)
    return [
        {"text": f"{' '.join(chosen.choices(words[label], k=3))} {seed}{at}", "label": label}
        for at, label in enumerate(labels)
    ]


def make_encoder(path: Path) -> Path:
    """A small random BERT without a head, and its tokenizer, in `path`."""
    config = BertConfig.from_pretrained(make_classifier(path / "with_head"))
    config.initializer_range = 0.05
    BertModel(config).save_pretrained(path / "encoder")
    make_tokenizer().save_pretrained(path / "encoder")
    return path / "encoder"


def make_classifier_home(
    path: Path, *, model: Path, broker: Broker, topic: str, serving: bool, labels: tuple[str, ...] = ()
) -> Home:
    """Settings of a daemon that keeps a classifier current."""
    home = make_home(path, model=model, broker=broker, topic=topic, serving=serving, import_base=True)
    home.write(
        sequence_length=32,
        batch_sequences=32,
        max_steps=400,
        learning_rate=2e-3,
        topics=f'[{{ name = "{topic}", format = "json", label_field = "label" }}]',
    )
    named = f"labels = {json.dumps(labels)}\n" if labels else ""
    text = home.config.read_text().replace("[model]\n", f'[model]\nkind = "classifier"\n{named}')
    home.config.write_text(text.replace("[learner.recipe]\n", RECIPE).replace("[gate]\n", GATE))
    return home


def as_records(documents: Sequence[Mapping[str, str]]) -> list[bytes]:
    """As a producer would send them."""
    return [json.dumps(document).encode() for document in documents]


def backfill(home: Home, documents: Sequence[Mapping[str, str]]) -> Facts:
    """Give text from before the stream, by the command that a person would use."""
    file = home.path / "before.jsonl"
    file.write_bytes(b"\n".join(as_records(documents)))
    command = [sys.executable, "-m", "daemon", "-c", str(home.config), "backfill", "--before-stream", "--json"]
    done = subprocess.run(
        [*command, "--label-field", "label", str(file)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    counted: Facts = json.loads(done.stdout)
    return counted


def classify(home: Home, *texts: str) -> httpx.Response:
    """Ask the serving process."""
    url = f"http://127.0.0.1:{home.serving_port}/v1/classify"
    return post(url, json={"input": list(texts)}, timeout=60)


def answering(home: Home) -> int | None:
    """The generation that answers."""
    try:
        return int(classify(home, "lala").headers.get("x-riverkeep-generation", -1))
    except httpx.HTTPError:
        return None


def ended_round(started: Daemon, number: int) -> Facts:
    """A round once it has ended, in full."""
    started.until(lambda control: control.round(number)["ended_at"], timeout_s=180, what=f"the end of round {number}")
    with started.control as control:
        return control.round(number)


@dataclass
class Lived:
    """A classifier after two rounds, still running.

    Attributes:
        rounds: both of them, in full.
        before: what generation 0 said of words that it had not seen.
        waiting: what the status said of labels that wait, before the first round.
    """

    home: Home
    daemon: Daemon
    rounds: tuple[Facts, Facts]
    before: Facts
    waiting: list[Facts]

    def report(self, number: int) -> Report:
        """What the learner found."""
        return read_report(self.home.settings.rounds_dir / f"{number:06d}")

    def generations(self) -> Facts:
        """What `/generations` says."""
        with self.daemon.control as control:
            return control.generations()

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value."""
        (value,) = [
            sample.value
            for family in text_string_to_metric_families(self.daemon.metrics())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return float(value)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, embedded_broker: Broker) -> Iterator[Lived]:
    """An encoder without a head, text from before the stream, and two rounds on labelled text from Kafka.

    One of the labels was added to the settings when the base had its head.
    """
    path, topic = tmp_path_factory.mktemp("classifier"), make_topic(embedded_broker)
    model = make_encoder(path)
    home = make_classifier_home(
        path / "home", model=model, broker=embedded_broker, topic=topic, serving=True, labels=LABELS
    )
    import_base(GenerationStore(home.settings.checkpoints_dir), model, kind="classifier", labels=OF_THE_BASE)
    assert backfill(home, labelled(BEFORE, 300, seed=1))["replay"] > 200
    with daemon(home) as started:
        wait_until(lambda: answering(home) == 0, timeout_s=90, what="generation 0 answering")
        before: Facts = classify(home, *(words[0] for words in FIRST.values())).json()
        rounds, waiting = [], list[Facts]()
        for number, words in enumerate((FIRST, SECOND), 1):
            records = as_records(labelled(words, 400, seed=10 + number))
            send(embedded_broker, topic, *records, b'{"text": "of another kind", "label": "storm"}')
            started.until(lambda control: control.status()["memory"]["fresh_samples"] > 250, what="text from Kafka")
            with started.control as control:
                waiting = waiting or [dict(each) for each in control.status()["waiting_labels"]]
                control.request_round()
            rounds.append(ended_round(started, number))
        wait_until(lambda: answering(home) == 2, timeout_s=60, what="generation 2 answering")
        yield Lived(home, started, (rounds[0], rounds[1]), before, waiting)
        assert started.stop() == 0


def test_rounds_on_labelled_text_are_accepted(lived: Lived) -> None:
    """The gate takes what the real learner made, and has compared answers as well as losses."""
    for number, round_ in enumerate(lived.rounds, 1):
        assert (round_["state"], round_["generation"]) == ("accepted", number), round_["detail"]
        assert {"learned", "accuracy_parent", "f1_parent"} <= {check["name"] for check in round_["verdict"]["checks"]}


def test_an_encoder_got_a_head_for_the_labels_and_a_row_for_each_that_is_added(lived: Lived) -> None:
    """Generation 0 answers by the labels that were set, in their order, and what came of it by the one added since."""
    for number, labels in ((0, OF_THE_BASE), (1, LABELS), (2, LABELS)):
        path = lived.home.settings.checkpoints_dir / "generations" / f"{number:06d}"
        assert load_model(path, "classifier").config.id2label == dict(enumerate(labels))
    assert list(lived.before["data"][0]["probabilities"]) == list(OF_THE_BASE)
    (event,) = lived.daemon.events("round_grows_labels")
    assert (event["round"], event["labels"]) == (1, ["frost"])


def test_a_label_that_waits_for_its_row_is_told(lived: Lived) -> None:
    """Of those that nobody named too, whose records are dead letters."""
    told = {each["label"]: each["detail"] for each in lived.waiting}
    assert told["frost"] == "the next round learns it"
    assert "add it to the end of `model.labels`" in told["storm"]


def test_answers_follow_the_new_text(lived: Lived) -> None:
    """What both rounds brought, and what was before them, is told by its words; generation 0 could not."""
    assert len({one["label"] for one in lived.before["data"]}) < len(LABELS)
    asked = [(" ".join(words[label]), label) for words in (BEFORE, FIRST, SECOND) for label in LABELS]
    answer = classify(lived.home, *(text for text, _ in asked))
    assert answer.headers["x-riverkeep-generation"] == "2"
    for (text, label), one in zip(asked, answer.json()["data"], strict=True):
        assert one["label"] == label, text
        assert one["probabilities"][label] > 0.7, text
        assert sum(one["probabilities"].values()) == pytest.approx(1)


def test_an_unknown_label_is_a_counted_dead_letter(lived: Lived) -> None:
    """It is kept with its reason, and stops nothing."""
    with lived.daemon.control as control:
        letters = control.dead_letters()
        assert control.memory()["dead_letter_reasons"] == {"unknown_label": 2}
    assert [letter["reason"] for letter in letters] == ["unknown_label"] * 2
    assert lived.metric("riverkeep_dead_letters_total", reason="unknown_label") == 2


def test_reported_answers_are_those_that_are_served(lived: Lived) -> None:
    """Accuracy and macro-F1 of the serving generation follow from asking it about the held-out documents."""
    directory = lived.home.settings.rounds_dir / "000002" / "slices"
    files = sorted(directory.glob("*.jsonl"))
    held_out = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    said: dict[int, str] = {}
    for first in range(0, len(held_out), 16):
        part = held_out[first : first + 16]
        answers = classify(lived.home, *(one["text"] for one in part)).json()["data"]
        said |= {one["id"]: answer["label"] for one, answer in zip(part, answers, strict=True)}
    for name, scores in lived.report(2).slices.items():
        (row,) = [one for one in lived.generations()["scores"] if (one["generation"], one["slice"]) == (2, name)]
        right = [said[score.id] == score.label for score in scores.parent]
        assert row["accuracy"] == pytest.approx(sum(right) / len(right))
        assert row["macro_f1"] == pytest.approx(macro_f1([(score.label, said[score.id]) for score in scores.parent]))


def macro_f1(pairs: Sequence[tuple[str | None, str]]) -> float:
    """Of (true, answered) pairs, by the definition."""
    found = []
    for label in {true for true, _ in pairs}:
        both = sum(true == label == answered for true, answered in pairs)
        found.append(2 * both / sum((true == label) + (answered == label) for true, answered in pairs))
    return sum(found) / len(found)


def test_earlier_generations_are_scored_anew_with_their_answers(lived: Lived) -> None:
    """The second round's report has answers of base and parent, and the best so far is compared by them too."""
    report = lived.report(2)
    for name, scores in report.slices.items():
        for generation, rows in ((0, scores.base), (1, scores.parent)):
            assert all(row.predicted in LABELS for row in rows)
            (known,) = [
                one for one in lived.generations()["scores"] if (one["generation"], one["slice"]) == (generation, name)
            ]
            assert known["macro_f1"] == pytest.approx(measures.macro_f1(rows))
    against_best = {check["name"] for check in lived.rounds[1]["verdict"]["checks"] if "best" in check["name"]}
    assert against_best == {"best", "accuracy_best", "f1_best"}


def test_a_round_tells_answers_flips_and_the_balance_of_labels(lived: Lived) -> None:
    """In `/rounds/N`: by slice and model, by candidate, and how many documents of each label there were."""
    for number, round_ in enumerate(lived.rounds, 1):
        facts, report = round_["report"], lived.report(number)
        for measure in ("accuracy", "macro_f1"):
            assert facts[measure].keys() == report.slices.keys()
            assert all(by_model.keys() >= {"base", "parent", "0.00"} for by_model in facts[measure].values())
        assert set(facts["flips"]) == set(report.candidates)
        assert facts["flips"][round_["verdict"]["candidate"]]["better"] > 0
        fresh = facts["labels"]["fresh"]
        assert sum(fresh.values()) == round_["fresh_samples"]
        assert fresh["calm"] > fresh["flood"] > fresh["frost"] > 0
        held_out = Counter(score.label for score in report.slices["anchor"].parent)
        assert facts["labels"]["holdout"]["anchor"] == held_out


def test_metrics_show_answers_flips_and_the_balance_of_labels(lived: Lived) -> None:
    """As `/generations`, `/rounds` and `/memory` have them."""
    for row in lived.generations()["scores"]:
        where = {"generation": str(row["generation"]), "slice": row["slice"]}
        assert lived.metric("riverkeep_slice_accuracy_ratio", **where) == row["accuracy"]
        assert lived.metric("riverkeep_slice_macro_f1_ratio", **where) == row["macro_f1"]
    last = lived.rounds[1]
    flips = last["report"]["flips"][last["verdict"]["candidate"]]
    for direction in ("worse", "better"):
        assert lived.metric("riverkeep_flip_rate", direction=direction) == flips[direction]
    (event,) = [one for one in lived.daemon.events("round_ended") if one["round"] == 2]
    assert event["flipped_better"] == pytest.approx(flips["better"], abs=1e-4)
    with lived.daemon.control as control:
        kept: list[dict[str, Any]] = control.memory()["kept"]
    for label in LABELS:
        number = sum(one["samples"] for one in kept if (one["role"], one["label"]) == ("replay", label))
        assert lived.metric("riverkeep_memory_labelled_samples", role="replay", label=label) == number


def test_a_classifier_speaks_for_its_own_labels(tmp_path: Path, embedded_broker: Broker) -> None:
    """Where the settings name none, the model's configuration tells which labels documents may have."""
    topic = make_topic(embedded_broker)
    model = make_classifier(tmp_path / "model", labels=("low", "high"))
    home = make_classifier_home(tmp_path / "home", model=model, broker=embedded_broker, topic=topic, serving=False)
    texts = [{"text": "the water falls", "label": "low"}, {"text": "the water rises", "label": "rising"}]
    with daemon(home) as started:
        send(embedded_broker, topic, *as_records(texts), b'{"text": "no label at all"}')
        started.until(lambda control: control.status()["memory"]["dead_letters"] == 2, what="the dead letters")
        with started.control as control:
            assert control.memory()["dead_letter_reasons"] == {"unknown_label": 1, "missing_field": 1}
            assert [one["label"] for one in control.memory()["kept"]] == ["low"]
        assert started.stop() == 0


def test_a_long_text_is_cut_as_the_learner_cuts_it(lived: Lived) -> None:
    """To the recipe's length or the model's, whichever is less; the answer says so and counts what was read."""
    words = " ".join(FIRST["flood"])
    answer = classify(lived.home, words, f"{words} " * 500).json()
    assert [one["truncated"] for one in answer["data"]] == [False, True]
    recipe = lived.home.settings.learner.recipe
    short = classify(lived.home, words).json()["usage"]["prompt_tokens"]
    assert 0 < answer["usage"]["prompt_tokens"] - short <= recipe.sequence_length


# --- pages whose commands are run here, on what lived ---

CLASSIFIER_PAGE = (ROOT / "docs" / "classifier.md").read_text()
DASHBOARD_PAGE = (ROOT / "docs" / "dashboard.md").read_text()
OF_THE_NEW_LABEL = 2
"""Blocks of the classifier's page that are about a label that arrives: before the restart, and after it."""


def of_a_shell(home: Home) -> dict[str, str]:
    """The environment of somebody who looks after this home."""
    return {
        **os.environ,
        "RIVERKEEP_CONFIG": str(home.config),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }


def tables(page: str) -> list[dict[str, Any]]:
    """The settings that a page shows."""
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]


def test_the_commands_of_the_classifiers_page_print_what_it_shows(lived: Lived) -> None:
    """On settings that differ from its own in names and places alone."""
    program("curl", CURL)
    shown, with_another = tables(CLASSIFIER_PAGE)
    own = tomllib.loads(lived.home.config.read_text())
    assert shown["model"]["kind"] == with_another["model"]["kind"] == own["model"]["kind"]
    assert shown["model"]["labels"] == own["model"]["labels"] == with_another["model"]["labels"][:-1]
    assert shown["streams"]["topics"][0]["label_field"] == own["streams"]["topics"][0]["label_field"]
    (record,) = (json.loads(each) for each in re.findall(r"```json\n(.*?)```", CLASSIFIER_PAGE, re.DOTALL))
    assert record.keys() == {"text", *(shown["streams"]["topics"][0][name] for name in ("label_field", "key_field"))}
    blocks = list(command_blocks(CLASSIFIER_PAGE))[:-OF_THE_NEW_LABEL]
    elsewhere = {":8400": f":{lived.home.serving_port}"}
    follow(blocks, cwd=lived.home.path, environment=of_a_shell(lived.home), elsewhere=elsewhere)


def test_a_label_that_arrives_is_let_in_as_the_page_says(tmp_path: Path, embedded_broker: Broker) -> None:
    """Dead letters, a word in the settings, a restart, and they are there to be learned."""
    topic = make_topic(embedded_broker)
    model = make_classifier(tmp_path / "model", labels=LABELS)
    home = make_classifier_home(tmp_path / "home", model=model, broker=embedded_broker, topic=topic, serving=False)
    before, after = list(command_blocks(CLASSIFIER_PAGE))[-OF_THE_NEW_LABEL:]
    storms = [{"text": f"brr grr {at} brr", "label": "storm"} for at in range(40)]
    with daemon(home) as started:
        send(embedded_broker, topic, *as_records(labelled(FIRST, 60, seed=3)), *as_records(storms))
        started.until(lambda control: control.status()["memory"]["dead_letters"] == 40, what="the dead letters")
        follow([before], cwd=home.path, environment=of_a_shell(home), elsewhere={})
        assert started.stop() == 0
    labels = json.dumps(tables(CLASSIFIER_PAGE)[-1]["model"]["labels"])
    home.config.write_text(home.config.read_text().replace("[model]\n", f"[model]\nlabels = {labels}\n"))
    with daemon(home) as started:
        started.until(lambda control: bool(control.status()), what="an answer")
        follow([after], cwd=home.path, environment=of_a_shell(home), elsewhere={})
        assert started.stop() == 0


def test_the_commands_of_the_dashboards_page_print_what_it_shows(lived: Lived, tmp_path: Path) -> None:
    """A real Prometheus on this service; Grafana, which is not here, would find what it is given."""
    for name, meaning in (("curl", CURL), ("prometheus", PROMETHEUS), ("promtool", PROMTOOL)):
        program(name, meaning)
    holder = wait_until(lambda: holder_of(lived.home.settings.state_dir), what="the admin surface")
    admin = holder.admin.rpartition(":")[2]
    grafana, etc = tmp_path / "var-grafana", tmp_path / "etc-grafana"
    for folder in ("dashboards", "datasources"):
        (etc / "provisioning" / folder).mkdir(parents=True)
    deploy = "riverkeep deploy print --into watch\n"
    here = f"s/:8710/:{admin}/; s/:8400/:{lived.home.serving_port}/; s/15s/1s/"
    elsewhere = {
        ":9090": f":{free_port()}",
        "/var/lib/grafana": str(grafana),
        "/etc/grafana": str(etc),
        deploy: f"{deploy}sed -i '{here}' watch/prometheus.yml\n",
    }
    follow(
        list(command_blocks(DASHBOARD_PAGE)),
        cwd=tmp_path,
        environment=of_a_shell(lived.home),
        elsewhere=elsewhere,
        log=tmp_path / "watch" / "prometheus.log",
    )
    (provider,) = yaml.safe_load((etc / "provisioning/dashboards/riverkeep.yaml").read_text())["providers"]
    found = Path(provider["options"]["path"].replace("/var/lib/grafana", str(grafana)))
    assert {path.stem for path in found.glob("*.json")} == {"overview", "learning", "streams", "serving"}
    (source,) = yaml.safe_load((etc / "provisioning/datasources/riverkeep.yaml").read_text())["datasources"]
    assert source["url"] == "http://localhost:9090"
