"""What became of one record, as sentences and as facts."""

from collections.abc import Mapping, Sequence
from typing import Final

from daemon.control.answers.people import FoundPerson
from daemon.control.answers.traces import ForeseenErasure, TracedGap, TracedRecord, TracedUse
from daemon.control.facts.kept import dead_letter_line
from daemon.control.facts.people import erasure_command
from daemon.control.facts.records import place, sample_line, sample_with_text
from daemon.rounds.directories import round_directory
from daemon.settings.tree import Settings
from memory.ledger.states import UNFINISHED, RoundState
from memory.people.tracing import RoundUse, Traced
from memory.samples.records import KeyHash, Role
from streams.document import FILTERED, partition_name

PARTS: Final = {
    "fresh": "trained on as new text",
    "replay": "trained on again, as replayed text",
    "early_stop": "kept apart there to tell when to stop; not trained on",
    "slice": "held out: candidates and parent were scored on it",
    "over_quota": "drawn and not trained on, past its key's quota",
    "untouched": "drawn to train on, and no step of the accepted weights saw it",
}
NOT_KEPT: Final = {
    "duplicates": "a duplicate",
    "near_duplicates": "nearly held-out text",
    "forgotten": "of an erased key",
    "surplus": "beyond what slices and replay may hold",
    "evicted": "one that made room for a later one",
    "erased_by_tombstone": "erased by a tombstone",
    "over_quota": "beyond a key's quota",
    "dead_letters": "a dead letter that was replayed, dropped or made room for another",
}
"""What may have become of a record of which nothing is kept, by the total that counts such."""
GONE: Final = {"erased": "It was erased by its key", "left": "Its text has left the memory"}
NAMED: Final = 16
"""Partitions that a sentence names."""


def traced_record(traced: Traced, tallies: Mapping[str, int], *, text: bool) -> TracedRecord:
    """What became of a record.

    Args:
        traced: what the store knows of it.
        tallies: totals since the store was made, as in `Counts`.
        text: whether its text goes along.
    """
    became = _became(traced)
    sample, letter, gap = traced.sample, traced.letter, traced.gap
    return {
        **place(traced.partition, traced.offset),
        "incarnation": traced.partition.incarnation,
        "became": became,
        "detail": _detail(traced, became, tallies),
        "sample": None if sample is None else (sample_with_text(sample) if text else sample_line(sample)),
        "slice": traced.slice,
        "aside_round": None if traced.aside is None else traced.aside.round,
        "refusals": traced.refusals,
        "dead_letter": None if letter is None else dead_letter_line(letter, text=text),
        "gap": None if gap is None else TracedGap(first=gap.first, last=gap.last, reason=str(gap.reason)),
        "rounds": [_use(use) for use in traced.uses],
        "generations": list(traced.generations),
        "descendants": list(traced.descendants),
        "scored_by": list(traced.scored_by),
        "lineage_from": traced.lineage_from,
        "key_hashes": [str(KeyHash(key)) for key in traced.key_hashes],
        "erased_at": traced.erased_at,
    }


def never_read(topic: str, number: int, read: Sequence[int]) -> str:
    """What to tell who asks for a record of a partition that was never read; `read`: those of the topic that were."""
    if not read:
        return f"Nothing was ever read of a topic {topic}: is it spelled as in `streams.topics`?"
    partitions = ", ".join(map(str, read[:NAMED])) + (" and more" if len(read) > NAMED else "")
    return f"Partition {number} of {topic} was never read here; those that were: {partitions}."


def foreseen_erasure(person: FoundPerson, key: str | KeyHash, settings: Settings) -> ForeseenErasure:
    """What an erasure of this person would touch.

    Args:
        person: what is known of them.
        key: by which they would be erased.
        settings: say where rounds have their directories.
    """
    given = (round_directory(settings.rounds_dir, round_["round"]) for round_ in person["rounds"])
    directories = [str(path) for path in given if path.is_dir()]
    return {
        "key_hash": person["key_hash"],
        "samples": person["samples"],
        "dead_letters": person["dead_letters"],
        "feedback": person["feedback"],
        "rounds": person["rounds"],
        "directories": directories,
        "generations": person["generations"],
        "descendants": person["descendants"],
        "clean_generation": person["clean_generation"],
        "lineage_from": person["lineage_from"],
        "calls_off": person["calls_off"],
        "erased_at": person["erased_at"],
        "command": erasure_command(key, person["key_hash"]),
        "similar": person["similar"],
    }


def _became(traced: Traced) -> str:
    if traced.sample is not None:
        return traced.sample.sample.role.name.lower()
    if traced.letter is not None:
        return "filtered" if traced.letter.reason in FILTERED else "dead_letter"
    if traced.erased_at is not None:
        return "erased"
    if traced.sample_id is not None:
        return "left"
    if traced.gap is not None:
        return "gap"
    return "not_kept" if traced.offset < traced.next_offset else "not_read"


def _detail(traced: Traced, became: str, tallies: Mapping[str, int]) -> str:
    where, letter, gap = partition_name(traced.partition), traced.letter, traced.gap
    if traced.sample is not None:
        said = _of_sample(traced, traced.sample.sample.role)
    elif letter is not None:
        word = "filtered" if became == "filtered" else "not understood"
        why = f"{letter.reason.value} ({letter.detail})" if letter.detail else letter.reason.value
        said = f"It was {word}: {why}. The quarantine has it as dead letter {letter.id}."
    elif became in GONE:
        said = f"{GONE[became]}; the ledger still knows which rounds were given it."
    elif gap is not None:
        said = f"It never came: {gap.reason} (offsets {gap.first} to {gap.last} of {where})."
    elif became == "not_read":
        said = f"It was not read yet: {where} is read on at offset {traced.next_offset}."
    else:
        said = _of_what_is_not_kept(tallies)
    return said


def _of_sample(traced: Traced, role: Role) -> str:
    refused = f" Rounds that had it and were refused: {traced.refusals}." if traced.refusals else ""
    if role is Role.FRESH:
        return f"It is fresh: the next rounds train on it.{refused}"
    if role is Role.REPLAY:
        return f"It has settled into replay, from which rounds rehearse.{refused}"
    if role is Role.HOLDOUT:
        where = f" in slice {traced.slice}" if traced.slice else ""
        return f"It is held out{where}: never trained on, and what generations are judged on."
    if traced.aside is None:
        return "It is set aside, out of training and of evaluation."
    reason = traced.aside.reason.removesuffix(".")
    return (
        f"It is set aside by round {traced.aside.round}, out of training and of evaluation, until a person releases "
        f"or drops it: {reason}."
    )


def _of_what_is_not_kept(tallies: Mapping[str, int]) -> str:
    """Which record was what is not noted: that would grow with the stream. How many were, is."""
    possible = [f"{words} ({tallies[name]:,} so far)" for name, words in NOT_KEPT.items() if tallies.get(name)]
    if not possible:
        return "It was read, and nothing of it is kept: Kafka's own mark, or compacted away."
    return f"It was read, and nothing of it is kept. It may have been {', '.join(possible)}."


def _use(use: RoundUse) -> TracedUse:
    return {
        "round": use.round,
        "part": use.part,
        "state": use.state.value,
        "generation": use.generation,
        "detail": f"{PARTS.get(use.part, use.part.replace('_', ' '))}; {_came_of(use)}",
    }


def _came_of(use: RoundUse) -> str:
    if use.state is RoundState.ACCEPTED:
        return f"the round was accepted as generation {use.generation}"
    if use.state in UNFINISHED:
        return "the round has not ended"
    return f"the round is {use.state.value}: no generation came of it"
