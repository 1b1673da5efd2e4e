"""Which labels wait, as the serving generation's head has no row for them, and what to do about each."""

from collections import Counter
from typing import Final

from daemon.control.answers.status import WaitingLabel
from daemon.settings.labels import answered_labels, keys_by_label, keys_to_learn
from daemon.settings.tree import Settings
from memory.samples.records import Counts, Role
from memory.store import Store
from streams.decoding.several_labels import members
from streams.decoding.unknown_label import label_in
from streams.document import Reason

LABELS_SHOWN: Final = 20
NAME_IT: Final = "add it to the end of `model.labels` and start again"


def waiting_labels(store: Store, settings: Settings) -> list[WaitingLabel]:
    """The labels of new documents, and of dead letters, that what serves cannot answer; those of most first."""
    answered = answered_labels(settings, store.generations.serving())
    if answered is None:
        return []
    counts = store.counts()
    waiting = [*_kept(store, counts, settings, frozenset(answered)), *_dead(store, counts, settings)]
    return sorted(waiting, key=lambda each: (-each["documents"], each["label"]))[:LABELS_SHOWN]


def _kept(store: Store, counts: Counts, settings: Settings, answered: frozenset[str]) -> list[WaitingLabel]:
    """Labels of documents that the memory holds among the fresh ones."""
    documents: Counter[str] = Counter()
    for entry in counts.by_role_and_source:
        if entry.role is Role.FRESH and entry.samples:
            documents.update(dict.fromkeys(members(entry.label) - answered, entry.samples))
    if not documents:
        return []
    keys, least = keys_by_label(store.fresh_labels()), keys_to_learn(settings)
    return [
        {"label": label, "documents": number, "detail": _until(label, keys.get(label, 0), least, settings)}
        for label, number in documents.items()
    ]


def _until(label: str, keys: int, least: int, settings: Settings) -> str:
    if label not in settings.model.labels:
        return f"they wait among the fresh text, as `model.labels` does not name it: {NAME_IT}"
    if keys >= least:
        return "the next round learns it"
    return f"they have {keys} different keys, and wait among the fresh text until there are {least}"


def _dead(store: Store, counts: Counts, settings: Settings) -> list[WaitingLabel]:
    """Labels of records that are dead letters, as nobody named them."""
    if not counts.tallies.get(f"dead_letters:{Reason.UNKNOWN_LABEL}", 0):
        return []
    records: Counter[str] = Counter()
    for detail, number in store.quarantine.by_detail(Reason.UNKNOWN_LABEL).items():
        if (label := label_in(detail)) is not None:
            records[label] += number
    named = "`riverkeep memory dead-letters replay` takes them in"
    return [
        {
            "label": label,
            "documents": number,
            "detail": f"dead letters: {named}"
            if label in settings.model.labels
            else f"dead letters: {NAME_IT}, then {named}",
        }
        for label, number in records.items()
    ]
