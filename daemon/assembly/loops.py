"""Who reads, learns, serves and begins rounds, by the settings; what is not set up is left out."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from daemon.assembly.launch import Launch, Shared
from daemon.assembly.rooms import OpenedRooms
from daemon.ingestion.dead_letter_desk import DeadLetterDesk
from daemon.ingestion.feedback_drain import FeedbackDesk
from daemon.ingestion.ingest import Ingest, SameStore, why_full
from daemon.jobs.cluster import account_within
from daemon.jobs.learner_job import JobMaker, LearnerJob
from daemon.processes.learner import Learner
from daemon.processes.learner_process import LearnerProcess
from daemon.processes.serving_process import ServingProcess, serving_process
from daemon.processes.serving_times import ServingTimes
from daemon.rounds.loop import RoundsLoop
from daemon.rounds.out_of_memory import MicroBatchLimits
from daemon.rounds.runner import RoundRunner
from daemon.rounds.watched.arriving import ArrivingText
from daemon.rounds.watched.watch import CanaryWatch
from daemon.settings.records import record_needs
from daemon.settings.tree import Settings
from daemon.sizes.checkpointing import checkpointing_in_job
from daemon.sizes.job_resources import describe_job
from memory.store import Store
from streams.kafka.publisher import DeadLetterPublisher
from streams.kafka.source import KafkaSource
from streams.metrics import StreamsMetrics


@dataclass(frozen=True, slots=True)
class Loops:
    """What the parts of a service run.

    Attributes:
        serving: None where no process is started that answers.
        ingest: None where nothing is consumed.
        times: how long answers took; None where no process is started.
        dead_letters: None where they go to no topic.
        feedback: what people say of answers.
    """

    rounds: RoundsLoop
    learner: Learner
    feedback: FeedbackDesk
    serving: ServingProcess | None = None
    times: ServingTimes | None = None
    ingest: Ingest | None = None
    dead_letters: DeadLetterDesk | None = None


def make_loops(launch: Launch, shared: Shared, opened: OpenedRooms, *, owner: str) -> Loops:
    """What the settings ask for; nothing runs yet.

    Args:
        owner: this replica's name, for the offsets that it holds.
    """
    learner = _learner(launch, shared, owner=owner)
    serving = _serving(launch, shared)
    rounds = _rounds(launch, shared, opened, learner, serving)
    feedback = FeedbackDesk(lambda: shared.settings.now, opened.rooms.store, launch.clock)
    times = None if serving is None else ServingTimes(serving.metrics, launch.clock)
    if not launch.settings.streams.enabled:
        return Loops(rounds, learner, feedback, serving, times)
    metrics, store = StreamsMetrics(shared.registry), opened.rooms.store
    ingest, dead_letters = _ingest(launch, store, metrics, owner), _dead_letters(launch, store, metrics)
    return Loops(rounds, learner, feedback, serving, times, ingest, dead_letters)


def _learner(launch: Launch, shared: Shared, *, owner: str) -> Learner:
    jobs = launch.settings.jobs

    def context() -> Mapping[str, str]:
        return shared.current.spans.environment

    if jobs.template_file is None:
        nice = launch.settings.lifecycle.learner_nice
        return LearnerProcess(
            command=launch.learner, environment=launch.child_environment(), nice=nice, context=context
        )
    maker = JobMaker(
        launch.account or account_within(launch.environment),
        jobs.template_file,
        owner,
        jobs.pending_seconds,
        launch.learner,
        context,
    )
    return LearnerJob(maker)


def _limits(launch: Launch, shared: Shared, store: Store) -> MicroBatchLimits:
    """What is done about memory: this machine's, or that of a Job, of which the template alone is known here."""
    show, template_file = shared.metrics.micro_batch_ratio.set, launch.settings.jobs.template_file
    if template_file is None:
        return MicroBatchLimits(store, show=show)
    return MicroBatchLimits(
        store,
        show=show,
        there=lambda _: describe_job(template_file),
        foretell=checkpointing_in_job(template_file),
        beside_service=False,
    )


def _rounds(
    launch: Launch, shared: Shared, opened: OpenedRooms, learner: Learner, serving: ServingProcess | None
) -> RoundsLoop:
    def settings() -> Settings:
        return shared.settings.now

    runner = RoundRunner(
        opened.rooms,
        settings=settings,
        learner=learner,
        current=shared.current,
        metrics=shared.metrics,
        promotion=shared.promotion,
        clock=launch.clock,
        seed=lambda: secrets.randbits(31),
        limits=_limits(launch, shared, opened.rooms.store),
    )
    watch = CanaryWatch(
        opened.rooms,
        settings=settings,
        promotion=shared.promotion,
        ask=None if serving is None else serving.canary,
        metrics=shared.metrics,
        arriving=ArrivingText(opened.rooms.store, None if serving is None else serving.read_pair),
    )
    return RoundsLoop(
        opened.rooms,
        runner,
        shared.asks,
        shared.current,
        settings=settings,
        shutdown=shared.shutdown,
        watch=watch.look,
        end_leftovers=learner.end_leftovers,
        clock=launch.clock,
    )


def _serving(launch: Launch, shared: Shared) -> ServingProcess | None:
    if not launch.settings.serving.enabled:
        return None
    return serving_process(
        launch.settings,
        launch.config_file,
        launch.child_environment(),
        replaced=lambda reason: shared.metrics.serving_replaced.labels(reason).inc(),
    )


def _ingest(launch: Launch, store: Store, metrics: StreamsMetrics, owner: str) -> Ingest:
    streams, needs = launch.settings.streams, record_needs(launch.settings)
    keep_unpublished = streams.dead_letter_topic is not None
    same = SameStore(store)

    def open_source() -> KafkaSource:
        # Before the source asks the store where to read on: a file that is put in its place after this is noticed.
        same.begin()
        return KafkaSource(streams, store, metrics, launch.clock, needs=needs, owner=owner)

    return Ingest(
        open_source=open_source,
        store=same,
        why_full=lambda: why_full(store, keep_unpublished=keep_unpublished),
        keep_unpublished=keep_unpublished,
    )


def _dead_letters(launch: Launch, store: Store, metrics: StreamsMetrics) -> DeadLetterDesk | None:
    streams = launch.settings.streams
    if streams.dead_letter_topic is None:
        return None
    return DeadLetterDesk(store, lambda: DeadLetterPublisher(streams, metrics))
