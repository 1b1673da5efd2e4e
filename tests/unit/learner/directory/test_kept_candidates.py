"""Candidates that are kept: known again by their digests, and never a second copy."""

from pathlib import Path

import pytest

from learner.directory.kept_candidates import (
    KEPT,
    LIST,
    KeptCandidates,
    keep,
    let_go,
    names_of_candidates,
    put_into,
    read_kept,
    require_kept_intact,
    take_over,
)
from learner.errors import BadRoundDirectory


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """What of a round's directory matters here."""
    path = tmp_path / "000001"
    for share in ("0.00", "0.50"):
        (path / "candidates" / share / "importance").mkdir(parents=True)
        (path / "candidates" / share / "model.safetensors").write_text(f"weights of {share}")
        (path / "candidates" / share / "importance" / "residuals.safetensors").write_text("residuals")
    (path / "report.json").write_text("{}")
    return path


@pytest.fixture
def taken(finished: Path, tmp_path: Path) -> tuple[Path, KeptCandidates]:
    """The directory of a round that judges them again, and what they must be."""
    kept = keep(finished, trained_in=1, judgings=1)
    put_into(tmp_path / "000002", finished)
    return tmp_path / "000002", kept


def test_what_is_kept_is_noted_and_let_go(finished: Path) -> None:
    """The note tells whose they are and how often they were judged; without it the directory is one like others."""
    assert read_kept(finished) is None
    kept = keep(finished, trained_in=1, judgings=2)
    assert read_kept(finished) == kept
    assert (kept.trained_in, kept.judgings) == (1, 2)
    assert set(kept.files) == {
        "report.json",
        *(f"candidates/{share}/model.safetensors" for share in ("0.00", "0.50")),
        *(f"candidates/{share}/importance/residuals.safetensors" for share in ("0.00", "0.50")),
    }
    let_go(finished)
    let_go(finished)
    assert read_kept(finished) is None


@pytest.mark.parametrize("note", [b"", b"{}", b'{"trained_in": 0, "judgings": 1, "files": {}}'])
def test_a_note_that_cannot_be_understood_keeps_nothing(finished: Path, note: bytes) -> None:
    """The next round trains anew."""
    (finished / LIST).write_bytes(note)
    assert read_kept(finished) is None


def test_they_become_another_round_s_own_without_a_second_copy(taken: tuple[Path, KeptCandidates]) -> None:
    """Hard links, three names of one file."""
    path, kept = taken
    require_kept_intact(path, kept)
    take_over(path)
    assert names_of_candidates(path) == ["0.00", "0.50"]
    weights = path / "candidates" / "0.50" / "model.safetensors"
    assert weights.read_text() == "weights of 0.50"
    assert weights.stat().st_nlink == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("candidates/0.00/model.safetensors", "Weights of 0.00", "is damaged"),
        ("candidates/0.00/model.safetensors", "cut", "is damaged"),
        ("report.json", None, "is missing"),
        ("candidates/0.00/stray.safetensors", "more", "does not belong there"),
    ],
)
def test_what_differs_is_named(taken: tuple[Path, KeptCandidates], name: str, content: str | None, said: str) -> None:
    """A damaged candidate would else only be found out as a bad one."""
    path, kept = taken
    (path / KEPT / name).unlink(missing_ok=True)
    if content is not None:
        (path / KEPT / name).write_text(content)
    with pytest.raises(BadRoundDirectory, match=f"{name} {said}"):
        require_kept_intact(path, kept)
