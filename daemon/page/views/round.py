"""One round: why it began, what it does or did, what the gate compared, what it was given and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon.control.answers.explained import ExplainedRound
from daemon.control.answers.rounds import RoundAnswer, RoundSamplesAnswer
from daemon.control.answers.status import RoundStanding
from daemon.control.wording import answered_words
from daemon.page.addresses import record_address
from daemon.page.views.checks import CheckRow, check_rows
from daemon.page.views.rounds import RoundInProgress, RoundRow, round_in_progress, round_row

PARTS: Final = {
    "fresh": "new, trained on",
    "untouched": "new, drawn and not trained on",
    "early_stop": "new, kept apart to tell when to stop",
    "over_quota": "new, beyond a key's quota",
    "replay": "replayed",
    "slice": "held out, to judge by",
}
NOTES: Final = ("replay_note", "checkpointing_note", "compile_note", "moments_note", "merge_note")
BAR: Final = 100.0


@dataclass(frozen=True, slots=True)
class ShownShare:
    """A figure among others, with how long its bar is, 0 to 100."""

    name: str
    value: float
    bar: float


@dataclass(frozen=True, slots=True)
class SliceLosses:
    """What each model scored on one slice, in nats; None for what is no finite number.

    Attributes:
        change: from parent to candidate; above 0 is worse.
    """

    name: str
    base: float | None
    parent: float | None
    candidate: float | None
    change: float | None


@dataclass(frozen=True, slots=True)
class GivenSamples:
    """Samples of one source that the round was given as one part."""

    part: str
    source: str | None
    samples: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What training took, name and value each; in words."""

    facts: tuple[tuple[str, str], ...]
    phases: tuple[ShownShare, ...]


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The first and the last record of a partition that the round was given as new text, and where each is followed."""

    partition: str
    first: int
    last: int
    trace_first: str
    trace_last: str


@dataclass(frozen=True, slots=True)
class RoundView:
    """A round.

    Attributes:
        progress: where it stands; None once it has ended.
        candidate: the one that the gate spoke of; empty where it spoke of none.
        losses: by term, nats per token over the last tenth of the steps.
        flips: what the candidate has better and worse than the parent, a clause; empty where that is not known.
        later: whether there is a round after it.
        told: why it began and what came of it, in sentences.
        steps: what a person can do, each with its command; empty where there is none.
    """

    row: RoundRow
    progress: RoundInProgress | None
    detail: str
    ended_at: float | None
    decision: str
    candidate: str
    checks: tuple[CheckRow, ...]
    slices: tuple[SliceLosses, ...]
    losses: tuple[ShownShare, ...]
    given: tuple[GivenSamples, ...]
    given_note: str
    offsets: tuple[OffsetRange, ...]
    cost: Cost | None
    flips: str
    notes: tuple[str, ...]
    directory: str | None
    seed: int
    recipe: tuple[tuple[str, str], ...]
    waits: bool
    later: bool
    told: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]


def round_view(
    answer: RoundAnswer,
    samples: RoundSamplesAnswer,
    explained: ExplainedRound,
    standing: RoundStanding | None,
    latest: int,
) -> RoundView:
    """A round.

    Args:
        answer: of it.
        samples: that it was given.
        explained: the same in sentences.
        standing: of the round in progress, whichever it is.
        latest: number of the latest round.
    """
    verdict, report = answer["verdict"], answer["report"]
    training: Mapping[str, Any] = report.get("training") or {}
    is_this = standing is not None and standing["number"] == answer["number"]
    candidate = verdict.get("candidate") or ""
    return RoundView(
        row=round_row(answer),
        progress=round_in_progress(standing) if is_this and standing is not None else None,
        detail=answer["detail"],
        ended_at=answer["ended_at"],
        decision=verdict.get("decision", ""),
        candidate=candidate,
        checks=check_rows(verdict),
        slices=_slices(report, candidate),
        losses=shares(training.get("losses", {})),
        given=tuple(
            GivenSamples(PARTS.get(each["part"], each["part"]), each["source"], each["samples"])
            for each in samples["sources"]
        ),
        given_note=samples["note"],
        offsets=tuple(_offset_range(name, first, last) for name, (first, last) in answer["offsets"].items()),
        cost=_cost(training, report.get("device", "")),
        flips=_flips(report, candidate),
        notes=tuple(_notes(answer, training)),
        directory=answer["directory"],
        seed=answer["seed"],
        recipe=tuple((name, _told(value)) for name, value in answer["recipe"].items()),
        waits=answer["state"] == "waiting",
        later=answer["number"] < latest,
        told=(*explained["began"], *explained["ended"]),
        steps=tuple((step["text"], step["command"]) for step in explained["next"]),
    )


def _offset_range(name: str, first: int, last: int) -> OffsetRange:
    topic, _, partition = name.rpartition("/")
    return OffsetRange(name, first, last, *(record_address(topic, int(partition), at) for at in (first, last)))


def shares(figures: Mapping[str, float | None]) -> tuple[ShownShare, ...]:
    """Figures with bars as long as each is beside the largest; those that are no number are left out."""
    known = {name: value for name, value in figures.items() if value is not None}
    most = max((abs(value) for value in known.values()), default=0.0) or 1.0
    return tuple(ShownShare(name, value, round(abs(value) / most * BAR, 2)) for name, value in known.items())


def _slices(report: Mapping[str, Any], candidate: str) -> tuple[SliceLosses, ...]:
    rows = []
    for name, by_model in (report.get("slices") or {}).items():
        parent, chosen = by_model.get("parent"), by_model.get(candidate)
        change = None if parent is None or chosen is None else chosen - parent
        rows.append(SliceLosses(name, by_model.get("base"), parent, chosen, change))
    return tuple(rows)


def _cost(training: Mapping[str, Any], device: str) -> Cost | None:
    if not training:
        return None
    facts = [
        ("Steps", f"{training['steps']:,}"),
        ("New tokens", f"{training['tokens_new']:,}"),
        ("Replayed tokens", f"{training['tokens_replayed']:,}"),
        ("Training", f"{training['seconds'] or 0:,.1f} s"),
        ("Speed", f"{training['tokens_per_second'] or 0:,.0f} tokens a second"),
        ("Memory at most", f"{training['peak_memory_bytes'] / 1e9:,.2f} GB"),
        ("Sequences in a pass", f"{training['micro_batch']:,}"),
        ("Device", device),
    ]
    return Cost(tuple(fact for fact in facts if fact[1]), shares(training.get("phase_seconds", {})))


def _flips(report: Mapping[str, Any], candidate: str) -> str:
    flips = (report.get("flips") or {}).get(candidate)
    if flips is None:
        return ""
    return (
        f"{flips['better']:.1%} of {flips['documents']:,} held-out documents are better than under the parent, "
        f"{flips['worse']:.1%} worse"
    )


def _notes(answer: RoundAnswer, training: Mapping[str, Any]) -> Sequence[str]:
    notes = [str(training[name]) for name in NOTES if training.get(name)]
    if answer["trained_in"] is not None:
        notes.append(f"It trained nothing: it judged again what round {answer['trained_in']} had trained.")
    if answer["kept"]:
        notes.append(answer["kept"])
    if answer["canary"] is not None:
        canary = answer["canary"]
        outcome = canary["outcome"].replace("_", " ")
        words = "".join(f"; of requests {words}" for words in [answered_words(canary["answered_to"])] if words)
        notes.append(f"Generation {canary['generation']} was watched in traffic: {outcome}{words}.")
    return notes


def _told(value: object) -> str:
    return "none" if value is None else str(value)
