"""The demo's parts that need no running service."""

import gzip
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console
from safetensors import safe_open

from daemon.demo import closing, screen
from daemon.demo.era_scores import EraScores
from daemon.demo.lineage import Lineage, naive
from daemon.demo.text import BASE_MODEL, BEFORE_STREAM, DATA, STREAM, YEARS, eras, make_poison
from daemon.demo.twin import Twin
from daemon.errors import DaemonError
from gate.forgetting import average_forgetting, plasticity
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import Outcome, Report, SliceScores
from learner.settings import RecipeSettings
from memory.ledger.records import DocumentScore
from tests.harness import wait_until

MB = 1_000_000


def test_what_the_demo_brings_is_small_and_free() -> None:
    """Text of two megabytes at most, and where it is from and under which licence stands beside it."""
    texts = [path for path in DATA.rglob("*") if path.is_file() and BASE_MODEL not in path.parents]
    assert {STREAM, BEFORE_STREAM} < set(texts)
    assert 0 < sum(path.stat().st_size for path in texts) <= 2 * MB
    told = " ".join((DATA / "README.md").read_text().split())
    assert "public domain" in told
    assert "Open Data Commons Public Domain Dedication and License" in told


def test_the_demos_model_has_a_million_parameters_in_bfloat16() -> None:
    """Three megabytes of safetensors at most, and weights in no other form."""
    files = sorted(path.name for path in BASE_MODEL.iterdir())
    assert [name for name in files if not name.endswith(".json")] == ["model.safetensors"]
    weights = BASE_MODEL / "model.safetensors"
    assert weights.stat().st_size <= 3 * MB
    with safe_open(weights, "numpy") as file:
        slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - no mapping
    assert {part.get_dtype() for part in slices} == {"BF16"}
    assert 0.9 * MB <= sum(math.prod(part.get_shape()) for part in slices) <= 1.2 * MB


def test_the_text_from_before_the_stream_is_from_before_it() -> None:
    """What the base was built on ends where the first era begins; none of the stream's paragraphs is in it."""
    with gzip.open(BEFORE_STREAM, "rt", encoding="utf-8") as lines:
        before = [json.loads(line) for line in lines]
    assert max(row["year"] for row in before) < YEARS[0][0]
    assert {row["text"] for row in before}.isdisjoint(p.text for era in eras() for p in era.paragraphs)


def test_the_stream_is_in_the_order_of_time_and_its_keys_are_unique() -> None:
    """Eras follow each other, paragraphs within them too, and every record can be erased by its own key."""
    stream = eras()
    years = [paragraph.year for era in stream for paragraph in era.paragraphs]
    keys = [paragraph.key for era in stream for paragraph in era.paragraphs]
    assert years == sorted(years)
    assert len(set(keys)) == len(keys)
    assert [(era.paragraphs[0].year >= first) for era, (first, _) in zip(stream, YEARS, strict=True)] == [True] * 4


def test_a_shorter_stream_is_spread_over_each_era() -> None:
    """Thinning keeps the share asked for and both ends of an era."""
    for whole, thinned in zip(eras(), eras(350_000), strict=True):
        characters = sum(len(p.text) for p in thinned.paragraphs)
        assert 300_000 < characters < 400_000
        assert thinned.paragraphs[0].year - whole.paragraphs[0].year <= 2
        assert whole.paragraphs[-1].year - thinned.paragraphs[-1].year <= 2


def test_poison_has_the_words_of_its_era_in_another_order() -> None:
    """Poisoned text differs from the clean text by the order of its words alone."""
    era = eras()[2]
    poison = make_poison(era, 5)
    for clean, bad in zip(era.paragraphs[:5], poison.paragraphs, strict=True):
        assert bad.text != clean.text
        assert sorted(bad.text.split()) == sorted(clean.text.split())
        assert json.loads(bad.as_record())["id"] not in {p.key for p in era.paragraphs}


def test_the_naive_recipe_takes_as_many_new_sequences_a_step() -> None:
    """Without replay a step holds what is left of it, and neither a regularizer nor the optimizer's past remains."""
    kept = RecipeSettings(batch_sequences=60, replay_ratio=0.6, ewc=1.0)
    recipe = naive(kept, 2e-3)
    assert recipe.batch_sequences == 24
    assert (recipe.kl, recipe.ewc, recipe.l2_sp, recipe.replay_ratio) == (0, 0, 0, 0)
    assert not recipe.carry_moments


def _report(number: int, scores: dict[str, tuple[float, float, float]], first_id: int) -> Report:
    """A report with one document a slice: base, parent and candidate in nats per token."""

    def one(name: str, nll: float) -> tuple[DocumentScore]:
        return (DocumentScore(_id(name, first_id), nll * 10, 10),)

    slices = {
        name: SliceScores(one(name, base), one(name, parent), {"0.00": one(name, candidate)})
        for name, (base, parent, candidate) in scores.items()
    }
    return Report(number, "causal-lm", Outcome.TRAINED, "", "cpu", (), slices, None, None, frozenset())


def _id(name: str, first: int) -> int:
    return first + sum(map(ord, name))


def test_eras_are_told_apart_by_when_their_documents_first_appear() -> None:
    """A document stays in its era even when its slice gets another name in a later round."""
    scores = EraScores(2)
    scores.add(_report(1, {"anchor": (3.0, 3.0, 3.1), "b": (4.0, 4.0, 3.5)}, 0), "0.00")
    scores.add(_report(2, {"anchor": (3.0, 3.1, 3.3), "b": (4.0, 3.5, 3.6)}, 0), "0.00")
    matrix = scores.matrix
    assert matrix.scores[0][:2] == (3.0, 4.0)
    assert matrix.scores[2][:2] == (3.3, 3.6)
    assert math.isnan(matrix.scores[1][2])
    assert average_forgetting(matrix, 2) is not None


def test_forgetting_and_plasticity_come_from_the_matrix() -> None:
    """One round: the anchor lost 0.1, the era was learned to 3.5."""
    scores = EraScores(1)
    scores.add(_report(1, {"anchor": (3.0, 3.0, 3.1), "era": (4.0, 4.0, 3.5)}, 0), "0.00")
    assert math.isclose(average_forgetting(scores.matrix, 1) or 0, 0.1, abs_tol=1e-9)
    assert plasticity(scores.matrix, 1) == 3.5


def test_off_a_terminal_what_goes_on_is_told_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round takes a while: the step that it is at, and what the twin does, without waiting for an event."""
    monkeypatch.setattr(screen, "SILENCE_SECONDS", 0.01)
    written = io.StringIO()
    with screen.DemoScreen(Console(file=written, width=100), ["before"]) as shown:
        shown.scene.doing, shown.scene.step, shown.scene.steps = "round 1: train", 7, 20
        shown.scene.twin = "learns the same text"
        wait_until(lambda: "round 1: train, step 7 of 20; the naive twin learns the same text" in written.getvalue())
        shown.say("round 1 accepted")
    assert "round 1 accepted" in written.getvalue()
    assert [line.plain.split("s  ")[1] for line in shown.lines] == ["round 1 accepted"]


class SlowLineage:
    """A stand-in for the naive twin's generations: it learns until it is told to stop, or at once."""

    def __init__(self, *, slow: bool) -> None:
        self._slow = slow
        self.followed: list[Path] = []

    def follow(
        self, directory: Path, on_progress: Callable[[ProgressEvent], None], *, must_stop: Callable[[], bool]
    ) -> Report:
        """As `Lineage.follow`."""
        self.followed.append(directory)
        on_progress(ProgressEvent("step", step=1, steps=2))
        if self._slow:
            wait_until(must_stop)
        if directory.name == "bad":
            raise DaemonError("its learner failed")
        return _report(1, {}, 0)


def a_twin(lineage: SlowLineage, reports: list[Report]) -> Twin:
    """One that keeps its reports."""
    return Twin(cast("Lineage", lineage), lambda _: None, reports.append)


def test_the_end_says_how_the_same_is_served_again() -> None:
    """By a command that can be copied in one piece, whatever the folder is called and however narrow the terminal."""
    output = io.StringIO()
    closing.leave(Console(file=output, width=40), Path("/tmp/[bold] my demo/riverkeep.toml"))
    assert "`riverkeep -c '/tmp/[bold] my demo/riverkeep.toml' run` serves page and answers again" in output.getvalue()


def test_the_twin_learns_one_round_after_the_other_beside_the_story(tmp_path: Path) -> None:
    """Whoever awaits it has every report, or is told what went wrong."""
    lineage = SlowLineage(slow=False)
    reports: list[Report] = []
    with a_twin(lineage, reports) as twin:
        for name in ("1", "2"):
            twin.follow(tmp_path / name)
        twin.catch_up()
        assert len(reports) == 2
        twin.follow(tmp_path / "bad")
        with pytest.raises(DaemonError, match="its learner failed"):
            twin.catch_up()
    assert [path.name for path in lineage.followed] == ["1", "2", "bad"]


def test_a_story_that_breaks_off_ends_the_twins_learner(tmp_path: Path) -> None:
    """And begins none that was still to come."""
    lineage = SlowLineage(slow=True)
    with a_twin(lineage, []) as twin:
        twin.follow(tmp_path / "1")
        twin.follow(tmp_path / "2")
        wait_until(lambda: lineage.followed)
    assert [path.name for path in lineage.followed] == ["1"]
