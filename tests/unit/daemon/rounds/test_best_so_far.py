"""A candidate is held to the best generation so far also where too little is known of that one any more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli.render.rounds import print_round
from daemon.control.facts.rounds import round_in_full
from daemon.rounds.best_so_far import find_best, known_scores
from learner.directory.report import WAY_OF_SCORING
from learner.directory.round_directory import BEST, read_round
from memory.ledger.records import SliceScore
from memory.ledger.scorings import Scoring
from memory.ledger.states import RoundState
from memory.samples.slice_names import ANCHOR
from tests.unit.daemon.rooms import World, world

WAY = Scoring("cpu", "float32", 512, WAY_OF_SCORING)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """Two rounds were accepted; by R the first of them was much better on the anchor than what serves."""
    with world(tmp_path) as made:
        for seed in (11, 12, 13):
            assert made.run("good").state is RoundState.ACCEPTED
            made.feed(seed=seed)
        made.store.generations.save_scores(1, {ANCHOR: SliceScore(1.5, 100, 10)}, scored=WAY)
        yield made


def forget_documents(here: World, generation: int) -> None:
    """As after a change of what is drawn, or in a store of an earlier version."""
    with here.store.file.database.write() as tx:
        tx.execute("DELETE FROM document_scores WHERE generation = ?", (generation,))


def test_a_best_generation_of_which_all_is_known_is_not_scored_again(here: World) -> None:
    """A round costs no more than it must."""
    assert find_best(here.store, parent=3, base=0)[ANCHOR] == 1
    here.run("good")
    given = read_round(here.rooms.round_dir(4))
    assert given.spec.best is None
    assert not (given.path / BEST).exists()
    assert here.metric("riverkeep_bounds_not_held") == 0


def test_a_best_generation_of_which_too_little_is_known_is_scored_again(here: World) -> None:
    """The learner is given its files, the gate what it found, and the candidate is refused for being worse."""
    forget_documents(here, 1)
    conclusion = here.run("good")
    given = read_round(here.rooms.round_dir(4))
    assert given.spec.best is not None
    assert given.spec.best.generation == 1
    assert (given.path / BEST / "model.safetensors").exists()
    assert conclusion.state is RoundState.REFUSED
    assert conclusion.verdict is not None
    assert "best" in {check.name for check in conclusion.verdict.checks if not check.passed}
    assert not conclusion.verdict.not_held


def test_what_was_scored_again_is_known_from_then_on(here: World) -> None:
    """Once a round is accepted, as the scores of parent and base are."""
    forget_documents(here, 1)
    gate = here.settings.gate.model_copy(update={"max_rise_best": 10.0, "max_average_forgetting": 10.0})
    here.settings = here.settings.model_copy(update={"gate": gate})
    assert here.run("good").state is RoundState.ACCEPTED
    assert known_scores(here.store, WAY)[1]


def test_where_its_files_are_gone_the_verdict_says_that_its_bound_was_not_held(
    here: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the sentence, in the round's table, and in a metric: not by leaving the bound out."""
    forget_documents(here, 1)
    here.rooms.checkpoints.remove(1)
    conclusion = here.run("good")
    assert conclusion.state is RoundState.ACCEPTED
    assert conclusion.verdict is not None
    assert [(bound.slice, bound.generation) for bound in conclusion.verdict.not_held] == [(ANCHOR, 1)]
    assert "Not every bound against generation 1, the best so far on slice anchor, could be held" in conclusion.detail
    print_round(round_in_full(here.store.rounds.read(4)))
    assert "Not held: the bound against generation 1" in capsys.readouterr().out.replace("\n", " ")
    assert here.metric("riverkeep_bounds_not_held") == 1
