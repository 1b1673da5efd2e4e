"""How scores were taken, kept with each of them: only such as were taken alike can stand for each other."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from memory.database.sqlite import Connection

T = TypeVar("T")


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", strict=True))
class Scoring:
    """How scores were taken.

    More context makes text easier, another precision moves each loss by more than a good round does, and two kinds of
    device do not round alike. Whether it was the same weights the generation's digest tells.

    Attributes:
        device: its kind, "cpu", "cuda" or "mps"; empty where that was not kept.
        precision: of the forward pass, "float32" or "bfloat16"; empty where that was not kept.
        sequence_length: tokens that the model saw at once, at most.
        way: the version of how documents are framed, cut and summed.
    """

    device: str
    precision: str
    sequence_length: int
    way: int

    @property
    def told(self) -> str:
        """How, for people."""
        where = f", on {self.device} in {self.precision}" if self.device else ""
        return f"in sequences of {self.sequence_length:,} tokens{where} (way {self.way})"


def number_of(tx: Connection, how: Scoring | None) -> int | None:
    """Under which number rows refer to it, which it gets where it is new; None for what is not known."""
    if how is None:
        return None
    values = (how.device, how.precision, how.sequence_length, how.way)
    tx.execute(
        "INSERT OR IGNORE INTO scorings(device, precision, sequence_length, way) VALUES (?, ?, ?, ?)",
        values,
    )
    found = tx.execute(
        "SELECT id FROM scorings WHERE device = ? AND precision = ? AND sequence_length = ? AND way = ?", values
    )
    return int(found.fetchone()[0])


def list_scorings(tx: Connection) -> dict[int | None, Scoring | None]:
    """All ways, by the number under which rows refer to them; None for None."""
    rows = tx.execute("SELECT id, device, precision, sequence_length, way FROM scorings")
    return {None: None} | {number: Scoring(*how) for number, *how in rows}


def most_common(ways: Iterable[T | None]) -> T | None:
    """The way in which most of some rows were taken; of equals the first, None of none."""
    counted = Counter(ways)
    return counted.most_common(1)[0][0] if counted else None
