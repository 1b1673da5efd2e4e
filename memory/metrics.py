"""What the memory shows: read from the store's counters when Prometheus asks, so that nothing can drift.

A count that is known to be nothing is shown as 0: what appears with its first event has no rise to be seen.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from memory.intake.names import OTHER
from memory.samples.records import Counts, Role, RoleCount
from memory.store import Store
from streams.document import Reason

SOURCES_SHOWN = 30
"""The sources with the most samples have their own label value; all further ones share `other`."""
GENERATIONS_SHOWN = 16
"""The newest of those that had feedback."""
LABELS_SHOWN = 30
"""So have the labels of a classifier's documents."""

DROPPED = (
    "duplicates",
    "near_duplicates",
    "forgotten",
    "redelivered",
    "surplus",
    "evicted",
    "over_quota",
    "erased_by_tombstone",
)
EVICTED = {
    "published": "published_dead_letters_evicted",
    "filtered": "filtered_dead_letters_evicted",
    "lost": "dead_letters_evicted",
}
_OF_REASON = "dead_letters:"
_OF_REASONS = tuple(_OF_REASON + reason for reason in Reason)


class MemoryMetrics(Collector):
    """Registers itself; reads the store at each scrape."""

    def __init__(self, registry: CollectorRegistry, store: Store) -> None:
        self._store = store
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """No metric is read at registration: the store may be busy then."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric of the memory."""
        counts = self._store.counts()
        yield from _kept_samples(counts.by_role_and_source)
        yield _label_shares(counts.by_role_and_source)
        yield from _tallies(counts)
        yield from _quarantine(counts)
        yield _gauge(
            "riverkeep_memory_fresh_fill_ratio",
            "How full the fresh buffer is, by its fuller budget; consumption pauses at 1.",
            self._store.fill(counts),
        )
        yield _gauge(
            "riverkeep_memory_open_holdout_samples",
            "Held-out samples that arrived since the last accepted round.",
            counts.open_holdout,
        )
        yield _gauge(
            "riverkeep_memory_bytes_per_token", "Bytes of text to a token, as measured.", counts.bytes_per_token
        )
        yield self._held_out()
        yield _gauge(
            "riverkeep_memory_holdout_share_most",
            "The largest share that may be held out of a source's new keys.",
            self._store.held_out_most(),
        )
        yield from self._files()
        yield self._rounds()
        yield self._feedback()

    def _held_out(self) -> Metric:
        shares = GaugeMetricFamily(
            "riverkeep_memory_holdout_share",
            "Share that is held out of a source's new keys; of the sources that bring most.",
            labels=["source"],
        )
        for source, share in list(self._store.held_out_shares().items())[:SOURCES_SHOWN]:
            shares.add_metric([source], share)
        return shares

    def _files(self) -> Iterator[Metric]:
        sizes = GaugeMetricFamily("riverkeep_memory_file_bytes", "Size of the store's files.", labels=["file"])
        for name, size in self._store.file_bytes().items():
            sizes.add_metric([name], size)
        yield sizes

    def _feedback(self) -> Metric:
        said = GaugeMetricFamily(
            "riverkeep_memory_feedback",
            "Answers of the latest generations that had any by what was said of them, each person's last word.",
            labels=["generation", "verdict"],
        )
        for number, counts in list(self._store.feedback.counts().items())[:GENERATIONS_SHOWN]:
            said.add_metric([str(number), "accept"], counts.accepted)
            said.add_metric([str(number), "reject"], counts.rejected)
        return said

    def _rounds(self) -> Metric:
        rounds = GaugeMetricFamily("riverkeep_memory_rounds", "Rounds in the ledger, by state.", labels=["state"])
        for state, number in self._store.rounds.by_state().items():
            rounds.add_metric([state], number)
        return rounds


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _kept_samples(entries: Iterable[RoleCount]) -> Iterator[Metric]:
    samples = GaugeMetricFamily("riverkeep_memory_samples", "Samples kept.", labels=["role", "source"])
    tokens = GaugeMetricFamily("riverkeep_memory_tokens", "Estimated tokens kept.", labels=["role", "source"])
    for (role, source), (number, size) in _bound_names(
        [(entry.source, entry) for entry in entries], SOURCES_SHOWN
    ).items():
        samples.add_metric([role, source], number)
        tokens.add_metric([role, source], size)
    yield samples
    yield tokens


def _label_shares(entries: Iterable[RoleCount]) -> Metric:
    """How balanced a classifier's documents are; nothing where no document has a label."""
    samples = GaugeMetricFamily(
        "riverkeep_memory_labelled_samples", "Samples kept that have a label.", labels=["role", "label"]
    )
    labelled = [(entry.label, entry) for entry in entries if entry.label is not None]
    for (role, label), (number, _) in _bound_names(labelled, LABELS_SHOWN).items():
        samples.add_metric([role, label], number)
    return samples


def _bound_names(entries: list[tuple[str, RoleCount]], most: int) -> dict[tuple[str, str], tuple[int, int]]:
    """Samples and tokens by role and name, the smaller names beyond `most` taken together."""
    by_name: dict[str, int] = defaultdict(int)
    for name, entry in entries:
        by_name[name] += entry.samples
    shown = set(sorted(by_name, key=lambda name: (-by_name[name], name))[:most])
    names = sorted({name if name in shown else OTHER for name in by_name})
    sums = {(role.name.lower(), name): (0, 0) for name in names for role in Role}
    for name, entry in entries:
        key = entry.role.name.lower(), name if name in shown else OTHER
        sums[key] = sums[key][0] + entry.samples, sums[key][1] + entry.tokens
    return sums


def _tallies(counts: Counts) -> Iterator[Metric]:
    dropped = CounterMetricFamily(
        "riverkeep_memory_dropped_documents", "Documents not kept, or kept no longer, by cause.", labels=["cause"]
    )
    for cause in DROPPED:
        dropped.add_metric([cause], counts.tallies.get(cause, 0))
    yield dropped
    letters = CounterMetricFamily(
        "riverkeep_memory_dead_letters", "Dead letters since the store was made, by reason.", labels=["reason"]
    )
    for name, number in {**dict.fromkeys(_OF_REASONS, 0), **counts.tallies}.items():
        if name.startswith(_OF_REASON):
            letters.add_metric([name.removeprefix(_OF_REASON)], number)
    yield letters
    evicted = CounterMetricFamily(
        "riverkeep_memory_dead_letters_evicted",
        "Dead letters that made room for later ones: published to their topic, filtered text, or lost.",
        labels=["kind"],
    )
    for kind, name in EVICTED.items():
        evicted.add_metric([kind], counts.tallies.get(name, 0))
    yield evicted
    gaps = CounterMetricFamily("riverkeep_memory_gap_offsets", "Offsets that never came.")
    gaps.add_metric([], counts.tallies.get("gap_offsets", 0))
    yield gaps


def _quarantine(counts: Counts) -> Iterator[Metric]:
    yield _gauge("riverkeep_memory_quarantine_rows", "Dead letters in the quarantine.", counts.quarantine_rows)
    yield _gauge("riverkeep_memory_quarantine_bytes", "Bytes in the quarantine.", counts.quarantine_bytes)
    yield _gauge(
        "riverkeep_memory_aside_full", "1 when so much is set aside that no round begins.", counts.aside_is_full
    )
