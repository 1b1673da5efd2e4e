"""What the store knows, as facts for a person or a script: JSON-ready, bounded, and without any text."""

from collections.abc import Mapping
from dataclasses import asdict

from daemon.control import Facts
from memory.records import AsideGroup, Forgotten, Generation, Role, Round, StoredDeadLetter
from memory.store import Store
from streams.document import Partition

LAST_ROUNDS = 20


def partition_name(partition: Partition) -> str:
    """`topic/number`."""
    return f"{partition.topic}/{partition.number}"


def round_facts(one: Round) -> Facts:
    """A round in a line: without recipe, verdict and report."""
    return {
        "number": one.number,
        "state": one.state.value,
        "trigger": one.trigger,
        "parent": one.parent_generation,
        "generation": one.generation,
        "released_from": one.released_from,
        "begun_at": one.begun_at,
        "ended_at": one.ended_at,
        "detail": one.detail,
        "fresh_samples": one.fresh_samples,
        "fresh_tokens": one.fresh_tokens,
        "replay_samples": one.replay_samples,
        "replay_tokens": one.replay_tokens,
    }


def round_in_full(one: Round) -> Facts:
    """A round with everything the ledger holds of it."""
    return round_facts(one) | {
        "base": one.base_generation,
        "seed": one.seed,
        "early_stop_samples": one.early_stop_samples,
        "recipe": dict(one.recipe),
        "verdict": dict(one.verdict),
        "report": dict(one.report),
        "offsets": {partition_name(partition): list(ends) for partition, ends in one.offsets.items()},
    }


def generation_facts(one: Generation) -> Facts:
    """A generation in a line."""
    return {
        "number": one.number,
        "state": one.state.value,
        "parent": one.parent,
        "round": one.round,
        "digest": one.digest,
        "created_at": one.created_at,
    }


def generations_facts(store: Store) -> Facts:
    """The generations, which serves, and R."""
    matrix = store.score_matrix()
    return {
        "serving": store.serving(),
        "generations": [generation_facts(one) for one in store.generations()],
        "slices": list(dict.fromkeys(row.slice for row in matrix)),
        "scores": [{"generation": row.generation, "slice": row.slice, **asdict(row.score)} for row in matrix],
    }


def memory_facts(store: Store) -> Facts:
    """What is kept, by role, source and label; how many were left out, and why."""
    counts = store.counts()
    reasons = {
        name.removeprefix("dead_letters:"): number
        for name, number in counts.tallies.items()
        if name.startswith("dead_letters:")
    }
    return {
        "kept": [
            {
                "role": Role(one.role).name.lower(),
                "source": one.source,
                "label": one.label,
                "samples": one.samples,
                "tokens": one.tokens,
            }
            for one in counts.by_role_and_source
        ],
        "aside": [aside_facts(group) for group in store.aside()],
        "quarantine": {"dead_letters": counts.quarantine_rows, "bytes": counts.quarantine_bytes},
        "dead_letter_reasons": reasons,
        "tallies": {name: number for name, number in counts.tallies.items() if ":" not in name},
        "bytes_per_token": counts.bytes_per_token,
    }


def aside_facts(group: AsideGroup) -> Facts:
    """What one round set aside."""
    return asdict(group) | {"sources": list(group.sources)}


def dead_letter_facts(letter: StoredDeadLetter) -> Facts:
    """A dead letter without its bytes."""
    return {
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


def forgotten_facts(forgotten: Forgotten, directories: Mapping[int, str]) -> Facts:
    """What an erasure erased. `directories`: the round directories that went with it."""
    return {
        "samples": forgotten.samples,
        "dead_letters": forgotten.dead_letters,
        "rounds": list(forgotten.rounds),
        "generations": list(forgotten.generations),
        "descendants": list(forgotten.descendants),
        "clean_generation": forgotten.clean_generation,
        "lineage_from": forgotten.lineage_from,
        "directories": sorted(directories.values()),
    }


def store_status(store: Store) -> Facts:
    """The part of `Control.status` that the store knows."""
    counts = store.counts()
    rounds = store.rounds(limit=LAST_ROUNDS)
    ended = [one for one in rounds if one.ended_at is not None]
    last = ended[0] if ended else None
    return {
        "memory": {
            "fresh_samples": counts.fresh_samples,
            "fresh_tokens": counts.fresh_tokens,
            "replay_samples": counts.replay_samples,
            "holdout_samples": counts.holdout_samples,
            "aside_samples": counts.aside_samples,
            "dead_letters": counts.quarantine_rows,
        },
        "serving": {"generation": store.serving(), "answering": None, "address": None, "ok": None},
        "last_round": None if last is None else _last_round(last),
        "waiting": store.waiting_rounds(),
    }


def _last_round(one: Round) -> Facts:
    kept = ("number", "state", "trigger", "detail", "ended_at")
    return {name: value for name, value in round_facts(one).items() if name in kept}
