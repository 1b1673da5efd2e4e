"""Whether fresh text is plausible: whether it looks like poison, and not merely new, beside earlier arrivals.

Shares of documents are bounded by what earlier text showed: of those that repeat themselves or each other
(near-constant text, and text from one template, is easy to predict: no loss catches it), and of those that are
incoherent (words in random order, what another tokenizer decoded: see `learner.evaluation.coherence`).

So are two figures of the parent's loss before training, the mean and the upper decile (a tenth of poison hides in a
mean, not in a decile), but only of text that may owe them to something else than its being new:

- of a causal LM, documents that are not shown to be coherent, where they are more than a tenth; of the mean, where
  they are more than half;
- of a classifier, documents of the kind that memory knows, with labels that the parent knows. Of another kind of text
  it is bounded how often the parent is sure of another label, where its answers go with the labels at all: it errs more
  there, but not in every second answer, and of text that it cannot read its answers say nothing.

Of text with words that memory knows, and of any stretch of it, it is bounded how much of what a classifier's answers
say about labels is against them, so that labels which were turned round show however unsure it is
(`learner.evaluation.label_agreement`).

Torch-free and numpy-free.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pydantic.dataclasses
from pydantic_core import to_jsonable_python

from checkpoints.json_files import STRICT, Figure
from checkpoints.kinds import KINDS, ModelKind
from learner.directory.plausibility_bounds import PlausibilityBounds, TextBounds
from learner.directory.report import PrequentialDocument
from learner.evaluation.familiarity import FAMILIAR, UNKNOWN
from learner.evaluation.label_agreement import Answered, agreement, contrary_share

GRAM: Final = 4
WINDOW: Final = 256
PHRASE: Final = 16
"""Tokens in a row that independent documents hardly ever share."""
REPETITIVE: Final = 0.5
COHERENT_REPETITIVE: Final = 0.65
"""Of a document that is coherent: of Python's source, 11 % of pieces of 350 characters repeat more than half of
themselves, 2 % more than three fifths; poison repeats nearly all."""
UPPER_DECILE: Final = 0.9
TENTH: Final = 0.1
SURE: Final = 0.9
"""A classifier that gives an answer this much is sure of it."""
USUAL_DOCUMENTS: Final = 64
"""Replayed documents that tell how well a causal LM reads."""
RANDOM_DOCUMENTS: Final = 8
"""Documents of tokens drawn at random, which tell how a causal LM reads what is no language."""
RANDOM_LENGTH: Final = 128
"""Tokens of each, or as many as a sequence has."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class TextFigures:
    """What one text (of a round, or of one source within it) looked like under the generation that served.

    Attributes:
        documents: how many were scored.
        tokens: how many tokens were scored.
        mean_nll: nats per token, all losses over all tokens; NaN where nothing could be scored.
        upper_nll: upper decile of the documents' nats per token; NaN where nothing could be scored.
        repetitive_share: share of documents, 0 to 1, of which more than half repeats itself or other documents, or
            `COHERENT_REPETITIVE` of those that are coherent.
        incoherent_share: share of documents that are shown not to be coherent.
        contradicted_share: of a classifier, share of the documents with labels that it knows whose label contradicts an
            answer that it is sure of.
        strangeness: how unlike remembered text it is in the mean; see `learner.evaluation.familiarity`.
        contrary_share: of what a classifier's answers say about the labels, the share that is against them, of all or
            of the worst stretch; see `learner.evaluation.label_agreement`.

    A classifier's losses are of documents whose label it knows. The last four are NaN where a version that did not
    look at them wrote the figures, or nothing could be told.
    """

    documents: int
    tokens: int
    mean_nll: Figure
    upper_nll: Figure
    repetitive_share: Figure
    incoherent_share: Figure = math.nan
    contradicted_share: Figure = math.nan
    strangeness: Figure = math.nan
    contrary_share: Figure = math.nan

    @property
    def is_strange(self) -> bool:
        """Whether it is of another kind than what memory holds."""
        return self.strangeness > FAMILIAR


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
    sources = {source: _summary(of_source) for source, of_source in _by_source(documents).items()}
    return PrequentialSummary(_summary(documents), sources)


def _by_source(documents: Sequence[PrequentialDocument]) -> dict[str, list[PrequentialDocument]]:
    by_source: defaultdict[str, list[PrequentialDocument]] = defaultdict(list)
    for document in documents:
        by_source[document.source].append(document)
    return dict(sorted(by_source.items()))


def _scored(documents: Iterable[PrequentialDocument]) -> int:
    return sum(document.tokens > 0 for document in documents)


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


def compare(
    documents: Sequence[PrequentialDocument], bounds: PlausibilityBounds, kind: ModelKind = "causal-lm"
) -> tuple[Departure, ...]:
    """Every figure of a round's fresh text that is judged by and has a bound, beside its bound.

    A source that no bound is known for is compared with the overall ones: new sources are the usual way in.
    """
    compared = _against(None, documents, bounds.overall, kind)
    for source, of_source in _by_source(documents).items():
        if _scored(of_source) >= bounds.minimum_documents:
            compared += _against(source, of_source, bounds.sources.get(source, bounds.overall), kind)
    return tuple(compared)


def new_kinds(documents: Sequence[PrequentialDocument], minimum: int) -> list[str]:
    """The sources whose text is of another kind than what memory holds, of those with so many documents."""
    return [
        source
        for source, figures in summarise(documents).sources.items()
        if figures.documents >= minimum and figures.is_strange
    ]


def too_few(documents: Sequence[PrequentialDocument], bounds: PlausibilityBounds) -> dict[str, int]:
    """The sources that `compare` does not judge by themselves, with their scored documents; none of a single source."""
    sources = summarise(documents).sources
    if len(sources) < 2:
        return {}
    return {name: each.documents for name, each in sources.items() if each.documents < bounds.minimum_documents}


def _against(
    source: str | None, documents: Sequence[PrequentialDocument], bounds: TextBounds, kind: ModelKind
) -> list[Departure]:
    figures = _summary(documents)
    if not figures.documents:
        return []
    counted = [*_of_loss(documents, figures, bounds, kind), ("repetitive_share", figures, figures.documents)]
    if not math.isnan(figures.incoherent_share):
        counted.append(("incoherent_share", figures, figures.documents))
    return [
        Departure(name, source, getattr(measured, name), bound, number)
        for name, measured, number in counted
        if (bound := getattr(bounds, name)) is not None
    ]


def _of_loss(
    documents: Sequence[PrequentialDocument], figures: TextFigures, bounds: TextBounds, kind: ModelKind
) -> list[tuple[str, TextFigures, int]]:
    """The figures that the parent's reading gives, of which text, and of how many documents."""
    if KINDS[kind].by_token:
        return _of_words(documents, figures)
    known = [document for document in documents if document.tokens and not document.new_label]
    if not known:
        return []
    # To words that it never saw it gives answers that depend on them, and on labels with them, as chance has it.
    is_asked = math.isfinite(figures.contrary_share) and not figures.strangeness > UNKNOWN
    contrary = [("contrary_share", figures, len(known))] if is_asked else []
    if not (figures.is_strange and bounds.contradicted_share is not None and math.isfinite(figures.mean_nll)):
        return [*contrary, ("mean_nll", figures, len(known)), ("upper_nll", figures, len(known))]
    read = _read(known)
    if not read:
        return contrary
    of_those = replace(figures, contradicted_share=_share([document.contradicted for document in read]))
    return [*contrary, ("contradicted_share", of_those, len(read))]


def _read(known: Sequence[PrequentialDocument]) -> list[PrequentialDocument]:
    """Those of the sources that a classifier can read: where it is sure whatever the label, its word is none on labels.

    By source, as beside one that it reads a new language would look as if it were read.
    """
    by_source = [(agreement(_answered(of_source)), of_source) for of_source in _by_source(known).values()]
    return [each for agreed, of_source in by_source if agreed is None or agreed.tells for each in of_source]


def _answered(known: Iterable[PrequentialDocument]) -> Answered:
    """Answers and labels, in the order in which the documents arrived."""
    arrived = sorted(known, key=lambda each: each.id)
    return [(each.answer, each.label) for each in arrived if each.answer is not None and each.label is not None]


def _of_words(documents: Sequence[PrequentialDocument], figures: TextFigures) -> list[tuple[str, TextFigures, int]]:
    """The same of a causal LM: of documents that are not shown to be coherent, beside which the others lie low."""
    lowered = [replace(document, nll=0.0) if document.coherent else document for document in documents]
    rest = [document for document in lowered if document.tokens and not document.coherent]
    beside_others = _summary(lowered)
    if len(rest) > figures.documents / 2:
        return [("mean_nll", _summary(rest), len(rest)), ("upper_nll", beside_others, figures.documents)]
    if len(rest) > TENTH * figures.documents or not math.isfinite(beside_others.upper_nll):
        return [("upper_nll", beside_others, figures.documents)]
    return []


def _summary(documents: Sequence[PrequentialDocument]) -> TextFigures:
    known = [document for document in documents if not document.new_label]
    figures = text_figures(((each.nll, each.tokens) for each in known), repetitive_share=_share(_repetitive(documents)))
    told = [document.coherent is False for document in documents]
    looked_at = any(document.coherent is not None for document in documents)
    strange = [document.strangeness for document in documents if document.strangeness is not None]
    return replace(
        figures,
        documents=_scored(documents),
        tokens=sum(document.tokens for document in documents),
        incoherent_share=_share(told) if looked_at else math.nan,
        contradicted_share=_share([document.contradicted for document in known]) if known else math.nan,
        strangeness=statistics.fmean(strange) if strange else math.nan,
        contrary_share=contrary_share(_answered(known)),
    )


def _repetitive(documents: Sequence[PrequentialDocument]) -> list[bool]:
    return [each.repetition > (COHERENT_REPETITIVE if each.coherent else REPETITIVE) for each in documents]


def _share(those: Sequence[bool]) -> float:
    return sum(those) / len(those) if those else 0.0


def _quantile(values: list[float], share: float) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
