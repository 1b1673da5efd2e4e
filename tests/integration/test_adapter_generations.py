"""Adapters from a real learner's rounds: judged, published, served, rolled back to, retired, and cut off on the way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from prometheus_client import CollectorRegistry

from checkpoints.files.durable_writes import DurableStep
from checkpoints.load import load_model
from daemon.control.without_daemon import StoreControl
from daemon.processes.learner import Learner, LearnerEnding, LearnerExit
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.pointer_repair import reconcile_pointer
from daemon.rounds.runner import RoundRunner
from learner.directory.report import read_report
from learner.job import run_round
from memory.ledger.records import GenerationState
from memory.ledger.states import RoundState
from serving.generations.loading import Loader
from serving.metrics import ServingMetrics
from tests.models import make_causal
from tests.unit.daemon.rooms import BY_HAND, World, world

pytestmark = pytest.mark.usefixtures("torch_settings_kept")
WHOLE = {
    "sequence_length": 64,
    "batch_sequences": 8,
    "micro_batch": 16,
    "max_steps": 6,
    "learning_rate": 3e-3,
    "interpolation": [0.0, 0.5],
    "early_stop_checks": 0,
}
LORA = WHOLE | {
    "adapter": "lora",
    "adapter_rank": 1,
    "adapter_rounds": 2,
    "adapter_drift": 1000.0,
    "learning_rate": 5e-2,
}
CUTS = [DurableStep.STAGE_COPY, DurableStep.PUBLISHED, DurableStep.POINTED, DurableStep.REMOVE_RENAME]


class Cut(BaseException):
    """Stands for a kill: nothing may catch it."""


class InThisProcess:
    """The real job without the seconds that the start of a process takes; something may follow it."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self._then = then

    def run(self, directory: Path, **_: object) -> LearnerExit:
        """As `Learner.run`."""
        run_round(directory)
        self._then()
        return LearnerExit(LearnerEnding.FINISHED, "", 0.0)


def runner(here: World, learner: object) -> RoundRunner:
    """Of rounds with this learner."""
    return RoundRunner(
        here.rooms,
        settings=lambda: here.settings,
        learner=cast("Learner", learner),
        current=here.current,
        metrics=here.metrics,
        promotion=here.promotion,
        clock=lambda: 1_700_000_000.0,
        seed=lambda: 7,
    )


def run(here: World, seed: int, then: Callable[[], None] = lambda: None) -> Conclusion:
    """Let more text arrive and run a round to its end."""
    here.feed(seed=seed)
    conclusion = runner(here, InThisProcess(then)).run(BY_HAND, "a test", must_stop=lambda: False)
    assert conclusion is not None
    return conclusion


@contextmanager
def real_world(path: Path, recipe: dict[str, Any]) -> Iterator[World]:
    """A world with a model that can be trained, which keeps as few generations as can be."""
    with world(
        path,
        model={"path": str(make_causal(path / "llama", width=64))},
        learner={"device": "cpu", "threads": 1, "silence_seconds": 60, "recipe": recipe},
        checkpoints={"keep_last": 0},
    ) as here:
        yield here


def take(here: World, recipe: dict[str, Any]) -> None:
    """Change the recipe."""
    learner = here.settings.learner
    changed = learner.model_copy(update={"recipe": type(learner.recipe).model_validate(recipe)})
    here.settings = here.settings.model_copy(update={"learner": changed})


def grounds(here: World) -> dict[int, int | None]:
    """What each generation on disk lies on."""
    lying = here.rooms.checkpoints.grounds()
    return {number: lying.get(number) for number in here.rooms.checkpoints.numbers()}


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    """Of a model, in their order."""
    return list(model.state_dict().values())


def test_adapters_are_judged_served_and_gone_back_to_and_their_ground_stays(tmp_path: Path) -> None:
    """A whole generation, two adapters on it, then a whole one again; each is served as what it was judged as."""
    with real_world(tmp_path, WHOLE) as here:
        checkpoints, store = here.rooms.checkpoints, here.store
        assert run(here, 11).state is RoundState.ACCEPTED
        take(here, LORA)
        for seed in (12, 13):
            conclusion = run(here, seed)
            assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
        # One is the way back, and what both lie on is neither base nor of the newest.
        assert grounds(here) == {0: None, 1: None, 2: 1, 3: 1}
        assert checkpoints.size(3) < checkpoints.size(1) / 8
        for number in checkpoints.numbers()[1:]:
            checkpoints.verify(number, digest=store.generations.read(number).digest)
        # R's rows: what the second adapter's round knew of its parent is what that was judged by.
        judged = read_report(here.rooms.round_dir(2)).slices["anchor"].candidates
        assert read_report(here.rooms.round_dir(3)).slices["anchor"].parent in judged.values()
        assert {row.generation for row in store.generations.score_matrix()} >= {0, 1, 2, 3}
        serve(here, 1, 3)
        control = StoreControl(here.settings, store, checkpoints)
        assert [line["lies_on"] for line in control.generations()["generations"]] == [None, None, 1, 1]
        control.rollback(2)
        assert reconcile_pointer(store, checkpoints) == ""
        pointer = checkpoints.serving()
        assert pointer is not None
        assert (pointer.generation, pointer.digest) == (2, checkpoints.digest(2))
        serve(here, 3, 2)
        assert run(here, 14).state is RoundState.ACCEPTED
        assert run(here, 15).state is RoundState.ACCEPTED
        # 4 had room for one round more on its parent's adapter; 5 is whole; what nothing lies on any more goes next.
        assert grounds(here) == {0: None, 1: None, 4: 1, 5: None}
        assert run(here, 16).state is RoundState.ACCEPTED
        assert grounds(here) == {0: None, 5: None, 6: 5}
        assert store.generations.read(1).state is GenerationState.RETIRED


def serve(here: World, first: int, second: int) -> None:
    """Load one generation as serving does and swap to another: each has the weights that it was judged by."""
    loader = Loader(here.rooms.checkpoints, "causal-lm", "cpu", ServingMetrics(CollectorRegistry()))
    serving = loader.load(first, None, None)
    for number in (second, first):
        serving = loader.load(number, here.rooms.checkpoints.digest(number), serving)
        loaded = load_model(here.rooms.checkpoints.path(number), "causal-lm")
        assert all(torch.equal(*both) for both in zip(weights(serving.model), weights(loaded), strict=True))


def test_a_publication_that_is_cut_off_is_finished_or_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever that is; and where what is retired goes, what an adapter lies on goes after it."""
    with real_world(tmp_path, LORA) as here:
        for seed, step in enumerate(CUTS, start=20):
            with pytest.raises(Cut):
                run(here, seed, then=partial(cut_at, monkeypatch, step))
            monkeypatch.undo()
            here.current.end()
            runner(here, InThisProcess()).recover()
            assert reconcile_pointer(here.store, here.rooms.checkpoints) == ""
            assert here.store.rounds.unfinished() == []
            serving = here.rooms.checkpoints.serving()
            assert serving is not None
            assert serving.generation == here.store.generations.serving()
            for number in here.rooms.checkpoints.numbers():
                here.rooms.checkpoints.verify(number)
                assert here.store.generations.read(number).state is GenerationState.ACCEPTED
        assert here.store.generations.serving() == 4
        assert set(grounds(here).values()) == {None, 3}


def cut_at(monkeypatch: pytest.MonkeyPatch, wanted: DurableStep) -> None:
    """Let the next time that this step is reached be the last thing that is done."""
    left = [Cut()]

    def step(label: DurableStep) -> None:
        if label == wanted and left:
            raise left.pop()

    monkeypatch.setattr("checkpoints.files.durable_writes.step", step)
