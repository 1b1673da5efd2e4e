"""Generations are published whole, with what they are made of, and read back."""

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from checkpoints.card import Card, DataRange
from checkpoints.errors import (
    DamagedGeneration,
    NumberTaken,
    UnsafeModel,
)
from checkpoints.generation_store import GenerationStore
from checkpoints.metrics import CheckpointsMetrics
from checkpoints.serving_pointer import Pointer
from tests.unit.checkpoints.conftest import card, publish


def test_a_published_generation_verifies(store: GenerationStore, candidate: Path) -> None:
    """What was published is listed, intact, and has the digest that was returned."""
    published = store.publish(candidate, 1, card(1))
    assert store.numbers() == [1]
    store.verify(1, digest=published.digest)
    assert store.digest(1) == published.digest


def test_the_card_comes_back_as_it_was_given(store: GenerationStore, candidate: Path) -> None:
    """Lineage survives the disk; time and version are stamped."""
    given = Card(
        1,
        "causal-lm",
        parent=0,
        round=1,
        recipe={"replay_ratio": 0.6},
        data=DataRange({"news/0": (5, 9)}, 1.0, 2.0, samples=5, tokens=50),
        scores={"anchor": {"mean_nll": 3.5}},
    )
    store.publish(candidate, 1, given)
    kept = store.card(1)
    assert kept.riverkeep_version
    assert replace(kept, riverkeep_version="") == replace(given, created_at=1000.0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("card.json", "{", "cannot be read (the card is not JSON: EOF"),
        ("card.json", "[]", "cannot be read (card is an array, not an object)"),
        ("card.json", '{"generation": 1}', "cannot be read (card.kind is missing)"),
        ("card.json", '{"generation": 1, "kind": "diffusion"}', "card.kind is 'diffusion', not 'causal-lm'"),
        (
            "card.json",
            '{"generation": 1, "kind": "causal-lm", "data": {"offsets": {"news/0": [1]}}}',
            "card.data.offsets.news/0[1] is missing",
        ),
        ("manifest.json", '{"files": {"a": {"sha256": 7}}, "digest": ""}', "manifest.files.a.sha256 is a number, not"),
        ("manifest.json", '{"files": {"a": {"sha256": ""}}, "digest": ""}', "manifest.files.a.bytes is missing"),
    ],
)
def test_what_is_no_card_or_manifest_names_its_field(
    store: GenerationStore, candidate: Path, name: str, content: str, said: str
) -> None:
    """The error says which field of which file is at fault, and how."""
    publish(store, candidate, 1)
    (store.path(1) / name).write_text(content)
    with pytest.raises(DamagedGeneration) as caught:
        store.card(1) if name == "card.json" else store.manifest(1)
    assert (caught.value.file, said in str(caught.value)) == (name, True), caught.value


def test_what_the_version_before_wrote_is_read(store: GenerationStore, candidate: Path) -> None:
    """A store goes on with its card, its pointer and the numbers that it has used."""
    publish(store, candidate, 1)
    (store.path(1) / "card.json").write_text(
        '{"created_at": 5.5, "data": {"first_time": null, "labels": {}, "last_time": 2.0, "offsets": '
        '{"news/0": [3, 9]}, "replayed_labels": {}, "replayed_samples": 0, "samples": 2, "tokens": 7}, '
        '"generation": 1, "kind": "causal-lm", "parent": 0, "recipe": {"epochs": 1}, "riverkeep_version": "0.1", '
        '"round": 4, "scores": {"anchor": {"accuracy": null, "documents": 3, "mean_nll": 2.5}}, "source": null}'
    )
    store.pointer_path.write_text('{"before": [0], "digest": "ab", "generation": 1, "since": 5.0}')
    (store.root / "removed.json").write_text('{"highest": 7}')
    kept = store.card(1)
    assert (kept.round, kept.data.offsets, kept.scores["anchor"]["documents"]) == (4, {"news/0": (3, 9)}, 3)
    assert store.serving() == Pointer(1, "ab", 5.0, (0,))
    assert store.highest_number() == 7


def test_damage_is_counted(tmp_path: Path, candidate: Path) -> None:
    """A failed verification raises the counter that the alarm watches."""
    registry = CollectorRegistry()
    store = GenerationStore(tmp_path / "root", metrics=CheckpointsMetrics(registry))
    path = store.publish(candidate, 1, card(1)).path
    assert registry.get_sample_value("riverkeep_checkpoint_publish_seconds_count") == 1
    assert (registry.get_sample_value("riverkeep_checkpoints_bytes") or 0) > 0
    (path / "config.json").unlink()
    with pytest.raises(DamagedGeneration):
        store.verify(1)
    assert registry.get_sample_value("riverkeep_checkpoints_damaged_total") == 1
    assert registry.get_sample_value("riverkeep_checkpoints_kept") == 1


def test_publishing_again_is_no_error(store: GenerationStore, candidate: Path) -> None:
    """A recovery that repeats a publication gets what is there."""
    first = store.publish(candidate, 1, card(1))
    assert store.publish(candidate, 1, card(1)) == first


def test_a_number_is_not_given_to_another_model(store: GenerationStore, candidate: Path) -> None:
    """A taken number is refused for different weights."""
    publish(store, candidate, 1)
    (candidate / "model.safetensors").write_bytes(b"other")
    with pytest.raises(NumberTaken):
        publish(store, candidate, 1)


def test_pickled_weights_are_refused(store: GenerationStore, candidate: Path) -> None:
    """A candidate whose weights are a pickle is not published."""
    (candidate / "model.safetensors").rename(candidate / "pytorch_model.bin")
    with pytest.raises(UnsafeModel, match=r"pytorch_model\.bin"):
        publish(store, candidate, 1)
    assert store.numbers() == []


@pytest.mark.parametrize("name", ["source.spm", "vocab.bpe", "bpe.codes", "spiece.model", "chat_template.jinja"])
def test_whatever_a_tokenizer_is_made_of_comes_along(store: GenerationStore, candidate: Path, name: str) -> None:
    """A base that loads where it lies must load as a generation too."""
    (candidate / name).write_text("x")
    published = store.publish(candidate, 1, Card(1, "causal-lm"))
    assert (published.path / name).read_text() == "x"


def test_pickles_beside_safetensors_are_left_behind(store: GenerationStore, candidate: Path) -> None:
    """Nothing but what may be loaded gets into a generation."""
    (candidate / "optimizer.pt").write_bytes(b"pickle")
    (candidate / "modeling.py").write_text("raise SystemExit")
    publish(store, candidate, 1)
    assert {path.suffix for path in store.path(1).iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_code_of_its_own_is_refused(store: GenerationStore, candidate: Path, name: str) -> None:
    """A configuration that names code is refused, however deep the name lies."""
    (candidate / name).write_text('{"nested": [{"auto_map": {"AutoModel": "evil--repo"}}]}')
    with pytest.raises(UnsafeModel, match="auto_map"):
        publish(store, candidate, 1)


def test_sweeping_leaves_generations_alone(store: GenerationStore, candidate: Path) -> None:
    """Leftovers of a killed import or publication go at the start; generations and pointer stay."""
    publish(store, candidate, 1)
    store.point_to(1)
    (store.root / ".import-x").mkdir()
    (store.root / "generations/.staging-000002").mkdir()
    store.sweep()
    assert sorted(path.name for path in store.root.rglob(".*")) == []
    store.verify(1)
