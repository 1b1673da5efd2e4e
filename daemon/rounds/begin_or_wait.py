"""Whether a round begins now, and why: the world in a snapshot, one pure decision, one sentence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from daemon.settings.triggers import TriggerSettings


class Trigger(StrEnum):
    """What began a round; values are stored with it and are metric labels."""

    INTERVAL = "interval"
    CRON = "cron"
    VOLUME = "volume"
    BY_HAND = "by_hand"


DRY_RUN: Final = "dry_run"


@dataclass(frozen=True, slots=True)
class Ask:
    """That somebody or something wants a round.

    Attributes:
        by: who, for the log ("SIGUSR1", "admin", "interval").
        dry_run: gate without promoting.
        released_from: the round that waited and whose text a person approved.
    """

    trigger: Trigger
    by: str
    dry_run: bool = False
    released_from: int | None = None

    @property
    def recorded_as(self) -> str:
        """What the ledger calls the trigger; a dry run must be known as one after a crash too."""
        return DRY_RUN if self.dry_run else self.trigger.value

    @property
    def by_a_person(self) -> bool:
        """A person's word goes before minimum and cool-down."""
        return self.trigger is Trigger.BY_HAND


def approval(number: int) -> Ask:
    """The ask for a round with the text of round `number`, which waited and was approved."""
    return Ask(Trigger.BY_HAND, by=f"the approval of round {number}", released_from=number)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the decision looks at.

    Attributes:
        now: unix seconds.
        lacking: what there is too little of to judge a round by, whoever asks for it, a sentence; else empty.
        too_early: why a round would most likely be refused again for want of evidence, a sentence; else empty.
        running: number of the round in progress.
        watched: what generation is watched in traffic, and what that waits for, a sentence; empty where none is.
        stopping: the service ends.
        paused: why a person paused rounds, empty where they did not say; None while rounds are not paused.
        cool_since: when the latest round ended, where it ended refused or failed; else None.
        asks: what was asked for and not yet answered, oldest first.
    """

    now: float
    fresh_samples: int
    fresh_tokens: int
    lacking: str
    too_early: str
    running: int | None
    stopping: bool
    paused: str | None
    cool_since: float | None
    asks: tuple[Ask, ...]
    watched: str = ""


@dataclass(frozen=True, slots=True)
class Begin:
    """A round begins; of several asks this one is answered, the others with it."""

    ask: Ask
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """No round begins now.

    Attributes:
        answered: asks that are hereby done with (a schedule that came when too little was fresh).
    """

    reason: str
    answered: tuple[Ask, ...] = ()


Decision: TypeAlias = Begin | Wait


def decide(snapshot: Snapshot, settings: TriggerSettings) -> Decision:
    """Say whether a round begins now, and why, in one sentence.

    Never two at once, nothing while stopping or while a generation is watched in traffic, nothing without fresh text.
    A person's ask waits for nothing else. By itself the service waits out a pause and the cool-down, and a schedule
    passes over when fewer than the minimum are fresh; one that comes during a pause is answered after it.
    """
    if snapshot.stopping:
        return Wait("the service is stopping")
    # Asks are kept, and those that came meanwhile: they are looked at again when that is over. While a generation is
    # watched it is not decided what a round would start from, whoever asks for it.
    if under_way := snapshot.watched if snapshot.running is None else f"round {snapshot.running} is in progress":
        return Wait(under_way)
    if any(ask.by_a_person for ask in snapshot.asks):
        return _to_a_person(snapshot)
    if snapshot.paused is not None:
        return Wait(paused_sentence(snapshot.paused))
    cooling = cooling_seconds(snapshot.cool_since, snapshot.now, settings)
    if cooling > 0:
        return Wait(f"cooling down for {cooling:.0f} s more after a round that was refused or failed")
    return _by_itself(snapshot, settings)


def _to_a_person(snapshot: Snapshot) -> Decision:
    """An approval waits for evidence as long as it takes, and holds up nobody who asks meanwhile."""
    asks = [ask for ask in snapshot.asks if ask.by_a_person]
    # A plain ask goes ahead without evidence: the round that it gets tells in the ledger what was lacking.
    answerable = next((ask for ask in asks if ask.released_from is None or not snapshot.lacking), None)
    if answerable is None:
        return Wait(f"{asks[0].by} asked for a round, but {snapshot.lacking}")
    return _answer(answerable, snapshot)


def _answer(ask: Ask, snapshot: Snapshot) -> Decision:
    # A released round draws its own text by id, of which the count of all that is fresh tells nothing.
    if ask.released_from is None and snapshot.fresh_samples == 0:
        return Wait(f"{ask.by} asked for a round, but nothing is fresh", answered=(ask,))
    return Begin(ask, f"{ask.by} asked for it, {snapshot.fresh_samples} samples are fresh")


def paused_sentence(reason: str) -> str:
    """What the next round waits for while rounds are paused."""
    because = f" ({reason})" if reason else ""
    return f"rounds are paused{because}; `riverkeep round resume` lets them begin by themselves again"


def cooling_seconds(since: float | None, now: float, settings: TriggerSettings) -> float:
    """How long the cool-down goes on that began at `since` (unix seconds), where one did; not positive once over."""
    if since is None:
        return 0.0
    # A clock that was set back must not make the cool-down longer than it is.
    return settings.cooldown_seconds - max(0.0, now - since)


def _by_itself(snapshot: Snapshot, settings: TriggerSettings) -> Decision:
    short = _describe_shortage(snapshot, settings)
    # Answered with a no: kept until enough were fresh, it would begin a round at a time that no schedule names.
    if snapshot.asks and short:
        return Wait(f"the {snapshot.asks[0].trigger} came, but {short}", answered=snapshot.asks)
    if snapshot.asks:
        ask = snapshot.asks[0]
        return Begin(ask, f"the {ask.trigger} came and {snapshot.fresh_samples} samples are fresh")
    reached = _describe_reached_volume(snapshot, settings)
    if reached and short:
        return Wait(f"{reached}, but {short}")
    if reached:
        return Begin(Ask(Trigger.VOLUME, by="volume"), reached)
    return Wait(_what_it_waits_for(snapshot, settings))


def _describe_shortage(snapshot: Snapshot, settings: TriggerSettings) -> str:
    if snapshot.fresh_samples < settings.minimum_fresh_samples:
        return (
            f"only {snapshot.fresh_samples} samples are fresh of the {settings.minimum_fresh_samples} that a"
            " round needs"
        )
    return snapshot.lacking or snapshot.too_early


def _describe_reached_volume(snapshot: Snapshot, settings: TriggerSettings) -> str:
    if settings.fresh_samples is not None and snapshot.fresh_samples >= settings.fresh_samples:
        return f"{snapshot.fresh_samples} samples are fresh, {settings.fresh_samples} begin a round"
    if settings.fresh_tokens is not None and snapshot.fresh_tokens >= settings.fresh_tokens:
        return f"{snapshot.fresh_tokens} tokens are fresh, {settings.fresh_tokens} begin a round"
    return ""


def _what_it_waits_for(snapshot: Snapshot, settings: TriggerSettings) -> str:
    waits = [
        f"{threshold} {what} ({count} are there)"
        for count, threshold, what in (
            (snapshot.fresh_samples, settings.fresh_samples, "fresh samples"),
            (snapshot.fresh_tokens, settings.fresh_tokens, "fresh tokens"),
        )
        if threshold is not None
    ]
    if settings.interval_seconds is not None:
        waits.append(f"the interval of {settings.interval_seconds:.0f} s")
    if settings.cron is not None:
        waits.append(f"the schedule {settings.cron!r}")
    return "waiting for " + " or ".join(waits) if waits else "waiting for somebody to ask: no trigger is set"


def answers_to(begun: Ask, pending: tuple[Ask, ...]) -> tuple[Ask, ...]:
    """Which of the asks that wait a round answers: its own, and unless it is a dry run what any round would do."""
    return tuple(ask for ask in pending if ask == begun or not (begun.dry_run or ask.dry_run or ask.released_from))
