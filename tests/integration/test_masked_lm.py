"""A masked language model is kept current: rounds of the real learner, the gate, and replicas that say what serves."""

from pathlib import Path

import pytest

from checkpoints.load import load_model
from daemon.processes.learner_process import LearnerProcess
from memory.ledger.states import RoundState
from tests.harness import get, post
from tests.integration.test_judging_again import RECIPE, InThisProcess, run
from tests.integration.test_serving import Server
from tests.models import make_masked
from tests.unit.daemon.rooms import BY_HAND, world

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("torch_settings_kept")]


def test_two_rounds_are_accepted_and_served(tmp_path: Path) -> None:
    """Each learns what came; what the second finds of its parent is what the first said of its candidate."""
    with world(
        tmp_path,
        model={"path": str(make_masked(tmp_path / "bert")), "kind": "masked-lm"},
        learner={"device": "cpu", "threads": 1, "silence_seconds": 60, "recipe": {**RECIPE, "max_steps": 30}},
    ) as here:
        first = run(here, LearnerProcess(), BY_HAND)
        assert first.state is RoundState.ACCEPTED, first.detail
        assert "nats per masked token" in first.detail
        here.feed(seed=3)
        second = run(here, InThisProcess(), BY_HAND)
        assert second.state is RoundState.ACCEPTED, second.detail
        base, one, two = (here.losses(number) for number in range(3))
        assert set(base) == set(one) == set(two)
        assert all(two[slice_] < one[slice_] < base[slice_] for slice_ in two)
        known = (here.rooms.round_dir(2) / "known_scores.json").read_text()
        assert str(next(iter(here.store.generations.document_scores(1).values())).nll) in known
        served = here.rooms.checkpoints.path(2)
        assert type(load_model(served, "masked-lm")).__name__ == "BertForMaskedLM"
        with Server(here.settings.checkpoints_dir, kind="masked-lm") as server:
            server.until_serves(2)
            assert get(f"{server.url}/v1/models").json()["data"][0]["generation"] == 2
            answer = post(f"{server.url}/v1/completions", json={"prompt": "the state"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "wrong_model_kind")
            assert "masked language model" in answer.json()["error"]["message"]
