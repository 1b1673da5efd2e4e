"""A person is found in whatever dress the key came, or it is told which keys there are."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.identity import similar_keys
from memory.samples.records import KeyHash
from memory.store import Store
from streams.document import key_text
from tests.unit.memory.helpers import Stream, accept, begin, column, open_store, text, value


def stored(store: Store, stream: Stream, key: str) -> None:
    """Three documents of that key."""
    store.append(stream.of([text(stream.offset + n) for n in range(3)], keys=[key] * 3))


AVRO = b"\0\0\0\0\x07" + b"\x0cuser-1"
PROTOBUF = b"\0\0\0\0\x07" + b"\0" + b"\x0a\x06user-1"
IN_OTHER_DRESS = [
    '"user-1"',
    "'user-1'",
    " user-1",
    "user-1 ",
    "user-1\n",
    '{"id":"user-1"}',
    '{"anything": "user-1"}',
    '{"tenant": 5, "who": {"user": "user-1"}}',
    '["user-1"]',
    key_text(b'\0\0\0\0\x01"user-1"'),
    key_text(b"\0\0\0\0\x01user-1"),
    key_text(b'\0\0\0\0\x01{"id": "user-1"}'),
    key_text(AVRO),
    key_text(PROTOBUF),
    key_text(b"user-1\0"),
    key_text("user-1".encode("utf-16-le")),
    "USER-1",
    "User-1",
]


@pytest.mark.parametrize("key", IN_OTHER_DRESS, ids=str)
def test_a_key_in_another_dress_is_told_of(store: Store, stream: Stream, key: str) -> None:
    """With how much is kept of it, and a way to erase it that works."""
    stored(store, stream, key)
    assert not store.people.find("user-1").is_anything
    (similar,) = store.people.similar_keys("user-1")
    assert (similar.samples, similar.dead_letters, similar.rounds) == (3, 0, 0)
    assert similar.how
    assert similar.key in (None, key)
    assert store.people.forget(KeyHash(similar.key_hash)).samples == 3
    assert store.people.similar_keys("user-1") == ()
    assert store.counts().by_role_and_source == ()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("4711", "4711.0"),
        ("4711.0", "4711"),
        ("4711", '{"id":4711}'),
        (unicodedata.normalize("NFC", "Zoë"), unicodedata.normalize("NFD", "Zoë")),
        (unicodedata.normalize("NFD", "Zoë"), unicodedata.normalize("NFC", "Zoë")),
        ("Zoë", '"Zo\\u00eb"'),
        ("Zoë", '"Zoë"'),
        ('"user-1"', "user-1"),
        ('"user-1"', '{"id":"user-1"}'),
        ("Straße", "STRASSE"),
        ("john.doe@example.org", "John.Doe@Example.org"),
        ("John.DOE@example.org", "john.doe@Example.ORG"),
        ("john.doe@example.org", '{"id": "John.Doe@Example.org"}'),
        ("user-1", "user\u200b-1"),
        ("user-1", "\ufeffuser-1"),
        ("user-1", "\u202euser-1\u202c"),
        ("user-1", "us\u00ader-1"),
        ("user-1", "user-1\0"),
        ("user-1", "\x1fuser-1"),
        ("\ufeffuser-1", "user-1"),
        ("user\u200b-1", "user-1"),
        ("user-1", '"\u200buser-1"'),
    ],
)
def test_it_is_told_of_whichever_of_the_two_was_typed(store: Store, stream: Stream, typed: str, kept: str) -> None:
    """The plain one by the dressed one, too."""
    stored(store, stream, kept)
    assert [one.samples for one in store.people.similar_keys(typed)] == [3]


def test_keys_that_came_before_this_was_noted_are_tried(tmp_path: Path, stream: Stream) -> None:
    """The commonest dresses, and objects with the commonest names."""
    with open_store(tmp_path / "a.db") as store:
        for key in ('"user-1"', '{"id":"user-1"}', '{"user_id": "user-1"}', "user-1 "):
            stored(store, stream, key)
        store.file.database._writer.execute("DELETE FROM key_dresses")
        assert {one.key for one in store.people.similar_keys("user-1")} == {
            '"user-1"',
            '{"id":"user-1"}',
            '{"user_id": "user-1"}',
            "user-1 ",
        }


def test_others_are_not_similar(store: Store, stream: Stream) -> None:
    """A longer name is another name."""
    for key in ("user-12", "user", "x-user-1", '"user-11"', '{"id":"user-2"}'):
        stored(store, stream, key)
    assert store.people.similar_keys("user-1") == ()


def test_plain_keys_leave_no_trace(store: Store, stream: Stream) -> None:
    """Nearly all are: noting costs nothing for them."""
    for key in ("user-1", "Zoë", "4711", "a@b.c", "a.b", "0"):
        stored(store, stream, key)
    assert value(store, "SELECT count(*) FROM key_dresses") == 0


def test_what_is_kept_of_a_similar_key_is_counted(store: Store, stream: Stream) -> None:
    """Its dead letters, and the rounds that were given its text."""
    stored(store, stream, '"user-1"')
    store.append(stream.of([text(n) for n in range(100, 160)]))
    store.append(stream.batch(letters=[stream.letter(key=b'"user-1"')]))
    accept(store, begin(store))
    (similar,) = store.people.similar_keys("user-1")
    assert (similar.key, similar.dead_letters, similar.rounds) == ('"user-1"', 1, 1)


def test_what_is_noted_goes_when_its_text_has_gone(
    tmp_path: Path, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is bounded by what is kept."""
    monkeypatch.setattr(similar_keys, "MOST_NOTED", 3)
    with open_store(tmp_path / "a.db") as store:
        for number in range(6):
            stored(store, stream, f'"user-{number}"')
        ids = column(store, "SELECT id FROM samples ORDER BY id LIMIT 9")
        store.file.database._writer.execute(f"DELETE FROM samples WHERE id <= {ids[-1]}")
        with store.file.database.write() as tx:
            similar_keys.prune(tx)
        assert value(store, "SELECT count(*) FROM key_dresses") == 3


@given(st.text() | st.text(alphabet='"{}[]: .0x\n').map(lambda word: word + "1"))
def test_undressing_never_raises_and_is_bounded(key: str) -> None:
    """Whatever the key is."""
    found = similar_keys.plain(key)
    assert key not in found
    assert len(found) <= similar_keys.MOST_PLAIN + 1
    assert len(list(similar_keys.spellings(key))) < 30_000


def test_a_key_as_long_as_a_record_is_kept_found_and_erased(store: Store, stream: Stream) -> None:
    """By itself, or by its hash alone."""
    key = '{"id": "' + "k" * 300_000 + '"}'
    stored(store, stream, key)
    store.append(stream.batch(letters=[stream.letter(key=key.encode())]))
    assert store.people.similar_keys(key) == ()
    named = KeyHash(store.people.key_hash(key))
    assert KeyHash.from_hex(str(named)) == named
    assert sum(store.people.find(named).by_role.values()) == 3
    forgotten = store.people.forget(named)
    assert (forgotten.samples, forgotten.dead_letters) == (3, 1)
    assert store.append(stream.of([text(900)], keys=[key])).forgotten == 1


@pytest.mark.parametrize("digits", ["", "12", "0x1234567890abcd", "g" * 16, "1" * 17, "١" * 16])
def test_what_is_no_hash_is_refused(digits: str) -> None:
    """Sixteen hexadecimal digits, no more and no fewer."""
    with pytest.raises(ValueError, match="16 hexadecimal digits"):
        KeyHash.from_hex(digits)
