"""What there is to judge a round by, before anything is trained."""

import json
from pathlib import Path

import pytest

from checkpoints.generation_store import GenerationStore
from daemon.rounds.inputs import part_by_labels
from daemon.rounds.judgeable import ForeseenEvidence, Wanted, foresee, needs_of
from daemon.settings.tree import Settings
from gate.held_out import Need
from memory.ledger.records import OutlinedSample, SliceOutline
from memory.store import Store
from streams.document import Batch, Document, Partition
from tests.daemon_harness import sentences
from tests.unit.daemon.rooms import world


def outline(kind: str, first: int, labels: list[str]) -> SliceOutline:
    """Held-out documents with these labels."""
    samples = tuple(OutlinedSample(first + at, label) for at, label in enumerate(labels))
    return SliceOutline(f"{kind} {first}", kind, "" if kind == "anchor" else "news", samples)  # type: ignore[arg-type]


def classifier(tmp_path: Path) -> Settings:
    """Settings of a classifier."""
    model = {"path": str(tmp_path), "kind": "classifier", "labels": ["a", "b"]}
    return Settings.model_validate({"state_dir": str(tmp_path), "model": model, "gate": {"minimum_documents": 5}})


@pytest.mark.parametrize(("labels", "met"), [(["a"] * 6, False), (["a"] * 5 + ["b"], True)])
def test_a_classifier_s_first_round_needs_two_labels_to_be_judged_by(
    tmp_path: Path, labels: list[str], met: bool
) -> None:
    """Of one label alone nobody can tell what has learned from what always answers alike."""
    slices = [outline("anchor", 0, ["a"] * 6), outline("newest", 100, labels)]
    needs = needs_of(slices, classifier(tmp_path), first=True)
    assert [need.is_met for need in needs] == [True, True, met]
    assert met or "documents of 1 labels, at least 2 are needed" in needs[-1].sentence()
    assert len(needs_of(slices, classifier(tmp_path), first=False)) == 2


def arrive(store: Store, labels: list[str], *, seed: int, before_stream: bool = False) -> None:
    """Let documents with these labels arrive, each by itself."""
    partition = Partition(f"file {seed}", 0)
    texts = sentences(len(labels), seed=seed)
    documents = tuple(
        Document(text, "news", None, label, None, 1e9, partition, at)
        for at, (text, label) in enumerate(zip(texts, labels, strict=True))
    )
    store.append(Batch(documents, (), (), {partition: len(labels)}), before_stream=before_stream)


def test_a_round_whose_new_text_holds_a_new_label_alone_can_be_judged(tmp_path: Path) -> None:
    """As soon as enough documents have it, as a person who named it was promised; not before."""
    base = GenerationStore(tmp_path / "checkpoints").path(0)
    base.mkdir(parents=True)
    (base / "config.json").write_text(json.dumps({"id2label": {"0": "a", "1": "b"}}))
    model = {"path": "m", "kind": "classifier", "labels": ["a", "b", "c"]}
    memory = {"holdout_share": 0.4, "holdout_share_most": 0.5, "anchor_minimum": 8, "near_duplicate_similarity": 1.0}
    settings = Settings.model_validate(
        {"state_dir": str(tmp_path), "model": model, "memory": memory, "gate": {"minimum_documents": 8}}
    )
    with Store.open(settings.database, settings.memory) as store:
        store.generations.register_base(digest="0" * 64, source_path="m")
        arrive(store, ["a", "b"] * 30, seed=1, before_stream=True)
        arrive(store, ["c"] * 40, seed=2)
        assert "held-out new text" in foresee(store, settings, ()).lacking
        arrive(store, ["c"] * 80, seed=3)
        assert foresee(store, settings, ()).lacking == ""
        draw = store.rounds.begin(trigger="test", recipe={}, seed=1)
        assert draw is not None
        given, new = part_by_labels(draw, settings)
        assert new == ("c",)
        assert all(need.is_met for need in needs_of(given.slices, settings, first=True))


def test_a_full_memory_says_that_nothing_more_comes(tmp_path: Path) -> None:
    """What is lacked would be waited for for ever."""
    small = {"holdout_share": 0.2, "anchor_minimum": 8, "fresh_samples": 20}
    with world(tmp_path, memory=small, gate={"minimum_documents": 1_000}) as here:
        found = foresee(here.store, here.settings, here.store.rounds.latest())
        assert "at least 1000 are needed" in found.lacking
        assert "raise `memory.fresh_samples`" in found.lacking


@pytest.mark.parametrize(("newest", "full", "early"), [(24, False, True), (40, False, False), (24, True, False)])
def test_more_evidence_is_waited_for_where_it_can_come(newest: int, full: bool, early: bool) -> None:
    """Once it is there, or where the memory is full, the next round may begin by itself."""
    needs = (Need("anchor", 30, 20), Need("newest", newest, 20))
    evidence = ForeseenEvidence(needs, Wanted(round=7, documents=40, fresh_samples=400), full)
    assert not evidence.lacking
    assert bool(evidence.too_early) == early
    assert [evidence.needed_by_itself(need) for need in needs] == [20, 40]
