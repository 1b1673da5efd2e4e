"""A round that scores a candidate no further than it has to."""

import json
from pathlib import Path

import pytest

from checkpoints.generation_store import Published
from learner.directory.harm_bounds import HarmBound
from learner.directory.kept_candidates import keep
from learner.directory.report import Report, read_report
from learner.job import run_round
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

RECIPE = tiny.SMALL.model_copy(update={"interpolation": (0.0, 0.5, 0.9)})
NEVER = HarmBound(("anchor",), -5.0, None, 0.0)
"""Broken by whatever is not much better than the parent."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama as generation 0."""
    return tiny.generation(tmp_path_factory.mktemp("base"), tiny.llama(), tiny.tokenizer(), "causal-lm")


def test_the_last_that_could_pass_is_scored_whole(base: Published, tmp_path: Path) -> None:
    """The others on the anchor alone, and not asked anything; all can be written still."""
    path = tiny.causal_round(tmp_path / "round", base, recipe=RECIPE, harm=(NEVER,), skills=[tiny.skill(LINES)])
    report = run_round(path)
    assert [(each.candidate, each.on, each.unscored, each.unasked) for each in report.stopped] == [
        ("0.00", "anchor", ("1",), (tiny.skill(LINES).name,)),
        ("0.50", "anchor", ("1",), (tiny.skill(LINES).name,)),
    ]
    assert set(report.slices["anchor"].candidates) == {"0.00", "0.50", "0.90"}
    assert set(report.slices["1"].candidates) == {"0.90"}
    assert {name for scores in report.skills.values() for name in scores.candidates} == {"0.90"}
    assert read_report(path) == report
    told = [event.get("reason") for event in events(path) if event["event"] == "candidate"]
    assert told == [*["it breaks a bound on anchor: scored no further"] * 2, None]


def test_what_is_scored_is_what_it_was(base: Published, tmp_path: Path) -> None:
    """To the bit, candidate by candidate; a bound that is kept changes nothing at all."""
    plain = run_round(tiny.causal_round(tmp_path / "plain", base, recipe=RECIPE))
    kept = HarmBound(("anchor",), 50.0, None, 0.0)
    assert of(run_round(tiny.causal_round(tmp_path / "kept", base, recipe=RECIPE, harm=(kept,)))) == of(plain)
    stopped = run_round(tiny.causal_round(tmp_path / "stopped", base, recipe=RECIPE, harm=(NEVER,)))
    assert of(stopped) == {key: rows for key, rows in of(plain).items() if key in of(stopped)}
    assert len(of(stopped)) == len(of(plain)) - 2


def test_judging_again_stops_alike(base: Published, tmp_path: Path) -> None:
    """And what was stopped before is scored again with the rest."""
    trained = tiny.causal_round(tmp_path / "trained", base, recipe=RECIPE, harm=(NEVER,))
    first = run_round(trained)
    kept = keep(trained, trained_in=1, judgings=1)
    again = run_round(
        tiny.causal_round(tmp_path / "again", base, recipe=RECIPE, harm=(NEVER,), kept=kept, kept_dir=trained)
    )
    assert again.stopped == first.stopped
    free = run_round(tiny.causal_round(tmp_path / "free", base, recipe=RECIPE, kept=kept, kept_dir=trained))
    assert (free.stopped, set(free.slices["1"].candidates)) == ((), {"0.00", "0.50", "0.90"})


def of(report: Report) -> dict[tuple[str, str], object]:
    """Scores by slice and candidate."""
    return {(name, who): rows for name, each in report.slices.items() for who, rows in each.candidates.items()}


def events(path: Path) -> list[dict[str, object]]:
    """What the round said."""
    return [json.loads(line) for line in (path / "progress.jsonl").read_text().splitlines()]


LINES = [{"prompt": f"the {noun} carries the", "exact": "boat"} for noun in tiny.NOUNS[:3]]
