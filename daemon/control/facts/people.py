"""A person's text by key: what is kept of it, what was erased, and which keys are similar."""

import shlex
from collections.abc import Mapping, Sequence

from daemon.control.answers.people import ErasedPerson, FoundPerson, SimilarKeyLine
from daemon.control.answers.records import SampleLine
from daemon.control.facts.records import sample_line, sample_with_text
from memory.identity.similar_keys import SimilarKey
from memory.people.erasure import Forgotten
from memory.people.finding import Found
from memory.samples.reading import FoundSample
from memory.samples.records import KeyHash


def erased_person(
    forgotten: Forgotten, directories: Mapping[int, str], similar: Sequence[SimilarKey], *, called_off: int | None
) -> ErasedPerson:
    """What an erasure erased.

    Args:
        directories: of rounds, that went with it.
        similar: keys of which nothing was erased.
        called_off: the round in progress that was given the text.
    """
    return {
        "samples": forgotten.samples,
        "dead_letters": forgotten.dead_letters,
        "feedback": forgotten.feedback,
        "rounds": list(forgotten.rounds),
        "generations": list(forgotten.generations),
        "descendants": list(forgotten.descendants),
        "clean_generation": forgotten.clean_generation,
        "lineage_from": forgotten.lineage_from,
        "directories": sorted(directories.values()),
        "similar": similar_keys(similar),
        "called_off": called_off,
    }


def found_person(
    person: Found, similar: Sequence[SimilarKey], key_hash: KeyHash, *, text: bool, limit: int
) -> FoundPerson:
    """What is known of a person. `person` has one sample more than `limit` where there is another page."""
    page = person.samples[:limit]
    return {
        "samples": sum(person.by_role.values()),
        "by_role": {role.name.lower(): samples for role, samples in person.by_role.items()},
        "kept": [_person_sample(entry, text=text) for entry in page],
        "next": page[-1].sample.id if len(person.samples) > limit else None,
        "dead_letters": len(person.dead_letters),
        "feedback": person.feedback,
        "dead_letter_ids": list(person.dead_letters[:limit]),
        "rounds": [{"round": number, "parts": dict(parts)} for number, parts in person.rounds.items()],
        "erased_at": person.erased_at,
        "generations": list(person.generations),
        "descendants": list(person.descendants),
        "clean_generation": person.clean_generation,
        "lineage_from": person.lineage_from,
        "calls_off": None,
        "key_hash": str(key_hash),
        "similar": similar_keys(similar),
    }


def _person_sample(entry: FoundSample, *, text: bool) -> SampleLine:
    return sample_with_text(entry) if text else sample_line(entry)


def similar_keys(similar: Sequence[SimilarKey]) -> list[SimilarKeyLine]:
    """Other keys that may name the same person, and how each is erased."""
    return [
        {
            "key": key.key,
            "key_hash": str(KeyHash(key.key_hash)),
            "how": key.how,
            "samples": key.samples,
            "dead_letters": key.dead_letters,
            "rounds": key.rounds,
            "erase": erasure_command(key.key, str(KeyHash(key.key_hash))),
        }
        for key in similar
    ]


def erasure_command(key: str | KeyHash | None, key_hash: str) -> str:
    """The command that erases a person.

    Args:
        key: None where only its hash is known.
        key_hash: of the key, 16 digits.
    """
    # A key that a shell, an eye or an option's dash could change is named by its hash.
    if isinstance(key, str) and key.isascii() and key.isprintable() and key == key.strip(" -") and 0 < len(key) <= 200:
        return f"riverkeep forget {shlex.quote(key)}"
    return f"riverkeep forget --key-hash {key_hash}"
