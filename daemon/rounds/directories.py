"""The rooms that a round walks through."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from checkpoints.generation_store import GenerationStore
from daemon.rounds.kept.kept_round import find_kept
from learner.directory.kept_candidates import let_go, read_kept
from memory.store import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What is kept, and where: shared by the parts of the daemon.

    Attributes:
        rounds_dir: the rounds' directories, one below it for each.
    """

    store: Store
    checkpoints: GenerationStore
    rounds_dir: Path

    def round_dir(self, number: int) -> Path:
        """The directory of one round."""
        return round_directory(self.rounds_dir, number)


def round_directory(rounds_dir: Path, number: int) -> Path:
    """Where a round stands, among the directories of all rounds."""
    return rounds_dir / f"{number:06d}"


def round_directories(rounds_dir: Path) -> dict[int, Path]:
    """The directories of rounds that there are, by number, oldest first."""
    paths = rounds_dir.iterdir() if rounds_dir.is_dir() else ()
    # Whatever else a person put there is left alone.
    return dict(sorted((int(path.name), path) for path in paths if path.name.isdecimal()))


def prune_directories(rooms: Rooms, kept: int) -> None:
    """Remove the directories of finished rounds but for the latest; those of waiting and unfinished rounds stay.

    So does that of the round whose candidates are kept to be judged again.
    """
    unfinished = {round_.number for round_ in rooms.store.rounds.unfinished()}
    ended = (round_ for round_ in rooms.store.rounds.latest() if round_.number not in unfinished)
    latest_kept = find_kept(ended, rooms.round_dir)
    staying = unfinished | set(rooms.store.rounds.waiting())
    if latest_kept is not None:
        staying.add(latest_kept.number)
    finished = [path for number, path in round_directories(rooms.rounds_dir).items() if number not in staying]
    for path in finished:
        let_go(path)
    for path in finished[: max(0, len(finished) - kept)]:
        shutil.rmtree(path)


def erase_directories(rounds_dir: Path, numbers: Iterable[int]) -> dict[int, Path]:
    """Remove the directories of these rounds, as text in them is erased; returns those that there were."""
    paths = {number: path for number in numbers if (path := round_directory(rounds_dir, number)).is_dir()}
    for number, path in paths.items():
        if (kept := read_kept(path)) is not None:
            reason = f"text that round {number} was given is erased"
            log.warning("candidates_given_up", trained_in=kept.trained_in, reason=reason)
        shutil.rmtree(path)
    return paths
