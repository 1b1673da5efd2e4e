"""How things stand: what `riverkeep status` and the probes of the admin surface are told."""

from typing import TypedDict

from daemon.control.answers.canaries import CanaryStanding
from daemon.control.answers.feedback import FeedbackOfGeneration
from daemon.control.answers.rounds import LeftOutPart


class PartStanding(TypedDict):
    """How one part of the daemon is.

    Attributes:
        ok: whether it works; a part that backs off does not.
        detail: what it does, or why it does not work.
        state: starting, running, waiting, broken, stuck or stopped. What is begun again after it broke is broken until
            it runs.
    """

    ok: bool
    detail: str
    state: str


class HealthAnswer(TypedDict):
    """Whether the process's own loops turn, whatever Kafka does.

    Attributes:
        detail: which do not, and why; empty while all turn.
    """

    healthy: bool
    detail: str


class ReadinessAnswer(TypedDict):
    """Whether every part works."""

    ready: bool
    parts: dict[str, PartStanding]


class ServingStanding(TypedDict):
    """What serves.

    Attributes:
        generation: the serving pointer; None before the first.
        erased_text: as in `GenerationLine`.
        answering: the generation that the serving process answers from.
        address: where it answers, `http://host:port`.
        ok: None where no serving process runs beside this daemon, or none is known of.
        trouble: why it is not ok; empty otherwise, and while it starts.
        starting: what the serving process does before it answers for the first time; empty once it does, or failed.
    """

    generation: int | None
    erased_text: str | None
    answering: int | None
    address: str | None
    ok: bool | None
    trouble: str
    starting: str


class PhaseStanding(TypedDict):
    """How much of a round's phase is done.

    Attributes:
        unit: what it is counted in, in the plural.
        seconds_left: until it ends, at its speed so far; None while that is not known.
    """

    done: int
    of: int
    unit: str
    seconds_left: float | None


class RoundStanding(TypedDict):
    """The round in progress.

    Attributes:
        phase: what it does now, one of `ROUND_PHASES`.
        gone_on_from: the step that its learner went on from, as an earlier one was cut off; 0 where none was.
        waits_for: what its learner waits for before it runs, a node with a GPU for example; else empty.
        work: how much of that is done; None where it cannot be counted.
        begun_at: unix seconds.
        reason: why it began, a sentence.
        fresh_samples: new text that it trains on.
        early_stop_samples: new text that it keeps apart, to tell when to stop.
    """

    number: int
    phase: str
    step: int
    steps: int
    gone_on_from: int
    waits_for: str
    work: PhaseStanding | None
    begun_at: float
    reason: str
    fresh_samples: int
    early_stop_samples: int


class LastRoundStanding(TypedDict):
    """The latest round that has ended.

    Attributes:
        outcome: what came of it, for a person.
        tokens_trained: of `tokens_drawn` of new text; both None where nothing was trained.
        trained_until, left_out: as in `RoundLine`.
        checkpointing_note: that activations were computed again by itself, or fewer sequences passed at once lest they
            be, and why, a sentence; else empty.
    """

    number: int
    state: str
    outcome: str
    trigger: str
    detail: str
    ended_at: float | None
    tokens_trained: int | None
    tokens_drawn: int | None
    trained_until: str | None
    left_out: list[LeftOutPart]
    checkpointing_note: str


RollbackStanding = TypedDict("RollbackStanding", {"from": int, "to": int, "at": float, "by": str})
"""The latest rollback: from which generation to which, when (unix seconds), and by whose word."""


class MemoryStanding(TypedDict):
    """How much is kept."""

    fresh_samples: int
    fresh_tokens: int
    replay_samples: int
    holdout_samples: int
    aside_samples: int
    dead_letters: int


class IngestStanding(TypedDict):
    """How reading gets on.

    Attributes:
        lag_records: records that are not yet read; None while that is not known.
        lag_by_partition: the same of each, as `topic/number`; empty while that is not known.
        paused: partitions that are paused by themselves, and why.
        reason: why all of it pauses; empty while it does not.
        trouble: why nothing can come, or the loop that reads does not turn; empty while all is well.
        unread: what is not read though the rest is, and what to do, a sentence each: topics that are not there,
            partitions without a leader, or whose schemas nobody tells.
    """

    lag_records: int | None
    lag_by_partition: dict[str, int]
    paused: dict[str, str]
    reason: str
    trouble: str
    unread: list[str]


class ForgettingStanding(TypedDict):
    """How much worse what serves is than the best before it, in nats per token over old text; positive is bad.

    Attributes:
        lower, upper: it is above, and below, these with a confidence of 95 % each; None where too few documents tell.
        documents: how many both have scored.
    """

    figure: float
    lower: float | None
    upper: float | None
    documents: int


class EvidenceStanding(TypedDict):
    """How much there is of one kind of evidence to judge a round by, were it begun now.

    Attributes:
        what: `anchor` or `newest`: held-out documents; `labels`: different ones, until a trained classifier serves.
        needed: by a round that begins by itself: after a refusal for want of evidence more than the least.
    """

    what: str
    found: int
    needed: int


class MistakeStanding(TypedDict):
    """A mistake in the settings.

    Attributes:
        value: what is set; None where nothing is.
        place: file and line, or the variable of the environment.
    """

    key: str
    value: str | None
    place: str
    problem: str
    remedy: str


class RefusedSettings(TypedDict):
    """A reload that found mistakes, so that the settings before it are in force.

    Attributes:
        at: unix seconds.
    """

    at: float
    mistakes: list[MistakeStanding]


class PauseStanding(TypedDict):
    """That no round begins by itself.

    Attributes:
        since: unix seconds.
    """

    since: float
    reason: str


class MicroBatchStanding(TypedDict):
    """That rounds begin with a smaller micro-batch than is set, because memory ran out.

    Attributes:
        begins_with, wanted: sequences in a pass.
        ran_out_with: sequences in a pass with which it ran out last.
        round: to which that happened.
        at: when, unix seconds.
        detail: what happened, what follows and what to do, a sentence.
    """

    begins_with: int
    wanted: int
    ran_out_with: int
    round: int
    at: float
    detail: str


class WaitingLabel(TypedDict):
    """A label that what serves cannot answer, though documents have it.

    Attributes:
        label: its name.
        documents: how many wait, or are dead letters.
        detail: where they are, what they wait for and what to do, a sentence.
    """

    label: str
    documents: int
    detail: str


class DiskStanding(TypedDict):
    """How much room there is where the state is kept.

    Attributes:
        path: the state directory.
        free_bytes: for this service's user.
        total_bytes: of the file system.
    """

    path: str
    free_bytes: int
    total_bytes: int


class StatusAnswer(TypedDict):
    """How things stand. What only a running daemon knows is None without one, what only the store knows without that.

    Attributes:
        started_at: unix seconds.
        rollback: the latest; None where there was none.
        next_round: a sentence, what the triggers wait for; while a round runs, that its end is; without a daemon None,
            unless rounds are paused.
        need_restart: sections of the settings that changed on disk and are not in force until a restart.
        settings_refused: None where the latest reload found no mistakes.
        parts: as in `ReadinessAnswer`.
        forgetting: of what serves; None before two generations can be compared.
        canary: the generation that is watched in traffic before it serves; None mostly.
        waiting: numbers of rounds that wait for a person.
        rounds_paused: None while rounds begin by themselves.
        memory_trouble: why the database cannot be used, and what to do; empty while it can.
        unknown_generations: numbers of generations on disk that the database does not know.
        micro_batch: None while rounds begin with the one that is set.
        sequence_length: tokens of a sequence that scores are taken in; None before that is chosen.
        kept: that a round's candidates are kept to be judged again, and when that is, a sentence; else empty.
        waiting_labels: of a classifier, those of most documents first.
        feedback: what was said of the serving generation's answers; None where nothing was.
        disk: None where the state directory cannot be looked at.
    """

    running: bool
    version: str
    state_dir: str
    pid: int | None
    started_at: float | None
    round: RoundStanding | None
    ingest: IngestStanding | None
    need_restart: list[str] | None
    settings_refused: RefusedSettings | None
    parts: dict[str, PartStanding] | None
    next_round: str | None
    memory: MemoryStanding | None
    serving: ServingStanding
    last_round: LastRoundStanding | None
    rollback: RollbackStanding | None
    forgetting: ForgettingStanding | None
    canary: CanaryStanding | None
    waiting: list[int]
    evidence: list[EvidenceStanding]
    rounds_paused: PauseStanding | None
    memory_trouble: str
    unknown_generations: list[int]
    micro_batch: MicroBatchStanding | None
    sequence_length: int | None
    kept: str
    waiting_labels: list[WaitingLabel]
    feedback: FeedbackOfGeneration | None
    disk: DiskStanding | None
