"""Dead letters decoded again, after settings were mended that made them dead."""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TypedDict

from daemon.settings.records import record_needs
from daemon.settings.tree import Settings
from memory.intake.records import StoredDeadLetter
from memory.store import Store
from streams.decoding.decode import decoder_by
from streams.document import Batch, Document, Partition, Reason, Rejection
from streams.errors import RegistryAway
from streams.registry.client import SchemaRegistry, of_settings

AT_ONCE = 500
REPLAYED = "dead-letters"
"""The stream that replayed dead letters arrive by: their own offsets lie behind those already stored."""


class DecodedAgain(TypedDict):
    """What became of dead letters that were decoded again.

    Attributes:
        kept: stored now.
        known: dropped as duplicates.
        reasons: of those that are still dead, how many for which reason.
    """

    kept: int
    known: int
    still_dead: int
    reasons: dict[str, int]


def replay(store: Store, settings: Settings, *, ids: frozenset[int], now: float) -> DecodedAgain:
    """Decode dead letters again and store those that now are documents; the others stay dead, with today's reason.

    Cut down between storing and dropping, it can be repeated: what is stored already counts as a duplicate.

    Args:
        store: open for writing.
        settings: the present ones: formats of topics, filters, limits.
        ids: which; none: all.
        now: unix seconds; also tells this replay's offsets from those of any other.
    """
    registry = of_settings(settings.streams.schema_registry)
    with registry if registry is not None else nullcontext():
        return _replay(store, settings, registry, ids, now)


def _replay(
    store: Store, settings: Settings, registry: SchemaRegistry | None, ids: frozenset[int], now: float
) -> DecodedAgain:
    stream = Partition(REPLAYED, 0, f"{now:.6f}")
    added = duplicates = 0
    still_dead: Counter[str] = Counter()
    for letters in _in_batches(store, ids):
        # A letter's id stands for its offset, which is behind those already stored of its own partition.
        decoded = {letter.id: _decode(settings, registry, letter, stream, now) for letter in letters}
        revived = {number: outcome for number, outcome in decoded.items() if isinstance(outcome, Document)}
        dead = {number: outcome for number, outcome in decoded.items() if not isinstance(outcome, Document)}
        store.quarantine.note_reasons(dead)
        still_dead.update(reason for reason, _ in dead.values())
        if not revived:
            continue
        batch = Batch(tuple(revived.values()), (), (), {stream: max(revived) + 1})
        appended = store.append(batch)
        stored = appended.fresh + appended.holdout + appended.replay
        added, duplicates = added + stored, duplicates + len(revived) - stored
        store.quarantine.drop(revived)
    return {"kept": added, "known": duplicates, "still_dead": still_dead.total(), "reasons": dict(still_dead)}


def _in_batches(store: Store, ids: frozenset[int]) -> Iterator[list[StoredDeadLetter]]:
    after = 0
    while letters := store.quarantine.dead_letters(AT_ONCE, after):
        # By id, not by position: what is revived leaves the quarantine between two pages.
        after = letters[-1].id
        selected = [letter for letter in letters if not ids or letter.id in ids]
        if selected:
            yield selected


def _decode(
    settings: Settings, registry: SchemaRegistry | None, letter: StoredDeadLetter, stream: Partition, now: float
) -> Document | Rejection:
    """The dead letter as a document, or why it is none today; as it was, where it can never be one.

    Never: a record that was cut, a whole batch, and one whose format is not known (of a file, of a topic that is read
    no more): decoded without its key, a person's text could not be found again to be erased.
    """
    format_ = settings.streams.topic(letter.partition.topic)
    if letter.reason is Reason.UNDECODABLE_BATCH or format_ is None or letter.value_bytes != len(letter.value):
        return letter.reason, letter.detail
    needs = record_needs(settings)
    decoder = decoder_by(settings.streams, format_, letter.partition.topic, needs=needs, registry=registry)
    try:
        return decoder.decode(letter.value, letter.key, None, stream, letter.id, now)
    except RegistryAway as away:
        return letter.reason, str(away)
