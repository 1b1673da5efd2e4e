"""Keys that may name the same person in another dress: in quotes, in an object, framed, in another spelling.

Of a key only a hash is kept, so what it may stand for is noted when its text arrives, as hashes too. A person who types
what they know is then told of it: nothing passes for not kept that is.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from memory.database.sqlite import Connection, as_json
from streams.decoding.framing import payloads

PLAIN, QUOTED, OBJECT, FRAMED, BYTES, SPELLED = (
    "without what stands around it",
    "in quotes",
    "in a JSON object or array",
    "behind a schema registry's bytes",
    "as other bytes",
    "in another spelling",
)
MOST_PLAIN: Final = 16
"""Plain keys that one key may stand for, at most: as many values of an object are looked at."""
LONGEST_PLAIN: Final = 4096
DEEPEST: Final = 4
MOST_SIMILAR: Final = 50
MOST_NOTED: Final = 100_000
"""Rows beyond which those go whose text is gone; 40 bytes each."""
NAMES: Final = (
    "id",
    "key",
    "user",
    "user_id",
    "userId",
    "uid",
    "customer_id",
    "customerId",
    "account_id",
    "email",
    "name",
)
"""Of objects that are tried for keys that came before it was noted what they stand for."""

UNSEEN: Final = frozenset({"Cc", "Cf"})
_FLOAT = re.compile(r"(-?[0-9]+)\.0+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class SimilarKey:
    """A key of which something is kept, and that may name the same person.

    Attributes:
        key: as it would have to be typed; None where that is not known.
        key_hash: keyed 64-bit hash, signed.
        how: in which dress it is, in words.
        samples, dead_letters, rounds: what is kept of it, and how many rounds were given its text.
    """

    key: str | None
    key_hash: int
    how: str
    samples: int
    dead_letters: int
    rounds: int


def plain(key: str) -> dict[str, str]:
    """What a key may stand for, and in which dress that came; empty for nearly every key."""
    # Nearly every key ends here: this runs for each new key that arrives.
    if key.isascii() and not _is_dressed(key):
        bare = key.strip()
        return {} if bare in ("", key) else {bare: SPELLED}
    plain_keys: dict[str, str] = {}
    _undress(key, "", 0, plain_keys)
    plain_keys.pop(key, None)
    return plain_keys


def _is_dressed(key: str) -> bool:
    """Whether a key of ASCII may stand for another one."""
    if "@" in key and key != key.lower():
        return True
    around = key.endswith((".0", " ", "\n", "\t", "\r", '"', "'", "}", "]")) or key[:2] == "0x"
    return around or not key.isprintable()


def _undress(key: str, how: str, depth: int, plain_keys: dict[str, str]) -> None:
    if depth > DEEPEST or len(plain_keys) >= MOST_PLAIN:
        return
    bare = unicodedata.normalize("NFC", key).strip()
    inner = list(_inside(bare)) if bare else []
    if bare and len(bare) <= LONGEST_PLAIN:
        plain_keys.setdefault(bare, how or SPELLED)
        for form in _as_a_person_reads_it(bare):
            plain_keys.setdefault(form, how or SPELLED)
    for value, its_dress in inner:
        _undress(value, how or its_dress, depth + 1, plain_keys)


def _as_a_person_reads_it(key: str) -> Iterator[str]:
    """The key without what nobody sees, and an address of mail in small letters."""
    visible = "".join(character for character in key if unicodedata.category(character) not in UNSEEN).strip()
    if visible:
        yield visible
        if "@" in visible:
            yield visible.lower()


def _inside(key: str) -> Iterator[tuple[str, str]]:
    """What stands in a key, in one dress less."""
    if key[:2] == "0x":
        yield from _in_bytes(key[2:])
    elif key[0] in '"{[':
        try:
            value = orjson.loads(key)
        except orjson.JSONDecodeError:
            return
        dress = QUOTED if isinstance(value, str) else OBJECT
        yield from ((scalar, dress) for scalar in _scalars(value))
    elif key[0] == key[-1] == "'":
        yield key[1:-1], QUOTED
    elif whole := _FLOAT.fullmatch(key):
        yield whole[1], SPELLED


def _in_bytes(digits: str) -> Iterator[tuple[str, str]]:
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return
    yield from ((text, FRAMED) for text in payloads(raw))
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        try:
            text = raw.decode(encoding).rstrip("\0")
        except UnicodeDecodeError:
            continue
        if text and text.isprintable():
            yield text, BYTES


def _scalars(value: Any) -> Iterator[str]:
    """The strings and whole numbers in a value, first ones first."""
    waiting = [value]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, str) or (isinstance(item, int) and not isinstance(item, bool)):
            yield str(item)
        elif isinstance(item, float) and item.is_integer():
            yield str(int(item))
        elif isinstance(item, dict | list) and len(waiting) < MOST_PLAIN:
            waiting.extend(list(item.values() if isinstance(item, dict) else item)[:MOST_PLAIN])


def spellings(key: str) -> Iterator[tuple[str, str]]:
    """Keys that a person may mean who types this one, each with its dress; none of a key that nobody types."""
    if len(key) > LONGEST_PLAIN:
        return
    for base in dict.fromkeys((key, *plain(key))):
        for form in _forms(base):
            yield form, SPELLED
            yield from ((blank, SPELLED) for blank in (f" {form}", f"{form} ", f"{form}\n", f"{form}\r\n"))
            values = {json.dumps(form), json.dumps(form, ensure_ascii=False)}
            yield from ((value, QUOTED) for value in (*values, f"'{form}'"))
            if _NUMBER.fullmatch(form):
                yield f"{form}.0", SPELLED
                values.add(form)
            # A key with a NUL in it is kept as its bytes, and writers in C leave one at the end.
            yield "0x" + form.encode("utf-8", "surrogatepass").hex() + "00", BYTES
            for value in values:
                for name in NAMES:
                    yield f'{{"{name}":{value}}}', OBJECT
                    yield f'{{"{name}": {value}}}', OBJECT


def _forms(base: str) -> dict[str, None]:
    forms = [base, *(unicodedata.normalize(form, base) for form in ("NFC", "NFD", "NFKC", "NFKD"))]
    return dict.fromkeys([*forms, *(change(base) for change in (str.lower, str.upper, str.casefold, str.title))])


def note(tx: Connection, stored: Iterable[int], noted: Mapping[int, tuple[tuple[int, str], ...]]) -> None:
    """Note what the keys of stored text may stand for.

    Args:
        tx: the transaction that stores the text.
        stored: hashes of its keys.
        noted: by hash of a key, the hashes of the plain ones, each with the dress.
    """
    rows = [(plain, key, how) for key in noted.keys() & set(stored) for plain, how in noted[key]]
    tx.executemany("INSERT OR IGNORE INTO key_dresses(plain, key_hash, how) VALUES (?, ?, ?)", rows)


def prune(tx: Connection) -> None:
    """Forget what keys stand for of which nothing is kept and nothing is known, once there are many."""
    if tx.execute("SELECT count(*) FROM key_dresses").fetchone()[0] > MOST_NOTED:
        tx.execute(
            "DELETE FROM key_dresses WHERE key_hash NOT IN (SELECT key_hash FROM samples WHERE key_hash IS NOT NULL "
            "UNION SELECT key_hash FROM round_samples WHERE key_hash IS NOT NULL)"
        )


def find(tx: Connection, key: str | None, key_hash: int, hashed: Callable[[str], int]) -> tuple[SimilarKey, ...]:
    """Keys of which something is kept, and that may name whom this one names; those of most samples first.

    Args:
        tx: to read in.
        key: None where only its hash is known.
        key_hash: of the key itself, which is left out.
        hashed: the keyed hash of a key.
    """
    # Reversed, as the last one of a hash stays: the likeliest spelling.
    spelled = {} if key is None else {hashed(form): (form, how) for form, how in reversed(list(spellings(key)))}
    plain_hashes = {key_hash, *(hashed(bare) for bare in (plain(key) if key is not None else ()))}
    plain_hashes |= {row[0] for row in tx.execute("SELECT plain FROM key_dresses WHERE key_hash = ?", (key_hash,))}
    dresses: dict[int, tuple[str | None, str]] = dict.fromkeys(plain_hashes, (None, PLAIN))
    rows = tx.execute(
        "SELECT key_hash, how FROM key_dresses WHERE plain IN (SELECT value FROM json_each(?))",
        (as_json(plain_hashes),),
    )
    dresses |= {candidate: (None, how) for candidate, how in rows}
    # Last: these alone say how the key is to be typed.
    dresses |= spelled
    dresses.pop(key_hash, None)
    counts_by_key = _count_kept(tx, dresses)
    similar = (
        SimilarKey(dresses[candidate][0], candidate, dresses[candidate][1], *counts)
        for candidate, counts in counts_by_key.items()
    )
    return tuple(sorted(similar, key=lambda similar_key: -similar_key.samples)[:MOST_SIMILAR])


def _count_kept(tx: Connection, key_hashes: Collection[int]) -> dict[int, tuple[int, int, int]]:
    """Of these keys those of which anything is kept: how many samples, dead letters, and rounds that were given any."""
    listed = as_json(key_hashes)
    samples = dict(_count_each(tx, "count(*) FROM samples", listed))
    rounds = dict(_count_each(tx, "count(DISTINCT round) FROM round_samples", listed))
    letters = dict(
        tx.execute(
            "SELECT j.value, count(*) FROM dead_letters, json_each(key_hashes) j "
            "WHERE j.value IN (SELECT value FROM json_each(?)) GROUP BY 1",
            (listed,),
        ).fetchall()
    )
    return {
        key: (samples.get(key, 0), letters.get(key, 0), rounds.get(key, 0))
        for key in sorted(samples.keys() | letters.keys() | rounds.keys())
    }


def _count_each(tx: Connection, counted: str, listed: str) -> list[tuple[int, int]]:
    query = f"SELECT key_hash, {counted} WHERE key_hash IN (SELECT value FROM json_each(?)) GROUP BY 1"
    rows: list[tuple[int, int]] = tx.execute(query, (listed,)).fetchall()
    return rows
