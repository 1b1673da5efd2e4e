"""What there is to judge a round by, before anything is trained."""

from pathlib import Path

import pytest

from daemon.rounds.judgeable import ForeseenEvidence, Wanted, foresee, needs_of
from daemon.settings.tree import Settings
from gate.held_out import Need
from memory.ledger.records import OutlinedSample, SliceOutline
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
