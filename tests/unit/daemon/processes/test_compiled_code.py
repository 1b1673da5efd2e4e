"""Compiled code: where learners keep it, and no more than a bound."""

from pathlib import Path

from daemon.processes.children import COMPILED_VARIABLE, child_environment
from daemon.processes.compiled_code import compiled_dir, keep_compiled_bounded


def test_learners_keep_it_in_the_state_directory(tmp_path: Path) -> None:
    """Not where torch would by itself, in a folder of temporary files that others may have made before."""
    assert child_environment(tmp_path, {})[COMPILED_VARIABLE] == str(tmp_path.resolve() / "compiled")


def test_who_says_otherwise_is_heard(tmp_path: Path) -> None:
    """A cache that several services share, say."""
    assert child_environment(tmp_path, {COMPILED_VARIABLE: "/srv/cache"})[COMPILED_VARIABLE] == "/srv/cache"


def test_more_than_the_bound_is_removed(tmp_path: Path) -> None:
    """At the bound it stays; a byte more, and all is compiled anew."""
    file = compiled_dir(tmp_path) / "ab" / "code.so"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(100))
    held = sum(path.lstat().st_size for path in compiled_dir(tmp_path).rglob("*"))
    keep_compiled_bounded(tmp_path, held)
    assert file.exists()
    keep_compiled_bounded(tmp_path, held - 1)
    assert not compiled_dir(tmp_path).exists()
    keep_compiled_bounded(tmp_path, 0)
