"""Candidates that an earlier round trained, in the directory of one that judges them once more. Torch-free.

kept.json         in a finished round's directory: its candidates are kept, and what their files must be
kept/result/ …    in the directory of the round that judges them: hard links of what they are made from; of a round that
                  wrote them whole (of a single one, or by an earlier version) kept/candidates/ …
kept/report.json  what their training took, and which samples they were trained on
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pydantic.dataclasses
from pydantic import PositiveInt, ValidationError

from checkpoints.files.durable_writes import replace_file, sha256_of
from checkpoints.json_files import STRICT, read_json, write_json
from checkpoints.manifest import ListedFile
from learner.directory.links import link_or_copy, link_tree
from learner.directory.trained_result import RESULT, read_result
from learner.errors import BadRoundDirectory

LIST: Final = "kept.json"
KEPT: Final = "kept"
_CANDIDATES, _REPORT = "candidates", "report.json"


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class KeptCandidates:
    """What the files of kept candidates must be.

    Attributes:
        trained_in: the round that trained them.
        judgings: how often they have been judged so far.
        files: by path below the directory that holds them; its report among them.
    """

    trained_in: PositiveInt
    judgings: PositiveInt
    files: Mapping[str, ListedFile]


def keep(directory: Path, *, trained_in: int, judgings: int) -> KeptCandidates:
    """Note in a finished round's directory that its candidates are kept, and what their files are. Reads all of them.

    Raises:
        OSError: they cannot be read, or the disk refused.
    """
    files = {
        path.relative_to(directory).as_posix(): ListedFile(sha256_of(path), path.stat().st_size)
        for path in _files(directory)
    }
    kept = KeptCandidates(trained_in, judgings, files)
    replace_file(directory / LIST, write_json(kept, indent=2))
    return kept


def _files(directory: Path) -> Iterator[Path]:
    yield from sorted(path for path in _folder(directory).rglob("*") if path.is_file())
    yield directory / _REPORT


def _folder(directory: Path) -> Path:
    """Where candidates are: what they are made from, else themselves."""
    result = directory / RESULT
    return result if result.is_dir() else directory / _CANDIDATES


def read_kept(directory: Path) -> KeptCandidates | None:
    """Which candidates are kept in a round's directory; None where none are, or its note cannot be understood."""
    try:
        return read_json(KeptCandidates, (directory / LIST).read_bytes())
    except (OSError, ValidationError):
        return None


def let_go(directory: Path) -> None:
    """Let a round's directory be one like others again, which goes when it is old enough."""
    (directory / LIST).unlink(missing_ok=True)


def put_into(path: Path, kept_dir: Path) -> None:
    """Put the kept candidates of one round's directory into another's.

    Raises:
        OSError: some of them are missing, or the disk refused.
    """
    folder = _folder(kept_dir)
    link_tree(folder, path / KEPT / folder.name)
    link_or_copy(kept_dir / _REPORT, path / KEPT / _REPORT)


def take_over(path: Path) -> None:
    """Let the kept candidates in a round's directory be its own.

    Raises:
        OSError: some of them are missing, or the disk refused.
    """
    folder = _folder(path / KEPT)
    link_tree(folder, path / folder.name)


def names_of_candidates(path: Path) -> list[str]:
    """Return the names of the candidates in a round's directory, sorted.

    Raises:
        BadRoundDirectory: what they are made from cannot be understood.
        OSError: there are none, or the disk refused.
    """
    result = read_result(path)
    return sorted((each.name for each in (path / _CANDIDATES).iterdir()) if result is None else result.candidates)


def require_kept_intact(path: Path, wanted: KeptCandidates) -> None:
    """Compare the kept candidates in a round's directory with what they must be.

    Raises:
        BadRoundDirectory: names the file that is missing, differs or does not belong.
    """
    directory = path / KEPT
    present = {each.relative_to(directory).as_posix() for each in directory.rglob("*") if each.is_file()}
    for name in sorted(present ^ set(wanted.files)):
        what = "is missing" if name in wanted.files else "does not belong there"
        raise BadRoundDirectory(f"{directory / name} {what}. Discard the round.")
    for name, expected in wanted.files.items():
        require_same(directory / name, expected)


def require_same(path: Path, expected: ListedFile) -> None:
    """Compare a file in a round's directory with what it must be.

    Raises:
        BadRoundDirectory: it is missing or differs.
    """
    try:
        # The size first: it costs nothing, and tells the most frequent damage, a file that was cut off.
        is_same = path.stat().st_size == expected.bytes and sha256_of(path) == expected.sha256
    except OSError as error:
        raise BadRoundDirectory(f"{path} cannot be read: {error.strerror}. Discard the round.") from error
    if not is_same:
        raise BadRoundDirectory(f"{path} is damaged: it is not what the round wrote. Discard the round.")
