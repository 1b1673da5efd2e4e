"""A service as it may look after a day, without a model: text of three sources, rounds that learn and forget a little.

The scores are invented by a stand-in learner; gate, ledger and everything behind them are the real ones.
"""

import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry, generate_latest

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from daemon.admin.app import create_app
from daemon.admin.listener import listening
from daemon.admin.token import Token
from daemon.comparisons.desk import ComparisonDesk
from daemon.control.audited import AuditedControl
from daemon.control.facts.settings_shown import settings_shown
from daemon.control.protocol import Control
from daemon.control.views import Views
from daemon.control.within_daemon import LiveControl
from daemon.ingestion.arrivals import ArrivalCounter, ArrivedSoFar
from daemon.lifecycle.supervised_threads import Health, State
from daemon.metrics import DaemonMetrics
from daemon.page.app import with_page
from daemon.processes.learner import Learner, LearnerEnding, LearnerExit
from daemon.processes.serving_process import ServingStatus
from daemon.processes.serving_times import ServingTimes
from daemon.rounds.asks_and_schedule import Asks
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.current import CurrentRound
from daemon.rounds.directories import Rooms
from daemon.rounds.pointer_repair import reconcile_pointer
from daemon.rounds.runner import RoundRunner
from daemon.settings.admin import AdminSettings
from daemon.settings.tree import Settings
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import (
    FILE_NAME,
    Outcome,
    PrequentialDocument,
    Report,
    SliceScores,
    TrainingSummary,
)
from learner.directory.round_directory import CANDIDATES, PARENT, RoundInput, TextSample, read_round
from memory.ledger.records import DocumentScore
from memory.samples.slice_names import ANCHOR, source_of
from memory.store import Store
from serving.metrics import ServingMetrics
from streams.document import Arrived, Batch, DeadLetter, Document, Partition, Pause, Reason, RecordForm
from tests import fake_learner
from tests.answering import AnswersAtHand, desk
from tests.daemon_harness import sentences
from tests.harness import wait_until
from tests.unit.daemon.rooms import tiny_model

SOURCES = ("news", "support", "handbook")
BASE = {ANCHOR: 2.31, "news": 3.12, "support": 2.84, "handbook": 2.56}
"""What the base loses on each source, in nats per token."""
TOKENS = 180
MINUTE = 60.0
COMPARED = 11
"""By which the story's first comparison is asked for: a blind one, from which nobody has picked."""


@dataclass
class Knowing:
    """What each generation loses on each slice beyond what its documents themselves differ by."""

    loss: dict[int, dict[str, float]] = field(default_factory=lambda: {0: {}})

    def of(self, generation: int, slice_name: str) -> float:
        """Nats per token."""
        known = self.loss.get(generation, {})
        # Of text that no round has been trained on yet, a little is known by what came before.
        unseen = BASE.get(slice_name, BASE.get(source_of(slice_name), 3.0)) - 0.02 * len(known)
        return known.get(slice_name, unseen)


class StoryLearner:
    """Learns what a story says: how much is gained on new text, and how much is lost on older.

    Attributes:
        gain, harm: of the next round, in nats per token; `strange`: whether its text is like nothing before.
    """

    def __init__(self, knowing: Knowing, clock: "StoryClock") -> None:
        self.gain, self.harm, self.strange = 0.2, 0.004, False
        self._knowing = knowing
        self._clock = clock
        self.last: dict[str, float] = {}

    def run(self, directory: Path, **_: Any) -> LearnerExit:
        """As `Learner.run`."""
        self._clock.now += 7 * MINUTE
        given = read_round(directory)
        report = self._untrained(given) if self.strange else self._trained(given)
        (directory / FILE_NAME).write_bytes(report.encode())
        return LearnerExit(LearnerEnding.FINISHED, "", 420.0)

    def _untrained(self, given: RoundInput) -> Report:
        new = tuple(PrequentialDocument(each.id, each.source, TOKENS * 11.7, TOKENS, 0.72) for each in given.fresh)
        return Report(
            given.spec.round, given.spec.kind, Outcome.IMPLAUSIBLE, "", "cpu", new, {}, None, None, frozenset()
        )

    def _trained(self, given: RoundInput) -> Report:
        shutil.copytree(given.path / PARENT, given.path / CANDIDATES / "0.25", dirs_exist_ok=True)
        self.last = {piece.name: self._after(given, piece.name, piece.kind == "newest") for piece in given.slices}
        slices = {
            piece.name: SliceScores(
                base=scored(piece.samples, self._knowing.of(0, piece.name)),
                parent=scored(piece.samples, self._knowing.of(given.spec.parent.generation, piece.name)),
                candidates={"0.25": scored(piece.samples, self.last[piece.name], salt=given.spec.round)},
            )
            for piece in given.slices
        }
        new = tuple(
            PrequentialDocument(each.id, each.source, TOKENS * BASE.get(each.source, 3.0), TOKENS, 0.02)
            for each in given.fresh
        )
        return Report(
            round=given.spec.round,
            kind=given.spec.kind,
            outcome=Outcome.TRAINED,
            detail="",
            device="cuda:0 NVIDIA L4",
            prequential=new,
            slices=slices,
            training=self._training(),
            touched=None,
            untrainable=frozenset(),
            scored=fake_learner.scoring(given),
        )

    def _after(self, given: RoundInput, name: str, is_newest: bool) -> float:
        parent = self._knowing.of(given.spec.parent.generation, name)
        return parent - self.gain if is_newest else parent + self.harm

    def _training(self) -> TrainingSummary:
        return TrainingSummary(
            steps=212,
            tokens_new=402_118,
            tokens_replayed=388_906,
            seconds=318.0,
            tokens_per_second=2_488.0,
            losses={"new": 2.713, "replay": 2.402, "kl": 0.061},
            micro_batch=8,
            peak_memory_bytes=9_120_000_000,
            bytes_per_token=4.1,
            phase_seconds={
                "load": 4.2,
                "encode": 6.1,
                "plausibility": 9.4,
                "score": 31.0,
                "train": 318.0,
                "candidates": 52.0,
            },
        )


def scored(samples: tuple[TextSample, ...], loss: float, *, salt: int = 0) -> tuple[DocumentScore, ...]:
    """Documents that differ among themselves, and by a little from one model to the next."""
    found = []
    for each in samples:
        own, change = random.Random(each.id).gauss(0, 0.25), random.Random(each.id * 1009 + salt).gauss(0, 0.03)
        found.append(DocumentScore(each.id, TOKENS * max(0.1, loss + own + (change if salt else 0.0)), TOKENS))
    return tuple(found)


class StoryClock:
    """A clock that goes when something happens, and at last is the real one's."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


class StoryIngest:
    """What the ingest loop shows."""

    trouble = paused = ""
    unread: Sequence[str] = ()

    def __init__(self, clock: "StoryClock") -> None:
        self.flooded: dict[Partition, str] = {}
        self.arrivals = ArrivalCounter(clock, clock)

    def lag(self) -> dict[Partition, int]:
        """A little behind."""
        return {Partition("news", 0): 12, Partition("support", 0): 0}

    def paused_partitions(self) -> dict[Partition, str]:
        """As the story says."""
        return self.flooded

    def arrived(self) -> ArrivedSoFar:
        """What the story's documents came to."""
        return self.arrivals.so_far()

    def resume(self, partition: str | None) -> list[str]:
        """Read on."""
        resumed = [f"{each.topic}/{each.number}" for each in self.flooded]
        self.flooded = {}
        return resumed


@dataclass
class Story:
    """The service that is told of."""

    rooms: Rooms
    settings: Settings
    clock: StoryClock
    knowing: Knowing
    learner: StoryLearner
    ingest: StoryIngest = field(init=False)
    current: CurrentRound = field(default_factory=CurrentRound)
    asks: Asks = field(default_factory=Asks)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    answers: AnswersAtHand = field(default_factory=AnswersAtHand)
    compared: ComparisonDesk = field(init=False)
    arrived: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ingest = StoryIngest(self.clock)
        self.compared = desk(self.answers, number=COMPARED)

    def arrive(self, count: int, seed: int, *, sources: tuple[str, ...] = SOURCES, words: tuple[str, ...] = ()) -> None:
        """Text of each source arrives."""
        for place, source in enumerate(sources):
            partition, first = Partition(source, 0), self.arrived.get(source, 0)
            lines = sentences(count, seed=1000 * place + seed)
            if words:
                lines = [f"{source} {number} {' '.join(words * 12)}" for number in range(count)]
            documents = tuple(
                Document(text, source, f"{source}-{first + at}", None, None, self.clock.now, partition, first + at)
                for at, text in enumerate(lines)
            )
            self.arrived[source] = first + len(documents)
            read = Arrived(
                sum(map(len, lines)), Counter({RecordForm.JSON_TEXT: count}), packed=Counter({"zstd": count})
            )
            batch = Batch(documents, (), (), {partition: self.arrived[source]}, arrived={partition: read})
            self.ingest.arrivals.count(batch, self.rooms.store.append(batch))

    def round(
        self, gain: float = 0.2, harm: float = 0.004, *, strange: bool = False, trigger: Trigger = Trigger.VOLUME
    ) -> str:
        """A round runs to its end; how it ended."""
        self.learner.gain, self.learner.harm, self.learner.strange = gain, harm, strange
        runner = RoundRunner(
            self.rooms,
            settings=lambda: self.settings,
            learner=cast("Learner", self.learner),
            current=self.current,
            metrics=DaemonMetrics(CollectorRegistry()),
            promotion=threading.RLock(),
            clock=self.clock,
            seed=lambda: 7,
        )
        conclusion = runner.run(
            Ask(trigger, by="the volume"), "600 samples are fresh, 500 begin a round", must_stop=lambda: False
        )
        assert conclusion is not None
        if conclusion.generation is not None:
            parent = self.rooms.store.generations.read(conclusion.generation).parent or 0
            self.knowing.loss[conclusion.generation] = {**self.knowing.loss[parent], **self.learner.last}
        self.clock.now += 95 * MINUTE
        return conclusion.state.value

    def control(self) -> LiveControl:
        """Who answers."""
        views = Views(
            parts=lambda: tuple(Health(name, State.RUNNING) for name in ("memory", "serving", "ingest", "rounds")),
            patient=nullcontext,
            ingest=self.ingest,
            serving=lambda: ServingStatus(1, self.rooms.store.generations.serving(), {"trouble": ""}),
            serving_address="http://127.0.0.1:8700",
            serving_metrics=self.served,
            serving_times=self.answered,
            next_round=lambda: "waiting for 500 fresh samples (318 are there)",
            problem=str,
            need_restart=tuple,
            settings_refused=lambda: None,
            settings=lambda: settings_shown(self.settings, None, {}, running=True),
            started_at=self.clock.now - 26 * 3600.0,
        )
        return LiveControl(
            self.settings,
            self.rooms.store,
            self.rooms.checkpoints,
            views=views,
            asks=self.asks,
            current=self.current,
            promotion=threading.RLock(),
            compared=self.compared,
        )

    def served(self) -> str:
        """What the serving process counts."""
        registry = CollectorRegistry()
        metrics = ServingMetrics(registry)
        metrics.begin_requests(["/v1/chat/completions"])
        metrics.loaded.set(1)
        metrics.begin_generation(number := _serving(self))
        chance = random.Random(number)
        for _ in range(400):
            first = chance.lognormvariate(-2.6, 0.5)
            metrics.first_token_seconds.labels(str(number)).observe(first)
            metrics.output_token_seconds.labels(str(number)).observe(first / 9)
            metrics.queue_seconds.labels(str(number)).observe(first / 20)
            metrics.request_seconds.labels("/v1/chat/completions").observe(12 * first)
        return generate_latest(registry).decode()

    @cached_property
    def answered(self) -> ServingTimes:
        """Two hours of answers, slower for a while, some of which failed."""
        registry, chance, minutes = CollectorRegistry(), random.Random(7), 120
        metrics = ServingMetrics(registry)
        metrics.begin_requests(["/v1/chat/completions"])
        moment = [self.clock.now - minutes * MINUTE]
        times = ServingTimes(lambda: generate_latest(registry).decode(), lambda: moment[0], lambda: moment[0])
        for minute in range(minutes):
            slow = 3.0 if 70 < minute < 85 else 1.0
            for _ in range(chance.randrange(20, 60)):
                seconds = slow * chance.lognormvariate(-1.2, 0.6)
                metrics.request_seconds.labels("/v1/chat/completions").observe(seconds)
                failed = slow > 1 and chance.random() < 0.1
                metrics.requests.labels("/v1/chat/completions", "504" if failed else "200").inc()
            times.look()
            moment[0] += MINUTE
        return times

    def trains(self) -> None:
        """A round is in progress, two thirds through its training."""
        number = next(iter(self.rooms.store.rounds.listed(limit=1))).number + 1
        self.current.begin(
            number, self.clock.now - 4 * MINUTE, reason="512 samples are fresh, 500 begin a round", fresh=512
        )
        self.current.phase("train")
        self.current.hear(ProgressEvent("step", step=142, steps=212, tokens_per_second=2488.0))
        self.current.hear(
            ProgressEvent("work", name="train", unit="tokens", done=268_000, of=402_000, seconds_left=104.0)
        )


@contextmanager
def story(path: Path, *, now: float) -> Iterator[Story]:
    """A service after a day: rounds that were accepted, refused, rolled back, and one that waits."""
    clock = StoryClock(now - 25 * 3600.0)
    settings = Settings.model_validate(
        {
            "state_dir": str(path),
            "model": {"path": str(tiny_model(path / "model"))},
            "memory": {
                "holdout_share": 0.2,
                "anchor_minimum": 40,
                "near_duplicate_similarity": 1.0,
                "recent_slices": 16,
            },
            "learner": {"silence_seconds": 30},
            "gate": {"resamples": 400},
        }
    )
    checkpoints = GenerationStore(settings.checkpoints_dir, clock=clock)
    base = checkpoints.publish(settings.model.path, 0, Card(0, settings.model.kind))
    with Store.open(settings.database, settings.memory, clock=clock) as store:
        store.generations.register_base(digest=base.digest, source_path="model")
        reconcile_pointer(store, checkpoints)
        old = tuple(
            Document(text, "before", None, None, None, clock.now, Partition("file:before", 0), at)
            for at, text in enumerate(sentences(400, seed=1))
        )
        store.append(Batch(old, (), (), {Partition("file:before", 0): len(old)}), before_stream=True)
        knowing = Knowing()
        told = Story(
            Rooms(store, checkpoints, settings.rounds_dir), settings, clock, knowing, StoryLearner(knowing, clock)
        )
        _tell(told)
        clock.now = now
        yield told


GAINS = (
    (0.31, 0.002),
    (0.27, 0.006),
    (0.22, 0.03),
    (0.04, 0.31),
    (0.24, 0.004),
    (0.19, -0.012),
    (0.21, 0.021),
    (0.18, 0.004),
)
"""Gain and harm, round by round; the fourth forgets too much, twice: its text is set aside."""


def _tell(told: Story) -> None:
    for number, (gain, harm) in enumerate(GAINS, start=1):
        told.arrive(200, seed=10 * number)
        told.round(gain, harm)
        if harm > 0.1:
            told.round(gain, harm)
    told.rooms.store.generations.rollback(told.rooms.store.generations.read(_serving(told)).parent, by="ada@river-1")
    told.arrive(200, seed=500)
    told.round(0.2, 0.003)
    told.arrive(200, seed=900, words=("lantern", "lantern", "winter"))
    told.round(strange=True)
    told.arrive(106, seed=700)
    letters = tuple(
        DeadLetter(
            Partition("news", 0),
            9_000 + at,
            Reason.MISSING_FIELD,
            "field text is missing",
            b"k",
            b'{"body": 1}',
            11,
            told.clock.now,
        )
        for at in range(14)
    )
    told.rooms.store.append(Batch((), letters, (), {Partition("news", 0): 9_100}))


def _serving(told: Story) -> int:
    serving = told.rooms.store.generations.serving()
    assert serving is not None
    return serving


@contextmanager
def telling(path: Path, *, now: float, token: str) -> Iterator[tuple[str, Story]]:
    """The story's service on a port of its own: its address, and the story."""
    closing: list[bool] = []
    with story(path, now=now) as told:
        control = cast("Control", AuditedControl(cast("Control", told.control()), told.rooms.store))
        assert control.compare("Tonight the river", blind=True)["number"] == COMPARED
        wait_until(lambda: control.comparison(COMPARED)["answers"], what="both answers")
        interface = create_app(control, told.registry, Token(token))
        app = with_page(interface, control, told.registry, lambda: token, lambda: bool(closing))
        with listening(app, AdminSettings(port=0)) as surface:
            try:
                yield surface.address, told
            finally:
                closing.append(True)


FLOOD = str(Pause.DEAD_LETTER_FLOOD)
