"""What a line of the file with API keys says."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.door.bearer import digest_of
from serving.errors import CannotServe
from serving.keys import entries
from serving.keys.entries import KeyEntry, line_of, parse_entries, read_entries
from serving.keys.limits import LIMITS

HASH = f"sha256:{digest_of('secret').hex()}"
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,20}", fullmatch=True).filter(lambda name: "line-" not in name)


def test_keys_in_plain_text_go_on_working() -> None:
    """A file of before: one a line, remarks between; each is called by its place, and known by what it was."""
    text = "\ufeff# production\r\n\r\n  first-key\t\r\nsecond-key\r\n"
    named = [(entry.name, entry.digest, entry.characters) for entry in parse_entries(text.removeprefix("\ufeff"))]
    assert named == [("line-3", digest_of("first-key"), 9), ("line-4", digest_of("second-key"), 10)]


def test_an_entry_has_a_name_a_hash_and_limits() -> None:
    """And `none` lifts a limit that others have."""
    (entry,) = parse_entries(f"alice  {HASH.upper().replace('SHA', 'sha')}\trequests_per_minute=60 at_once=none")
    assert entry == KeyEntry("alice", digest_of("secret"), {"requests_per_minute": 60, "at_once": None}, 1)


@settings(max_examples=40)
@given(NAMES, st.dictionaries(st.sampled_from(LIMITS), st.none() | st.integers(1, 10**12)))
def test_what_is_written_is_what_is_read(name: str, limits: dict[str, int | None]) -> None:
    """Back and forth."""
    entry = KeyEntry(name, digest_of(name), limits, 1)
    assert parse_entries(line_of(entry)) == [entry]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HASH, "line 1 has a hash and no name"),
        ("my secret key", "line 1 is no API key"),
        ("kéy", "line 1 is no API key"),
        (f"\nalice {HASH[:-1]}", "line 2 is no API key"),
        (f"al/ice {HASH}", "a key's name is up to 64 letters"),
        (f"{'a' * 65} {HASH}", "a key's name is up to 64 letters"),
        (f"line-7 {HASH}", "by its place"),
        (f"alice {HASH} tokens=5", "none of requests_per_minute"),
        (f"alice {HASH} at_once=0", "line 1: at_once is a whole number from 1"),
        (f"alice {HASH} at_once=1.5", "at_once is a whole number"),
        (f"alice {HASH} at_once", "at_once is a whole number"),
        (f"alice {HASH} at_once=1 at_once=2", "at_once is there twice"),
        (f"alice {HASH}\nbob {HASH}", "line 2 has the key of line 1"),
        (f"alice {HASH}\nalice sha256:{'0' * 64}", "line 2 has the name of line 1"),
    ],
)
def test_what_can_be_no_key_is_named_by_its_line(tmp_path: Path, text: str, says: str) -> None:
    """And nothing of it is repeated, as it may be a secret."""
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(CannotServe, match="api_key_file") as caught:
        read_entries(path)
    assert says in str(caught.value)
    assert not any(word in str(caught.value) for word in ("secret", "kéy", HASH[7:20]))


def test_a_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key has series in the metrics."""
    monkeypatch.setattr(entries, "MOST_KEYS", 2)
    with pytest.raises(ValueError, match="3 keys, and 2 is the most"):
        parse_entries("a\nb\nc")
