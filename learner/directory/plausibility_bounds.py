"""How unlike earlier text a round's new text may be, as its directory tells the learner."""

from collections.abc import Mapping
from dataclasses import field

from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT


@dataclass(frozen=True, slots=True, config=STRICT)
class TextBounds:
    """The largest plausible figures of a text; None where nothing is known to compare with.

    They are those of `learner.evaluation.text_plausibility.TextFigures`.
    """

    mean_nll: float | None = None
    upper_nll: float | None = None
    repetitive_share: float | None = None
    incoherent_share: float | None = None
    contradicted_share: float | None = None
    contrary_share: float | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
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
