"""Which labels documents may have."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from daemon.settings.labels import answered_labels, known_labels
from daemon.settings.tree import Settings
from streams.decoding.several_labels import LabelSet
from tests.command_line import riverkeep


def settings_for(path: Path, config: dict[str, Any], **model: Any) -> Settings:
    """Settings with a model of this configuration."""
    (path / "model").mkdir()
    (path / "model" / "config.json").write_text(json.dumps(config))
    return Settings.model_validate(
        {"state_dir": str(path / "state"), "model": {"path": str(path / "model"), "kind": "classifier", **model}}
    )


@pytest.mark.parametrize(
    ("config", "model", "labels"),
    [
        ({"id2label": {"0": "calm", "1": "stormy"}}, {}, {"calm", "stormy"}),
        ({"num_labels": 3}, {}, {"LABEL_0", "LABEL_1", "LABEL_2"}),
        ({}, {}, {"LABEL_0", "LABEL_1"}),
        ({}, {"labels": ("good", "bad")}, {"good", "bad"}),
        ({"id2label": {"0": "calm"}}, {"kind": "causal-lm"}, None),
    ],
)
def test_a_classifier_knows_its_labels(
    tmp_path: Path, config: dict[str, Any], model: dict[str, Any], labels: set[str] | None
) -> None:
    """As they are set, else as its configuration names them; a language model has none."""
    assert known_labels(settings_for(tmp_path, config, **model)) == labels


def test_the_base_speaks_for_a_model_that_is_gone(tmp_path: Path) -> None:
    """Generation 0 is what is trained, wherever it came from."""
    settings = settings_for(tmp_path, {"id2label": {"0": "calm"}})
    base = settings.checkpoints_dir / "generations" / "000000"
    base.mkdir(parents=True)
    (base / "config.json").write_text(json.dumps({"id2label": {"0": "frozen"}}))
    assert known_labels(settings) == frozenset({"frozen"})


def test_labels_that_are_named_later_are_not_known(tmp_path: Path) -> None:
    """The base has no answer for them: its own labels count, whatever the settings say since."""
    settings = settings_for(tmp_path, {}, labels=("calm", "storm"))
    assert known_labels(settings) == frozenset({"calm", "storm"})
    settings.base_dir.mkdir(parents=True)
    (settings.base_dir / "config.json").write_text(json.dumps({"id2label": {"0": "calm", "1": "flood"}}))
    assert known_labels(settings) == frozenset({"calm", "flood"})
    (settings.base_dir / "config.json").write_text("damaged")
    assert known_labels(settings) == frozenset({"calm", "storm"})


def test_labels_that_are_named_after_those_of_the_base_are_to_be_learned(tmp_path: Path) -> None:
    """Their documents are taken in, in whatever order they come; what a generation answers is what its files say."""
    settings = settings_for(tmp_path, {}, labels=("calm", "flood", "frost"))
    settings.base_dir.mkdir(parents=True)
    (settings.base_dir / "config.json").write_text(json.dumps({"id2label": {"0": "calm", "1": "flood"}}))
    assert known_labels(settings) == frozenset({"calm", "flood", "frost"})
    assert answered_labels(settings, 0) == ("calm", "flood")
    assert answered_labels(settings, 1) is None
    assert answered_labels(settings, None) is None


def test_a_model_that_cannot_be_read_names_none(tmp_path: Path) -> None:
    """What is wrong with it is said where it is loaded."""
    settings = settings_for(tmp_path, {})
    (tmp_path / "model" / "config.json").unlink()
    assert known_labels(settings) is None


def test_labels_that_do_not_exclude_one_another_are_a_set(tmp_path: Path) -> None:
    """A document has any number of them, whoever names them."""
    problem = {"problem_type": "multi_label_classification"}
    settings = settings_for(tmp_path, problem, labels=("calm", "storm"))
    assert known_labels(settings) == LabelSet({"calm", "storm"})
    assert isinstance(known_labels(settings), LabelSet)
    settings.base_dir.mkdir(parents=True)
    (settings.base_dir / "config.json").write_text(json.dumps({"id2label": {"0": "calm", "1": "flood"}}))
    assert not isinstance(known_labels(settings), LabelSet)


def test_lists_of_labels_are_taken_in_and_kept(tmp_path: Path) -> None:
    """By `riverkeep backfill`, from records as by a topic: what is kept counts each set; others are refused."""
    (tmp_path / "model").mkdir()
    labels = {"0": "calm", "1": "flood", "2": "frost"}
    config = {"problem_type": "multi_label_classification", "id2label": labels}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "riverkeep.toml").write_text('state_dir = "state"\n[model]\npath = "model"\nkind = "classifier"\n')
    given = [["flood", "calm"], ["calm", "flood"], [], "frost", ["windy"]]
    texts = ["The river rises.", "A boat lies at the mill.", "Nothing moves tonight.", "Ice on the ford.", "Gusts."]
    rows = [json.dumps({"text": text, "labels": value}) for text, value in zip(texts, given, strict=True)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{row}\n" for row in rows))
    run = riverkeep("backfill", "--label-field", "labels", "rows.jsonl", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    shown = json.loads(riverkeep("memory", "--json", cwd=tmp_path).stdout)
    # By role and label: which of them are held out, a secret of the store decides.
    kept: Counter[str] = Counter()
    for one in shown["kept"]:
        kept[one["label"]] += one["samples"]
    assert kept == {'["calm","flood"]': 2, "[]": 1, '["frost"]': 1}
