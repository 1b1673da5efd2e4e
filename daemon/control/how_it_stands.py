"""How things stand, as every face says it: one sentence, six lights, and what needs a person. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from daemon.control.answers.status import (
    DiskStanding,
    ForgettingStanding,
    IngestStanding,
    LastRoundStanding,
    MemoryStanding,
    RoundStanding,
    ServingStanding,
    StatusAnswer,
)
from daemon.ingestion.flood_sentence import flooded
from daemon.lifecycle.supervised_threads import State
from daemon.span import span
from streams.document import Pause

LOW_SHARE: Final = 0.1
"""Of the disk: with less free somebody should look."""
DOES: Final = {
    "draw": "draws its text",
    "start": "starts its learner",
    "verify": "verifies its files",
    "load": "loads the model",
    "encode": "encodes its text",
    "plausibility": "looks at the new text",
    "score": "scores what serves",
    "skills": "asks the skills",
    "importance": "weighs what matters",
    "train": "trains",
    "candidates": "scores its candidates",
    "judge": "is judged",
    "write": "writes its generation",
}
"""What a round does in each of its phases, after "round 15"."""


ELSEWHERE: Final = frozenset({"memory", "serving", "ingest", "rounds"})
"""Parts of which a light of their own tells."""
OF_THEMSELVES: Final = frozenset({Pause.DEAD_LETTER_FLOOD, Pause.SCHEMA_REGISTRY_AWAY})
"""Why a partition pauses though the others are read."""
HELD_UP: Final = frozenset({"full", "pause", "disk"})
"""What a person should know before all else, though nothing waits for their word: something does not go on."""
OUTCOMES: Final = {"waiting": "waits", "released": "approved", "dropped": "rejected"}
"""What came of a round, after "round 15", where that is not the state's own name."""


class Level(StrEnum):
    """How well something is; values are classes of the page's style."""

    GOOD = "good"
    IDLE = "idle"
    CARE = "care"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Light:
    """How one part stands.

    Attributes:
        name: stream, memory, round, gate, serving or disk.
        word: in a few words.
        detail: a sentence more; may be empty.
    """

    name: str
    level: Level
    word: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PersonNeeded:
    """Something that goes on only with a person's word, or that a person should know.

    Attributes:
        kind: round, aside, flood, pause, memory, settings, restart, stream (nothing of it, or all of it paused),
            unread (a part of it), full, serving, rounds, part, unknown, labels or disk.
        words: a sentence.
        number: of the round, where there is one.
        waits: whether something stands still until somebody decides.
    """

    kind: str
    words: str
    number: int | None = None
    waits: bool = True


@dataclass(frozen=True, slots=True)
class HowItStands:
    """The whole in one sentence, and in parts."""

    level: Level
    sentence: str
    lights: tuple[Light, ...]
    needs: tuple[PersonNeeded, ...]


def how_it_stands(facts: StatusAnswer) -> HowItStands:
    """What is said first of everything, of a status as the daemon or the store answers it."""
    lights = (
        _stream(facts["ingest"], running=facts["running"]),
        _memory(facts["memory"], facts["memory_trouble"]),
        _round(facts),
        _gate(facts["last_round"], facts),
        _serving(facts["serving"]),
        _disk(facts["disk"]),
    )
    needs = tuple(_needs(facts))
    level = _worst(lights, needs, facts)
    return HowItStands(level, f"{_headline(level, facts, lights, needs)}{', '.join(_clauses(facts))}.", lights, needs)


def _worst(lights: Sequence[Light], needs: Sequence[PersonNeeded], facts: StatusAnswer) -> Level:
    if any(light.level is Level.BAD for light in lights):
        return Level.BAD
    if _first(needs) is not None:
        return Level.CARE
    return Level.GOOD if facts["running"] and not _starting(facts) else Level.IDLE


def _first(needs: Sequence[PersonNeeded]) -> PersonNeeded | None:
    """What the sentence begins with: what waits for a person, else what does not go on; None where all goes on."""
    waiting = (need for need in needs if need.waits)
    return next(waiting, None) or next((need for need in needs if need.kind in HELD_UP), None)


def _starting(facts: StatusAnswer) -> str:
    """What is done before all of it runs for the first time, a clause; empty once it runs, or something is wrong."""
    if doing := facts["serving"].get("starting"):
        return doing
    return "rounds are got ready" if _state(facts, "rounds") == State.STARTING else ""


def _state(facts: StatusAnswer, name: str) -> str:
    """How a part of the daemon is; empty where there is none."""
    part = (facts["parts"] or {}).get(name)
    return "" if part is None else part.get("state") or (State.RUNNING if part["ok"] else State.BROKEN)


def _broken(facts: StatusAnswer, name: str) -> str:
    """Why a part does not work, by its own account; empty while it does, begins, waits or ends."""
    return (facts["parts"] or {})[name]["detail"] if _state(facts, name) in (State.BROKEN, State.STUCK) else ""


def _headline(level: Level, facts: StatusAnswer, lights: Sequence[Light], needs: Sequence[PersonNeeded]) -> str:
    if level is Level.BAD:
        return f"Trouble with {' and '.join(light.name for light in lights if light.level is Level.BAD)}: "
    if (first := _first(needs)) is not None:
        # The first clause of it: the rest stands where it is decided on.
        return f"{first.words.partition(': ')[0].rstrip('.')}; "
    if not facts["running"]:
        return "No daemon runs: "
    if doing := _starting(facts):
        return f"Starting: {doing}, "
    return "Beginning: " if facts["serving"]["generation"] is None else "Keeping up: "


def _clauses(facts: StatusAnswer) -> Iterator[str]:
    generation, progress = facts["serving"]["generation"], facts["round"]
    if generation is None:
        yield "no generation serves yet"
    else:
        yield f"generation {generation} {'is to serve' if facts['serving']['ok'] is False else 'serves'}"
    if facts["forgetting"] is not None:
        yield f"forgetting {_nats(facts['forgetting']['figure'])}"
    if progress is None:
        yield "no round is in progress"
        return
    yield f"round {progress['number']} {_does(progress)}"
    if (left := time_left(progress)) is not None:
        yield left


def _nats(figure: float) -> str:
    """Three decimals; never minus nothing, which reads like a gain."""
    return f"{figure + 0.0:.3f}".replace("-0.000", "0.000")


def _does(progress: RoundStanding) -> str:
    # Why it waits stands elsewhere: Kubernetes' own words may be long.
    if waits_for := progress.get("waits_for", ""):
        return f"waits for {waits_for.partition(':')[0]}"
    return DOES.get(progress["phase"], progress["phase"])


def time_left(progress: RoundStanding) -> str | None:
    """How long the phase of a round still takes; None while that is not known."""
    work = progress["work"]
    return None if work is None or work["seconds_left"] is None else f"about {span(work['seconds_left'])} left"


def _stream(ingest: IngestStanding | None, *, running: bool) -> Light:
    if ingest is None:
        return Light("stream", Level.IDLE, "No topics are read" if running else "Not read")
    if ingest["trouble"]:
        return Light("stream", Level.BAD, "Nothing comes", ingest["trouble"])
    if (held_up := _held_up(ingest)) is not None:
        return held_up
    if ingest["lag_records"] is None:
        return Light("stream", Level.IDLE, "Waits for partitions")
    lag = ingest["lag_records"]
    return Light("stream", Level.GOOD, "Caught up" if lag == 0 else f"{lag:,} records behind")


def _held_up(ingest: IngestStanding) -> Light | None:
    """That all of it, or a part, is not read; None where everything is."""
    if ingest["reason"]:
        return Light("stream", Level.CARE, "Paused", ingest["reason"])
    unread = "; ".join(ingest.get("unread", ()))
    if (paused := len(ingest["paused"])) > 0:
        words = f"{paused} {'partition' if paused == 1 else 'partitions'} paused"
        return Light("stream", Level.CARE, words, unread)
    return Light("stream", Level.CARE, "Not all is read", unread) if unread else None


def _memory(memory: MemoryStanding | None, trouble: str) -> Light:
    if trouble:
        return Light("memory", Level.BAD, "Cannot be used", trouble)
    if memory is None:
        return Light("memory", Level.IDLE, "Nothing kept yet")
    kept = f"{memory['replay_samples']:,} to replay, {memory['holdout_samples']:,} held out"
    return Light("memory", Level.GOOD, f"{memory['fresh_samples']:,} fresh", kept)


def _round(facts: StatusAnswer) -> Light:
    progress, state = facts["round"], _state(facts, "rounds")
    if state in (State.BROKEN, State.STUCK, State.WAITING):
        return Light("round", Level.BAD, "Rounds do not run", (facts["parts"] or {})["rounds"]["detail"])
    if state == State.STARTING:
        return Light("round", Level.IDLE, "Starting")
    if progress is not None:
        detail = time_left(progress) or progress.get("waits_for", "")
        return Light("round", Level.GOOD, f"Round {progress['number']} {_does(progress)}", detail)
    coming = facts["next_round"] or ""
    if facts["rounds_paused"] is not None:
        return Light("round", Level.CARE, "Paused", facts["rounds_paused"]["reason"])
    return Light("round", Level.IDLE, "None in progress", coming[:1].upper() + coming[1:])


def _gate(last: LastRoundStanding | None, facts: StatusAnswer) -> Light:
    if facts["canary"] is not None:
        watched = facts["canary"]["generation"]
        return Light("gate", Level.GOOD, f"Generation {watched} is watched", facts["canary"]["detail"])
    if last is None:
        return Light("gate", Level.IDLE, "Nothing judged yet")
    level = {"accepted": Level.GOOD, "abandoned": Level.IDLE}.get(last["state"], Level.CARE)
    return Light(
        "gate", level, f"Round {last['number']} {OUTCOMES.get(last['outcome'], last['outcome'])}", last["detail"]
    )


def _serving(serving: ServingStanding) -> Light:
    generation = serving["generation"]
    if starting := serving.get("starting"):
        return Light("serving", Level.IDLE, "Starting", starting)
    if serving["ok"] is False:
        return Light("serving", Level.BAD, "Does not answer", serving["trouble"])
    if generation is None:
        return Light("serving", Level.IDLE, "No generation yet")
    if serving["answering"] not in (None, generation):
        return Light(
            "serving", Level.CARE, f"Swaps to generation {generation}", f"{serving['answering']} still answers"
        )
    detail = serving["address"] or "No serving process beside this daemon"
    return Light("serving", Level.GOOD if serving["ok"] else Level.IDLE, f"Generation {generation}", detail)


def _disk(disk: DiskStanding | None) -> Light:
    if disk is None:
        return Light("disk", Level.IDLE, "Not known")
    share = disk["free_bytes"] / max(1, disk["total_bytes"])
    level = Level.GOOD if not is_low(disk) else Level.CARE if disk["free_bytes"] else Level.BAD
    return Light("disk", level, f"{share:.0%} free", f"{gigabytes(disk['free_bytes'])} of {disk['path']}")


def is_low(disk: DiskStanding) -> bool:
    """Whether so little is free that somebody should look."""
    return disk["free_bytes"] < LOW_SHARE * disk["total_bytes"]


def gigabytes(size: float) -> str:
    """Bytes for a person."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def _needs(facts: StatusAnswer) -> Iterator[PersonNeeded]:
    """What somebody has to decide on first, then what somebody should know."""
    for number in facts["waiting"]:
        yield PersonNeeded("round", f"Round {number} waits for your word: its text is unlike what came before.", number)
    if facts["ingest"] is not None:
        yield from _of_reading(facts["ingest"])
    if facts["memory_trouble"]:
        yield PersonNeeded("memory", f"The memory cannot be used: {facts['memory_trouble']}")
    elif _round(facts).level is Level.BAD:
        yield PersonNeeded("rounds", f"Rounds do not run: {_sentence(_round(facts).detail)}")
    if facts["serving"]["ok"] is False and not facts["serving"].get("starting"):
        why = facts["serving"]["trouble"] or "the daemon's log says why"
        yield PersonNeeded("serving", f"Serving does not answer: {_sentence(why)}")
    for name in facts["parts"] or {}:
        if name not in ELSEWHERE and (why := _broken(facts, name)):
            yield PersonNeeded("part", f"A part of the daemon does not work ({name}): {_sentence(why)}")
    if facts["settings_refused"] is not None:
        yield PersonNeeded("settings", "The settings on disk were refused; those before them are in force.")
    yield from _to_know(facts)


def _of_reading(ingest: IngestStanding) -> Iterator[PersonNeeded]:
    """What of the stream does not come, and who mends it."""
    if floods := flooded(ingest["paused"]):
        yield PersonNeeded("flood", f"A flood of dead letters paused {', '.join(floods)}.")
    if ingest["trouble"]:
        yield PersonNeeded("stream", f"Nothing of the stream comes: {_sentence(ingest['trouble'])}")
    if ingest["reason"]:
        # A round makes room in the memory by itself; what else stands in the way, somebody has to remove.
        by_itself = Pause.MEMORY_FULL in ingest["paused"].values()
        kind = "full" if by_itself else "stream"
        yield PersonNeeded(kind, f"Reading is paused: {_sentence(ingest['reason'])}", waits=not by_itself)
    elif still := [name for name, why in ingest["paused"].items() if why not in OF_THEMSELVES]:
        # The reason goes a moment before the partitions are read on.
        yield PersonNeeded("full", f"Reading is paused: {', '.join(still)}.", waits=False)
    unread = ingest.get("unread", [])
    for sentence in unread:
        yield PersonNeeded("unread", _sentence(sentence[:1].upper() + sentence[1:]))
    away = [name for name, why in ingest["paused"].items() if why == Pause.SCHEMA_REGISTRY_AWAY]
    if away and not unread:
        yield PersonNeeded("unread", f"Partitions wait for their schemas: {', '.join(away)}.")


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _to_know(facts: StatusAnswer) -> Iterator[PersonNeeded]:
    if facts["rounds_paused"] is not None:
        reason = facts["rounds_paused"]["reason"]
        yield PersonNeeded("pause", f"Rounds are paused{f': {reason}' if reason else ''}.", waits=False)
    aside = 0 if facts["memory"] is None else facts["memory"]["aside_samples"]
    if aside and not facts["waiting"]:
        yield PersonNeeded("aside", f"{aside:,} samples are set aside: release them, or drop them.", waits=False)
    if facts["need_restart"]:
        tables = ", ".join(f"[{name}]" for name in facts["need_restart"])
        yield PersonNeeded("restart", f"{tables} changed on disk, and count from a restart on.", waits=False)
    if facts["unknown_generations"]:
        numbers = ", ".join(map(str, facts["unknown_generations"]))
        yield PersonNeeded(
            "unknown", f"On disk are generations that the database does not know: {numbers}.", waits=False
        )
    if facts["waiting_labels"]:
        yield PersonNeeded(
            "labels", f"{len(facts['waiting_labels'])} labels wait that what serves cannot answer.", waits=False
        )
    if facts["disk"] is not None and is_low(facts["disk"]):
        full = not facts["disk"]["free_bytes"]
        yield PersonNeeded("disk", "The disk is full." if full else "The disk is nearly full.", waits=full)


def forgetting_words(forgotten: ForgettingStanding | None) -> str:
    """How much was forgotten, with its limits, for a person."""
    if forgotten is None:
        return "not known before two generations can be compared"
    lower, upper = forgotten["lower"], forgotten["upper"]
    sure = "" if lower is None or upper is None else f" ({_nats(lower)} … {_nats(upper)})"
    return f"{_nats(forgotten['figure'])} nats per token{sure} on {forgotten['documents']:,} older documents"
