"""What a round is given: fresh text oldest first, replay uniformly, and held-out slices to be judged on."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from memory.database import facts
from memory.database.sqlite import Connection, as_json
from memory.identity.categories import all_categories
from memory.identity.fingerprints import priorities
from memory.identity.shared_keys import first_of_key, within
from memory.ledger.records import DrawSpec, Slice, SliceKind
from memory.samples import corrections, counters, offsets, reading, slices
from memory.samples.fair_shares import over_quota, share
from memory.samples.reading import Placed
from memory.samples.records import Role, Sample
from memory.settings import MemorySettings

PRIORITIES = 2**63


@dataclass(frozen=True, slots=True)
class FreshDraw:
    """Fresh samples by what a round does with them."""

    train: tuple[Placed, ...]
    early_stop: tuple[Placed, ...]
    over_quota: tuple[Placed, ...]

    def all(self) -> tuple[Placed, ...]:
        """Everything that was drawn."""
        return self.train + self.early_stop + self.over_quota


def fresh_ids(tx: Connection, bytes_wanted: float, among: Iterable[int] | None) -> list[tuple[int, int | None]]:
    """Ids and key hashes of fresh samples, oldest first, until they hold enough bytes; at least one if there is any.

    Args:
        among: only these, where given.
    """
    condition, values = ("", []) if among is None else ("AND id IN (SELECT value FROM json_each(?))", [as_json(among)])
    rows = tx.execute(
        f"SELECT id, bytes, key_hash FROM samples WHERE role = {Role.FRESH.value} {condition} ORDER BY id", values
    )
    chosen: list[tuple[int, int | None]] = []
    size = 0
    # One sample in any case: a text longer than the budget would else stop the river for ever.
    for sample, sample_bytes, key in rows:
        if chosen and size + sample_bytes > bytes_wanted:
            break
        chosen.append((sample, key))
        size += sample_bytes
    return chosen


def sort_fresh(
    tx: Connection,
    drawn: Sequence[Placed],
    spec: DrawSpec,
    round_number: int,
    settings: MemorySettings,
    *,
    salt: int,
    categories: Collection[int],
) -> FreshDraw:
    """Set apart what is beyond its key's quota, and what early stopping is measured on.

    Args:
        tx: of the draw.
        categories: keyed hashes of keys that have no quota.
    """
    ids = np.array([placed.sample.id for placed in drawn], np.int64)
    # Without the round's number: of a key's text it is the same part every time that lies over the quota.
    order = priorities(ids, salt).tolist()
    by_key = [
        (placed.sample.id, placed.sample.key_hash, rank)
        for placed, rank in zip(drawn, order, strict=True)
        if placed.sample.key_hash not in categories
    ]
    surplus = set(over_quota(by_key, settings.key_quota))
    # Who corrects says whose word it is: the quota of keys alone would be one for each name that is made up.
    givers = corrections.givers(tx, ids.tolist())
    by_giver = [
        (sample, givers.get(sample), rank)
        for sample, rank in zip(ids.tolist(), order, strict=True)
        if sample not in surplus
    ]
    surplus.update(over_quota(by_giver, settings.key_quota))
    # Salted by the round, so that no text is kept from training for ever.
    coins = priorities(ids, salt + round_number).tolist()
    within = [(coin, placed) for coin, placed in zip(coins, drawn, strict=True) if placed.sample.id not in surplus]
    chosen = sorted(coin for coin, _ in within if coin < spec.early_stop_share * PRIORITIES)
    # One at least stays to be trained on.
    chosen = chosen[: min(spec.early_stop_documents, len(within) - 1)]
    limit = chosen[-1] if chosen else -1
    return FreshDraw(
        train=tuple(placed for coin, placed in within if coin > limit),
        early_stop=tuple(placed for coin, placed in within if coin <= limit),
        over_quota=tuple(placed for placed in drawn if placed.sample.id in surplus),
    )


def replay_ids(
    tx: Connection, generator: np.random.Generator, *, most_bytes: float, most: int | None = None
) -> list[int]:
    """Sample ids drawn uniformly without replacement from replay, until they hold enough bytes (or are enough)."""
    # The strata count what replay holds, so that nothing is read over.
    slots_taken, bytes_taken = tx.execute(
        "SELECT coalesce(sum(samples), 0), coalesce(sum(bytes), 0) FROM strata"
    ).fetchone()
    if not slots_taken or most_bytes <= 0:
        return []
    # A fifth more slots than the mean size asks for, so that one draw nearly always has bytes enough.
    mean = max(bytes_taken / slots_taken, 1.0)
    likely = slots_taken if most_bytes >= bytes_taken / 1.2 else min(slots_taken, int(1.2 * most_bytes / mean) + 64)
    count = likely if most is None else min(likely, most)
    # Slots are numbered without holes, so that a uniform draw is a draw of numbers and reads no row too many.
    slots = generator.choice(slots_taken, count, replace=False)
    rows = dict(
        tx.execute(
            # Two columns as one text: so the rows are a dict's items as SQLite gives them.
            "SELECT slot, sample || ':' || bytes FROM replay WHERE slot IN (SELECT value FROM json_each(?))",
            (as_json(slots.tolist()),),
        )
    )
    chosen, size = [], 0
    for slot in slots.tolist():
        sample, sample_bytes = map(int, rows[slot].split(":"))
        # Ends at the first that does not fit: to look for a shorter one would draw short texts more often.
        if size + sample_bytes > most_bytes:
            break
        chosen.append(sample)
        size += sample_bytes
    return chosen


def within_key_quota(
    tx: Connection,
    replay: Sequence[Placed],
    new: Sequence[Placed],
    quota: int,
    categories: Collection[int],
) -> list[Placed]:
    """What is replayed, without what would bring a key over its quota together with its new text; older stays.

    Args:
        tx: of the draw.
        replay: drawn samples, in the order of their ids.
        new: what the round trains on beside them.
        quota: most samples of one key, and most corrections that came by one API key.
        categories: keyed hashes of keys that have no quota.
    """
    givers = corrections.givers(tx, (placed.sample.id for placed in (*replay, *new)))

    def bounded(placed: Placed) -> list[int | str]:
        key, giver = placed.sample.key_hash, givers.get(placed.sample.id)
        return [*([] if key is None or key in categories else [key]), *([] if giver is None else [giver])]

    taken = Counter(each for placed in new for each in bounded(placed))
    kept = []
    for placed in replay:
        if all(taken[each] < quota for each in bounded(placed)):
            kept.append(placed)
            taken.update(bounded(placed))
    return kept


def replay_bytes(new: Sequence[Placed], spec: DrawSpec) -> float:
    """How much is replayed with this new text."""
    # The ratio is a share of all that is trained on: r of all is r / (1 - r) of what is new.
    return sum(placed.bytes for placed in new) * spec.replay_ratio / (1 - spec.replay_ratio)


@dataclass(frozen=True, slots=True)
class ForeseenDraw:
    """What a round would be given, its samples without their text.

    Attributes:
        left: fresh samples that it would not be given.
    """

    number: int
    seed: int
    fresh: FreshDraw
    replay: tuple[Placed, ...]
    left: int


def foresee(tx: Connection, spec: DrawSpec, settings: MemorySettings, salt: int) -> ForeseenDraw:
    """What a round would be given if it were drawn now; changes nothing.

    By the rules of the draw, but for what comes near held-out text: that costs a search through all of it, and goes
    only when a round is drawn. Replay is drawn by the round's number, where a round has a seed of its own.
    """
    number = facts.get_int(tx, "rounds_begun") + 1
    chosen = fresh_ids(tx, fresh_budget(spec, settings) * facts.bytes_per_token(tx), None)
    drawn = reading.read(tx, [sample for sample, _ in chosen], text=False)
    categories = all_categories(tx, settings.key_quota)
    fresh = sort_fresh(tx, drawn, spec, number, settings, salt=salt, categories=categories)
    generator = np.random.Generator(np.random.PCG64(number))
    ids = replay_ids(tx, generator, most_bytes=replay_bytes(fresh.train, spec))
    older = reading.read(tx, ids, text=False)
    replay = within_key_quota(tx, older, fresh.train, settings.key_quota, categories)
    left = counters.totals(tx, Role.FRESH)[0] - len(drawn)
    return ForeseenDraw(number, number, fresh, tuple(replay), left)


def draw_slices(tx: Connection, settings: MemorySettings, categories: Collection[int]) -> tuple[Slice, ...]:
    """The anchor and the period slices, each with its samples of lowest priority, within the settings' bounds.

    Args:
        tx: of the draw.
        settings: bounds of one slice, of the anchor and of all.
        categories: keyed hashes of keys that tell nothing about who wrote a document.
    """
    rows = slices.list_slices(tx, *KINDS)
    sizes = dict(tx.execute("SELECT slice, count(*) FROM holdout GROUP BY slice"))
    drawable = {row.id: SliceSize(KINDS[row.state], sizes[row.id]) for row in rows if row.id in sizes}
    members = slices.members(tx, shares(settings, drawable))
    placed = reading.read(tx, [sample for ids in members.values() for sample in ids])
    by_id = {each.sample.id: each.sample for each in placed}
    drawn: dict[str, Slice] = {}
    for row in rows:
        samples = [by_id[sample] for sample in members.get(row.id, [])]
        if samples:
            part = _slice(tx, row, samples)
            # The anchor may lie in two parts: what it is, and what it is about to take.
            earlier = drawn.get(part.name)
            drawn[part.name] = part if earlier is None else replace(earlier, samples=earlier.samples + part.samples)
    keys = first_of_key([(sample.id, sample.key_hash) for sample in by_id.values()], categories)
    return tuple(replace(part, keys=within(keys, (each.id for each in part.samples))) for part in drawn.values())


KINDS: Final[Mapping[str, SliceKind]] = {
    "anchor": "anchor",
    "early": "anchor",
    "closed": "period",
    "pending": "newest",
}
"""The states of slices that are drawn, and as what."""


@dataclass(frozen=True, slots=True)
class SliceSize:
    """A slice that asks for its part of an evaluation."""

    kind: SliceKind
    documents: int


def shares(settings: MemorySettings, wanted: Mapping[int, SliceSize]) -> dict[int, int]:
    """How many documents of each slice a round is judged on.

    Without enough of the anchor or of the newest text nothing can be judged: neither loses its part to many old slices.

    Args:
        settings: bounds of one slice, of the anchor and of all.
        wanted: what there is of each slice.
    """
    bounded = _within_slices(settings, wanted)
    kinds = {kind: {one: bounded[one] for one in wanted if wanted[one].kind == kind} for kind in ORDER}
    given = share(settings.evaluation_documents, {kind: sum(of_kind.values()) for kind, of_kind in kinds.items()})
    return {one: part for kind in ORDER for one, part in share(given[kind], kinds[kind]).items()}


ORDER: Final[tuple[SliceKind, ...]] = ("anchor", "newest", "period")


def _within_slices(settings: MemorySettings, wanted: Mapping[int, SliceSize]) -> dict[int, int]:
    """What each slice may have by its own bound; that of the anchor is of all its parts together."""
    anchors = share(
        settings.anchor_documents, {one: each.documents for one, each in wanted.items() if each.kind == "anchor"}
    )
    others = {one: each.documents for one, each in wanted.items() if each.kind != "anchor"}
    return anchors | {one: min(documents, settings.slice_documents) for one, documents in others.items()}


def fresh_budget(spec: DrawSpec, settings: MemorySettings) -> int:
    """Most tokens of fresh text."""
    return settings.round_tokens if spec.fresh_tokens is None else min(settings.round_tokens, spec.fresh_tokens)


def _slice(tx: Connection, row: slices.SliceRow, samples: Sequence[Sample]) -> Slice:
    return Slice(
        name=slices.name(tx, row),
        kind=KINDS[row.state],
        source=slices.source_name(tx, row),
        first_round=row.first_round,
        last_round=row.last_round,
        samples=tuple(samples),
    )


def weigh(tx: Connection, drawn: Sequence[Placed], spec: DrawSpec) -> list[Placed]:
    """What was drawn, with what each sample counts by where it came from."""
    numbers = offsets.numbers_of(tx, spec.weights)
    weights = {stream: spec.weights[topic] for stream, topic in numbers.items()}
    return [
        placed._replace(sample=replace(placed.sample, weight=weights[placed.stream]))
        if placed.stream in weights
        else placed
        for placed in drawn
    ]


def offset_ranges(drawn: Sequence[Placed]) -> Mapping[int, tuple[int, int]]:
    """For each stream the first and last offset among these samples."""
    offsets_of: dict[int, list[int]] = defaultdict(list)
    for placed in drawn:
        offsets_of[placed.stream].append(placed.offset)
    return {stream: (min(offsets), max(offsets)) for stream, offsets in offsets_of.items()}
