"""An earlier generation that a round is given to score again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from checkpoints.manifest import MANIFEST
from learner.directory.report import Report
from learner.directory.round_directory import BEST, REPORT, GenerationRef, RoundSlice, write_round
from learner.errors import BadRoundDirectory
from learner.job import run_round
from memory.ledger.records import DocumentScore
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

KNOWN = {30: DocumentScore(30, 1.25, 3)}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A round whose base is its parent, and that is to score another generation of which one document is known."""
    base = tiny.generation(tmp_path / "base", tiny.llama(dtype=torch.bfloat16), tiny.tokenizer(), "causal-lm")
    best = tiny.generation(tmp_path / "best", tiny.llama(seed=5), tiny.tokenizer(), "causal-lm")
    write_round(
        tmp_path / "round",
        replace(tiny.spec_for(base), best=GenerationRef(1, best.digest)),
        parent_dir=base.path,
        base_dir=base.path,
        best_dir=best.path,
        fresh=tiny.samples(10, seed=1),
        replay=[],
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(tiny.samples(3, seed=3, first=30)))],
        known_best=KNOWN,
        scored=tiny.SCORED,
    )
    return tmp_path / "round"


def test_it_is_scored_by_its_own_weights_where_it_is_not_known(given: Path) -> None:
    """Beside base, parent and candidates, on the same documents."""
    scores = run_round(given).slices["anchor"]
    assert scores.best[0] == KNOWN[30]
    assert [score.id for score in scores.best] == [score.id for score in scores.parent]
    assert [score.tokens for score in scores.best[1:]] == [score.tokens for score in scores.parent[1:]]
    assert scores.best[1].nll != scores.parent[1].nll


def test_one_that_is_damaged_stops_the_round_before_anything_is_trained(given: Path) -> None:
    """As a damaged base does: nobody may be held to what something else scored."""
    (given / BEST / MANIFEST).unlink()
    with pytest.raises(BadRoundDirectory, match="no manifest"):
        run_round(given)


def test_known_answers_of_a_classifier_get_their_documents_label(tmp_path: Path) -> None:
    """The ledger keeps none, and a report whose answers lack the true label cannot be read."""
    tokenizer, held_out = tiny.tokenizer(bert=True), tiny.labelled(3, seed=3, first=30)
    base = tiny.generation(tmp_path / "base", tiny.bert(), tokenizer, "classifier")
    best = tiny.generation(tmp_path / "best", tiny.bert(seed=5), tokenizer, "classifier")
    write_round(
        tmp_path / "round",
        replace(tiny.spec_for(base, kind="classifier"), best=GenerationRef(1, best.digest)),
        parent_dir=base.path,
        base_dir=base.path,
        best_dir=best.path,
        fresh=tiny.labelled(10, seed=1),
        replay=[],
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(held_out))],
        known_best={30: DocumentScore(30, 1.25, 1, "calm", was_right=True)},
        scored=tiny.SCORED,
    )
    run_round(tmp_path / "round")
    scores = Report.decode((tmp_path / "round" / REPORT).read_bytes()).slices["anchor"].best
    assert (scores[0].nll, scores[0].predicted) == (1.25, "calm")
    assert [score.label for score in scores] == [sample.label for sample in held_out]
