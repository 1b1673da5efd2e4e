"""Whether fresh text is plausible: how the parent reads it before training, compared with earlier arrivals.

Two figures of a text are bounded from above by what earlier text showed: its mean loss and its upper decile
of loss (a tenth of poison hides in a mean, not in a decile). A third, the share of documents that repeat
themselves or each other, catches what a loss cannot: near-constant text, and text from one template, is easy to
predict. Torch-free and numpy-free.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pydantic.dataclasses
from pydantic_core import to_jsonable_python

from checkpoints.json_files import STRICT, Figure
from learner.directory.plausibility_bounds import PlausibilityBounds, TextBounds
from learner.directory.report import PrequentialDocument

GRAM: Final = 4
WINDOW: Final = 256
PHRASE: Final = 16
"""Tokens in a row that independent documents hardly ever share."""
REPETITIVE: Final = 0.5
UPPER_DECILE: Final = 0.9


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class TextFigures:
    """What one text (of a round, or of one source within it) looked like under the generation that served.

    Attributes:
        documents: how many were scored.
        tokens: how many tokens were scored.
        mean_nll: nats per token, all losses over all tokens; NaN where nothing could be scored.
        upper_nll: upper decile of the documents' nats per token; NaN where nothing could be scored.
        repetitive_share: share of documents, 0 to 1, of which more than half repeats itself or other documents.
    """

    documents: int
    tokens: int
    mean_nll: Figure
    upper_nll: Figure
    repetitive_share: Figure


@dataclass(frozen=True, slots=True)
class PrequentialSummary:
    """A round's fresh text before it was trained on: all of it, and by source."""

    overall: TextFigures
    sources: Mapping[str, TextFigures]

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values: the overall figures, and those of each source under `by_source`."""
        return {**to_jsonable_python(self.overall), "by_source": to_jsonable_python(self.sources)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "PrequentialSummary":
        """Read back what `to_json` gave; `null` figures become NaN.

        Raises:
            ValidationError: a figure is missing.
        """
        overall = TextFigures(**{name: each for name, each in value.items() if name != "by_source"})
        return cls(overall, {source: TextFigures(**each) for source, each in value["by_source"].items()})


@dataclass(frozen=True, slots=True)
class Departure:
    """One figure of a text compared with its bound.

    Attributes:
        name: the field of `TextFigures` it is about.
        source: the source; None for all fresh text.
        figure: what was measured, in nats per token or as a share.
    """

    name: str
    source: str | None
    figure: float
    bound: float
    documents: int

    @property
    def within(self) -> bool:
        """Whether the figure keeps its bound; NaN does not."""
        return self.figure <= self.bound


def repetition_share(tokens: Sequence[int]) -> float:
    """Share of a document's 4-grams of tokens that occurred before within the same 256 tokens, 0 to 1.

    Duplicate n-grams tell repetitive text (Rae et al. 2021, "Scaling Language Models", A.1.1); the window
    keeps long documents, in which any phrase comes back one day, comparable with short ones. A document
    shorter than two 4-grams has no repetition.
    """
    repeated = total = 0
    for start in range(0, len(tokens), WINDOW):
        window = tokens[start : start + WINDOW]
        grams = [tuple(window[at : at + GRAM]) for at in range(len(window) - GRAM + 1)]
        repeated += len(grams) - len(set(grams))
        total += len(grams)
    return repeated / total if total else 0.0


def copied_shares(documents: Sequence[Sequence[int]], known: Iterable[Sequence[int]] = ()) -> list[float]:
    """For each document the share of its 16-grams of tokens that an earlier one has, 0 to 1.

    Texts from one template share most of their long phrases though no two are near enough to be duplicates (compare
    Lee et al. 2022, "Deduplicating Training Data", 4.1, which takes 50 tokens for a verbatim copy). A document of fewer
    than two 16-grams' tokens is too short to tell.

    Args:
        documents: tokens of each.
        known: tokens of remembered documents, whose phrases are no news and do not count as copied.
    """
    phrases = [_phrases(tokens) if len(tokens) >= 2 * PHRASE else set[int]() for tokens in documents]
    # Memory holds far more phrases than a round brings: only those that the round has as well are kept.
    wanted = set[int]().union(*phrases)
    no_news = set[int]().union(*(_phrases(tokens) & wanted for tokens in known))
    earlier: set[int] = set()
    shares = []
    for own in phrases:
        shares.append(len((own & earlier) - no_news) / len(own) if own else 0.0)
        earlier |= own
    return shares


def _phrases(tokens: Sequence[int]) -> set[int]:
    return {hash(tuple(tokens[at : at + PHRASE])) for at in range(len(tokens) - PHRASE + 1)}


def summarise(documents: Sequence[PrequentialDocument]) -> PrequentialSummary:
    """The figures of a round's fresh text, over all of it and by source."""
    by_source: defaultdict[str, list[PrequentialDocument]] = defaultdict(list)
    for document in documents:
        by_source[document.source].append(document)
    sources = {source: _summary(by_source[source]) for source in sorted(by_source)}
    return PrequentialSummary(_summary(documents), sources)


def text_figures(scores: Iterable[tuple[float, int]], *, repetitive_share: float = 0.0) -> TextFigures:
    """The figures of scored documents, each given as (nats, tokens); those of no tokens are left out.

    A loss that is not finite makes both figures of the loss NaN.
    """
    scored = [(nll, tokens) for nll, tokens in scores if tokens > 0]
    if not scored:
        return TextFigures(0, 0, math.nan, math.nan, repetitive_share)
    tokens = sum(count for _, count in scored)
    finite = all(math.isfinite(nll) for nll, _ in scored)
    return TextFigures(
        documents=len(scored),
        tokens=tokens,
        mean_nll=math.fsum(nll for nll, _ in scored) / tokens if finite else math.nan,
        upper_nll=_quantile([nll / count for nll, count in scored], UPPER_DECILE) if finite else math.nan,
        repetitive_share=repetitive_share,
    )


def compare(documents: Sequence[PrequentialDocument], bounds: PlausibilityBounds) -> tuple[Departure, ...]:
    """Every figure of a round's fresh text that has a bound, beside its bound.

    A source that no bound is known for is compared with the overall ones: new sources are the usual way in.
    """
    summary = summarise(documents)
    compared = _against(None, summary.overall, bounds.overall)
    for source, figures in summary.sources.items():
        if figures.documents >= bounds.minimum_documents:
            compared += _against(source, figures, bounds.sources.get(source, bounds.overall))
    return tuple(compared)


def too_few(documents: Sequence[PrequentialDocument], bounds: PlausibilityBounds) -> dict[str, int]:
    """The sources that `compare` does not judge by themselves, with their scored documents; none of a single source."""
    sources = summarise(documents).sources
    if len(sources) < 2:
        return {}
    return {name: each.documents for name, each in sources.items() if each.documents < bounds.minimum_documents}


def _against(source: str | None, figures: TextFigures, bounds: TextBounds) -> list[Departure]:
    if not figures.documents:
        return []
    named = ("mean_nll", "upper_nll", "repetitive_share")
    return [
        Departure(name, source, getattr(figures, name), bound, figures.documents)
        for name in named
        if (bound := getattr(bounds, name)) is not None
    ]


def _summary(documents: Sequence[PrequentialDocument]) -> TextFigures:
    repetitive = sum(document.repetition > REPETITIVE for document in documents)
    share = repetitive / len(documents) if documents else 0.0
    return text_figures(((each.nll, each.tokens) for each in documents), repetitive_share=share)


def _quantile(values: list[float], share: float) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
