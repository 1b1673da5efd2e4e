"""What a real learner trained and a gate could not prove is judged again on more text, and serves as it was trained."""

import itertools
from pathlib import Path
from typing import cast

import pytest

from checkpoints.files.durable_writes import sha256_of
from daemon.processes.learner import Learner, LearnerEnding, LearnerExit
from daemon.processes.learner_process import LearnerProcess
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.judgeable import ForeseenEvidence, foresee
from daemon.rounds.runner import RoundRunner
from learner.directory.report import read_report
from learner.job import run_round
from memory.ledger.states import RoundState
from tests.models import make_causal
from tests.unit.daemon.rooms import DRY, World, world

pytestmark = pytest.mark.usefixtures("torch_settings_kept")
BY_ITSELF = Ask(Trigger.VOLUME, by="volume")
RECIPE = {
    "sequence_length": 64,
    "batch_sequences": 8,
    "micro_batch": 16,
    "max_steps": 4,
    "learning_rate": 3e-3,
    "interpolation": [0.0, 0.5],
    "early_stop_checks": 0,
}


class InThisProcess:
    """The real job without the seconds that the start of a process takes."""

    def run(self, directory: Path, **_: object) -> LearnerExit:
        """As `Learner.run`."""
        run_round(directory)
        return LearnerExit(LearnerEnding.FINISHED, "", 0.0)


def run(here: World, learner: object, ask: Ask) -> Conclusion:
    """Run a round to its end."""
    runner = RoundRunner(
        here.rooms,
        settings=lambda: here.settings,
        learner=cast("Learner", learner),
        current=here.current,
        metrics=here.metrics,
        promotion=here.promotion,
        clock=lambda: 1_700_000_000.0,
        seed=lambda: 7,
    )
    conclusion = runner.run(ask, "a test", must_stop=lambda: False)
    assert conclusion is not None
    return conclusion


def foreseen(here: World) -> ForeseenEvidence:
    """What there is to judge a round by now."""
    return foresee(here.store, here.settings, here.store.rounds.latest())


def ask_for_gain(here: World, least: float) -> None:
    """Change what the gate asks for."""
    gate = here.settings.gate.model_copy(update={"minimum_gain": least})
    here.settings = here.settings.model_copy(update={"gate": gate})


def test_it_is_accepted_without_a_training_step(tmp_path: Path) -> None:
    """Of the gain that is asked for first the text is too little to tell; the same weights serve in the end."""
    with world(
        tmp_path,
        model={"path": str(make_causal(tmp_path / "llama"))},
        learner={"device": "cpu", "threads": 1, "silence_seconds": 60, "recipe": RECIPE},
        triggers={"fresh_samples": 10, "minimum_fresh_samples": 1, "cooldown_seconds": 0},
    ) as here:
        tried = run(here, InThisProcess(), DRY)
        assert tried.verdict is not None
        learned = next(check for check in tried.verdict.checks if check.name == "learned")
        assert learned.figure < learned.upper < 0
        ask_for_gain(here, -(learned.figure + learned.upper) / 2)
        unproven = run(here, InThisProcess(), BY_ITSELF)
        assert unproven.verdict is not None
        assert unproven.verdict.unproven, unproven.detail
        kept = foreseen(here).kept
        assert kept is not None
        seeds = itertools.count(20)
        while foreseen(here).newest < kept.documents:
            here.feed(20, seed=next(seeds))
        ask_for_gain(here, 0.0)
        conclusion = run(here, LearnerProcess(), BY_ITSELF)
        assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
        assert conclusion.verdict is not None
        trained, judged = here.rooms.round_dir(kept.number), here.rooms.round_dir(3)
        weights = f"candidates/{conclusion.verdict.candidate}/model.safetensors"
        served = here.rooms.checkpoints.path(1) / "model.safetensors"
        assert sha256_of(served) == sha256_of(trained / weights) == sha256_of(judged / weights)
        assert '"event":"step"' in (trained / "progress.jsonl").read_text()
        assert '"event":"step"' not in (judged / "progress.jsonl").read_text()
        assert read_report(judged).training == read_report(trained).training
        assert here.rooms.checkpoints.card(1).trained_in == kept.number
