"""What became of records, and what an erasure would touch, as a person sees it."""

import time
from collections.abc import Iterator

from rich.text import Text

from daemon.cli.render.people import print_seen_by, print_similar
from daemon.cli.render.screen import console
from daemon.control.answers.traces import ForeseenErasure, TraceAnswer, TracedRecord
from daemon.control.printable import inline
from daemon.control.wording import fate_words, shown_text
from daemon.span import span as ago


def print_trace(facts: TraceAnswer, *, now: float | None = None) -> None:
    """Each record, then what an erasure by its key would touch."""
    moment = time.time() if now is None else now
    for record in facts["records"]:
        for line in _lines(record, moment):
            console.print(line)
    if not facts["records"]:
        console.print("No record of that key is known any more.")
    if facts["next"] is not None:
        console.print(f"More of them: --after {facts['next']}")
    for erasure in facts["erasures"]:
        _print_erasure(erasure, moment)
    if facts["records"] and not facts["erasures"]:
        console.print("\nNo erasure by key finds it: no key of it is known.")


def _lines(record: TracedRecord, now: float) -> Iterator[Text]:
    where = f"{record['topic']}/{record['partition']} offset {record['offset']}"
    yield Text(inline(where), "bold").append(f": {fate_words(record['became'])}", "default")
    yield Text(f"  {inline(record['detail'])}")
    if (sample := record["sample"]) is not None:
        label = "" if sample["label"] is None else f", label {inline(sample['label'])}"
        arrived = f"arrived {ago(now - sample['arrived_at'])} ago"
        yield Text(f"  Sample {sample['id']} of source {inline(sample['source'])}{label}, {arrived}.")
        if "text" in sample:
            yield Text(f"  {shown_text(sample)}")
    for use in record["rounds"]:
        yield Text(f"  Round {use['round']}: {inline(use['detail'])}.")
    if record["lineage_from"] > 1:
        yield Text(f"  What rounds before {record['lineage_from']} were given is not known any more.", "yellow")
    if record["scored_by"]:
        yield Text(f"  Scores on it are kept of generations {_numbers(record['scored_by'])}.")
    if record["generations"]:
        yield Text(f"  Trained on it: generations {_numbers(record['generations'])}.", "yellow")
    if record["descendants"]:
        yield Text(f"  Made from those: generations {_numbers(record['descendants'])}.", "yellow")


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _print_erasure(erasure: ForeseenErasure, now: float) -> None:
    console.print(Text(f"\nAn erasure of the key with hash {erasure['key_hash']} (not done) would erase:"))
    amounts = f"{erasure['samples']:,} samples, {erasure['dead_letters']:,} dead letters"
    console.print(f"  {amounts}, {erasure['feedback']:,} of feedback")
    for path in erasure["directories"]:
        console.print(Text(f"  {inline(path)}"))
    if (off := erasure["calls_off"]) is not None:
        console.print(
            f"  and would call off round {off['round']}, which is in progress ({ago(off['seconds'])} of work)."
        )
    if erasure["erased_at"] is not None:
        console.print(f"It was erased {ago(now - erasure['erased_at'])} ago already.")
    print_seen_by(erasure)
    console.print(Text(f"  $ {inline(erasure['command'])}", "bold"), soft_wrap=True)
    print_similar(erasure)
