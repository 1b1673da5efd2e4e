"""What fresh text cost the serving generation before it was trained on, as the ledger of rounds has it."""

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from memory.database.sqlite import Connection
from memory.ledger.records import Prequential
from memory.ledger.states import RoundState


def history(tx: Connection, limit: int) -> list[Prequential]:
    """Rounds whose report says what fresh text cost before training, newest first."""
    rows = tx.execute(
        "SELECT number, state, json_extract(report, '$.prequential') FROM rounds "
        "WHERE json_extract(report, '$.prequential.mean_nll') IS NOT NULL ORDER BY number DESC LIMIT ?",
        (limit,),
    )
    return [_prequential(number, RoundState(state), _FIGURES.validate_json(text)) for number, state, text in rows]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore", strict=True))
class _KeptFigures:
    """What the ledger keeps of fresh text before training, of all that there is: nats per token, tokens, by source."""

    mean_nll: float | None  # SQLite reads NaN as null.
    tokens: int
    by_source: Mapping[str, "_KeptFigures"] = field(default_factory=dict)


_FIGURES: Final = TypeAdapter(_KeptFigures)


def _prequential(number: int, state: RoundState, figures: _KeptFigures) -> Prequential:
    assert figures.mean_nll is not None  # the query asks for those that have one
    by_source = {
        source: (each.mean_nll, each.tokens) for source, each in figures.by_source.items() if each.mean_nll is not None
    }
    return Prequential(number, state, figures.mean_nll, figures.tokens, by_source)
