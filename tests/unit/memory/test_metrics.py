"""The memory's metrics are its counters, read at the scrape."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from memory.metrics import LABELS_SHOWN, SOURCES_SHOWN, MemoryMetrics
from memory.store import Store
from streams.document import Reason
from tests.unit.memory.helpers import Stream, accept, begin, open_store, text


@pytest.fixture
def registry(store: Store) -> CollectorRegistry:
    """A registry that the memory's metrics are in."""
    found = CollectorRegistry()
    MemoryMetrics(found, store)
    return found


def test_samples_are_shown_by_role_and_source(store: Store, stream: Stream, registry: CollectorRegistry) -> None:
    """Live: the second scrape shows what came after the first."""
    labels = {"role": "fresh", "source": "news"}
    assert registry.get_sample_value("riverkeep_memory_samples", labels) is None
    store.append(stream.of([text(n) for n in range(200)]))
    assert registry.get_sample_value("riverkeep_memory_samples", labels) == store.counts().fresh_samples
    assert registry.get_sample_value("riverkeep_memory_tokens", labels) == store.counts().fresh_tokens
    assert registry.get_sample_value("riverkeep_memory_open_holdout_samples") == store.counts().open_holdout
    assert 0 < (registry.get_sample_value("riverkeep_memory_fresh_fill_ratio") or 0) < 1
    assert registry.get_sample_value("riverkeep_memory_bytes_per_token") == store.counts().bytes_per_token
    accept(store, begin(store))
    assert registry.get_sample_value("riverkeep_memory_samples", labels) == 0
    assert registry.get_sample_value("riverkeep_memory_rounds", {"state": "accepted"}) == 1


def test_the_share_that_is_held_out_is_shown_by_source(
    store: Store, stream: Stream, registry: CollectorRegistry
) -> None:
    """It follows what is asked for and what has come."""
    store.append(stream.of([text(n) for n in range(200)]))
    shares = [registry.get_sample_value("riverkeep_memory_holdout_share", {"source": "news"})]
    store.ask_for_held_out(50)
    store.append(stream.of([text(n) for n in range(200, 400)]))
    shares.append(registry.get_sample_value("riverkeep_memory_holdout_share", {"source": "news"}))
    assert shares == [0.05, 0.2]
    assert registry.get_sample_value("riverkeep_memory_holdout_share_most") == 0.2


def test_what_was_dropped_is_shown_by_cause(store: Store, stream: Stream, registry: CollectorRegistry) -> None:
    """Every cause is there from the start, so that a rate exists before the first one."""
    store.append(stream.of([text(1), text(1)]))
    store.append(stream.batch(letters=[stream.letter()], gaps=[stream.gap(4)]))
    name = "riverkeep_memory_dropped_documents_total"
    assert registry.get_sample_value(name, {"cause": "duplicates"}) == 1
    assert registry.get_sample_value(name, {"cause": "near_duplicates"}) == 0
    assert registry.get_sample_value("riverkeep_memory_dead_letters_total", {"reason": "not_json"}) == 1
    assert (
        "riverkeep_memory_dead_letters_total Dead letters since the store was made"
        in generate_latest(registry).decode()
    )
    assert registry.get_sample_value("riverkeep_memory_gap_offsets_total") == 4
    assert registry.get_sample_value("riverkeep_memory_quarantine_rows") == 1
    assert registry.get_sample_value("riverkeep_memory_quarantine_bytes") == store.counts().quarantine_bytes > 0
    assert (registry.get_sample_value("riverkeep_memory_file_bytes", {"file": "database"}) or 0) > 0


def test_the_number_of_label_values_is_bounded(store: Store, stream: Stream, registry: CollectorRegistry) -> None:
    """Sources beyond the shown ones are taken together, and no sample is lost from the sum."""
    for n in range(SOURCES_SHOWN + 10):
        store.append(stream.of([text(n * 10), text(n * 10 + 1)], source=f"source {n}"))
    families = {one.name: one for one in text_string_to_metric_families(generate_latest(registry).decode())}
    shown = families["riverkeep_memory_samples"].samples
    assert len({one.labels["source"] for one in shown}) == SOURCES_SHOWN + 1
    assert sum(one.value for one in shown) == 2 * (SOURCES_SHOWN + 10)


def test_the_balance_of_labels_is_shown(store: Store, stream: Stream, registry: CollectorRegistry) -> None:
    """By role and label, the rarer labels beyond a bound taken together; text without labels is not counted."""
    store.append(stream.of([text(n) for n in range(20)]))
    assert not any(family.samples for family in registry.collect() if family.name.endswith("labelled_samples"))
    documents = stream.documents([text(100 + n) for n in range(2 * LABELS_SHOWN)])
    store.append(stream.batch([one._replace(label=f"label {n}") for n, one in enumerate(documents)]))
    (family,) = [family for family in registry.collect() if family.name == "riverkeep_memory_labelled_samples"]
    assert len({one.labels["label"] for one in family.samples}) == LABELS_SHOWN + 1
    assert sum(one.value for one in family.samples) == 2 * LABELS_SHOWN


def test_names_and_help_keep_to_the_conventions(registry: CollectorRegistry) -> None:
    """Every metric has the prefix of the room and says what it is."""
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert len(families) >= 8
    assert all(one.name.startswith("riverkeep_memory_") and one.documentation for one in families)


def test_letters_that_made_room_are_counted(tmp_path: Path, stream: Stream) -> None:
    """What is lost apart from what is in its topic and from filtered text; all are there from the start."""
    registry, name = CollectorRegistry(), "riverkeep_memory_dead_letters_evicted_total"
    kinds = ("published", "filtered", "lost")
    with open_store(tmp_path / "a.db", quarantine_rows=2) as store:
        MemoryMetrics(registry, store)
        assert [registry.get_sample_value(name, {"kind": kind}) for kind in kinds] == [0, 0, 0]
        store.append(stream.batch(letters=[stream.letter(), stream.letter(reason=Reason.TOO_SHORT)]))
        store.quarantine.mark_published([1])
        store.append(stream.batch(letters=[stream.letter() for _ in range(4)]))
        assert [registry.get_sample_value(name, {"kind": kind}) for kind in kinds] == [1, 1, 2]
