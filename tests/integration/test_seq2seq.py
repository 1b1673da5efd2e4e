"""A sequence-to-sequence model is kept current: rounds of the real learner on pairs, the gate, and its answers."""

from pathlib import Path

import pytest

from daemon.processes.learner_process import LearnerProcess
from memory.ledger.states import RoundState
from tests.harness import post
from tests.integration.test_judging_again import RECIPE, InThisProcess, run
from tests.integration.test_serving import Server
from tests.models import make_paired
from tests.unit.daemon.rooms import BY_HAND, world

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("torch_settings_kept")]


def test_two_rounds_are_accepted_and_served(tmp_path: Path) -> None:
    """Each learns what came, and the serving process answers from the last one: its encoder is given the prompt."""
    recipe = {**RECIPE, "max_steps": 30, "learning_rate": 1e-2}
    with world(
        tmp_path,
        model={"path": str(make_paired(tmp_path / "t5", spread=0.1)), "kind": "seq2seq"},
        learner={"device": "cpu", "threads": 1, "silence_seconds": 60, "recipe": recipe},
    ) as here:
        first = run(here, LearnerProcess(), BY_HAND)
        assert first.state is RoundState.ACCEPTED, first.detail
        assert "nats per target token" in first.detail
        here.feed(seed=3)
        second = run(here, InThisProcess(), BY_HAND)
        assert second.state is RoundState.ACCEPTED, second.detail
        base, one, two = (here.losses(number) for number in range(3))
        assert set(base) == set(one) == set(two)
        assert all(two[slice_] < one[slice_] < base[slice_] for slice_ in two)
        with Server(here.settings.checkpoints_dir, kind="seq2seq") as server:
            server.until_serves(2)
            body = {"prompt": "the river carries", "max_tokens": 5, "temperature": 0}
            answer = post(f"{server.url}/v1/completions", json=body)
            assert (answer.status_code, answer.headers["x-riverkeep-generation"]) == (200, "2")
            assert 0 < answer.json()["usage"]["completion_tokens"] <= 5
