"""A round that judges again what an earlier one trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from checkpoints.generation_store import Published
from learner.directory.kept_candidates import KEPT, keep
from learner.directory.report import Outcome, read_report
from learner.directory.round_directory import RoundSlice, write_round
from learner.directory.trained_result import RESULT, WEIGHTS
from learner.errors import BadRoundDirectory
from learner.job import run_round
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama as generation 0."""
    return tiny.generation(tmp_path_factory.mktemp("base"), tiny.llama(), tiny.tokenizer(), "causal-lm")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Published) -> Path:
    """A round that has trained and keeps its candidates."""
    path = tiny.causal_round(tmp_path_factory.mktemp("trained") / "round", base, recipe=tiny.SMALL)
    run_round(path)
    keep(path, trained_in=1, judgings=1)
    return path


def again(path: Path, base: Published, trained: Path, *, judgings: int = 1) -> Path:
    """Write a round that judges it again, with one more document in each slice."""
    kept = keep(trained, trained_in=1, judgings=judgings)
    write_round(
        path,
        replace(tiny.spec_for(base), round=2, kept=kept),
        parent_dir=base.path,
        base_dir=base.path,
        kept_dir=trained,
        fresh=tiny.samples(60, seed=1, nouns=tiny.NEW_NOUNS),
        replay=tiny.samples(40, seed=2, first=1000),
        early_stop=[],
        slices=[
            RoundSlice("anchor", "anchor", "river", tuple(tiny.samples(13, seed=3, first=3000))),
            RoundSlice("2", "newest", "river", tuple(tiny.samples(13, seed=4, first=4000, nouns=tiny.NEW_NOUNS))),
        ],
    )
    return path


def test_nothing_is_trained_and_the_report_is_whole(base: Published, trained: Path, tmp_path: Path) -> None:
    """The candidates are those that were trained, bit for bit; what their training took is told as it was."""
    path = again(tmp_path / "again", base, trained)
    report, earlier = run_round(path), read_report(trained)
    assert (report.round, report.outcome) == (2, Outcome.TRAINED)
    assert (report.training, report.touched, report.prequential) == (
        earlier.training,
        earlier.touched,
        earlier.prequential,
    )
    assert '"step"' not in (path / "progress.jsonl").read_text()
    for name in ("0.00", "0.50"):
        weights = [each / "candidates" / name / "model.safetensors" for each in (path, trained)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    assert (path / RESULT / WEIGHTS).samefile(trained / RESULT / WEIGHTS)
    assert set(report.slices["2"].candidates) == {"0.00", "0.50"}
    assert len(report.slices["2"].parent) == 13


def test_what_was_scored_before_scores_the_same(base: Published, trained: Path, tmp_path: Path) -> None:
    """Loaded from disk, a candidate is what it was when it was written."""
    report, earlier = run_round(again(tmp_path / "again", base, trained)), read_report(trained)
    for share in ("0.00", "0.50"):
        before = {row.id: row.nll for row in earlier.slices["anchor"].candidates[share]}
        after = {row.id: row.nll for row in report.slices["anchor"].candidates[share]}
        assert len(after) == len(before) + 1
        assert {id_: after[id_] for id_ in before} == pytest.approx(before, rel=1e-5)


def test_it_can_be_run_again_elsewhere_and_kept_again(base: Published, trained: Path, tmp_path: Path) -> None:
    """Its directory has all that it needs, and a third judging finds in it what the second found."""
    path = again(tmp_path / "again", base, trained)
    first = run_round(path)
    assert run_round(path).slices == first.slices
    third = again(tmp_path / "third", base, path, judgings=2)
    assert run_round(third).training == first.training


def test_a_damaged_result_is_not_judged(base: Published, trained: Path, tmp_path: Path) -> None:
    """Found by its digest before anything is loaded."""
    path = again(tmp_path / "again", base, trained)
    weights = path / KEPT / RESULT / WEIGHTS
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadRoundDirectory, match="is damaged"):
        run_round(path)
    assert not (path / "report.json").exists()
