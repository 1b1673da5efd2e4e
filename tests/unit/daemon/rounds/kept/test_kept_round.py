"""Which candidates are kept, and why that comes to nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.rounds.directories import round_directory
from daemon.rounds.kept.kept_round import KeptRound, find_kept, why_void
from learner.directory.kept_candidates import keep
from memory.ledger.records import Round
from memory.ledger.states import RoundState

RECIPE = {"epochs": 1}
REFUSED = Round(
    number=7,
    state=RoundState.REFUSED,
    trigger="volume",
    recipe=RECIPE,
    seed=1,
    parent_generation=3,
    base_generation=0,
    generation=None,
    released_from=None,
    begun_at=0.0,
    ended_at=1.0,
    detail="",
    verdict={"evidence": 72},
    report={},
    fresh_samples=100,
    fresh_tokens=1000,
    replay_samples=0,
    replay_tokens=0,
    early_stop_samples=0,
)
KEPT = KeptRound(number=7, trained_in=7, look=2, documents=72, parent=3, recipe=RECIPE)


def noted(path: Path, number: int = 7, *, judgings: int = 1) -> None:
    """Let a round's directory say that its candidates are kept."""
    directory = round_directory(path, number)
    (directory / "candidates").mkdir(parents=True)
    (directory / "report.json").write_text("{}")
    keep(directory, trained_in=7, judgings=judgings)


def kept_in(path: Path, *latest: Round) -> KeptRound | None:
    """What is kept, where the rounds' directories are below `path`."""
    return find_kept(latest, lambda number: round_directory(path, number))


def test_the_latest_round_that_was_refused_for_want_of_evidence_is_kept(tmp_path: Path) -> None:
    """What was only tried or cut off since says nothing."""
    noted(tmp_path)
    tried = replace(REFUSED, number=8, state=RoundState.ABANDONED)
    assert kept_in(tmp_path, tried, REFUSED) == KEPT
    assert kept_in(tmp_path, replace(REFUSED, state=RoundState.FAILED)) == KEPT


@pytest.mark.parametrize(
    "latest",
    [
        replace(REFUSED, verdict={"evidence": 0}),
        replace(REFUSED, verdict={}),
        replace(REFUSED, state=RoundState.ACCEPTED),
        replace(REFUSED, state=RoundState.WAITING),
        replace(REFUSED, number=8),
    ],
)
def test_nothing_else_is(tmp_path: Path, latest: Round) -> None:
    """Proven harm, an end of another kind, or a later round that has taken its place."""
    noted(tmp_path)
    assert kept_in(tmp_path, latest) is None
    assert kept_in(tmp_path) is None


def test_without_its_files_nothing_is_kept(tmp_path: Path) -> None:
    """An erasure removes the directory, whatever the ledger says."""
    assert kept_in(tmp_path, REFUSED) is None


def test_each_judging_is_counted(tmp_path: Path) -> None:
    """Over the rounds that judged the same candidates."""
    noted(tmp_path, 8, judgings=2)
    kept = kept_in(tmp_path, replace(REFUSED, number=8))
    assert kept is not None
    assert (kept.number, kept.trained_in, kept.look) == (8, 7, 3)


@pytest.mark.parametrize(
    ("serving", "recipe", "said"),
    [
        (3, RECIPE, ""),
        (2, RECIPE, "generation 3, from which they were trained, does not serve any more"),
        (None, RECIPE, "does not serve any more"),
        (3, {"epochs": 2}, "the recipe is another since"),
    ],
)
def test_why_it_cannot_be_judged_again_is_said(serving: int | None, recipe: dict[str, int], said: str) -> None:
    """A sentence's end, for the log."""
    why = why_void(KEPT, serving=serving, recipe=recipe)
    assert said in why
    assert bool(said) is bool(why)


@pytest.mark.parametrize(
    ("newest", "said"),
    [(60, "judged again when 12 more held-out documents of new text have come"), (72, "judged again by the next")],
)
def test_a_person_is_told_what_it_waits_for(newest: int, said: str) -> None:
    """And how often it was tried, and what to do instead."""
    sentence = KEPT.sentence(newest)
    assert sentence.startswith("what round 7 trained is kept")
    assert said in sentence
    assert "time 2 of 3" in sentence
    assert "`riverkeep round begin`" in sentence
