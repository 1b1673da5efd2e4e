"""A candidate that was scored no further, before a person and in the ledger."""

from pathlib import Path

import pytest

from daemon.cli.render.rounds import print_round
from daemon.control.facts.explained import beside, explained_round
from daemon.control.facts.rounds import round_in_full
from gate.checks.stopped_scoring import stopped_sentences
from learner.directory.round_directory import read_round
from memory.ledger.states import RoundState
from memory.samples.slice_names import ANCHOR
from tests.unit.daemon.rooms import world


def test_a_stopped_candidate_is_told_of_and_is_in_no_row_of_r(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The learner is given the bounds; the verdict, the round's table and why it ended name what was broken."""
    with world(tmp_path) as here:
        conclusion = here.run("overshooting")
        assert conclusion.state is RoundState.ACCEPTED
        assert read_round(here.rooms.round_dir(1)).spec.harm[0].slices == (ANCHOR,)
        round_ = here.store.rounds.read(1)
        print_round(round_in_full(round_))
        explained = explained_round(round_, beside(here.store, round_, ""))
        (sentence,) = [each for each in explained["ended"] if "no further" in each]
        assert sentence.startswith("Candidate 0.10 was scored no further: on slice anchor it is 1.000 nats per token w")
        # Where its lines end is the screen's width's matter.
        assert sentence in " ".join(capsys.readouterr().out.split())
        (row,) = [row for row in here.store.generations.score_matrix() if (row.generation, row.slice) == (1, ANCHOR)]
        assert row.score.mean_nll < 3.0
        assert set(round_.report["flips"]) == {"0.00"}


def test_a_verdict_of_a_version_before_tells_of_none() -> None:
    """Nor one that another version wrote in words of its own."""
    assert list(stopped_sentences({})) == []
    assert list(stopped_sentences({"stopped": [{"candidate": "0.00", "because": "it is"}]})) == []
