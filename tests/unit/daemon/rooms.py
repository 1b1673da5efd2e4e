"""A store and a checkpoint store with something in them, for tests of rounds; no torch."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from prometheus_client import CollectorRegistry
from safetensors.numpy import save_file

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from daemon.metrics import DaemonMetrics
from daemon.processes.learner import Learner, LearnerEnding, LearnerExit, LearnerLimits
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.current import CurrentRound
from daemon.rounds.directories import Rooms
from daemon.rounds.pointer_repair import reconcile_pointer
from daemon.rounds.runner import RoundRunner
from daemon.settings.tree import Settings
from gate.metrics import KnowledgeMetrics
from learner.directory.progress_event import ProgressEvent
from memory.store import Store
from streams.chats import INPUT, TARGET, Message, join
from streams.document import Batch, Partition
from tests import fake_learner
from tests.daemon_harness import batch_of, sentences
from tests.harness import wait_until

BY_HAND = Ask(Trigger.BY_HAND, by="a test")
DRY = Ask(Trigger.BY_HAND, by="a test", dry_run=True)
ENDINGS = {
    0: LearnerEnding.FINISHED,
    3: LearnerEnding.OUT_OF_MEMORY,
    4: LearnerEnding.BAD_DIRECTORY,
    5: LearnerEnding.NO_ROOM,
}


class InThisProcess:
    """A stand-in for a learner's process that starts none; see `tests/fake_learner.py` for the modes."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def run(
        self,
        directory: Path,
        *,
        limits: LearnerLimits,
        on_progress: Callable[[ProgressEvent], None],
        must_stop: Callable[[], bool],
        write: str | None = None,
    ) -> LearnerExit:
        """As `Learner.run`."""
        if self._mode == "hang":
            wait_until(must_stop)
            return LearnerExit(LearnerEnding.STOPPED, "told to stop", 0.0)
        on_progress(ProgressEvent("step", step=1, steps=2, losses={"new": 3.0}))
        try:
            status = fake_learner.main(self._mode, directory, write)
        except RuntimeError as error:
            return LearnerExit(LearnerEnding.CRASHED, str(error), 0.0)
        return LearnerExit(ENDINGS[status], "", 0.0)


@dataclass
class World:
    """A round's surroundings."""

    rooms: Rooms
    settings: Settings
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    current: CurrentRound = field(default_factory=CurrentRound)
    promotion: threading.RLock = field(default_factory=threading.RLock)
    metrics: DaemonMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = DaemonMetrics(self.registry)
        self.registry.register(KnowledgeMetrics(self.store))

    @property
    def store(self) -> Store:
        """The store."""
        return self.rooms.store

    def runner(self, mode: str = "good", learner: object | None = None) -> RoundRunner:
        """A runner with a stand-in learner; see `tests/fake_learner.py`."""
        return RoundRunner(
            self.rooms,
            settings=lambda: self.settings,
            learner=cast("Learner", learner or InThisProcess(mode)),
            current=self.current,
            metrics=self.metrics,
            promotion=self.promotion,
            clock=lambda: 1_700_000_000.0,
            seed=lambda: 7,
        )

    def run(self, mode: str = "good", ask: Ask = BY_HAND) -> Conclusion:
        """Run a round to its end."""
        conclusion = self.runner(mode).run(ask, "a test", must_stop=lambda: False)
        assert conclusion is not None
        return conclusion

    def feed(self, count: int = 120, *, seed: int) -> None:
        """More text arrives."""
        self.store.append(arriving(self.settings, sentences(count, seed=seed), Partition(f"wiki-{seed}", 0)))

    def losses(self, number: int) -> dict[str, float]:
        """A generation's mean loss by slice."""
        rows = self.store.generations.score_matrix()
        return {row.slice: row.score.mean_nll for row in rows if row.generation == number}

    def metric(self, name: str, **labels: str) -> float | None:
        """A metric's value."""
        return self.registry.get_sample_value(name, labels)


def tiny_model(path: Path) -> Path:
    """Files that pass for a model as long as nobody loads it."""
    path.mkdir()
    save_file({"weight": np.zeros(4, np.float32)}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return path


def arriving(settings: Settings, texts: list[str], partition: Partition) -> Batch:
    """Documents; of a sequence-to-sequence model pairs, in which the second half of each text answers the first."""
    batch = batch_of(texts, partition)
    if settings.model.kind != "seq2seq":
        return batch
    documents = []
    for document in batch.documents:
        words = document.text.split()
        middle = len(words) // 2
        pair = join([Message(INPUT, " ".join(words[:middle])), Message(TARGET, " ".join(words[middle:]))])
        documents.append(document._replace(text=pair.text, turns=pair.turns))
    return replace(batch, documents=tuple(documents))


@contextmanager
def world(path: Path, *, before_stream: bool = True, **sections: Any) -> Iterator[World]:
    """A base that serves, text from before the stream, and fresh text."""
    settings = Settings.model_validate(
        {
            "state_dir": str(path),
            "model": {"path": str(tiny_model(path / "model"))},
            "memory": {"holdout_share": 0.2, "anchor_minimum": 8},
            "gate": {"minimum_documents": 5},
            "learner": {"silence_seconds": 30},
        }
        | sections
    )
    checkpoints = GenerationStore(settings.checkpoints_dir)
    base = checkpoints.publish(settings.model.path, 0, Card(0, settings.model.kind))
    with Store.open(settings.database, settings.memory) as store:
        store.generations.register_base(digest=base.digest, source_path="model")
        reconcile_pointer(store, checkpoints)
        if before_stream:
            store.append(arriving(settings, sentences(120, seed=1), Partition("file:before", 0)), before_stream=True)
        made = World(Rooms(store, checkpoints, settings.rounds_dir), settings)
        made.feed(seed=2)
        yield made
