"""How unlike earlier text a round's new text may be, as its directory tells the learner."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TextBounds:
    """The largest plausible figures of a text; None where nothing is known to compare with."""

    mean_nll: float | None = None
    upper_nll: float | None = None
    repetitive_share: float | None = None


@dataclass(frozen=True, slots=True)
class PlausibilityBounds:
    """Bounds on a round's fresh text.

    Attributes:
        overall: on all of it.
        sources: on each source that is known; a source that is not is bound by `overall` as well.
        minimum_documents: a source with fewer scored documents is not judged by itself.
    """

    overall: TextBounds = TextBounds()
    sources: Mapping[str, TextBounds] = field(default_factory=dict)
    minimum_documents: int = 20

    def to_json(self) -> dict[str, Any]:
        """The bounds as JSON values, for `round.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "PlausibilityBounds":
        """Read back what `to_json` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(
            TextBounds(**value["overall"]),
            {source: TextBounds(**bounds) for source, bounds in value["sources"].items()},
            value["minimum_documents"],
        )
