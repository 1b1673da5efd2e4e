"""What the daemon itself notes of a round in its directory: what was drawn, for whom, and what was decided."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.card import DataRange, ModelKind
from checkpoints.files.durable_writes import replace_file
from checkpoints.json_files import STRICT, explain_unreadable, read_json, write_json
from gate.held_out import HeldOut
from gate.skills.guarded import GuardedSkill
from gate.verdict import Verdict
from learner.directory.report import BadReport, Report, read_report
from memory.ledger.records import RoundDraw
from memory.samples.reading import FoundSample
from memory.samples.records import Sample
from streams.document import partition_name

DRAW = "draw.json"
VERDICT = "verdict.json"


class BadRecord(Exception):
    """A round's directory lacks the daemon's note, or it cannot be understood."""


@dataclass(frozen=True, slots=True, config=STRICT)
class RoundRecord:
    """What judging a round needs beside its report.

    Attributes:
        number: of the round.
        parent: the generation that it starts from.
        base: generation 0.
        dry_run: judged, but never promoted.
        approved: a person let this text pass, its plausibility is not judged.
        slices: what was drawn to judge by.
        data: what it is trained on, for the lineage card.
        best: an earlier generation that the round scores again; None where it scores none.
        trained_in: the round that trained what this one judges again; None where it trains itself.
        look: how often its candidates will have been judged with this round.
        skills: what its candidates must still be able to do.
    """

    number: int
    parent: int
    base: int
    dry_run: bool
    approved: bool
    slices: tuple[HeldOut, ...]
    data: DataRange
    best: int | None = None
    trained_in: int | None = None
    look: int = 1
    skills: tuple[GuardedSkill, ...] = ()

    @classmethod
    def of(cls, draw: RoundDraw, *, dry_run: bool, approved: bool) -> "RoundRecord":
        """The note on a draw."""
        return cls(
            number=draw.number,
            parent=draw.parent_generation,
            base=draw.base_generation,
            dry_run=dry_run,
            approved=approved,
            slices=tuple(HeldOut.of(piece) for piece in draw.slices),
            data=_data_range(draw),
        )

    def write(self, directory: Path) -> None:
        """Put the note into a round's directory."""
        replace_file(directory / DRAW, write_json(self, indent=2))

    @classmethod
    def read(cls, directory: Path) -> "RoundRecord":
        """Read the note back.

        Raises:
            BadRecord: it is not there or not whole.
        """
        try:
            return read_json(cls, (directory / DRAW).read_bytes())
        except (OSError, ValidationError) as error:
            raise BadRecord(f"{directory / DRAW} cannot be read: {explain_unreadable(error, 'draw')}") from error


def read_report_of(record: RoundRecord, directory: Path, kind: ModelKind) -> Report:
    """The report that a round's learner wrote.

    Raises:
        FileNotFoundError: there is none.
        BadReport: it cannot be understood, or it is of another round or of another kind of model, so that its
            figures prove nothing here.
    """
    report = read_report(directory)
    for what, reported, expected in (("round", report.round, record.number), ("kind", report.kind, kind)):
        if reported != expected:
            raise BadReport(
                f"the report in {directory} says {what} {reported}, this is {what} {expected}: nothing in it is "
                "believed; begin the round anew"
            )
    return report


def write_verdict(directory: Path, verdict: Verdict) -> None:
    """Put the gate's word beside the report."""
    replace_file(directory / VERDICT, write_json(verdict, indent=2))


def _data_range(draw: RoundDraw) -> DataRange:
    offsets = {partition_name(part): span for part, span in draw.offsets.items()}
    return _range(draw.fresh, draw.replay, offsets)


def trained_range(text: Mapping[str, Sequence[FoundSample]], touched: Collection[int]) -> DataRange:
    """What a round was trained on, of what it was given to train on.

    Args:
        text: what was drawn, by part, as `Store.rounds.text` gives it.
        touched: ids of what was trained on.
    """
    fresh = [entry for entry in text.get("fresh", ()) if entry.sample.id in touched]
    replay = [entry.sample for entry in text.get("replay", ()) if entry.sample.id in touched]
    offsets: dict[str, tuple[int, int]] = {}
    for entry in fresh:
        first, last = offsets.get(partition_name(entry.partition), (entry.offset, entry.offset))
        offsets[partition_name(entry.partition)] = min(first, entry.offset), max(last, entry.offset)
    return _range([entry.sample for entry in fresh], replay, offsets)


def _range(fresh: Sequence[Sample], replay: Sequence[Sample], offsets: Mapping[str, tuple[int, int]]) -> DataRange:
    times = [sample.arrived_at for sample in fresh]
    return DataRange(
        offsets=offsets,
        first_time=min(times, default=None),
        last_time=max(times, default=None),
        samples=len(fresh),
        tokens=sum(sample.tokens for sample in fresh),
        replayed_samples=len(replay),
        labels=_labels(fresh),
        replayed_labels=_labels(replay),
    )


def _labels(samples: Sequence[Sample]) -> dict[str, int]:
    return dict(sorted(Counter(sample.label for sample in samples if sample.label is not None).items()))
