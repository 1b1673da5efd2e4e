"""Which labels a classifier has: 0 to n-1 with n names, or the model is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, BertForSequenceClassification

from checkpoints.base.prepare import import_base
from checkpoints.errors import UnusableModel
from checkpoints.files.label_names import is_multi_label, labels_in
from checkpoints.generation_store import GenerationStore
from tests.models import make_classifier


def relabelled(path: Path, **values: object) -> Path:
    """A classifier of two answers whose config.json says something else of them."""
    make_classifier(path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | values))
    return path


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"0": "calm", "2": "flood"}, "0, 2"),
        ({"1": "calm", "2": "flood"}, "1, 2"),
        ({"-1": "calm", "0": "flood"}, "by number"),
        ({"calm": "0", "flood": "1"}, "by number"),
        (["calm", "flood"], "by number"),
        ("calm, flood", "by number"),
        ({"0": "calm", "1": "calm"}, "'calm'"),
        ({"0": "calm", "1": ""}, "without a name"),
        ({"0": "calm", "1": None}, "without a name"),
        ({"0": "calm", "1": "flood", "2": "frost"}, "do not fit"),
        ({"0": "calm"}, "one number"),
        ({"1": ["x"], "0": "calm"}, "label 1 ['x']"),
        ({"0": "calm", "1": {"name": "flood"}}, "must be a text"),
        ({"0": False, "1": True}, "label 0 False"),
        ({"0": "calm", "1": 1.5}, "label 1 1.5"),
        ({"0": "calm", "1": "\ud800"}, "must be a text"),
        ({"0": "calm", "9" * 5000: "flood"}, "by number"),
        (0, "by number"),
    ],
)
def test_a_map_of_labels_that_is_none_is_refused(store: GenerationStore, tmp_path: Path, named: Any, why: str) -> None:
    """Gaps, counting from 1, words for numbers, one name twice: an answer would be lost, or given another's name."""
    model = relabelled(tmp_path / "model", id2label=named)
    with pytest.raises(UnusableModel, match=r"model") as caught:
        import_base(store, model, kind="classifier")
    assert why in str(caught.value)
    assert ".import-" not in str(caught.value)


COUNTS: list[Any] = [[2], {"a": 1}, float("inf"), float("nan"), -1, 0, 2.5, 2.0, "three", "2", True, None, 10**12]


@pytest.mark.parametrize("count", COUNTS)
def test_a_number_of_labels_that_is_none_is_refused(store: GenerationStore, tmp_path: Path, count: Any) -> None:
    """With the file, the field, what it says and what it must be; a list, a half and a word are no number of labels."""
    model = relabelled(tmp_path / "model", id2label=None, num_labels=count)
    with pytest.raises(UnusableModel) as caught:
        import_base(store, model, kind="classifier", labels=("calm", "flood"))
    assert f"{model / 'config.json'}: num_labels is {count!r}, it must be a whole number" in str(caught.value)
    with pytest.raises(UnusableModel, match="num_labels"):
        labels_in(model)


def test_names_that_are_not_as_many_as_are_counted_are_refused(store: GenerationStore, tmp_path: Path) -> None:
    """The number would win, and every name be lost."""
    model = relabelled(tmp_path / "model", num_labels=3)
    with pytest.raises(UnusableModel, match=r"num_labels is 3, id2label names 2"):
        import_base(store, model, kind="classifier")


def test_labels_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """However the file lists them, and whatever is a name."""
    names = {str(number): number * 100 for number in (10, 2, 0, 1, *range(3, 10))}
    path = relabelled(tmp_path / "model", id2label=names)
    assert labels_in(path) == tuple(str(number * 100) for number in range(11))


@pytest.mark.parametrize("problem", ["regression", "river"])
def test_a_head_for_another_problem_is_refused(store: GenerationStore, tmp_path: Path, problem: str) -> None:
    """It gives no probabilities of labels."""
    model = relabelled(tmp_path / "model", problem_type=problem)
    with pytest.raises(UnusableModel, match=r"regression|problem_type is 'river'"):
        import_base(store, model, kind="classifier")


def test_a_head_of_one_answer_is_refused(store: GenerationStore, tmp_path: Path) -> None:
    """Its softmax is 1, whatever the text."""
    make_classifier(tmp_path / "model")
    config = BertConfig.from_pretrained(tmp_path / "model", num_labels=1)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    with pytest.raises(UnusableModel, match="one number for a text"):
        import_base(store, tmp_path / "model", kind="classifier")


def test_a_head_of_several_labels_is_taken(store: GenerationStore, tmp_path: Path) -> None:
    """It keeps what it is, also where its labels get their names from the settings."""
    model = relabelled(tmp_path / "model", problem_type="multi_label_classification")
    published = import_base(store, model, kind="classifier")
    assert is_multi_label(json.loads((published.path / "config.json").read_text()))
    unnamed = make_classifier(tmp_path / "unnamed", labels=("LABEL_0", "LABEL_1"))
    config = json.loads((unnamed / "config.json").read_text()) | {"problem_type": "multi_label_classification"}
    (unnamed / "config.json").write_text(json.dumps(config))
    other = import_base(GenerationStore(tmp_path / "other"), unnamed, kind="classifier", labels=("calm", "flood"))
    assert labels_in(other.path) == ("calm", "flood")
    assert is_multi_label(json.loads((other.path / "config.json").read_text()))
