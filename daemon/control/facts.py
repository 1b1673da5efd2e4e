"""What the store knows, as facts for a person or a script: JSON-ready, bounded, and text only where asked for."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from daemon.control.protocol import Facts
from daemon.rounds.event import outcome_of
from memory.identity.similar_keys import SimilarKey
from memory.intake.records import StoredDeadLetter, StoredGap
from memory.ledger.aside import AsidePage
from memory.ledger.records import AsideGroup, Generation, Rollback, Round, TrainedSample
from memory.people.erasure import Forgotten
from memory.people.finding import Found
from memory.samples.reading import FoundSample
from memory.samples.records import KeyHash, Role
from memory.samples.slice_names import in_order
from memory.store import Store
from streams.document import Partition, partition_name

LAST_ROUNDS = 20


def round_facts(one: Round) -> Facts:
    """A round in a line: without recipe, verdict and report."""
    return {
        "number": one.number,
        "state": one.state.value,
        "outcome": outcome_of(one),
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
        "early_stop_samples": one.early_stop_samples,
        **_trained(one),
    }


def _trained(one: Round) -> Facts:
    """Tokens of the new text that was trained on, of all that could be; None where nothing was, or it is not known."""
    training = one.report.get("training") or {}
    return {"tokens_trained": training.get("tokens_touched"), "tokens_drawn": training.get("tokens_drawn")}


def round_in_full(one: Round) -> Facts:
    """A round with everything the ledger holds of it."""
    return round_facts(one) | {
        "base": one.base_generation,
        "seed": one.seed,
        "recipe": dict(one.recipe),
        "verdict": dict(one.verdict),
        "report": dict(one.report),
        "offsets": {partition_name(partition): list(ends) for partition, ends in one.offsets.items()},
    }


def round_samples_facts(number: int, found: Sequence[TrainedSample], *, limit: int, lineage_from: int) -> Facts:
    """A page of the samples that a round was given. `found` has one more than `limit` where there is another page."""
    page = found[:limit]
    gone = not found and number < lineage_from
    note = f"Which samples rounds before {lineage_from} were given is not known any more (`memory.lineage_rounds`)."
    return {
        "round": number,
        "samples": [{"id": one.sample_id, "part": one.part, **_place(one.partition, one.offset)} for one in page],
        "next": page[-1].sample_id if len(found) > limit else None,
        "note": note if gone else "",
    }


def _place(partition: Partition, offset: int) -> Facts:
    return {"topic": partition.topic, "partition": partition.number, "offset": offset}


def generation_facts(one: Generation, saw_erased: Mapping[int, bool], lengths: Mapping[int, int | None]) -> Facts:
    """A generation in a line. `saw_erased`: as `Store.saw_erased_text` gives it; `lengths`: as `Store.scored_in`."""
    return {
        "number": one.number,
        "state": one.state.value,
        "parent": one.parent,
        "round": one.round,
        "digest": one.digest,
        "created_at": one.created_at,
        "sequence_length": lengths.get(one.number),
        "erased_text": _erased_text(one.number, saw_erased),
    }


def _erased_text(generation: int | None, saw_erased: Mapping[int, bool]) -> str | None:
    """Whether it was `trained` on text that was erased since, or `inherited` it; None where neither is known."""
    if generation is None or generation not in saw_erased:
        return None
    return "trained" if saw_erased[generation] else "inherited"


def generations_facts(store: Store) -> Facts:
    """The generations, which serves, and R: by generation, within one by slice in the order of `slice_names`."""
    saw_erased, lengths = store.people.saw_erased_text(), store.generations.scored_in()
    matrix = sorted(store.generations.score_matrix(), key=lambda row: (row.generation, in_order(row.slice)))
    return {
        "serving": store.generations.serving(),
        "generations": [generation_facts(one, saw_erased, lengths) for one in store.generations.listed()],
        "slices": sorted({row.slice for row in matrix}, key=in_order),
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
        "aside": [aside_facts(group) for group in store.aside.groups()],
        "quarantine": {"dead_letters": counts.quarantine_rows, "bytes": counts.quarantine_bytes},
        "dead_letter_reasons": reasons,
        "tallies": {name: number for name, number in counts.tallies.items() if ":" not in name},
        "bytes_per_token": counts.bytes_per_token,
    }


def aside_facts(group: AsideGroup) -> Facts:
    """What one round set aside."""
    return asdict(group) | {"sources": list(group.sources)}


def aside_text_facts(number: int, page: AsidePage) -> Facts:
    """Documents that a round set aside, with their text."""
    return {
        "round": number,
        "documents": [
            _found_sample(one)
            | {
                "held_out": one.sample.id in page.held_out,
                "key_hash": None if one.sample.key_hash is None else str(KeyHash(one.sample.key_hash)),
                "loss": page.measured[one.sample.id].loss if one.sample.id in page.measured else None,
                "repetition": page.measured[one.sample.id].repetition if one.sample.id in page.measured else None,
                "text": one.sample.text,
            }
            for one in page.found
        ],
        "next": page.next,
    }


def dead_letter_facts(letter: StoredDeadLetter, *, text: bool) -> Facts:
    """A dead letter, with what was kept of its record only where that is asked for."""
    facts = {
        "id": letter.id,
        **_place(letter.partition, letter.offset),
        "reason": letter.reason.value,
        "detail": letter.detail,
        "value_bytes": letter.value_bytes,
        "arrived_at": letter.arrived_at,
        "published": letter.published,
    }
    if not text:
        return facts
    return facts | {
        "key": None if letter.key is None else _bytes_text(letter.key),
        "value": _bytes_text(letter.value),
        "cut": len(letter.value) < letter.value_bytes,
        "headers": [[name, None if value is None else _bytes_text(value)] for name, value in letter.headers],
        "headers_dropped": letter.headers_dropped,
    }


def _bytes_text(value: bytes) -> str:
    """Bytes as UTF-8, with those that are none as backslash escapes."""
    return value.decode(errors="backslashreplace")


def forgotten_facts(forgotten: Forgotten, directories: Mapping[int, str], similar: Sequence[SimilarKey] = ()) -> Facts:
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
        "similar": similar_facts(similar),
        "called_off": None,
    }


def similar_facts(similar: Sequence[SimilarKey]) -> list[Facts]:
    """Other keys that may name the same person, and how each is erased."""
    return [
        {
            "key": one.key,
            "key_hash": str(KeyHash(one.key_hash)),
            "how": one.how,
            "samples": one.samples,
            "dead_letters": one.dead_letters,
            "rounds": one.rounds,
            "erase": f"riverkeep forget {_argument(one)}",
        }
        for one in similar
    ]


def _argument(one: SimilarKey) -> str:
    # A key that a shell, an eye or an option's dash could change is named by its hash.
    key = one.key
    if key is not None and key.isascii() and key.isprintable() and key == key.strip(" -") and len(key) <= 200:
        return shlex.quote(key)
    return f"--key-hash {KeyHash(one.key_hash)}"


def found_facts(found: Found, *, text: bool, limit: int) -> Facts:
    """What is known of a person. `found` has one sample more than `limit` where there is another page."""
    page = found.samples[:limit]
    return {
        "samples": sum(found.by_role.values()),
        "by_role": {role.name.lower(): samples for role, samples in found.by_role.items()},
        "kept": [_found_sample(one) | ({"text": one.sample.text} if text else {}) for one in page],
        "next": page[-1].sample.id if len(found.samples) > limit else None,
        "dead_letters": len(found.dead_letters),
        "dead_letter_ids": list(found.dead_letters[:limit]),
        "rounds": [{"round": number, "parts": dict(parts)} for number, parts in found.rounds.items()],
        "erased_at": found.erased_at,
        "generations": list(found.generations),
        "descendants": list(found.descendants),
        "clean_generation": found.clean_generation,
        "lineage_from": found.lineage_from,
        "calls_off": None,
    }


def _found_sample(one: FoundSample) -> Facts:
    return {
        "id": one.sample.id,
        "role": one.sample.role.name.lower(),
        "source": one.sample.source,
        "label": one.sample.label,
        **_place(one.partition, one.offset),
        "event_time": one.sample.event_time,
        "arrived_at": one.sample.arrived_at,
    }


def gap_facts(one: StoredGap) -> Facts:
    """Offsets that never came."""
    return {
        "id": one.id,
        "topic": one.gap.partition.topic,
        "partition": one.gap.partition.number,
        "first": one.gap.first,
        "last": one.gap.last,
        "reason": str(one.gap.reason),
        "recorded_at": one.recorded_at,
    }


NO_STORE_STATUS: Facts = {
    "memory": None,
    "serving": dict.fromkeys(("generation", "erased_text", "answering", "address", "ok")),
    "last_round": None,
    "waiting": [],
    "evidence": [],
    "rounds_paused": None,
}
"""The same where no store can be read."""


def store_status(store: Store) -> Facts:
    """The part of `Control.status` that the store knows."""
    counts, serving, pause = store.counts(), store.generations.serving(), store.rounds.paused()
    rounds = store.rounds.listed(limit=LAST_ROUNDS)
    ended = [one for one in rounds if one.ended_at is not None]
    last = ended[0] if ended else None
    rollback = store.generations.last_rollback()
    return {
        "memory": {
            "fresh_samples": counts.fresh_samples,
            "fresh_tokens": counts.fresh_tokens,
            "replay_samples": counts.replay_samples,
            "holdout_samples": counts.holdout_samples,
            "aside_samples": counts.aside_samples,
            "dead_letters": counts.quarantine_rows,
        },
        "serving": {
            "generation": serving,
            "erased_text": _erased_text(serving, store.people.saw_erased_text()),
            "answering": None,
            "address": None,
            "ok": None,
            "trouble": "",
        },
        "last_round": None if last is None else _last_round(last),
        "rollback": None if rollback is None else _rollback(rollback),
        "waiting": store.rounds.waiting(),
        "rounds_paused": None if pause is None else asdict(pause),
    }


def _rollback(one: Rollback) -> Facts:
    return {"from": one.left, "to": one.to, "at": one.at, "by": one.by}


def _last_round(one: Round) -> Facts:
    kept = ("number", "state", "outcome", "trigger", "detail", "ended_at", "tokens_trained", "tokens_drawn")
    return {name: value for name, value in round_facts(one).items() if name in kept}
