"""What can be wrong with a generation, said so that a person knows what to do."""

from pathlib import Path


class CheckpointsError(Exception):
    """Something about generations on disk that a person may have to act on."""


class DamagedGeneration(CheckpointsError):
    """A generation's files are not those that its manifest lists."""

    def __init__(self, path: Path, file: str, reason: str) -> None:
        super().__init__(
            f"generation in {path} is damaged: {file}: {reason}; restore the file from a copy, "
            "or roll back to another generation (`riverkeep rollback`)"
        )
        self.path = path
        self.file = file
        self.reason = reason


class MissingGeneration(CheckpointsError):
    """A number names no generation on disk."""

    def __init__(self, number: int, root: Path) -> None:
        super().__init__(f"generation {number} is not in {root}; `riverkeep generations` lists those that are kept")
        self.number = number


class NumberTaken(CheckpointsError):
    """A number was published or removed before: numbers are never used again."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"generation {number} cannot be published: {why}; reserve a new number")
        self.number = number


class PublishFailed(CheckpointsError):
    """The disk refused a publication; nothing of it remains, and what was there before is untouched."""

    def __init__(self, number: int, error: OSError) -> None:
        where = error.filename2 or error.filename
        what = f"{error.strerror}: {where}" if error.strerror and where else error.strerror or error
        # Whether a round, a start or a person tries again is known to the caller alone.
        super().__init__(
            f"generation {number} could not be written: {what}; nothing was changed. "
            "Free space on that disk or repair it before this is tried again"
        )
        self.number = number


class UnsafeModel(CheckpointsError):
    """A model asks for what Riverkeep never does: unpickle weights or run code that came with it."""


class UnusableModel(CheckpointsError):
    """A model directory that cannot be loaded: a file is missing or cannot be understood."""


class MismatchedTokenizer(CheckpointsError):
    """Tokenizer and model were not made for each other."""
