"""An answer's id says by itself where it came from, and cannot be made up."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import CannotServe
from serving.feedback.answer_ids import KEY_NAME, AnswerIds, AnswerOrigin, key_in
from serving.traffic.choice import GROUPS

IDS = AnswerIds(b"k" * 32)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.none() | st.integers(0, GROUPS - 1),
    st.sampled_from(["cmpl", "chatcmpl"]),
)
def test_an_id_says_where_its_answer_came_from(generation: int, at: int, group: int | None, prefix: str) -> None:
    """To who has the key, and to nobody else."""
    answer = f"{prefix}-{IDS.new(generation, at, group)}"
    assert IDS.origin(answer) == AnswerOrigin(generation, at, group)
    assert AnswerIds(b"another").origin(answer) is None


@given(st.integers(0, 200), st.sampled_from("0123456789abcdef"))
def test_a_changed_id_is_no_id(place: int, digit: str) -> None:
    """Whichever digit it is: of the random part, the generation, the time or the signature."""
    unique = IDS.new(7, 1_700_000_000)
    place %= len(unique)
    changed = unique[:place] + digit + unique[place + 1 :]
    assert (IDS.origin(f"cmpl-{changed}") is None) == (changed != unique)


@given(st.text(max_size=80))
def test_anything_else_is_no_id(text: str) -> None:
    """And does no harm."""
    assert IDS.origin(text) is None
    assert IDS.origin(f"cmpl-{text}") is None


def test_processes_that_begin_at_once_have_one_key(tmp_path: Path) -> None:
    """Made by the first, for its owner alone; all read the same."""
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(key_in, [tmp_path] * 8))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]
    assert stat.S_IMODE((tmp_path / KEY_NAME).stat().st_mode) == 0o600


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    """Rather than signing with half of one."""
    (tmp_path / KEY_NAME).write_bytes(b"short")
    with pytest.raises(CannotServe, match="remove it"):
        key_in(tmp_path)
