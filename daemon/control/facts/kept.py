"""What is kept: samples by role, what is set aside, dead letters, and offsets that never came."""

from daemon.control.answers.kept import AsideDocument, AsideLine, AsideTextAnswer, DeadLetterLine, GapLine, MemoryAnswer
from daemon.control.facts.records import sample_line, sample_with_text
from memory.intake.records import StoredDeadLetter, StoredGap
from memory.ledger.aside import AsidePage
from memory.ledger.records import AsideGroup
from memory.samples.reading import FoundSample
from memory.samples.records import KeyHash, Role
from memory.store import Store


def memory(store: Store) -> MemoryAnswer:
    """What is kept, by role, source and label; how many were left out, and why."""
    counts = store.counts()
    # Counts by reason bear the reason behind a colon; the others are of what became of documents.
    reasons = {
        name.removeprefix("dead_letters:"): number
        for name, number in counts.tallies.items()
        if name.startswith("dead_letters:")
    }
    return {
        "kept": [
            {
                "role": Role(count.role).name.lower(),
                "source": count.source,
                "label": count.label,
                "samples": count.samples,
                "tokens": count.tokens,
            }
            for count in counts.by_role_and_source
        ],
        "ages": [
            {
                "role": age.role.name.lower(),
                "source": age.source,
                "first_round": age.first_round,
                "last_round": age.last_round,
                "samples": age.samples,
                "tokens": age.tokens,
            }
            for age in store.ages()
        ],
        "fresh_since": store.fresh_since(),
        "aside": [aside_line(group) for group in store.aside.groups()],
        "quarantine": {"dead_letters": counts.quarantine_rows, "bytes": counts.quarantine_bytes},
        "dead_letter_reasons": reasons,
        "tallies": {name: number for name, number in counts.tallies.items() if ":" not in name},
        "bytes_per_token": counts.bytes_per_token,
        "holdout_shares": store.held_out_shares(),
    }


def aside_line(group: AsideGroup) -> AsideLine:
    """What one round set aside."""
    return {
        "round": group.round,
        "reason": group.reason,
        "since": group.since,
        "samples": group.samples,
        "tokens": group.tokens,
        "held_out": group.held_out,
        "sources": list(group.sources),
    }


def aside_text(number: int, page: AsidePage, *, text: bool) -> AsideTextAnswer:
    """Documents that a round set aside, with their text where that is asked for."""
    return {
        "round": number,
        "documents": [_aside_document(entry, page, text=text) for entry in page.found],
        "next": page.next,
    }


def _aside_document(entry: FoundSample, page: AsidePage, *, text: bool) -> AsideDocument:
    sample, measured = entry.sample, page.measured.get(entry.sample.id)
    return {
        **(sample_with_text(entry) if text else sample_line(entry)),
        "characters": len(sample.text),
        "held_out": sample.id in page.held_out,
        "key_hash": None if sample.key_hash is None else str(KeyHash(sample.key_hash)),
        "loss": None if measured is None else measured.loss,
        "repetition": None if measured is None else measured.repetition,
    }


def dead_letter_line(letter: StoredDeadLetter, *, text: bool) -> DeadLetterLine:
    """A dead letter, with what was kept of its record only where that is asked for."""
    line: DeadLetterLine = {
        "id": letter.id,
        "topic": letter.partition.topic,
        "partition": letter.partition.number,
        "offset": letter.offset,
        "reason": letter.reason.value,
        "detail": letter.detail,
        "value_bytes": letter.value_bytes,
        "arrived_at": letter.arrived_at,
        "published": letter.published,
    }
    if not text:
        return line
    return line | {
        "key": None if letter.key is None else bytes_text(letter.key),
        "value": bytes_text(letter.value),
        "cut": len(letter.value) < letter.value_bytes,
        "headers": [[name, None if value is None else bytes_text(value)] for name, value in letter.headers],
        "headers_dropped": letter.headers_dropped,
    }


def bytes_text(value: bytes) -> str:
    """Bytes as UTF-8, with those that are none as backslash escapes."""
    return value.decode(errors="backslashreplace")


def gap_line(entry: StoredGap) -> GapLine:
    """Offsets that never came."""
    return {
        "id": entry.id,
        "topic": entry.gap.partition.topic,
        "partition": entry.gap.partition.number,
        "first": entry.gap.first,
        "last": entry.gap.last,
        "reason": str(entry.gap.reason),
        "recorded_at": entry.recorded_at,
    }
